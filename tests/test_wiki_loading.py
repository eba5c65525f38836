"Loading WikiText as `datasets` really does it: from a hub, from its cache without one, and from files."
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, environment
from hub_standin import serve

ROWS = {"train": ["", " = Title = \n", "", " First paragraph . \n", " Second one . \n", ""],
        "validation": [" = Held out = \n", "", " Text . \n"], "test": [" = Test = \n"]}
SHOW = "import json, sys; from niels_gpt.data import load_wikitext; print(json.dumps(load_wikitext(*sys.argv[1:])))"


@pytest.fixture
def dataset(tmp_path) -> Path:
    "A folder in the layout of Salesforce/wikitext, with two of its configurations."
    import pyarrow as pa
    import pyarrow.parquet as pq
    folder = tmp_path / "hub"
    for config, mark in (("wikitext-103-raw-v1", ""), ("wikitext-2-raw-v1", "small ")):
        (folder / config).mkdir(parents=True)
        for split, rows in ROWS.items():
            pq.write_table(pa.table({"text": [row and mark + row for row in rows]}), folder / config / f"{split}-00000-of-00001.parquet")
    configs = "".join(f"- config_name: {name}\n  data_files:\n" + "".join(f"  - split: {split}\n    path: {name}/{split}-*\n" for split in ROWS)
                      for name in ("wikitext-103-raw-v1", "wikitext-2-raw-v1"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n# wikitext\n")
    return folder


def load(*args: object, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess:
    "Run `load_wikitext` in a process of its own, as the offline switches are read at import."
    return subprocess.run([sys.executable, "-c", SHOW, *map(str, args)], capture_output=True, text=True, cwd=cwd, timeout=120,
                          env=environment(**{"HF_HUB_OFFLINE": "0", **env}))


def lines(done: subprocess.CompletedProcess) -> dict[str, list[str]]:
    "The splits that the process printed."
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def expected() -> dict[str, list[str]]:
    "The rows that are not empty, under our names of the splits."
    names = {"train": "train", "validation": "val", "test": "test"}
    return {names[split]: [row for row in rows if row] for split, rows in ROWS.items()}


def test_the_hub_then_its_cache_without_a_network(dataset, tmp_path):
    home = {"HF_HOME": str(tmp_path / "hf")}
    with serve(dataset) as (address, seen):
        assert lines(load(HF_ENDPOINT=address, **home)) == expected()
        assert any("wikitext-103-raw-v1/train" in request for request in seen)
        seen.clear()
        assert lines(load(HF_ENDPOINT=address, **home)) == expected()
        assert seen == [], "a cached set asks the hub nothing"
    started = time.monotonic()
    assert lines(load(HF_ENDPOINT=address, **home)) == expected()
    assert time.monotonic() - started < 30
    assert lines(load(HF_ENDPOINT=address, HF_HUB_OFFLINE="1", **home)) == expected()


def test_a_folder_of_that_name_does_not_win(dataset, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "Salesforce/wikitext").mkdir(parents=True)
    (elsewhere / "Salesforce/wikitext/train.txt").write_text("wrong\n")
    with serve(dataset) as (address, _):
        assert lines(load(cwd=elsewhere, HF_ENDPOINT=address, HF_HOME=str(tmp_path / "hf"))) == expected()


def refused_within(seconds: float, tmp_path: Path, **env: str) -> str:
    "Assert that loading ends with a ConnectionError in time, and return its message."
    started = time.monotonic()
    done = load(HF_HOME=str(tmp_path / "hf"), **env)
    assert time.monotonic() - started < seconds
    assert done.returncode != 0 and "ConnectionError" in done.stderr.splitlines()[-1]
    return done.stderr.splitlines()[-1]


def test_no_hub_refuses_in_time(tmp_path):
    assert "Salesforce/wikitext" in refused_within(30, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")


def test_a_silent_hub_refuses_in_time(tmp_path):
    "A server that takes the connection and never answers."
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert "no answer" in refused_within(30, tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.getsockname()[1]}")


def test_a_hub_without_the_set_refuses(tmp_path, dataset):
    with serve(dataset) as (address, _):
        done = load("nobody/nothing", HF_ENDPOINT=address, HF_HOME=str(tmp_path / "hf"))
    assert done.returncode != 0 and "nobody/nothing" in done.stderr.splitlines()[-1]


def test_a_local_folder_is_read_anew_after_an_edit(dataset, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    assert lines(load(dataset, HF_HUB_OFFLINE="1")) == expected()
    pq.write_table(pa.table({"text": ["changed\n"]}), dataset / "wikitext-103-raw-v1/train-00000-of-00001.parquet")
    assert lines(load(dataset, HF_HUB_OFFLINE="1"))["train"] == ["changed\n"]


def test_streams_from_the_hub_need_no_network_once_cached(dataset, tmp_path):
    code = ("import sys; from niels_gpt.config import StreamBuildConfig as C; from niels_gpt.streams import build_sources\n"
            "cfg = C(cache_dir=sys.argv[1], enabled_sources=['wiki'], required_sources=['wiki'], wiki_fallback=None)\n"
            "train, val = build_sources(cfg); print(bytes(train['wiki']), bytes(val['wiki']), 'datasets' in sys.modules)")
    def run(**env: str) -> str:
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "cache")], capture_output=True, text=True, cwd=ROOT, timeout=120,
                              env=environment(HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path / "hf"), **env))
        assert done.returncode == 0, done.stderr
        return done.stdout
    with serve(dataset) as (address, _): first = run(HF_ENDPOINT=address)
    assert first.startswith(repr(b" = Title = \n\n First paragraph . \n\n Second one . ")) and first.endswith("True\n")
    assert run(HF_ENDPOINT="http://127.0.0.1:9") == first.replace("True", "False")
