"Generation, batch 1, KV cache: ours, transformers and llama.cpp on the same weights, turn by turn."
import argparse
from collections.abc import Sequence

from harness import Contender, Measured, build_parser, compete, cores, machine_note, positive, report_race, run
from writers import PROMPT, Task, llama_cpp, llama_cpp_bare, ours, transformers

TITLE = "Generation, batch 1, KV cache"


def same_start(a: Sequence[int], b: Sequence[int]) -> int:
    "Count the bytes before the first in which two texts differ."
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def contenders(task: Task, threads: Sequence[int]) -> list[Contender]:
    "Return each program with each number of threads; ours comes first, with the number that the chat uses."
    makers = {"niels-gpt": ours, "transformers, float32": transformers, "llama.cpp, float16": llama_cpp, "llama.cpp, float16, bare": llama_cpp_bare}
    return [Contender(f"{name}, {n} thread{'s' * (n > 1)}", make, {"task": task, "threads": n})
            for name, make in makers.items() for n in threads]


def agreement(measured: Sequence[Measured]) -> dict[str, str]:
    "Return how far each peer's text is the first one's."
    text = measured[0].made
    return {m.name: f"the first {same_start(text, m.made)} of {len(text)} bytes are the same" for m in measured[1:]}


def main(args: argparse.Namespace) -> None:
    "Race the programs, and report."
    task = Task(args.ckpt, args.prompt, args.new, args.temperature, args.top_k)
    note = machine_note()
    measured, left_out = compete(contenders(task, args.threads), args.rounds)
    settings = {"ckpt": args.ckpt, "prompt bytes": len(task.ids()), "new": args.new, "temperature": args.temperature, "rounds": args.rounds}
    report_race(TITLE, "bytes", note, settings, measured, left_out=left_out, path=args.json,
                remarks=None if args.temperature else agreement(measured))


if __name__ == "__main__":
    parser = build_parser(__doc__, rounds=7)
    parser.add_argument("--ckpt", default=Task.ckpt, metavar="FILE", help="whose weights")
    parser.add_argument("--prompt", default=PROMPT, metavar="TEXT", help="what to go on from")
    parser.add_argument("--new", type=positive, default=Task.new, metavar="N", help="bytes to write a turn")
    parser.add_argument("--temperature", type=float, default=Task.temperature, metavar="X", help="0 takes the likeliest byte, the same for all")
    parser.add_argument("--top-k", type=positive, default=Task.top_k, metavar="K", help="where the temperature is not 0")
    parser.add_argument("--threads", type=positive, nargs="+", default=sorted({1, cores()}), metavar="N", help="to try; the first is what ours is judged by")
    run(main, parser)
