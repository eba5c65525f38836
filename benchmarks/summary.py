"Print the tables of a results file, in Markdown: the median of all runs, for each machine, benchmark and setting."
import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from harness import print_table, run, shown, span

Runs = dict[tuple[str, str, str], list[dict[str, Any]]]  # (benchmark, machine, settings) -> records


def read_runs(path: Path) -> Runs:
    "Group the lines of a results file."
    runs: Runs = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        machine, settings = record["machine"], ", ".join(f"{name} {value}" for name, value in record["settings"].items())
        where = f"{machine['cpu']}, {machine['cores']} cores, torch {machine['torch']}"
        runs.setdefault((record["benchmark"], where, settings), []).append(record)
    return runs


def table_rows(records: list[dict[str, Any]]) -> list[list[str]]:
    "Return a row for each contender: the median of its runs' medians and their range, and the same of its ratio or its limit."
    found: dict[str, list[dict]] = {}
    for record in records:
        for row in record["rows"]: found.setdefault(row["name"], []).append(row)
    rows = []
    for name, of_runs in found.items():
        medians, last = [row["median"] for row in of_runs], of_runs[-1]
        ratios = [row["ratio"] for row in of_runs if "ratio" in row]
        if ratios: note = "" if set(ratios) == {1.0} else f"{statistics.median(ratios):.2f}x ({span(ratios)})"
        else: note = "" if last["limit"] is None else f"{shown(last['limit'])} {last['unit']}"
        rows.append([name, f"{shown(statistics.median(medians))} {last['unit']}", span(medians), note])
    return rows


def main(args: argparse.Namespace) -> None:
    "Print each group under its title."
    for (title, where, settings), records in read_runs(args.file).items():
        print(f"**{title}**: {len(records)} run{'s' * (len(records) > 1)}; {where}; {settings}\n")
        last = "niels-gpt is ahead by" if "ratio" in records[0]["rows"][0] else "limit"
        print_table(["", "median", "range of the runs", last], table_rows(records))
        print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path(__file__).parent / "results.jsonl", help="written by --json (default: %(default)s)")
    run(main, parser)
