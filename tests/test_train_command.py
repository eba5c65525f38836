"The training command as a process: a run, a stop, a resume, and every mistake that a user can make."
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, assert_user_error, environment

from niels_gpt.callbacks import read_metrics


def weights(path: Path) -> dict[str, torch.Tensor]:
    "The weights in a checkpoint."
    return torch.load(path, weights_only=True)["model_state"]


def figures(path: Path) -> list[dict]:
    "The rows of a metrics file without what the clock or the folder decides."
    rows = [row for row in read_metrics(path) if row["kind"] != "run"]
    return [{key: value for key, value in row.items() if key != "tokens_per_s"} for row in rows]


def start(config: Path, *args: str) -> subprocess.Popen:
    "Start a training in the background."
    return subprocess.Popen([sys.executable, "-m", "niels_gpt.train", "--config", str(config), *args], cwd=ROOT,
                            env=environment(), stderr=subprocess.PIPE, text=True)


def test_a_run_leaves_checkpoints_and_metrics(command, tiny, tmp_path):
    done = command("-m", "niels_gpt.train", "--config", tiny())
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {"best.pt", "latest.pt", "step_000025.pt", "step_000050.pt", "metrics.jsonl"}
    rows = read_metrics(out / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [0, 20, 40, 60]
    assert [row["step"] for row in rows if row["kind"] == "train"] == [8, 16, 24, 32, 40, 48, 56, 60]
    assert rows[-1]["val_loss"] < rows[1]["val_loss"]
    assert set(rows[-1]["bits_per_byte"]) == {"wiki", "primer"}
    assert "bits/byte" in done.stderr and "tokens/s" in done.stderr and "left" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed_equals_uninterrupted(command, tiny, tmp_path, number):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    steps = {"train__total_steps": 300, "train__eval_every": 100}
    assert command("-m", "niels_gpt.train", "--config", tiny("a.json", train__out_dir=str(whole), **steps)).returncode == 0
    config = tiny("b.json", train__out_dir=str(halves), **steps)
    process = start(config)
    for line in process.stderr:
        if line.startswith("step     48"): break
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(60) == 130 and "--resume" in rest and "Traceback" not in rest
    stopped = torch.load(halves / "latest.pt", weights_only=True)["step"]
    assert 48 <= stopped < 300
    done = command("-m", "niels_gpt.train", "--config", config, "--resume", halves / "latest.pt")
    assert done.returncode == 0, done.stderr
    a, b = weights(whole / "latest.pt"), weights(halves / "latest.pt")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert figures(whole / "metrics.jsonl") == figures(halves / "metrics.jsonl")
    best_a, best_b = weights(whole / "best.pt"), weights(halves / "best.pt")
    assert all(torch.equal(best_a[name], best_b[name]) for name in best_a)


def test_a_killed_run_goes_on_from_its_last_checkpoint(command, tiny, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert command("-m", "niels_gpt.train", "--config", tiny("a.json", train__out_dir=str(whole))).returncode == 0
    config = tiny("b.json", train__out_dir=str(halves))
    process = start(config)
    while not (halves / "step_000025.pt").exists() or not (halves / "latest.pt").exists(): time.sleep(0.01)
    process.kill()
    process.wait()
    assert command("-m", "niels_gpt.train", "--config", config, "--resume", halves / "latest.pt").returncode == 0
    a, b = weights(whole / "latest.pt"), weights(halves / "latest.pt")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert figures(whole / "metrics.jsonl") == figures(halves / "metrics.jsonl")


def test_a_new_run_loses_no_checkpoint_of_an_old_one(command, tiny, tmp_path):
    config = tiny(train__total_steps=10)
    assert command("-m", "niels_gpt.train", "--config", config).returncode == 0
    before = (tmp_path / "out/latest.pt").read_bytes()
    done = command("-m", "niels_gpt.train", "--config", config)
    assert done.returncode == 0 and "run-001" in done.stderr
    assert (tmp_path / "out/run-001/latest.pt").read_bytes() == before


def test_training_never_touches_the_shipped_checkpoint(command, tiny, root, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    shipped = out / "niels-gpt.pt"
    shipped.write_bytes(b"precious")
    for _ in range(2): assert command("-m", "niels_gpt.train", "--config", tiny(train__total_steps=5)).returncode == 0
    assert shipped.read_bytes() == b"precious"


def test_finished_run_has_nothing_left(command, tiny, tmp_path):
    config = tiny(train__total_steps=5)
    assert command("-m", "niels_gpt.train", "--config", config).returncode == 0
    done = command("-m", "niels_gpt.train", "--config", config, "--resume", tmp_path / "out/latest.pt")
    assert done.returncode == 0 and "nothing left" in done.stdout


def test_plain_text_as_wiki(command, tiny, tmp_path):
    text = tmp_path / "mine.txt"
    text.write_text("\n\n".join(f"Paragraph number {i} is about nothing in particular." for i in range(200)))
    done = command("-m", "niels_gpt.train", "--config", tiny(train__total_steps=5), "--wiki", text)
    assert done.returncode == 0, done.stderr


def test_smoke_falls_back_on_the_sample_with_one_warning(command, tmp_path, root):
    config = json.loads((root / "configs/smoke.json").read_text())
    config["train"] |= {"total_steps": 2, "eval_steps": 1, "B": 2, "out_dir": str(tmp_path / "out")}
    config["data"] = {"cache_dir": str(tmp_path / "cache"), "roam_root": str(tmp_path / "none")}
    path = tmp_path / "smoke.json"
    path.write_text(json.dumps(config))
    done = command("-m", "niels_gpt.train", "--config", path, env=environment(HF_HOME=str(tmp_path / "hf")))
    assert done.returncode == 0, done.stderr
    assert sum("data/wiki_sample" in line and line.startswith("warning: ") for line in done.stderr.splitlines()) == 1


def test_train_config_insists_on_wikitext_within_15_seconds(command, tmp_path):
    started = time.monotonic()
    env = environment(HF_HOME=str(tmp_path / "hf"), HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    done = command("-m", "niels_gpt.train", "--config", "configs/train.json", env=env)
    assert_user_error(done, "Salesforce/wikitext", "--wiki")
    assert time.monotonic() - started < 15


MISTAKES = {
    "unknown key": ({"model__heads": 4}, ["heads"]),
    "near key": ({"train__total_step": 4}, ["did you mean 'total_steps'"]),
    "C and H": ({"model__C": 30, "model__H": 4}, ["multiple of H"]),
    "odd head": ({"model__C": 18, "model__H": 2}, ["even"]),
    "wrong type": ({"train__B": "four"}, ["B must be a whole number"]),
    "p sums": ({"train__p_train": {"wiki": 0.5, "primer": 0.4}}, ["sum to 1"]),
    "unknown source": ({"train__p_train": {"wiki": 0.5, "blog": 0.5}}, ["blog"]),
    "no wiki": ({"data__wiki": "no/such/folder"}, ["no/such/folder"]),
    "no primer": ({"data__primer_path": "nowhere.txt", "data__required_sources": ["wiki", "primer"]}, ["nowhere.txt"]),
    "short stream": ({"model__T": 1000000}, ["T+1"]),
    "not bytes": ({"model__V": 100}, ["V must be 256"]),
    "too big": ({"model__C": 10**15, "model__H": 1}, ["not enough memory"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_the_config_get_one_line(command, tiny, tmp_path, name):
    changes, words = MISTAKES[name]
    done = command("-m", "niels_gpt.train", "--config", tiny(**changes))
    assert_user_error(done, *words)
    assert not (tmp_path / "out").exists()


def test_mistakes_on_the_command_line_get_one_line(command, tiny, tmp_path):
    assert_user_error(command("-m", "niels_gpt.train", "--config", "nowhere.json"), "nowhere.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{"model": ')
    assert_user_error(command("-m", "niels_gpt.train", "--config", broken), "not valid JSON")
    assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(), "--resume", "nowhere.pt"), "nowhere.pt")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(), "--wiki", empty), str(empty))
    if not torch.cuda.is_available():
        assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(), "--device", "cuda"), "cuda", "not available")


def test_resume_refuses_what_it_can_not_go_on_from(command, tiny, root, tmp_path):
    assert command("-m", "niels_gpt.train", "--config", tiny(train__total_steps=5)).returncode == 0
    latest = tmp_path / "out/latest.pt"
    other = tiny("other.json", model__C=64)
    assert_user_error(command("-m", "niels_gpt.train", "--config", other, "--resume", latest), "C is 32 in the checkpoint and 64 here")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(latest.read_bytes()[:-2000])
    assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(), "--resume", cut), "cut short")
    assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(), "--resume", root / "README.md"), "README.md")
    shipped = root / "checkpoints/niels-gpt.pt"
    same_shape = tiny("same.json", model__C=256, model__L=4, model__H=4, model__d_ff=1024, model__T=512, model__dropout=0.0)
    assert_user_error(command("-m", "niels_gpt.train", "--config", same_shape, "--resume", shipped), "optimizer state", "--init")


def test_a_new_run_begins_with_the_weights_of_another(command, tiny, root, tmp_path):
    shipped = root / "checkpoints/niels-gpt.pt"
    shape = {"model__C": 256, "model__L": 4, "model__H": 4, "model__d_ff": 1024, "model__T": 128, "train__total_steps": 2}
    done = command("-m", "niels_gpt.train", "--config", tiny(**shape), "--init", shipped)
    assert done.returncode == 0, done.stderr
    run, first = read_metrics(tmp_path / "out/metrics.jsonl")[:2]
    assert run["begun_from"] == str(shipped) and "steps: " in done.stderr
    assert first["step"] == 0 and all(bits < 4 for bits in first["bits_per_byte"].values())  # 8 before any training
    assert torch.load(tmp_path / "out/latest.pt", weights_only=True)["step"] == 2
    assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(), "--init", shipped), "C is 256 in the checkpoint and 32 here")
    assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(), "--init", "nowhere.pt"), "nowhere.pt")
    text = tmp_path / "short.txt"
    text.write_text("Tea at four. " * 20)  # without a config the shape is the checkpoint's, T of 512 included
    assert_user_error(command("-m", "niels_gpt.train", "--text", text, "--init", shipped), "T+1 = 513")
    both = command("-m", "niels_gpt.train", "--config", tiny(), "--init", shipped, "--resume", shipped)
    assert both.returncode == 2 and "not allowed with" in both.stderr


def test_unwritable_folder_is_one_line(command, tiny, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(train__out_dir=str(tmp_path / "file/out"))), "file")
    assert_user_error(command("-m", "niels_gpt.train", "--config", tiny(train__out_dir=str(tmp_path / "file"))), "out_dir must be a folder")


def test_help_is_for_newcomers(command):
    done = command("-m", "niels_gpt.train", "--help")
    assert done.returncode == 0
    for word in ("--config", "--device", "--resume", "--wiki", "Ctrl-C"): assert word in done.stdout
