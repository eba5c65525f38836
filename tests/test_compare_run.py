"The diagnosis of a run: each recorded fault is named on seeds that the record's bands and patterns have not seen."
import json
from dataclasses import replace

import pytest
import torch
from conftest import assert_user_error

from niels_gpt.compare_run import compare_run, curve_of, diagnose, load_record
from niels_gpt.config import load_run_config, to_dict
from niels_gpt.mutations import HEALTHY, MUTATIONS, run_mutated
from niels_gpt.streams import build_sources

UNSEEN = "no 1/sqrt(D)"  # leaves no trace in the curve of so narrow a head; chapter 06h's checks see it
RECORDED = [name for name in MUTATIONS if name != UNSEEN]


@pytest.fixture(scope="module")
def record(root):
    return load_record(root / "data/runs/compare.json")


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    "Train the reference config with a fault and a seed, up to a step, and return the rows."
    model_cfg, cfg, data = load_run_config(root / "configs/compare.json", data_defaults={"enabled_sources": ("wiki",), "required_sources": ("wiki",)})
    train, val = build_sources(replace(data, cache_dir=str(tmp_path_factory.mktemp("streams"))))
    def rows(mutation, seed, until):
        torch.set_num_threads(1)
        return run_mutated(mutation, model_cfg, replace(cfg, seed=seed, eval_steps=8), train=train, val=val, until=until)
    return rows


@pytest.mark.parametrize("name", RECORDED)
def test_a_fault_is_named_on_seeds_that_were_held_back(record, name):
    curves = record.held_back[name]
    assert len(curves) >= 2
    assert [diagnose(curve, record).cause for curve in curves] == [MUTATIONS[name].cause] * len(curves)


@pytest.mark.parametrize("name", ["healthy", UNSEEN])
def test_a_curve_like_the_healthy_ones_is_called_healthy(record, name):
    assert {diagnose(curve, record).cause for curve in record.held_back[name]} == {"healthy"}


@pytest.mark.parametrize("name", ["rate x 10", "no warm-up", "rate / 10", "shift 0", "shift 0, held-out too"])
def test_a_fault_of_the_first_steps_is_named_after_a_third(record, name):
    "A run need not end to be called ill. The other faults show later."
    assert [diagnose(curve.until(200), record).cause for curve in record.held_back[name]] == [MUTATIONS[name].cause] * 2


def test_runs_made_here_and_now_are_told_apart(record, run):
    "With seeds that stand nowhere in the record; 321 is a late starter, which its first 100 steps do not tell from a fault."
    healthy = curve_of(run(HEALTHY, 321, 300))
    assert diagnose(healthy.until(100), record).cause == "too early to tell"
    assert diagnose(healthy, record).cause == "healthy"
    assert diagnose(curve_of(run(MUTATIONS["shift 0"], 322, 100)), record).cause == "targets not shifted"


def test_no_seed_is_both_seen_and_held_back(root):
    raw = json.loads((root / "data/runs/compare.json").read_text())
    seen = {run["seed"] for runs in (raw["healthy"], *raw["mutated"].values()) for run in runs}
    held_back = {run["seed"] for runs in raw["held_back"].values() for run in runs}
    assert len(raw["healthy"]) >= 6 and not seen & held_back


def test_the_record_is_of_the_config_that_readers_train(root, record):
    model_cfg, cfg, _ = load_run_config(root / "configs/compare.json")
    now = {**to_dict(model_cfg), **to_dict(cfg)}
    changed = {name for name, value in record.settings.items() if name in now and now[name] != value}
    assert not changed - {"seed", "out_dir"}, f"{changed} changed: run tools/record_runs.py"
    assert set(record.mutated) == set(MUTATIONS)
    assert (root / "data/runs/compare.json").stat().st_size < 60_000


def test_the_command_line_run_can_be_compared(command, root, tmp_path):
    "The reader's way: train by config, hand over the metrics; here stopped by the config's own length, which is refused."
    config = json.loads((root / "configs/compare.json").read_text())
    config["train"] |= {"total_steps": 10, "eval_every": 10, "eval_steps": 1, "out_dir": str(tmp_path / "out")}
    config["data"] |= {"cache_dir": str(tmp_path / "cache"), "wiki": str(root / "data/wiki_sample")}
    (tmp_path / "compare.json").write_text(json.dumps(config))
    assert command("-m", "niels_gpt.train", "--config", tmp_path / "compare.json", "--device", "cpu").returncode == 0
    with pytest.raises(ValueError, match="total_steps is 10, the record's 600"): compare_run(tmp_path / "out/metrics.jsonl")


def test_a_band_can_be_recorded_for_another_config(command, root, tmp_path):
    config = {"model": {"T": 8, "C": 8, "L": 1, "H": 2, "d_ff": 8, "dropout": 0.0},
              "train": {"B": 2, "total_steps": 10, "log_every": 5, "eval_every": 5, "eval_steps": 1, "warmup_steps": 2, "p_train": {"wiki": 1.0}},
              "data": {"wiki": str(root / "data/wiki_sample")}}
    (tmp_path / "own.json").write_text(json.dumps(config))
    done = command("tools/record_runs.py", "--config", tmp_path / "own.json", "--out", tmp_path / "own_record.json", "--seeds", 2, "--held-back", 0)
    assert done.returncode == 0, done.stderr
    own = load_record(tmp_path / "own_record.json")
    assert len(own.healthy) == 2 and own.healthy[0].steps == (5, 10) and own.settings["T"] == 8 and 3.0 < own.byte_entropy < 3.1
    assert_user_error(command("tools/record_runs.py", "--config", tmp_path / "none.json"), "none.json")
