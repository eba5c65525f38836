"""Our weights in the form of GPT-NeoX: for transformers, and as a GGUF file for llama.cpp.

Our model is a GPT-NeoX with its options set (chapter 05b). What differs is layout: NeoX turns dimension i of a head
together with i + D/2, where we turn 2i with 2i+1, so the rows of q and k move: all even ones first, then the odd.
"""
from pathlib import Path

import torch
from torch import Tensor, nn

from niels_gpt.model.gpt import GPT
from peers import neox

HF_NAMES = {"norm1": "input_layernorm", "norm2": "post_attention_layernorm", "attn.qkv": "attention.query_key_value",
            "attn.proj": "attention.dense", "mlp.fc": "mlp.dense_h_to_4h", "mlp.proj": "mlp.dense_4h_to_h"}
GGUF_NAMES = {"norm1": "attn_norm", "norm2": "ffn_norm", "attn.qkv": "attn_qkv",
              "attn.proj": "attn_output", "mlp.fc": "ffn_up", "mlp.proj": "ffn_down"}


def in_halves(
    qkv: Tensor,  # (3C, C), the rows of q, then of k, then of v
    H: int,
) -> Tensor:  # (3, H, D, C)
    "Move the rows of q and k in each head: even ones first, then the odd."
    q, k, v = qkv.unflatten(0, (3, H, -1))
    order = torch.arange(q.shape[1]).view(-1, 2).T.flatten()  # 0, 2, 4, ... 1, 3, 5, ...
    return torch.stack([q[:, order], k[:, order], v])


def layer_weights(model: GPT, layer: int) -> dict[tuple[str, str], Tensor]:
    "Return the weights of one block by (our name, \"weight\" or \"bias\"), q and k in halves: qkv is (3, H, D, C)."
    weights = {tuple(key.rsplit(".", 1)): w for key, w in model.blocks[layer].state_dict().items()}
    return weights | {("attn.qkv", "weight"): in_halves(weights["attn.qkv", "weight"], model.cfg.H)}


def build_neox(model: GPT) -> nn.Module:
    "Return transformers' GPTNeoX with our weights. Raises `ImportError` where transformers is missing."
    net, ours = neox(model.cfg).eval(), model.state_dict()
    state = {"gpt_neox.embed_in.weight": ours["tok_emb.weight"]}
    for end in ("weight", "bias"): state[f"gpt_neox.final_layer_norm.{end}"] = ours[f"norm_f.{end}"]
    for layer in range(model.cfg.L):
        for (name, end), w in layer_weights(model, layer).items():
            if name == "attn.qkv": w = w.transpose(0, 1).flatten(0, 2)  # their rows go head by head: (H, 3, D)
            state[f"gpt_neox.layers.{layer}.{HF_NAMES[name]}.{end}"] = w
    left = net.load_state_dict(state, strict=False)
    tied = all("embed_out" in key or "lm_head" in key for key in left.missing_keys)
    if left.unexpected_keys or not tied: raise ValueError(f"this version of transformers names its weights otherwise: {left}")
    net.tie_weights()
    return net


def byte_tokens() -> list[str]:
    "Return GPT-2's printable sign for each byte: itself where it is one, else the next free one from 256 on."
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(i if i in own else next(others)) for i in range(256)]


def _write_tokenizer(writer: object) -> None:
    "Describe a tokenizer of 256 tokens, one a byte. llama.cpp insists on a list of merges, so it gets one that can not be used."
    tokens = byte_tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 256)  # ordinary tokens
    writer.add_token_merges([f"{tokens[0]} {tokens[1]}"])  # there is no token for the pair
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def _write_shape(writer: object, model: GPT) -> None:
    "Describe the model's shape."
    cfg = model.cfg
    writer.add_context_length(cfg.T)
    writer.add_embedding_length(cfg.C)
    writer.add_block_count(cfg.L)
    writer.add_feed_forward_length(cfg.d_ff)
    writer.add_head_count(cfg.H)
    writer.add_rope_dimension_count(cfg.D)
    writer.add_rope_freq_base(cfg.rope_theta)
    writer.add_parallel_residual(False)
    writer.add_layer_norm_eps(1e-5)


def _gguf_weights(model: GPT) -> dict[str, Tensor]:
    "Return every tensor by llama.cpp's name; the biases that our attention has not are zeros, the tied head stands twice."
    cfg, ours = model.cfg, model.state_dict()
    tensors = {"token_embd.weight": ours["tok_emb.weight"], "output.weight": ours["head.weight"]}
    for end in ("weight", "bias"): tensors[f"output_norm.{end}"] = ours[f"norm_f.{end}"]
    for layer in range(cfg.L):
        tensors |= {f"blk.{layer}.attn_qkv.bias": torch.zeros(3 * cfg.C), f"blk.{layer}.attn_output.bias": torch.zeros(cfg.C)}
        for (name, end), w in layer_weights(model, layer).items():
            tensors[f"blk.{layer}.{GGUF_NAMES[name]}.{end}"] = w.flatten(0, 2) if name == "attn.qkv" else w
    return tensors


def write_gguf(model: GPT, path: Path) -> None:
    "Write the model for llama.cpp, matrices in 16 bits, vectors in 32. Raises `ImportError` where gguf is missing."
    import gguf
    writer = gguf.GGUFWriter(path, "gptneox")
    _write_shape(writer, model)
    _write_tokenizer(writer)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for name, w in _gguf_weights(model).items():
        writer.add_tensor(name, w.to(torch.float16 if w.ndim == 2 else torch.float32).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
