"The share of a training step that drawing its batch costs, from three mapped streams of the size of WikiText-103."
import argparse
import mmap
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from harness import build_parser, machine_note, positive, report_limits, run
from niels_gpt.batching import get_batch
from niels_gpt.config import ModelConfig, TrainConfig
from niels_gpt.device import DEVICES, make_generator
from niels_gpt.trainer import Trainer
from training import Job, our_trainer

MEGABYTES = {"wiki": 540, "roam": 4, "primer": 1}


@dataclass(frozen=True)
class MappedJob(Job):
    "A job whose text lies in mapped files."
    folder: str = ""

    def text(self) -> dict[str, mmap.mmap]:
        "Return the streams of the folder, none of them in memory."
        streams = {}
        for name in MEGABYTES:
            with (Path(self.folder) / name).open("rb") as file: streams[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return streams


def write_streams(job: MappedJob) -> None:
    "Write the primer, over and over, into a file for each source."
    text = Job.text(job)["wiki"]
    for name, megabytes in MEGABYTES.items():
        with (Path(job.folder) / name).open("wb") as file:
            for _ in range(megabytes * 10 ** 6 // len(text) + 1): file.write(text)


def seconds(trainer: Trainer, generator: torch.Generator, steps: int) -> tuple[float, float]:
    "Return the seconds of a step and of a draw. They take turns, so that a draw finds the caches as a step leaves them."
    step, draw = 0.0, 0.0
    for _ in range(steps):
        start = time.perf_counter()
        float(trainer.train_step())  # waits for the device
        stepped = time.perf_counter()
        get_batch(trainer.train_streams, p=trainer.p, B=trainer.cfg.B, T=trainer.model_cfg.T, device=trainer.device, generator=generator)
        step, draw = step + stepped - start, draw + time.perf_counter() - stepped
    return step / steps, draw / steps


def main(args: argparse.Namespace) -> None:
    "Measure, and report."
    note, cfg = machine_note(threads=torch.get_num_threads()), TrainConfig(B=args.batch, precision=args.precision, total_steps=10 ** 6)
    with tempfile.TemporaryDirectory() as folder:
        job = MappedJob(ModelConfig(dropout=0.0), cfg, args.device, args.steps, None, folder=folder)
        write_streams(job)
        trainer, generator = our_trainer(job), make_generator(0)
        seconds(trainer, generator, 2)  # warms up
        pairs = [seconds(trainer, generator, args.steps) for _ in range(args.rounds)]
    rows = [("a training step", [1e3 * step for step, _ in pairs], "ms", None), ("drawing a batch", [1e3 * draw for _, draw in pairs], "ms", None),
            ("its share of the step", [100 * draw / step for step, draw in pairs], "%", 2)]
    settings = {"B": args.batch, "precision": args.precision, "device": args.device, "steps": args.steps, "rounds": args.rounds}
    report_limits("Drawing a batch", note, settings, rows, path=args.json)


if __name__ == "__main__":
    parser = build_parser(__doc__, rounds=5)
    parser.add_argument("--steps", type=positive, default=10, metavar="N", help="steps a round")
    parser.add_argument("--batch", type=positive, default=32, metavar="B", help="windows a step")
    parser.add_argument("--precision", default="bfloat16", help="of the step; the faster the step, the larger the share")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute")
    run(main, parser)
