"Show that the peers of the generation benchmark compute our model: their logits beside ours, and the bytes that they choose."
import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from harness import new_process, print_table, run
from neox_weights import build_neox
from niels_gpt.eval import eval_mode
from writers import Task, open_llama

LIMITS = {"transformers": 1e-3, "llama.cpp": 0.1}  # float32 with another order of sums; float16 and an approximate GELU


def our_logits(task: Task) -> Tensor:
    "Return our logits after each byte of the prompt, (n, V)."
    model = task.model()
    with eval_mode(model): return model(task.ids()[None])[0]


def neox_logits(task: Task) -> Tensor:
    "Return those of transformers."
    net = build_neox(task.model())
    with torch.inference_mode(): return net(task.ids()[None]).logits[0].clone()


def llama_logits(task: Task) -> Tensor:
    "Return those of llama.cpp."
    llama, ids = open_llama(task.model(), 1, logits_all=True), task.ids().tolist()
    llama.eval(ids)
    return torch.tensor(llama.scores[:len(ids)])


def compare(name: str, logits: Callable[[Task], Tensor], ours: Tensor, task: Task) -> list[str]:
    "Return a table row. Raises `ValueError` if a peer's model is not ours."
    try:
        with new_process() as process: theirs = process.submit(logits, task).result()
    except ImportError as error: return [name, f"left out: {error}", "", ""]
    most = float((theirs - ours).abs().max())
    if most > LIMITS[name]: raise ValueError(f"the logits of {name} are off by {most:.3g}: another model")
    same = int((theirs.argmax(-1) == ours.argmax(-1)).sum())
    return [name, f"{most:.1e}", f"{LIMITS[name]:g}", f"{same} of {len(ours)}"]


def main(args: argparse.Namespace) -> None:
    "Compare each peer with us, on the prompt."
    task = Task(args.ckpt)
    ours = our_logits(task)
    rows = [compare(name, logits, ours, task) for name, logits in (("transformers", neox_logits), ("llama.cpp", llama_logits))]
    print(f"our logits lie between {float(ours.min()):.1f} and {float(ours.max()):.1f}\n")
    print_table(["", "largest difference", "limit", "same likeliest byte"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--ckpt", default=Task.ckpt, metavar="FILE", help="whose weights")
    run(main, parser)
