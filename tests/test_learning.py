"The model learns: one batch by heart, and a rule that it must carry to sequences it has not seen."
import torch

from niels_gpt.batching import get_batch
from niels_gpt.config import ModelConfig, TrainConfig
from niels_gpt.device import make_generator
from niels_gpt.eval import next_byte_loss
from niels_gpt.model import GPT
from niels_gpt.one_step import build_optimizer

SMALL = ModelConfig(T=32, C=64, L=2, H=4, d_ff=128, dropout=0.0)


def train(model: GPT, draw, steps: int, lr: float = 3e-3) -> float:
    "Train on batches from `draw`, and return the last loss in nats a byte."
    optimizer = build_optimizer(model, TrainConfig(base_lr=lr, weight_decay=0.0))
    for _ in range(steps):
        x, y = draw()
        loss = next_byte_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_one_batch_is_learned_by_heart(root):
    torch.manual_seed(0)
    text = (root / "data/primer.txt").read_bytes()
    batch = get_batch({"primer": text}, p={"primer": 1.0}, B=4, T=32, device="cpu", generator=make_generator(0))
    loss = train(GPT(SMALL), lambda: batch, steps=300)
    assert loss < 0.1 * 5.545  # the first bytes of the windows differ, so that all can be told apart from the second on


def test_a_copying_rule_is_learned_and_carried_over():
    "In 'abc...abc...' the second half is certain: the model must find each byte sixteen places back."
    torch.manual_seed(0)
    generator = make_generator(1)
    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        half = torch.randint(97, 123, (32, 16), generator=generator)
        ids = torch.cat([half, half, half[:, :1]], dim=1)
        return ids[:, :-1], ids[:, 1:]
    model = GPT(SMALL)
    train(model, draw, steps=500)
    model.eval()
    x, y = draw()
    with torch.no_grad(): right = (model(x).argmax(-1) == y)[:, 16:].float().mean()
    assert right > 0.95
