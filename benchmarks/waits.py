"Everyday waits: imports beyond torch's own, and the first reply of the chat in the terminal, beside the peers' imports."
import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

from harness import alternate, build_parser, machine_note, report_limits, run
from niels_gpt.files import project_root

TORCH = "import torch"
IMPORTS = {"import niels_gpt.generate": "import torch, niels_gpt.generate",
           "import niels_gpt.trainer": "import torch, niels_gpt.trainer",
           "import GPTNeoX of transformers": "import torch; from transformers import GPTNeoXForCausalLM",
           "import llama_cpp": "import torch, llama_cpp"}
LIMITS = {"import niels_gpt.generate": 2.5, "chat: first reply, whole": 3.0}
QUESTION = b"Who was Bohr's brother?\n"


def run_python(code: str) -> tuple[float, None]:
    "Return the seconds of a Python process that runs `code`. Raises `CalledProcessError` if it fails."
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=project_root())
    return time.perf_counter() - start, None


def first_reply(whole: bool) -> tuple[float, None]:
    "Return the seconds from the start of the chat to the first reply's first byte, or to its end."
    start, seen = time.perf_counter(), b""
    command = [sys.executable, "-m", "niels_gpt.chat_cli", "--temperature", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=project_root()) as chat:
        chat.stdin.write(QUESTION)
        chat.stdin.flush()
        while not is_answered(seen, whole):
            piece = os.read(chat.stdout.fileno(), 4096)
            if not piece: raise RuntimeError("the chat ended without a reply")
            seen += piece
        seconds = time.perf_counter() - start
        chat.communicate()
    return seconds, None


def is_answered(seen: bytes, whole: bool) -> bool:
    "Return whether a reply has begun in what the chat printed, or, for `whole`, whether the next prompt stands behind it."
    reply = seen.partition(b"\nniels-gpt: ")[2]
    return b"\nyou: " in reply if whole else reply != b""


def all_turns() -> tuple[dict[str, Callable[[], tuple[float, None]]], dict[str, str]]:
    "Return what is waited for, each of it done once for warming up, and what is left out, and why."
    turns = {TORCH: lambda: run_python(TORCH), **{name: lambda code=code: run_python(code) for name, code in IMPORTS.items()},
             "chat: first byte of a reply": lambda: first_reply(False), "chat: first reply, whole": lambda: first_reply(True)}
    left_out = {}
    for name, turn in turns.items():
        try: turn()
        except subprocess.CalledProcessError as error: left_out[name] = error.stderr.decode().strip().splitlines()[-1]
    return {name: turn for name, turn in turns.items() if name not in left_out}, left_out


def main(args: argparse.Namespace) -> None:
    "Wait, and report; an import counts without torch's own, which the same round measured."
    note = machine_note()
    turns, left_out = all_turns()
    values = {m.name: m.values for m in alternate(turns, args.rounds)}
    beyond = {name: [a - b for a, b in zip(values[name], values[TORCH])] for name in IMPORTS if name in values}
    rows = [(name + (", beyond torch" if name in beyond else ""), beyond.get(name, seconds), "s", LIMITS.get(name))
            for name, seconds in values.items()]
    report_limits("Everyday waits", note, {"rounds": args.rounds}, rows, left_out=left_out, path=args.json)


if __name__ == "__main__":
    run(main, build_parser(__doc__, rounds=7))
