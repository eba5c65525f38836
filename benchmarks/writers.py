"What the generation benchmark and its check share: three programs that go on with a text, on the same weights."
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from neox_weights import build_neox, write_gguf
from niels_gpt.checkpoint import load_model
from niels_gpt.device import make_generator
from niels_gpt.files import find_input
from niels_gpt.generate import generate_ids
from niels_gpt.model.gpt import GPT
from niels_gpt.tokenizer import encode

PROMPT = "user: Who was Niels Bohr, and what is he known for?\nassistant: "


@dataclass(frozen=True)
class Task:
    "What every contender has to write."
    ckpt: str = "checkpoints/niels-gpt.pt"
    prompt: str = PROMPT
    new: int = 256  # bytes to write
    temperature: float = 0.0
    top_k: int = 50

    def model(self) -> GPT:
        "Return the model of the checkpoint. Raises `ValueError` if prompt and new bytes are longer than its context."
        model = load_model(find_input(self.ckpt))
        if len(self.ids()) + self.new > model.cfg.T:
            raise ValueError(f"a prompt of {len(self.ids())} bytes and {self.new} new ones do not fit into the context T={model.cfg.T}")
        return model

    def ids(self) -> torch.Tensor:
        "Return the bytes of the prompt, (n,)."
        return encode(self.prompt)


def ours(task: Task, threads: int) -> Callable[[], list[int]]:
    "Go on by `generate_ids`, as the library gives it to everybody."
    torch.set_num_threads(threads)
    model, ids = task.model(), task.ids()
    return lambda: generate_ids(model, ids, max_new_tokens=task.new, T=model.cfg.T, temperature=task.temperature, top_k=task.top_k,
                                generator=make_generator(0)).tolist()[len(ids):]


def transformers(task: Task, threads: int) -> Callable[[], list[int]]:
    "Go on by transformers' `generate`, float32 with its KV cache."
    torch.set_num_threads(threads)
    net, ids = build_neox(task.model()), task.ids()[None]
    dice = {"do_sample": True, "temperature": task.temperature, "top_k": task.top_k} if task.temperature else {"do_sample": False}

    def work() -> list[int]:
        with torch.inference_mode():
            out = net.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=task.new, use_cache=True, pad_token_id=0, **dice)
        return out[0, ids.shape[1]:].tolist()
    return work


def open_llama(model: GPT, threads: int, **options: bool) -> "llama_cpp.Llama":
    "Return llama.cpp with our weights, by way of a temporary GGUF file. Raises `ImportError` where gguf or llama_cpp is missing."
    import llama_cpp
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_gguf(model, path)
        return llama_cpp.Llama(str(path), n_ctx=model.cfg.T, n_threads=threads, n_threads_batch=threads, use_mmap=False, verbose=False, **options)


def llama_cpp(task: Task, threads: int) -> Callable[[], list[int]]:
    "Go on by llama-cpp-python's `Llama.generate`: float16 weights and cache, sampling in C++."
    llama, ids = open_llama(task.model(), threads), task.ids().tolist()
    dice = {"temp": task.temperature, "top_k": task.top_k, "top_p": 1.0, "min_p": 0.0}

    def work() -> list[int]:
        llama.reset()  # else it would keep the prompt's keys and values from the last turn
        return [i for i, _ in zip(llama.generate(ids, **dice), range(task.new))]
    return work


def llama_cpp_bare(task: Task, threads: int) -> Callable[[], list[int]]:
    "Do as `llama_cpp`, without the class `Llama` around the C functions: the least Python that llama.cpp can have. Takes the likeliest byte."
    import llama_cpp as c
    if task.temperature: raise ValueError("only written for temperature 0")
    llama, ids = open_llama(task.model(), threads), task.ids().tolist()
    sampler, memory = c.llama_sampler_init_greedy(), c.llama_get_memory(llama.ctx)

    def work() -> list[int]:
        c.llama_memory_clear(memory, True)
        new, read = [], (c.llama_token * len(ids))(*ids)
        for _ in range(task.new):
            if c.llama_decode(llama.ctx, c.llama_batch_get_one(read, len(read))): raise RuntimeError("llama_decode failed")
            new.append(c.llama_sampler_sample(sampler, llama.ctx, -1))
            read = (c.llama_token * 1)(new[-1])
        return new
    return work
