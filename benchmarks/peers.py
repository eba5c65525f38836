"""What a peer's step and a peer's model look like in plain torch.

`PlainGPT` has the architecture of GPT-2 (Radford et al. 2019) with the settings that nanoGPT is known for: learned
positions, pre-norm blocks, a fused projection to q, k and v, torch's scaled dot product attention, exact GELU, dropout
after the embedding, in the attention and before each residual, a tied head, and no biases. It was written for this
benchmark from that description; no line of it is nanoGPT's.
"""
from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from niels_gpt.config import ModelConfig, TrainConfig


class PlainBlock(nn.Module):
    "A pre-norm transformer block without biases."

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.cfg = cfg
        self.norm1, self.norm2 = (nn.LayerNorm(cfg.C, bias=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(cfg.C, 3 * cfg.C, bias=False), nn.Linear(cfg.C, cfg.C, bias=False)
        self.up, self.down = nn.Linear(cfg.C, cfg.d_ff, bias=False), nn.Linear(cfg.d_ff, cfg.C, bias=False)
        self.dropout = nn.Dropout(cfg.dropout)

    def attend(self, x: Tensor) -> Tensor:
        "Return what each position of x, (B, T, C), hears from the past."
        B, T, C = x.shape
        q, k, v = (z.view(B, T, self.cfg.H, self.cfg.D).transpose(1, 2) for z in self.qkv(x).split(C, dim=-1))  # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.cfg.dropout if self.training else 0.0, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(B, T, C))

    def forward(self, x: Tensor) -> Tensor:
        "Add attention and MLP to the residual stream x, (B, T, C)."
        x = x + self.dropout(self.attend(self.norm1(x)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class PlainGPT(nn.Module):
    "A GPT-2 over bytes; `forward` takes ids (B, T) to logits (B, T, V)."

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.token, self.place = nn.Embedding(cfg.V, cfg.C), nn.Embedding(cfg.T, cfg.C)
        self.dropout = nn.Dropout(cfg.dropout)
        self.blocks = nn.Sequential(*(PlainBlock(cfg) for _ in range(cfg.L)))
        self.norm = nn.LayerNorm(cfg.C, bias=False)
        self.head = nn.Linear(cfg.C, cfg.V, bias=False)
        for p in self.parameters():
            if p.ndim == 2: nn.init.normal_(p, std=0.02)
        self.head.weight = self.token.weight

    def forward(self, ids: Tensor) -> Tensor:
        "Return the logits after each position."
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.head(self.norm(self.blocks(self.dropout(self.token(ids) + self.place(places)))))


def neox(cfg: ModelConfig) -> nn.Module:
    "Return transformers' GPTNeoX in the shape of our GPT. Raises `ImportError` where transformers is missing."
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
    rope = {"rope_type": "default", "rope_theta": cfg.rope_theta, "partial_rotary_factor": 1.0}
    return GPTNeoXForCausalLM(GPTNeoXConfig(
        vocab_size=cfg.V, hidden_size=cfg.C, num_hidden_layers=cfg.L, num_attention_heads=cfg.H, intermediate_size=cfg.d_ff,
        max_position_embeddings=cfg.T, hidden_act="gelu", use_parallel_residual=False, attention_bias=False,
        tie_word_embeddings=True, hidden_dropout=cfg.dropout, attention_dropout=cfg.dropout, rope_parameters=rope,
        bos_token_id=None, eos_token_id=None))


class NeoxLogits(nn.Module):
    "transformers' GPTNeoX with the face of our GPT: ids (B, T) to logits (B, T, V)."

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.net = neox(cfg)

    def forward(self, ids: Tensor) -> Tensor:
        "Return the logits after each position; no cache is built in training."
        return self.net(ids, use_cache=False).logits


def plain_step(model: nn.Module, cfg: TrainConfig) -> Callable[[Tensor, Tensor], Tensor]:
    "Return a training step as anybody would write it: autocast, cross-entropy, clipping, torch's fused AdamW."
    groups = [{"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": cfg.weight_decay},
              {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=cfg.base_lr, betas=(cfg.beta1, cfg.beta2), fused=True)
    half = cfg.precision == "bfloat16"

    def step(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext():
            loss = F.cross_entropy(model(x).float().flatten(0, 1), y.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), cfg.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()
    return step
