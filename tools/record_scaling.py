"""Train models of five sizes with the same compute, and record how the loss of each fell.

Everything is drawn from one seed and computed in float32 on one thread, so the same text gives the same record.
"""
import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from niels_gpt.config import ModelConfig, StreamBuildConfig, TrainConfig, save_json
from niels_gpt.device import keep_memory
from niels_gpt.scaling import count_params, step_flops
from niels_gpt.streams import build_sources
from niels_gpt.terminal import run_command, warn
from niels_gpt.trainer import Trainer, held_out_row

T = 128
SHAPES = ((24, 1, 2), (48, 1, 2), (64, 2, 2), (96, 3, 3), (160, 4, 5))  # C, L, H


class Run:
    "One size in training: `advance` takes it to an amount of compute and notes its loss there."

    def __init__(self, C: int, L: int, H: int, streams: tuple[dict, dict], args: argparse.Namespace):
        model_cfg = ModelConfig(T=T, C=C, L=L, H=H, d_ff=4 * C, dropout=0.0)
        self.flops, self.curve = step_flops(model_cfg, args.batch), []
        steps = round(args.budget / self.flops)
        if steps < 1: raise ValueError(f"--budget {args.budget:g} does not pay for one step of {self.flops:g} FLOPs")
        lr = round(0.16 / C, 6)  # constant after the warm-up, so that every point is one at which the run could have ended
        cfg = TrainConfig(seed=args.seed, B=args.batch, total_steps=steps, eval_steps=40, base_lr=lr, min_lr=lr, warmup_steps=30, p_train={"wiki": 1.0})
        self.trainer = Trainer(model_cfg, cfg, train=streams[0], val=streams[1])

    def advance(self, compute: float) -> None:
        "Train until `compute` FLOPs are spent; a point within the warm-up is not kept."
        while self.trainer.step < round(compute / self.flops): self.trainer.train_step()
        if self.trainer.step < 30: return
        step, train, held_out = self.trainer.step, self.trainer.log()["loss"], held_out_row(self.trainer)["val_loss"]
        self.curve.append({"step": step, "flops": step * self.flops, "train_loss": round(train, 4), "val_loss": round(held_out, 4)})
        print(f"{count_params(self.trainer.model_cfg):,} parameters", self.curve[-1], flush=True)

    def record(self) -> dict:
        "Return what is to be kept of the run."
        cfg = self.trainer.cfg
        return {"model": asdict(self.trainer.model_cfg), "n_params": count_params(self.trainer.model_cfg), "base_lr": cfg.base_lr,
                "warmup_steps": cfg.warmup_steps, "bytes_per_step": cfg.B * T, "flops_per_step": self.flops, "curve": self.curve}


def main(args: argparse.Namespace) -> None:
    "Take all sizes from one amount of compute to its double, again and again, and write the record each time."
    torch.set_num_threads(1)
    keep_memory()
    with tempfile.TemporaryDirectory() as cache:
        source = StreamBuildConfig(wiki=args.wiki, wiki_fallback=None, enabled_sources=("wiki",), required_sources=("wiki",), cache_dir=cache)
        streams = build_sources(source, report=warn)
        runs = [Run(*shape, streams, args) for shape in SHAPES]
        about = {"text": Path(args.wiki).resolve().name, "train_bytes": len(streams[0]["wiki"]), "val_bytes": len(streams[1]["wiki"]), "seed": args.seed}
        for k in range(args.doublings, -1, -1):
            for run in runs: run.advance(args.budget / 2**k)
            save_json(args.out, about | {"compute": [args.budget / 2**j for j in range(args.doublings, k - 1, -1)], "runs": [run.record() for run in runs]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wiki", default="data/wiki_sample", metavar="PATH", help="the text: a folder in hub layout, or a plain text file (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=1.6e12, metavar="FLOPS", help="compute of each run (default: %(default)g)")
    parser.add_argument("--doublings", type=int, default=6, metavar="N", help="measure at budget / 2^N ... budget / 2, budget (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, metavar="B", help="windows a step (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--out", default="data/runs/scaling.json", metavar="FILE", help="(default: %(default)s)")
    args = parser.parse_args()
    sys.exit(run_command(lambda: main(args)))
