"What the benchmarks share: a process for each contender, turns, medians and ratios, a note of the machine, one last table."
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from niels_gpt.terminal import run_command

PACKAGES = ("niels-gpt", "torch", "transformers", "llama-cpp-python", "gguf", "pyarrow", "datasets")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # what decides how fast a CPU multiplies matrices


def build_parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    "Return a parser with the arguments that every benchmark has."
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=rounds, metavar="N", help="turns of each contender, after one for warming up")
    parser.add_argument("--json", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="append the results to this file, a line a run")
    parser.set_defaults(json=None)
    return parser


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    "Parse the arguments, do `main`, and end the process; a user's mistake is one line."
    args = parser.parse_args()
    sys.exit(run_command(lambda: main(args)))


def positive(text: str) -> int:
    "Read a whole number of at least 1, for argparse."
    if int(text) < 1: raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


# ---- contenders, each in a process of its own ----

@dataclass(frozen=True)
class Contender:
    "Somebody to measure: `make(**settings)` prepares, and returns the work that is timed."
    name: str
    make: Callable[..., Callable[[], int | list]]  # of a module's top level; the work returns a number of units, or a list of them
    settings: Mapping[str, Any] = field(default_factory=dict)


def new_process() -> ProcessPoolExecutor:
    "Return an executor of one fresh process: threads, allocator and memory are its own."
    return ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))


_work: Callable[[], int | list]  # in a contender's process: what it is timed on

def _prepare(contender: Contender) -> None:
    "In the contender's process: get ready, and work once for warming up."
    global _work
    _work = contender.make(**contender.settings)
    _work()

def _timed() -> tuple[float, int | list]:
    "In the contender's process: work once; return units a second, and what was made."
    start = time.perf_counter()
    made = _work()
    return (made if isinstance(made, int) else len(made)) / (time.perf_counter() - start), made


@dataclass
class Measured:
    "The values of one contender, a value a round."
    name: str
    values: list[float] = field(default_factory=list)
    made: Any = None  # by its last turn

    @property
    def median(self) -> float:
        "The middle value."
        return statistics.median(self.values)

    def times(self, other: "Measured") -> list[float]:
        "Return this contender's value over the other's, round by round: neighbours in time shared the machine's mood."
        return [a / b for a, b in zip(self.values, other.values)]


def alternate(turns: Mapping[str, Callable[[], tuple[float, Any]]], rounds: int) -> list[Measured]:
    "Give each its turn in each round, every round beginning with another one; a turn returns a value and what it made."
    measured = {name: Measured(name) for name in turns}
    order = list(turns)
    for i in range(rounds):
        print(f"round {i + 1} of {rounds}", file=sys.stderr, flush=True)
        for name in order:
            value, measured[name].made = turns[name]()
            measured[name].values.append(value)
        order = order[1:] + order[:1]
    return list(measured.values())


def compete(contenders: Sequence[Contender], rounds: int) -> tuple[list[Measured], dict[str, str]]:
    "Measure units a second, turn by turn; return also who is left out, and why. Only the first must be there."
    turns, left_out = {}, {}
    with ExitStack() as stack:
        for contender in contenders:
            print(f"warming up: {contender.name}", file=sys.stderr, flush=True)
            process = stack.enter_context(new_process())
            try: process.submit(_prepare, contender).result()
            except Exception as error:  # a peer may be missing, or fail in a way of its own
                if contender is contenders[0]: raise
                left_out[contender.name] = " ".join(f"{type(error).__name__}: {error}".split())
            else: turns[contender.name] = lambda process=process: process.submit(_timed).result()
        return alternate(turns, rounds), left_out


# ---- the machine ----

def _cpu() -> str:
    "Return the name of the processor, and which of `FLAGS` it has."
    try: lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError: return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = [flag for flag in FLAGS if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())} ({', '.join(flags) or 'no flags known'})"

def cores() -> int:
    "Return how many cores this process may use."
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

def _version(package: str) -> str:
    "Return the version of an installed package."
    try: return version(package)
    except PackageNotFoundError: return "not installed"

def _commit() -> str:
    "Return git's name of the code that is measured."
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try: return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError): return "unknown"

def peak_memory() -> float:
    "Return the most memory that this process has held, in bytes."
    try: return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError): pass
    import resource  # another system than Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def machine_note(**more: Any) -> dict[str, Any]:
    "Return what a reader must know to judge the numbers; call it before the work, so that `load` tells who else was there."
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    if load and load > 0.3: print(f"warning: the machine is busy (load {load}); wait, or distrust the numbers", file=sys.stderr)
    return {"date": time.strftime("%Y-%m-%d %H:%M"), "commit": _commit(), "cpu": _cpu(), "cores": cores(), "load": load,
            "system": platform.system(), "python": platform.python_version(), **{p: _version(p) for p in PACKAGES}, **more}


# ---- results ----

def shown(value: float) -> str:
    "Write a number with three digits or more."
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

def span(values: Sequence[float]) -> str:
    "Write the lowest and the highest of some values."
    return f"{shown(min(values))} - {shown(max(values))}"

def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    "Print a Markdown table, its columns in line."
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    for row in (head, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")

def ratio_rows(measured: Sequence[Measured]) -> list[list[str]]:
    "Return a table row for each: its median, its range, and by how much the first one is ahead of it."
    first, rows = measured[0], [[measured[0].name, shown(measured[0].median), span(measured[0].values), "", ""]]
    for m in measured[1:]:
        ratios = first.times(m)
        rows.append([m.name, shown(m.median), span(m.values), f"{statistics.median(ratios):.2f}x", span(ratios)])
    return rows

def report(
    title: str,
    note: Mapping[str, Any],  # from `machine_note`
    settings: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],  # for the file
    table: tuple[Sequence[str], Sequence[Sequence[str]]],  # head and rows, for the eye
    *,
    left_out: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> None:
    "Append the results to `path`, and print the note, who is left out, and the table."
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"benchmark": title, "machine": note, "settings": settings, "rows": rows, "left_out": left_out or {}}
        with path.open("a", encoding="utf-8") as file: file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
    for values in (note, settings): print(", ".join(f"{name} {value}" for name, value in values.items()))
    for name, reason in (left_out or {}).items(): print(f"left out: {name} ({reason})")
    print(f"\n{title}\n")
    print_table(*table)

def report_race(
    title: str,
    unit: str,  # of the values, a second
    note: Mapping[str, Any],
    settings: Mapping[str, Any],
    measured: Sequence[Measured],  # ours first
    *,
    remarks: Mapping[str, str] | None = None,  # by name, for one more column
    **more: Any,
) -> None:
    "Report contenders beside each other."
    rows = [{"name": m.name, "unit": f"{unit}/s", "values": m.values, "median": m.median,
             "ratio": statistics.median(measured[0].times(m))} for m in measured]
    head, table = ["", f"{unit}/s, median", "range", "niels-gpt is ahead by", "range"], ratio_rows(measured)
    if remarks: head, table = [*head, "remark"], [[*cells, remarks.get(cells[0], "")] for cells in table]
    report(title, note, settings, rows, (head, table), **more)

def report_limits(title: str, note: Mapping, settings: Mapping, rows: Sequence[tuple], **more: Any) -> None:
    "Report values beside the limits that we set ourselves; a row is (what, values, unit, limit or None)."
    table = [[what, f"{shown(statistics.median(values))} {unit}", span(values), "" if limit is None else f"{shown(limit)} {unit}"]
             for what, values, unit, limit in rows]
    records = [{"name": what, "unit": unit, "values": values, "median": statistics.median(values), "limit": limit} for what, values, unit, limit in rows]
    report(title, note, settings, records, (["", "median", "range", "limit"], table), **more)
