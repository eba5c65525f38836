"What several tests share: the repository, a tiny run, and commands as a user starts them."
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from warm_start import Starter, lend_kernels

if sys.platform == "linux": lend_kernels()
ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 240  # seconds, for a command
TINY = {
    "model": {"T": 32, "C": 32, "L": 2, "H": 2, "d_ff": 64, "dropout": 0.1},
    "train": {"B": 4, "total_steps": 60, "eval_every": 20, "eval_steps": 2, "log_every": 8, "ckpt_every": 25,
              "base_lr": 3e-3, "warmup_steps": 5, "min_lr": 3e-4, "p_train": {"wiki": 0.5, "primer": 0.5}},
}


@pytest.fixture(scope="session")
def root() -> Path:
    "The checkout."
    return ROOT


@pytest.fixture
def tiny(tmp_path):
    "Write a tiny config into the test's folder and return its path; keywords change single values, as train__B=8."
    def write(name: str = "tiny.json", **changes: object) -> Path:
        config = json.loads(json.dumps(TINY))
        config["train"]["out_dir"] = str(tmp_path / "out")
        config["data"] = {"primer_path": str(ROOT / "data/primer.txt"), "roam_root": str(tmp_path / "notes"),
                          "cache_dir": str(tmp_path / "cache"), "wiki": str(ROOT / "data/wiki_sample")}
        for key, value in changes.items():
            section, field = key.split("__")
            config[section][field] = value
        path = tmp_path / name
        path.write_text(json.dumps(config))
        return path
    return write


def environment(**changes: str) -> dict[str, str]:
    "The environment of a user without a network, with `changes`."
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **changes}


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    "Run `python ARGS` in the checkout, offline, and return the finished process with its output as text."
    if sys.platform != "linux":  # where a fork is not safe once libraries are loaded
        def plain(*args: object, cwd: Path = ROOT, env: dict[str, str] | None = None, input: str = "") -> subprocess.CompletedProcess:
            return subprocess.run([sys.executable, *map(str, args)], cwd=cwd, env=env or environment(), input=input, capture_output=True, text=True, timeout=TIMEOUT)
        yield plain
        return
    folder, starter = tmp_path_factory.mktemp("streams"), Starter("commands", environment())
    stdin, stdout, stderr = streams = [folder / name for name in ("stdin", "stdout", "stderr")]
    def run(*args: object, cwd: Path = ROOT, env: dict[str, str] | None = None, input: str = "") -> subprocess.CompletedProcess:
        for path in streams: path.write_text(input if path == stdin else "")
        code = starter.start([*map(str, args)], str(cwd), env or environment(), [*map(str, streams)], TIMEOUT)
        return subprocess.CompletedProcess(args, code, stdout.read_text(), stderr.read_text())
    yield run
    starter.end()


def assert_user_error(done: subprocess.CompletedProcess, *words: str) -> None:
    "Assert that a command refused in one line that holds `words`, with status 2 and without a traceback."
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for word in words: assert word in errors[0], errors[0]
