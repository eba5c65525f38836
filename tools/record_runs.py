"Record the band of healthy runs and the runs with a deliberate fault that `niels_gpt.compare_run` compares with."
import argparse
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from niels_gpt.batching import share_out
from niels_gpt.config import load_run_config, mix_for, to_dict
from niels_gpt.files import atomic_write, find_input
from niels_gpt.mutations import HEALTHY, MUTATIONS, Mutation, run_mutated
from niels_gpt.terminal import run_command
from niels_gpt.train import load_streams


def curve(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    "Return the figures of a run that a record keeps, in nats a byte with three digits."
    return {"seed": seed, "train": [round(row["loss"], 3) for row in rows if row["kind"] == "train"],
            "val": [round(row["val_loss"], 3) for row in rows if row["kind"] == "eval"]}


def byte_entropy(streams: Mapping[str, Any], p: Mapping[str, float]) -> float:
    "Return what a model pays that knows only how frequent each byte of the mix is, in nats a byte."
    shares = Counter()
    for name, stream in streams.items():
        for byte, n in Counter(bytes(stream)).items(): shares[byte] += p[name] * n / len(stream)
    return -sum(share * math.log(share) for share in shares.values())


def write(path: str, record: Mapping[str, Any]) -> None:
    "Write the record as JSON, one run a line."
    text = json.dumps(record).replace('{"seed"', '\n{"seed"').replace('], "', '],\n"').replace('}, "', '},\n"')
    with atomic_write(path) as file: file.write((text + "\n").encode())


def plan(args: argparse.Namespace) -> list[tuple[str, str, Mutation, int]]:
    "Return what is to be run: part of the record, name, mutation, seed. Held-back seeds tune nothing; they are for tests."
    shown, held_back = range(args.seeds), range(200, 200 + args.held_back)
    return ([("healthy", "", HEALTHY, seed) for seed in shown]
            + [("mutated", name, mutation, 0) for name, mutation in MUTATIONS.items()]
            + [("held_back", "healthy", HEALTHY, seed) for seed in held_back]
            + [("held_back", name, mutation, seed) for seed in held_back for name, mutation in MUTATIONS.items()])


def main(args: argparse.Namespace) -> None:
    "Run, and write the record anew after each run."
    model_cfg, cfg, data = load_run_config(find_input(args.config), data_defaults={"required_sources": ("wiki",)})
    with tempfile.TemporaryDirectory() as folder:
        train, val = load_streams(cfg, replace(data, cache_dir=folder))
        record = {"model": to_dict(model_cfg), "train": to_dict(cfg), "train_bytes": {name: len(stream) for name, stream in train.items()},
                  "byte_entropy": round(byte_entropy(train, share_out(mix_for(cfg.p_train, train), train)), 3), "torch": torch.__version__,
                  "steps": [], "val_steps": [], "healthy": [], "mutated": {}, "held_back": {}}
        for part, name, mutation, seed in plan(args):
            rows = run_mutated(mutation, model_cfg, replace(cfg, seed=seed), train=train, val=val)
            runs = record[part] if part == "healthy" else record[part].setdefault(name, [])
            runs.append(curve(rows, seed))
            for key, kind in (("steps", "train"), ("val_steps", "eval")): record[key] = [row["step"] for row in rows if row["kind"] == kind]
            write(args.out, record)
            print(f"{' '.join(filter(None, (part, name)))} seed {seed}: training {runs[-1]['train'][-1]}, held out {runs[-1]['val'][-1]} nats a byte", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/compare.json", metavar="FILE", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=8, metavar="N", help="healthy runs in the band (default: %(default)s)")
    parser.add_argument("--held-back", type=int, default=2, metavar="N", help="seeds a fault that only the tests see (default: %(default)s)")
    parser.add_argument("--out", default="data/runs/compare.json", metavar="FILE", help="(default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the models are too small to share out, and the sums come out alike on every machine
    sys.exit(run_command(lambda: main(args)))
