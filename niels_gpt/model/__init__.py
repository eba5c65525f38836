"""The model, from the rotation of a pair to the whole GPT."""

from niels_gpt.model.attention import CausalSelfAttention
from niels_gpt.model.blocks import MLP, Block
from niels_gpt.model.gpt import GPT

__all__ = ["GPT", "Block", "CausalSelfAttention", "MLP"]
