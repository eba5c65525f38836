"What the training benchmarks share: our run and its peers' steps, at one shape, on one text."
import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch

from harness import Contender, Measured, build_parser, compete, machine_note, positive, report_race, run
from niels_gpt.batching import get_batch
from niels_gpt.config import ModelConfig, TrainConfig
from niels_gpt.device import DEVICES, keep_memory, make_generator
from niels_gpt.files import project_root
from niels_gpt.trainer import Callback, Trainer
from peers import NeoxLogits, PlainGPT, plain_step

SHAPES = {"default": {}, "100m": {"C": 768, "L": 12, "H": 12, "T": 1024, "d_ff": 3072}}
MODELS = {"plain torch": PlainGPT, "transformers": NeoxLogits}


@dataclass(frozen=True)
class Job:
    "What every contender has to train, and on what."
    model: ModelConfig
    train: TrainConfig
    device: str
    steps: int  # a turn
    threads: int | None  # None: as torch has it
    same_allocator: bool = False  # give the peers our setting of the C library's allocator

    def text(self) -> dict[str, bytes]:
        "Return the text: the primer of the repository; any other would take as long."
        return {"wiki": (project_root() / "data/primer.txt").read_bytes()}

    @property
    def bytes_a_turn(self) -> int:
        "How many bytes a turn reads."
        return self.steps * self.train.B * self.model.T


class StopAfter(Callback):
    "Ask the run to stop after each so many steps."

    def __init__(self, steps: int):
        self.steps = self.left = steps

    def on_step(self, trainer: Trainer) -> None:
        "Count a step."
        self.left -= 1
        if self.left == 0: trainer.stop_requested, self.left = True, self.steps


def our_trainer(job: Job) -> Trainer:
    "Return our training run, as the command makes it; it stops after each `job.steps` steps."
    if job.threads: torch.set_num_threads(job.threads)
    keep_memory()
    return Trainer(job.model, job.train, train=job.text(), val={}, device=job.device, callbacks=[StopAfter(job.steps)])


def ours(job: Job) -> Callable[[], int]:
    "Return a turn of our training run."
    trainer = our_trainer(job)

    def work() -> int:
        trainer.run()
        float(trainer.last_loss)  # waits for the device
        return job.bytes_a_turn
    return work


def peer(job: Job, name: str, compiled: bool = False) -> Callable[[], int]:
    "Return a turn of a peer's plain training loop, on batches drawn as ours are."
    if job.threads: torch.set_num_threads(job.threads)
    if job.same_allocator: keep_memory()
    torch.manual_seed(job.train.seed)
    model = MODELS[name](job.model).to(job.device).train()
    step, text, generator = plain_step(torch.compile(model) if compiled else model, job.train), job.text(), make_generator(job.train.seed)

    def work() -> int:
        for _ in range(job.steps):
            loss = step(*get_batch(text, p={"wiki": 1.0}, B=job.train.B, T=job.model.T, device=job.device, generator=generator))
        float(loss)  # waits for the device
        return job.bytes_a_turn
    return work


def flops_a_byte(cfg: ModelConfig) -> int:
    "Count the operations of a training step for each byte, as is the custom: 6 a weight in a product, 12 L C T for attention."
    weights = cfg.L * (4 * cfg.C ** 2 + 2 * cfg.C * cfg.d_ff) + cfg.V * cfg.C
    return 6 * weights + 12 * cfg.L * cfg.C * cfg.T


def work_done(measured: list[Measured], cfg: ModelConfig, peak: float | None) -> dict[str, str]:
    "Return each contender's TFLOP/s, and what share of the device's peak that is."
    rates = {m.name: m.median * flops_a_byte(cfg) / 1e12 for m in measured}
    return {name: f"{rate:.2g} TFLOP/s" + (f", {rate / peak:.1%} of the peak" if peak else "") for name, rate in rates.items()}


def parser_for(title: str) -> argparse.ArgumentParser:
    "Return the arguments of a training benchmark."
    parser = build_parser(title, rounds=7)
    parser.add_argument("--steps", type=positive, default=10, metavar="N", help="training steps a turn")
    parser.add_argument("--shape", choices=SHAPES, default="default", help="of the model")
    parser.add_argument("--batch", type=positive, default=32, metavar="B", help="windows a step")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute")
    parser.add_argument("--threads", type=positive, metavar="N", help="of every contender; None: as many as torch takes")
    parser.add_argument("--compiled", action="store_true", help="race also against the plain model under torch.compile, as is always done on cuda")
    parser.add_argument("--same-allocator", action="store_true", help="give the peers our setting of the C library's allocator")
    parser.add_argument("--peak", type=float, metavar="TFLOPS", help="the device's peak, by its maker, to show the share of it")
    return parser


def race(args: argparse.Namespace, title: str, precision: str, dropout: float) -> None:
    "Race our training against its peers, and report."
    cfg = TrainConfig(B=args.batch, precision=precision, total_steps=10 ** 6, p_train={"wiki": 1.0})
    job = Job(ModelConfig(dropout=dropout, **SHAPES[args.shape]), cfg, args.device, args.steps, args.threads, args.same_allocator)
    contenders = [Contender("niels-gpt", ours, {"job": job}), *(Contender(name, peer, {"job": job, "name": name}) for name in MODELS)]
    if args.compiled or args.device == "cuda": contenders.append(Contender("plain torch, compiled", peer, {"job": job, "name": "plain torch", "compiled": True}))
    note = machine_note(threads=args.threads or torch.get_num_threads())
    measured, left_out = compete(contenders, args.rounds)
    settings = {"shape": args.shape, "B": args.batch, "precision": precision, "dropout": dropout, "device": args.device,
                "steps": args.steps, "rounds": args.rounds, "same_allocator": args.same_allocator}
    report_race(title, "bytes", note, settings, measured, left_out=left_out, path=args.json,
                remarks=work_done(measured, job.model, args.peak))


def main(title: str, *, precision: str, dropout: float) -> None:
    "Be the command of one row."
    run(lambda args: race(args, title, precision, dropout), parser_for(title))
