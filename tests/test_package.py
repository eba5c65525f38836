"The package is in step with the notebooks, the notebooks are fit to commit, and the README tells the truth."
import importlib
import inspect
import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = ["batching", "c_compiler", "callbacks", "chat", "chat_box", "chat_cli", "chat_format", "checkpoint", "compare_run", "config", "data", "device",
           "eval", "exercises", "files", "generate", "inspect_reply", "look_inside", "lr_schedule", "model.attention", "model.blocks",
           "model.decoding", "model.decoding_c", "model.dropout", "model.gpt", "model.rope", "mutations", "one_step", "own_text", "primer", "quiz", "scaling", "streams",
           "subject", "templates", "terminal", "tokenizer", "train", "trainer", "training_lab", "viz"]


MACHINE = r"(?<![\w.])/(work|root|tmp|opt|home/\w+)/\w|pypi\.|python" "hosted"  # paths of a machine, addresses of registries


def test_export_changes_nothing(root, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("nbs", "niels_gpt"): shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("settings.ini", "pyproject.toml"): shutil.copy(root / name, copy)
    subprocess.run([Path(sys.executable).parent / "nbdev_export"], cwd=copy, check=True, capture_output=True)
    for path in sorted((copy / "niels_gpt").rglob("*.py")):
        assert path.read_text() == (root / path.relative_to(copy)).read_text(), f"run nbdev_export: {path.name} is out of step"
    assert len(list((root / "niels_gpt").rglob("*.py"))) == len(list((copy / "niels_gpt").rglob("*.py")))


def test_notebooks_are_clean(command):
    done = command("tools/notebooks.py", "check")
    assert done.returncode == 0, done.stdout


def test_map_and_readme_are_in_step_with_the_chapters(command):
    done = command("tools/course_map.py", "check")
    assert done.returncode == 0, done.stdout


def test_chapters_lie_within_the_cell_budget(command):
    done = command("tools/cell_budget.py")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented_and_typed(name):
    module = importlib.import_module(f"niels_gpt.{name}")
    lines = Path(module.__file__).read_text().splitlines()
    assert len(lines) <= 280, f"{name} has {len(lines)} lines"
    for public in module.__all__:
        thing = getattr(module, public)
        if not (inspect.isfunction(thing) or inspect.isclass(thing)): continue
        assert thing.__doc__, f"{name}.{public} has no docstring"
        members = [thing] if inspect.isfunction(thing) else [m for m in vars(thing).values() if inspect.isfunction(m)]
        for member in members:
            if member.__name__.startswith("__"): continue
            hints = inspect.signature(member)
            untyped = [p.name for p in hints.parameters.values() if p.name not in ("self", "session", "file") and p.annotation is p.empty]
            assert not untyped and hints.return_annotation is not hints.empty, f"{name}.{member.__qualname__}: {untyped}"


def test_core_imports_torch_and_the_standard_library_only():
    code = ("import sys, niels_gpt.generate, niels_gpt.trainer, niels_gpt.streams, niels_gpt.chat; "
            "print([m for m in ('datasets', 'matplotlib', 'ipywidgets', 'pyarrow', 'transformers') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_interface_is_importable():
    from niels_gpt.model import GPT, MLP, Block, CausalSelfAttention  # noqa: F401
    from niels_gpt.model.blocks import CausalSelfAttention as again
    assert again is CausalSelfAttention
    from niels_gpt.config import ModelConfig, StreamBuildConfig, TrainConfig
    from niels_gpt.streams import StreamBuildConfig as same
    assert same is StreamBuildConfig
    assert ModelConfig() == ModelConfig(V=256, T=256, C=256, L=4, H=4, d_ff=1024, dropout=0.1, rope_theta=10000.0)
    cfg = TrainConfig()
    assert (cfg.seed, cfg.B, cfg.total_steps, cfg.eval_every, cfg.base_lr, cfg.min_lr, cfg.p_train) == (42, 32, 20000, 200, 3e-4, 3e-5, None)


def test_configs_hold_the_promised_steps(root):
    from niels_gpt.config import load_config_from_json
    steps = {path.stem: load_config_from_json(path)[1].total_steps for path in (root / "configs").glob("*.json")}
    assert steps["smoke"] == 1000 and steps["train"] == 20000 and steps["chat"] >= 3000


def readme_commands(root: Path) -> list[str]:
    "The lines of the README's shell blocks, without comments."
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]


def test_readme_commands_exist(root, command):
    "Every command of the README names a target, module or script that is there, with flags that it knows."
    makefile, seen = (root / "Makefile").read_text(), 0
    usage = functools.cache(lambda *target: command(*target, "--help"))
    for line in readme_commands(root):
        words = line.split()
        if words[0] == "make": assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        if words[0] == "python" and words[1] != "-c":
            target = words[1:3] if words[1] == "-m" else words[1:2]
            assert usage(*target).returncode == 0, line
            for flag in re.findall(r"(?<=\s)--[a-z-]+", line): assert flag in usage(*target).stdout, f"{line}: {flag}"
            seen += 1
        for config in re.findall(r"configs/\w+\.json", line): assert (root / config).exists(), line
    assert seen >= 5


def test_readme_links_lead_somewhere(root):
    for name in ("README.md", "nbs/index.ipynb"):
        path = root / name
        text = path.read_text() if path.suffix == ".md" else "\n".join("".join(c["source"]) for c in json.loads(path.read_text())["cells"])
        for link in re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text):
            if not link.startswith(("http://", "https://")): assert (path.parent / link).exists(), f"{name}: {link}"


def test_nothing_of_a_machine_is_committed(root):
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True)
    if listed.returncode: pytest.skip("not a git checkout")
    for name in listed.stdout.split("\n"):
        path = root / name
        if path.suffix in (".py", ".md", ".ipynb", ".json", ".toml", ".ini", ".txt", "") and path.is_file():
            text = path.read_text(errors="replace")
            assert not re.search(MACHINE, text), name
        assert not path.is_file() or path.stat().st_size <= 20_000_000, name
