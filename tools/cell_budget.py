"""Measure every chapter against the house's cell budget, and list what lies outside it.

Budget a chapter: median of lines a code cell <= 5, ninetieth percentile <= 14, none over 25; 0.8 to 1.2 markdown cells a code cell; outputs in 60% of the code cells; 20 to 60 words of prose a
code cell; a plot; a test within two cells of 90% of the exported definitions; under 60 seconds, where --time asks.
"""

import argparse
import ast
import re
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Budget:
    "What was measured of one notebook."
    name: str
    code: int  # code cells
    median: float  # lines a code cell, blank ones not counted
    p90: float
    longest: int  # lines of the longest code cell
    markdown_ratio: float
    with_output: float
    plots: int
    words: float  # of prose a code cell
    tested: float  # share of exported definitions
    seconds: float | None

    def faults(self) -> list[str]:
        "Return what lies outside the budget, in words."
        checks = [
            (self.median <= 5, f"median of {self.median:g} lines a cell, at most 5"),
            (self.p90 <= 14, f"p90 of {self.p90:g} lines a cell, at most 14"),
            (self.longest <= 25, f"a cell of {self.longest} lines, at most 25"),
            (0.8 <= self.markdown_ratio <= 1.2, f"{self.markdown_ratio:.2f} markdown cells a code cell, 0.8 to 1.2"),
            (self.with_output >= 0.6, f"{self.with_output:.0%} of the code cells with output, at least 60%"),
            (self.plots >= 1, "no plot"),
            (20 <= self.words <= 60, f"{self.words:.0f} words a code cell, 20 to 60"),
            (self.tested >= 0.9, f"{self.tested:.0%} of the exported definitions tested within two cells, at least 90%"),
            (self.seconds is None or self.seconds < 60, f"{self.seconds or 0:.0f} s, under 60"),
        ]
        return [fault for ok, fault in checks if not ok]


def chapters() -> list[Path]:
    "Return the notebooks that are chapters: not the map, not the solutions."
    return sorted(p for p in (ROOT / "nbs").glob("*.ipynb") if p.stem != "index")


def exported_names(source: str) -> list[str]:
    "Return the public functions and classes that an exported cell defines."
    if not source.startswith("#| export"): return []
    body = ast.parse(source).body
    return [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")]


def tested_share(sources: list[str]) -> float:
    "Return the share of exported names that an `assert`, or an expected failure, uses in the next two unexported cells."
    found = []
    for i, source in enumerate(sources):
        following = [s for s in sources[i + 1:] if not s.startswith("#| export")][:2]
        tests = "\n".join(s for s in following if "assert" in s or "except" in s)
        found += [re.search(rf"\b{name}\b", tests) is not None for name in exported_names(source)]
    return sum(found) / len(found) if found else 1.0


def run_seconds(path: Path) -> float:
    "Return how long the notebook takes from top to bottom, its kernel's start included."
    from nbclient import NotebookClient
    started = time.perf_counter()
    NotebookClient(nbformat.read(path, as_version=4), timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    return time.perf_counter() - started


def measure(path: Path, timed: bool) -> Budget:
    "Measure one notebook."
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    n_lines = [sum(1 for line in cell.source.splitlines() if line.strip()) for cell in code]
    images = [o for cell in code for o in cell.outputs if "image/png" in o.get("data", {})]
    return Budget(
        name=path.stem, code=len(code), median=statistics.median(n_lines),
        p90=statistics.quantiles(n_lines, n=10, method="inclusive")[-1] if len(n_lines) > 1 else n_lines[0],
        longest=max(n_lines), markdown_ratio=len(prose) / len(code), with_output=sum(bool(cell.outputs) for cell in code) / len(code),
        plots=len(images), words=sum(len(text.split()) for text in prose) / len(code),
        tested=tested_share([cell.source for cell in code]), seconds=run_seconds(path) if timed else None)


def main() -> int:
    "Print one row a chapter, then what lies outside the budget; the status is 1 if anything does."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks (default: every chapter)")
    parser.add_argument("--time", action="store_true", help="run each notebook too, and report its seconds")
    args = parser.parse_args()
    print(f"{'chapter':20} {'code':>4} {'median':>6} {'p90':>5} {'max':>4} {'md:code':>7} {'output':>6} {'plots':>5} {'words':>5} {'tested':>6} {'s':>5}")
    measured = [measure(path, args.time) for path in args.paths or chapters()]
    for b in measured:
        seconds = "" if b.seconds is None else f"{b.seconds:5.1f}"
        print(f"{b.name:20} {b.code:4} {b.median:6.1f} {b.p90:5.1f} {b.longest:4} {b.markdown_ratio:7.2f} "
              f"{b.with_output:6.0%} {b.plots:5} {b.words:5.0f} {b.tested:6.0%} {seconds}")
    faults = [f"{b.name}: {fault}" for b in measured for fault in b.faults()]
    print("\n".join(faults) if faults else "every chapter lies within its budget")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
