"The kernels of the fast way through the model, where there is a compiler for them, at shapes and values that no chapter tries."
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from niels_gpt.config import ModelConfig, TrainConfig
from niels_gpt.model.fused import fused_forward
from niels_gpt.model.gpt import GPT
from niels_gpt.model.kernels import load_kernels
from niels_gpt.one_step import products_in
from niels_gpt.trainer import Trainer

pytestmark = pytest.mark.skipif(load_kernels(torch.float32) is None, reason="no C compiler with torch's OpenMP")
SHAPES = {
    "one byte": (ModelConfig(T=8, C=8, H=2, L=1, d_ff=16, dropout=0.0), 1, 1),
    "a strip and one": (ModelConfig(T=80, C=12, H=3, L=2, d_ff=20, dropout=0.0), 2, 65),
    "odd widths": (ModelConfig(T=7, C=6, H=1, L=3, d_ff=7, dropout=0.0), 3, 7),
    "heads of two": (ModelConfig(T=130, C=10, H=5, L=1, d_ff=3, dropout=0.0), 1, 130),
}


def trained_like(cfg: ModelConfig) -> GPT:
    "Return a model whose weights, gains and biases are all far from their beginnings."
    torch.manual_seed(0)
    model = GPT(cfg).train()
    for p in model.parameters(): torch.nn.init.normal_(p, std=0.4)
    return model


def gradients(model: GPT, forward, ids: torch.Tensor, precision: str) -> dict[str, torch.Tensor]:
    "Return all gradients of a loss that weighs every logit another way."
    model.zero_grad(set_to_none=True)
    with products_in(precision, "cpu"): logits = forward(ids)
    logits.float().square().mul(torch.linspace(0, 1, 256)).mean().backward()
    return {"logits": logits.detach().float()} | {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_kernels_are_the_model(name: str, precision: str, tolerance: float):
    cfg, B, T = SHAPES[name]
    model, ids = trained_like(cfg), torch.randint(256, (B, T), generator=torch.Generator().manual_seed(1))
    want, got = (gradients(model, f, ids, precision) for f in (model, fused_forward(model)))
    for key in want: assert (got[key] - want[key]).norm() <= tolerance * want[key].norm() + 1e-6, key


def test_gradients_with_dropout_are_those_of_the_loss():
    model = trained_like(ModelConfig(T=70, C=16, H=2, L=2, d_ff=24, dropout=0.3))
    forward, ids = fused_forward(model), torch.randint(256, (2, 70), generator=torch.Generator().manual_seed(1))

    def loss() -> torch.Tensor:
        torch.manual_seed(5)  # the same dice each time
        return F.cross_entropy(forward(ids).flatten(0, 1), ids.flatten())

    loss().backward()
    for p in model.parameters():
        step = torch.randn(p.shape, generator=torch.Generator().manual_seed(2)) * 1e-3
        with torch.no_grad():
            p += step; above = loss()
            p -= 2 * step; below = loss()
            p += step
        slope = (p.grad * step).sum()
        assert abs((above - below) / 2 - slope) < 0.02 * abs(slope) + 2e-5


def test_a_run_learns_the_same_with_kernels_and_without(monkeypatch: pytest.MonkeyPatch):
    cfg = TrainConfig(B=4, total_steps=30, base_lr=3e-3, warmup_steps=5, log_every=30, eval_every=30, p_train={"wiki": 1.0}, precision="float32")
    def end() -> float:
        trainer = Trainer(ModelConfig(T=32, C=32, H=2, L=2, d_ff=64, dropout=0.0), cfg, train={"wiki": bytes(range(256)) * 20}, val={})
        trainer.run()
        return float(trainer.last_loss)
    with_kernels = end()
    monkeypatch.setattr("niels_gpt.trainer.fused_forward", lambda model: None)
    assert math.isclose(with_kernels, end(), rel_tol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_weight_is_noticed(precision: str, bad: float):
    cfg = TrainConfig(B=2, total_steps=2, log_every=1, eval_every=2, p_train={"wiki": 1.0}, precision=precision)
    trainer = Trainer(ModelConfig(T=16, C=16, H=2, L=2, d_ff=32), cfg, train={"wiki": bytes(range(256))}, val={})
    with torch.no_grad(): trainer.model.blocks[0].mlp.fc.weight[3, 5] = bad
    with pytest.raises(ValueError, match="lower base_lr"): trainer.run()


def test_threads_do_not_change_a_gradient():
    model, ids = trained_like(replace(SHAPES["a strip and one"][0], dropout=0.2)), torch.randint(256, (3, 65))
    forward, threads, found = fused_forward(model), torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            torch.manual_seed(0)
            found.append(gradients(model, forward, ids, "float32"))
    finally: torch.set_num_threads(threads)
    for name in ("blocks.0.norm1.weight", "blocks.1.mlp.fc.bias"):
        assert torch.allclose(found[0][name], found[1][name], rtol=1e-5, atol=1e-7) and torch.allclose(found[0][name], found[2][name], rtol=1e-5, atol=1e-7)
