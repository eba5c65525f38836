"The step in C says what the model says, falls back without a word, and never serves old weights."
import subprocess
import sys

import pytest
import torch
from conftest import environment

from niels_gpt.c_compiler import compiler, open_c
from niels_gpt.config import ModelConfig
from niels_gpt.device import make_generator, seed_everything
from niels_gpt.generate import generate_ids
from niels_gpt.model.decoding import Decoder
from niels_gpt.model.decoding_c import CDecoder, byte_reader, load_step, round_weights
from niels_gpt.model.gpt import GPT

SHAPES = [{"T": 64, "C": 32, "L": 2, "H": 2, "d_ff": 64}, {"T": 40, "C": 30, "L": 3, "H": 5, "d_ff": 37}, {"T": 33, "C": 8, "L": 1, "H": 1, "d_ff": 6},
          {"T": 512}, {"T": 16, "C": 24, "L": 2, "H": 2, "d_ff": 50, "V": 101}]


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory, monkeypatch):
    "Keep what is compiled in one folder for all of these tests."
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "compiled"))
    for name in ("NIELS_GPT_C", "CC"): monkeypatch.delenv(name, raising=False)


@pytest.fixture
def c():
    "The compiled step, or no test."
    return load_step() or pytest.skip("no C compiler")


def make(shape: dict, *, rounded: bool = False) -> tuple[GPT, list[int]]:
    "A loud model of random weights and biases, and a text as long as its context."
    seed_everything(1)
    model = GPT(ModelConfig(dropout=0.0, **shape)).eval()
    with torch.no_grad():
        for p in model.blocks.parameters(): p.add_(torch.randn_like(p) * 0.05)
    ids = torch.randint(model.cfg.V, (model.cfg.T,), generator=make_generator(0)).tolist()
    return round_weights(model) if rounded else model, ids


def at_once(model: GPT, ids: list[int]) -> torch.Tensor:
    with torch.no_grad(): return model(torch.tensor([ids]))[0]


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_position_of_a_context_agrees(c, shape, rounded):
    model, ids = make(shape, rounded=rounded)
    decoder, cache = CDecoder(model, c), model.new_cache()
    got = torch.stack([decoder.read(i, cache) for i in ids])
    assert torch.allclose(got, at_once(model, ids), atol=1e-4)
    assert decoder.model.halves == (rounded and model.cfg.d_ff % 2 == 0)
    assert [layer.length for layer in cache] == [model.cfg.T] * model.cfg.L
    with pytest.raises(ValueError, match="positions already"): decoder.read(ids[0], cache)


def test_half_width_says_what_full_width_says(c):
    model, ids = make(SHAPES[0], rounded=True)
    halves, full = CDecoder(model, c), Decoder(model)
    one, two = model.new_cache(), model.new_cache()
    for i in ids: assert torch.allclose(halves.read(i, one), full.read(i, two), atol=1e-5)
    assert all(torch.allclose(a.kv, b.kv, atol=1e-5) for a, b in zip(one, two))


def test_one_inexact_number_keeps_all_weights_whole(c):
    model, ids = make(SHAPES[0], rounded=True)
    with torch.no_grad(): model.blocks[1].mlp.proj.weight[-1, -1] = 0.1
    decoder = CDecoder(model, c)
    assert decoder.model.halves == 0 and torch.allclose(decoder.read(ids[0], model.new_cache()), at_once(model, ids[:1])[0], atol=1e-4)


def test_a_model_of_no_numbers_says_so(c):
    for rounded in (False, True):
        model, ids = make(SHAPES[0], rounded=rounded)
        with torch.no_grad(): model.blocks[0].attn.proj.weight[3] = torch.nan
        assert CDecoder(model, c).read(ids[0], model.new_cache()).isnan().all()


def test_readers_take_turns_on_one_cache(c):
    model, ids = make(SHAPES[0])
    cache, got = model.new_cache(), []
    readers = [CDecoder(model, c).read, Decoder(model).read, CDecoder(model, c).read]
    with torch.no_grad():
        model(torch.tensor([ids[:9]]), cache=cache)
        for t, i in enumerate(ids[9:40]): got.append(readers[t % 3](i, cache))
        got += list(model(torch.tensor([ids[40:50]]), cache=cache)[0])
        for i in ids[50:]: got.append(readers[0](i, cache))
    assert torch.allclose(torch.stack(got), at_once(model, ids)[9:], atol=1e-4)


def test_one_reader_serves_several_caches_and_a_cache_that_was_cut(c):
    model, ids = make(SHAPES[0])
    want, read, one, two = at_once(model, ids), CDecoder(model, c).read, model.new_cache(), model.new_cache()
    for t in range(20):
        for cache in (one, two): assert torch.allclose(read(ids[t], cache), want[t], atol=1e-4)
    for layer in one: layer.length = 5
    assert torch.allclose(read(ids[5], one), want[5], atol=1e-4)


def test_what_is_no_cache_or_no_byte_is_refused(c):
    model, _ = make(SHAPES[0])
    read, other = CDecoder(model, c).read, make(SHAPES[2])[0]
    for cache in (model.new_cache(2), model.new_cache()[:1], other.new_cache(), GPT(model.cfg).double().new_cache()):
        with pytest.raises(ValueError, match="the cache must hold"): read(1, cache)
    for i in (-1, 256):
        with pytest.raises(ValueError, match="a byte lies in"): read(i, model.new_cache())
    for wrong in (model.double(), model.bfloat16()):
        with pytest.raises(ValueError, match="float32"): CDecoder(wrong, c)


@pytest.mark.parametrize("rounded", [False, True])
def test_weights_that_change_are_never_served_old(c, rounded):
    model, ids = make(SHAPES[0], rounded=rounded)
    byte_reader(model)(ids[0], model.new_cache())
    changes = (lambda: model.tok_emb.weight.mul_(2), lambda: model.blocks[0].mlp.fc.weight.data.mul_(4), lambda: model.norm_f.bias.data.add_(1),
               lambda: model.load_state_dict(make(SHAPES[0])[0].state_dict()),
               lambda: setattr(model.blocks[1].attn.qkv.weight, "data", model.blocks[1].attn.qkv.weight.data * 2))
    for change in changes:
        with torch.no_grad(): change()
        assert torch.allclose(byte_reader(model)(ids[0], model.new_cache()), at_once(model, ids[:1])[0], atol=1e-4)


def test_weights_replaced_under_a_reader_stay_alive(c):
    model, ids = make(SHAPES[0])
    reader, want = CDecoder(model, c), at_once(model, ids[:1])[0]
    for p in model.parameters(): p.data = torch.zeros_like(p)
    assert torch.allclose(reader.read(ids[0], GPT(model.cfg).new_cache()), want, atol=1e-4)


def test_generation_is_the_same_with_and_without(monkeypatch):
    model, ids = make(SHAPES[0], rounded=True)
    options = {"max_new_tokens": 80, "T": model.cfg.T, "temperature": 0.0}  # past the context too
    with_c = generate_ids(model, torch.tensor(ids[:5]), **options)
    monkeypatch.setenv("NIELS_GPT_C", "off")
    assert torch.equal(with_c, generate_ids(model, torch.tensor(ids[:5]), **options))


def test_who_reads(monkeypatch):
    model, ids = make(SHAPES[0])
    kind = lambda: type(getattr(byte_reader(model), "__self__", None))
    assert kind() is (CDecoder if load_step() else Decoder)
    hook = model.register_forward_hook(lambda *_: None)
    assert kind() is type(None)
    hook.remove()
    model.train()
    assert kind() is type(None)
    model.eval().blocks[0].mlp.fc.bfloat16()
    assert kind() is type(None)
    model.float()
    monkeypatch.setenv("NIELS_GPT_C", "off")
    assert compiler() is None and load_step() is None and kind() is Decoder


def script(path, text: str) -> str:
    "Write a compiler of one's own, and return its name."
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no compiler is looked for")
@pytest.mark.parametrize("text", ["exit 1", "exit 0", "echo broken >&2; echo broken; exit 3", 'while [ "$1" != -o ]; do shift; [ $# = 0 ] && exit 0; done; echo nonsense > "$2"'])
def test_broken_compiler_falls_back_without_a_word(tmp_path, monkeypatch, capfd, text):
    monkeypatch.setenv("CC", script(tmp_path / "cc", text))
    model, ids = make(SHAPES[0])
    assert compiler() == [str(tmp_path / "cc")] and load_step() is None
    assert torch.allclose(byte_reader(model)(ids[0], model.new_cache()), at_once(model, ids[:1])[0], atol=1e-4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("settings", [{"CC": "no-such-compiler"}, {"CC": "cc 'unbalanced"}, {"CC": "", "PATH": ""}])
def test_no_compiler(monkeypatch, settings):
    for name, value in settings.items(): monkeypatch.setenv(name, value)
    assert load_step() is None and isinstance(byte_reader(make(SHAPES[0])[0]).__self__, Decoder)


def test_folder_that_can_not_be_written(c, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        assert load_step() is not None


def test_kept_library_that_is_spoilt_is_made_anew(c, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    assert open_c("int seven(void) { return 7; }").seven() == 7
    (kept,) = (tmp_path / "a/niels_gpt").iterdir()
    spoilt = tmp_path / "b/niels_gpt" / kept.name
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text("spoilt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert open_c("int seven(void) { return 7; }").seven() == 7 and spoilt.read_bytes() == kept.read_bytes()


def test_another_process_finds_it_and_says_nothing(c, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_step()
    (kept,) = (tmp_path / "niels_gpt").iterdir()
    made_at = kept.stat().st_mtime_ns
    code = "from niels_gpt.model.decoding_c import load_step; assert load_step()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(XDG_CACHE_HOME=str(tmp_path)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((tmp_path / "niels_gpt").iterdir()) == [kept] and kept.stat().st_mtime_ns == made_at


def test_rounding_is_in_place_exact_and_once():
    model, _ = make(SHAPES[0])
    vectors = {name: p.clone() for name, p in model.named_parameters() if p.ndim == 1}
    assert round_weights(model) is model
    for name, p in model.named_parameters():
        assert p.dtype == torch.float32 and torch.equal(p, vectors[name] if p.ndim == 1 else p.bfloat16().float())
    before = {name: p.clone() for name, p in model.named_parameters()}
    round_weights(model)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
