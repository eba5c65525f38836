"A text of one's own as a source, and the precision and the compiler as the training command chooses them."
import json
import subprocess
import sys
from functools import partial
from unittest.mock import patch

import pytest
import torch
from conftest import ROOT, environment

from niels_gpt.callbacks import read_metrics
from niels_gpt.config import ModelConfig, TrainConfig, load_run_config
from niels_gpt.own_text import list_text_paths
from niels_gpt.terminal import run_command
from niels_gpt.train import _prepare, build_parser, train
from niels_gpt.trainer import Trainer

SENTENCE = "It rained again, so we had tea at four, and nobody said a word. "


@pytest.fixture
def diary(tmp_path):
    "A text file of 6400 characters, the last of them of two bytes."
    path = tmp_path / "diary.txt"
    path.write_text((SENTENCE * 100)[:-1] + "é")
    return path


@pytest.fixture
def call(capsys):
    "Run the training command within this process; return its status and the lines that it wrote to standard error."
    def run(*words: object) -> tuple[int, list[str]]:
        status = run_command(lambda: train(build_parser().parse_args([str(word) for word in words])))
        return status, capsys.readouterr().err.splitlines()
    return run


@pytest.fixture
def refused(call):
    "Assert that the command refuses its words in one line, which holds what is looked for."
    def check(words: list, *said: str) -> None:
        status, lines = call(*words)
        assert status == 2 and len(lines) == 1 and lines[0].startswith("error: "), lines
        for word in said: assert word in lines[0], lines[0]
    return check


def run_row(folder) -> dict:
    "The row of a record that says what was trained."
    return read_metrics(folder / "metrics.jsonl")[0]


def stream(tmp_path, split: str) -> bytes:
    "A stream of the text as the cache holds it."
    return (tmp_path / f"cache/text_{split}.bin").read_bytes()


def test_a_text_is_cut_in_order_and_trained_on_alone(command, tiny, diary, tmp_path):
    done = command("-m", "niels_gpt.train", "--config", tiny(train__p_train=None), "--text", diary)
    assert done.returncode == 0, done.stderr
    text = diary.read_text()
    assert (stream(tmp_path, "train").decode(), stream(tmp_path, "val").decode()) == (text[:5760], text[5760:])
    rows = read_metrics(tmp_path / "out/metrics.jsonl")
    assert rows[0]["p"] == {"text": 1.0} and rows[0]["train_bytes"] == {"text": 5760}
    assert set(rows[-1]["bits_per_byte"]) == {"text"} and rows[-1]["val_loss"] < rows[1]["val_loss"]
    assert not (tmp_path / "cache/wiki_train.bin").exists()  # nothing else was read
    assert (tmp_path / "out/best.pt").exists()


def test_a_run_on_a_text_goes_on(call, tiny, diary, tmp_path):
    assert call("--config", tiny(train__p_train=None, train__total_steps=25), "--text", diary)[0] == 0
    longer = tiny(train__p_train=None, train__total_steps=30)
    status, lines = call("--config", longer, "--text", diary, "--resume", tmp_path / "out/latest.pt")
    assert status == 0 and lines[-1].startswith("finished at step 30")


def test_a_folder_is_read_in_the_order_of_its_names(call, tiny, tmp_path):
    folder = tmp_path / "texts"
    for name, letter in {"b.txt": "b", "a.md": "a", "c/d.TXT": "d", "blank.txt": " ", "e.csv": "e", ".hidden/f.txt": "f"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"\n{letter * 400}\n")
    assert [path.name for path in list_text_paths(folder)] == ["a.md", "b.txt", "blank.txt", "d.TXT"]
    assert call("--config", tiny(train__p_train=None, train__total_steps=2), "--text", folder)[0] == 0
    assert stream(tmp_path, "train") + stream(tmp_path, "val") == b"a" * 400 + b"\n\n" + b"b" * 400 + b"\n\n" + b"d" * 400
    assert len(stream(tmp_path, "val")) == 121  # int(1204 * 0.9) = 1083 for training


def test_a_text_in_the_config_with_its_own_share_and_mix(call, tiny, diary, tmp_path):
    mix = {"text": 0.5, "primer": 0.5}
    assert call("--config", tiny(train__p_train=mix, train__total_steps=2, data__text=str(diary), data__text_val_frac=0.5))[0] == 0
    assert run_row(tmp_path / "out")["p"] == mix and len(stream(tmp_path, "train")) == 3200


def test_a_short_end_is_not_evaluated_and_says_so(call, tiny, tmp_path):
    (tmp_path / "short.txt").write_text(SENTENCE * 3)
    status, lines = call("--config", tiny(train__p_train=None, train__total_steps=2), "--text", tmp_path / "short.txt")
    assert status == 0 and lines[0].startswith("warning: no evaluation on text")


def test_a_text_needs_no_config(diary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = _prepare(build_parser().parse_args(["--text", "diary.txt"]))
    assert trainer.p == {"text": 1.0} and (trainer.model_cfg.C, trainer.model_cfg.T) == (128, 64)


TEXT_MISTAKES = {
    "unknown path": (None, ["no such file or folder", "text.txt"]),
    "empty": (b"", ["empty"]),
    "blank": (b" \n\n", ["empty"]),
    "not UTF-8": ("Le cœur a ses raisons. ".encode("cp1252") * 40, ["not UTF-8", "byte 4", "text.txt"]),
    "zero bytes": (b"ab\0cd" * 40, ["zero bytes"]),
    "short": (b"Tea at four.", ["T+1 = 33", "text has 10"]),
}


@pytest.mark.parametrize("name", TEXT_MISTAKES)
def test_mistakes_about_the_text_get_one_line(refused, tiny, tmp_path, name):
    raw, said = TEXT_MISTAKES[name]
    if raw is not None: (tmp_path / "text.txt").write_bytes(raw)
    refused(["--config", tiny(train__p_train=None), "--text", tmp_path / "text.txt"], *said)
    assert not (tmp_path / "out").exists()


def test_mistakes_about_the_mix_get_one_line(refused, tiny, diary, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(["--config", tiny(train__p_train=None), "--text", tmp_path / "empty"], "no text (*.txt, *.md)")
    refused([], "--config FILE", "--text FILE_OR_FOLDER")
    refused(["--config", tiny(), "--text", diary], "p_train", "text alone")
    refused(["--config", tiny(train__p_train={"text": 1.0})], "no --text")
    refused(["--config", tiny(train__p_train=None, data__enabled_sources=["text"])], "no --text")


@pytest.mark.parametrize("words", [("--precision", "float16"), ("--compile", "yes")])
def test_unknown_words_are_refused(call, tiny, capsys, words):
    with pytest.raises(SystemExit) as stopped: call("--config", tiny(), *words)
    assert stopped.value.code == 2 and "invalid choice" in capsys.readouterr().err


def test_the_record_says_which_precision_was_used(call, tiny, tmp_path):
    for precision in ("auto", "bfloat16", "float32"):
        out = tmp_path / precision
        status, lines = call("--config", tiny(train__total_steps=3, train__out_dir=str(out)), "--precision", precision)
        assert status == 0, lines
        used = run_row(out)["precision"]
        assert used == precision or precision == "auto" and used in ("float32", "bfloat16")
        said = [line for line in lines if line.startswith("precision auto: ")]
        assert len(said) == (precision == "auto") and all(used in line for line in said)
        assert torch.load(out / "latest.pt", weights_only=True)["train_cfg"]["precision"] == precision
        assert run_row(out)["compiled"] is False


def test_a_resumed_run_warns_only_if_the_precision_in_use_is_another(call, tiny, tmp_path):
    assert call("--config", tiny(train__total_steps=3), "--precision", "auto")[0] == 0
    used = run_row(tmp_path / "out")["precision"]
    other = {"float32": "bfloat16", "bfloat16": "float32"}[used]
    longer, latest = tiny(train__total_steps=4, train__out_dir=str(tmp_path / "next")), tmp_path / "out/latest.pt"
    for precision in (used, other):
        status, lines = call("--config", longer, "--resume", latest, "--precision", precision)
        warned = any(line.startswith(f"warning: precision was {used}, now {other}") for line in lines)
        assert status == 0 and warned == (precision == other), lines


def test_without_a_compiler_the_run_goes_on_with_one_warning(tiny, tmp_path):
    "In a process of its own, for torch reads CXX when it is imported."
    env = environment(CXX=str(tmp_path / "no-compiler"), TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "inductor"))
    args = ["-m", "niels_gpt.train", "--config", tiny(train__total_steps=3, model__L=1), "--compile", "on"]
    done = subprocess.run([sys.executable, *args], cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("warning: torch.compile fails here") for line in done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr and run_row(tmp_path / "out")["compiled"] is False


def test_a_compiled_run_is_the_plain_run_but_for_rounding(tmp_path, monkeypatch):
    "With the front half of the compiler, which reads the model and its gradient; the back half needs a minute and g++."
    monkeypatch.setenv("NIELS_GPT_C", "off")  # plain: the model's own modules, no kernels
    text, plain = (SENTENCE * 100).encode(), torch.compile
    model_cfg = ModelConfig(T=32, C=32, L=1, H=2, d_ff=64, dropout=0.0)
    losses, names = {}, {}
    for choice in ("off", "on"):
        cfg = TrainConfig(B=4, total_steps=5, log_every=1, eval_steps=1, warmup_steps=1, compile=choice)
        trainer = Trainer(model_cfg, cfg, train={"text": text}, val={"text": text})
        with patch("torch.compile", partial(plain, backend="aot_eager")): trainer.prepare(pytest.fail)
        assert (trainer.forward is not trainer.model) is (choice == "on")
        losses[choice] = [float(trainer.train_step()) for _ in range(5)]
        trainer.save(tmp_path / f"{choice}.pt")
        names[choice] = list(torch.load(tmp_path / f"{choice}.pt", weights_only=True)["model_state"])
    assert names["on"] == names["off"]
    assert losses["on"] == pytest.approx(losses["off"], abs=1e-4) and losses["on"][-1] < losses["on"][0]


def test_the_shakespeare_configs_hold_the_published_settings(root):
    small, run, data = load_run_config(root / "configs/shakespeare.json")
    assert (small.L, small.H, small.C, small.d_ff, small.T, small.dropout) == (4, 4, 128, 512, 64, 0.0)
    assert (run.B, run.total_steps, run.base_lr, run.min_lr, run.warmup_steps, run.beta2) == (12, 2000, 1e-3, 1e-4, 100, 0.99)
    large, run, data = load_run_config(root / "configs/shakespeare_gpu.json")
    assert (large.L, large.H, large.C, large.d_ff, large.T, large.dropout) == (6, 6, 384, 1536, 256, 0.2)
    assert (run.B, run.total_steps, run.p_train, data.text_val_frac) == (64, 5000, None, 0.1)


def test_shipped_configs_choose_the_precision_by_themselves(root):
    for name in ("smoke", "train", "shakespeare", "shakespeare_gpu"):
        assert json.loads((root / f"configs/{name}.json").read_text())["train"]["precision"] == "auto", name
