"""Keep the notebooks fit to commit.

run    execute notebooks from top to bottom, in place, then clean them
clean  strip volatile metadata, and number the cells 1, 2, 3, ... as nbval wants them
check  change nothing; list what `clean` would change, cells without a number, and error outputs
"""

import argparse
import json
import sys
import time
from pathlib import Path

import nbformat
from execnb.nbio import dict2nb
from nbclient import NotebookClient
from nbdev.clean import clean_nb

ROOT = Path(__file__).resolve().parent.parent
KERNEL = {"display_name": "python3", "language": "python", "name": "python3"}


def all_notebooks() -> list[Path]:
    "Return every notebook of the course, solutions included."
    return sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def number_cells(nb: nbformat.NotebookNode) -> None:
    "Give code cells the counts 1, 2, 3, ...: nbdev empties them, and nbval refuses outputs of a cell without one."
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result": output.execution_count = count


def merge_streams(nb: nbformat.NotebookNode) -> None:
    "Join neighbouring pieces of the same output stream, which arrive cut at random."
    for cell in nb.cells:
        merged = []
        for output in cell.get("outputs", []):
            last = merged[-1] if merged else None
            if last and last.output_type == output.output_type == "stream" and last.name == output.name: last.text += output.text
            else: merged.append(output)
        if cell.cell_type == "code": cell.outputs = merged


def clean(text: str) -> str:
    "Return the notebook `text` as it should be committed."
    nb = dict2nb(json.loads(text))
    clean_nb(nb, allowed_metadata_keys=[], allowed_cell_metadata_keys=["tags"], clean_ids=True)
    for cell in nb.cells: cell.pop("idx_", None)  # a note of dict2nb's own
    nb = nbformat.reads(json.dumps(nb), as_version=4)  # joins the lines of a text that JSON holds as a list
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for cell in nb.cells:  # a widget can not be shown without its kernel
        for output in cell.get("outputs", []):
            if "data" in output: output.data.pop("application/vnd.jupyter.widget-view+json", None)
    merge_streams(nb)
    number_cells(nb)
    return nbformat.writes(nb, version=4) + "\n"


def run(path: Path) -> float:
    "Execute a notebook in its own folder and write it back, cleaned; return the seconds it took."
    nb = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    NotebookClient(nb, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    seconds = time.perf_counter() - started
    path.write_text(clean(nbformat.writes(nb)), encoding="utf-8")
    return seconds


def faults(path: Path) -> list[str]:
    "Return what is wrong with a committed notebook."
    text = path.read_text(encoding="utf-8")
    found = [] if clean(text) == text else ["is not clean (run: python tools/notebooks.py clean)"]
    for cell in nbformat.reads(text, as_version=4).cells:
        if cell.cell_type != "code": continue
        allowed = "raises-exception" in cell.metadata.get("tags", [])
        found += [f"cell {cell.execution_count} has an error output" for o in cell.outputs if o.output_type == "error" and not allowed]
    return found


def main() -> int:
    "Run the verb that the command line asks for."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "clean", "check"))
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks (default: all below nbs/)")
    args = parser.parse_args()
    status = 0
    for path in args.paths or all_notebooks():
        if args.verb == "run": print(f"{path.name}: {run(path):.1f} s", flush=True)
        elif args.verb == "clean": path.write_text(clean(path.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            for fault in faults(path):
                print(f"{path}: {fault}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
