"The record of the scaling chapter: made by a command, the same each time, and true to its own formulas."
import json

import pytest
from conftest import ROOT, assert_user_error

from niels_gpt.config import ModelConfig
from niels_gpt.scaling import count_params, step_flops


def test_the_shipped_record_agrees_with_the_formulas():
    record = json.loads((ROOT / "data/runs/scaling.json").read_text())
    assert len(record["runs"]) >= 4
    for run in record["runs"]:
        cfg = ModelConfig(**run["model"])
        assert run["n_params"] == count_params(cfg)
        assert run["flops_per_step"] == step_flops(cfg, run["bytes_per_step"] // cfg.T)
        assert all(row["flops"] == row["step"] * run["flops_per_step"] for row in run["curve"])


def test_the_command_writes_a_record_and_writes_it_again(command, tmp_path):
    texts = []
    for name in ("a.json", "b.json"):
        done = command("tools/record_scaling.py", "--budget", "8e9", "--doublings", "0", "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert [len(run["curve"]) for run in json.loads(texts[0])["runs"]][0] == 1


@pytest.mark.parametrize("args", [("--budget", "1"), ("--wiki", "no/such/folder")])
def test_a_users_mistake_is_one_line(command, args, tmp_path):
    assert_user_error(command("tools/record_scaling.py", *args, "--out", tmp_path / "x.json"), args[0] if args[1] == "1" else args[1])
