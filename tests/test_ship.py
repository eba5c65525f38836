"What the shipping tool does to weights."
import pytest
import torch

from niels_gpt.config import ModelConfig
from niels_gpt.model.gpt import GPT
from ship_checkpoint import average

TINY = dict(T=8, C=16, L=1, H=2, d_ff=32, dropout=0.0)


def test_the_mean_of_models_is_the_mean_of_each_weight():
    models = [GPT(ModelConfig(**TINY)) for _ in range(3)]
    want = [torch.stack(weights).mean(0) for weights in zip(*([p.detach().clone() for p in m.parameters()] for m in models))]
    for got, w in zip(average(models).parameters(), want): torch.testing.assert_close(got.detach(), w)


def test_models_of_two_shapes_have_no_mean():
    with pytest.raises(ValueError, match="one shape"): average([GPT(ModelConfig(**TINY)), GPT(ModelConfig(**TINY | {"d_ff": 64}))])
