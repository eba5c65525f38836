"The benchmarks run, count right, and compare the same model. How fast anything is, no test asks."
import json
import sys

import pytest
import torch
from conftest import ROOT, assert_user_error

sys.path.insert(0, str(ROOT / "benchmarks"))  # the scripts import each other by name


@pytest.fixture
def run(command):
    "Run a benchmark, and return what it printed."
    def printed(script: str, *args: object) -> str:
        done = command(f"benchmarks/{script}", *args)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return printed


def test_turns_and_ratios():
    from harness import alternate, ratio_rows
    calls = []
    def turn(name: str, value: float): return lambda: (calls.append(name), (value, name))[1]
    measured = alternate({"ours": turn("ours", 300.0), "theirs": turn("theirs", 200.0)}, 2)
    assert calls == ["ours", "theirs", "theirs", "ours"], "each round begins with another one"
    assert ratio_rows(measured) == [["ours", "300", "300 - 300", "", ""], ["theirs", "200", "200 - 200", "1.50x", "1.5 - 1.5"]]


def test_transformers_computes_our_model():
    pytest.importorskip("transformers")
    from neox_weights import build_neox
    from niels_gpt.config import ModelConfig
    from niels_gpt.model.gpt import GPT
    torch.manual_seed(0)
    model, ids = GPT(ModelConfig(T=16, C=32, L=2, H=2, d_ff=64)).eval(), torch.arange(32).view(2, 16)
    for p in model.parameters(): torch.nn.init.normal_(p, std=0.3)
    with torch.no_grad(): assert torch.allclose(build_neox(model)(ids).logits, model(ids), atol=1e-3)


def test_a_training_row_and_its_record(run, tmp_path):
    path = tmp_path / "results.jsonl"
    printed = run("train_bf16.py", "--rounds", 1, "--steps", 1, "--batch", 1, "--json", path)
    assert [line.split("|")[1].strip() for line in printed.splitlines()[-3:-1]] == ["niels-gpt", "plain torch"], "the table comes last"
    record = json.loads(path.read_text())
    assert record["rows"][0]["ratio"] == 1 and record["machine"]["cores"] >= 1
    assert "**Training, bfloat16, dropout 0**: 1 run;" in run("summary.py", path)


def test_streams_at_a_small_scale(run):
    assert "| second start " in run("build_streams.py", "--rounds", 1, "--rows", 2000)


def test_a_mistake_is_one_line(command, tmp_path):
    assert_user_error(command("benchmarks/generate.py", "--ckpt", tmp_path / "none.pt"), "no checkpoint at")
