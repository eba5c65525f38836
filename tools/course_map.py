"""Write the table of the chapters into the map and the README: promise, best picture, seconds; and the README's badges.

write     take the pictures out of the notebooks, draw the badges, write both tables (the default)
check     change nothing; list what `write` would change
measure   run chapters, one after the other, and note their seconds in tools/chapter_seconds.json; then write
"""
import argparse
import base64
import hashlib
import io
import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import nbformat
from cell_budget import chapters, run_seconds
from PIL import Image, PngImagePlugin

ROOT = Path(__file__).resolve().parent.parent
SECONDS = ROOT / "tools/chapter_seconds.json"
PICTURES = "pictures"  # below nbs/
WIDTH, HEIGHT, LIMIT = 440, 280, 60_000  # pixels, pixels, bytes of a picture
BEGIN, END = "<!-- written by tools/course_map.py -->", "<!-- until here -->"
PARTS = ["The workbench", "Text", "Data", "Batches", "Attention", "The model", "Learning", "Generation", "Chat", "Scaling"]
BEST = {  # words of the cell that draws a chapter's best picture; without an entry, the first picture
    "00_config": "Width is the dearest", "00d_plots": "After t comes h", "01a_tokenizer": "A character costs", "02a2_templates": "Grouped: no held-out",
    "02a_sources": "Dialogues are about as long", "02b_primer": "A context of 512", "02c_streams": "The mix decides", "03_batching": "one unbroken window",
    "04a_rope": "Fast pairs tell", "04b_attention": "With the mask: only the past", "05a_blocks": "The MLP stays in its place", "05b_gpt": "Copying: every head",
    "06a_lr_schedule": "half a cosine down, then flat", "06b_evaluation": "Held-out wiki sample", "06c2_one_step": "Gradients differ a hundredfold", "06d_training": "In 300 steps",
    "06f_train_command": "One record for both", "06g_training_lab": "Asleep, downhill", "07_generation": "Every path that keeps",
    "07c_look_inside": "Every head has its own way", "08a_chat": "A chat is one text", "08c_chat_box": "The reply as dice", "09_scaling": "the activations outweigh",
}


@dataclass(frozen=True)
class Chapter:
    "What the tables say of a chapter."
    name: str
    title: str
    promise: str
    plot: bytes | None  # a PNG
    seconds: float | None

    @property
    def part(self) -> int: return int(self.name[:2])

    def time(self) -> str:
        "Return the seconds in words, or nothing where they were not measured."
        return "" if self.seconds is None else f"{max(self.seconds, 1):.0f} s"

    def image(self, folder: str, width: int) -> str:
        "Return the picture as HTML."
        return f'<img src="{folder}{PICTURES}/{self.name}.png" width="{width}" alt="a picture from the chapter {self.title}">' if self.plot else ""


def reading_order(path: Path) -> tuple:
    "Sort 02a before 02a2, and that before 02b."
    number, letter, second = re.match(r"(\d+)([a-z]?)(\d*)", path.stem).groups()
    return int(number), letter, int(second or 0)


def find_plot(nb: nbformat.NotebookNode, words: str) -> bytes | None:
    "Return the first PNG of a cell that holds `words`, else of any cell, else None."
    found = [(cell, o) for cell in nb.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    chosen = [o for cell, o in found if words in cell.source] or [o for _, o in found]
    return base64.b64decode(chosen[0].data["image/png"]) if chosen else None


def read_chapter(path: Path, seconds: dict[str, float]) -> Chapter:
    "Read what the tables say of the notebook at `path`."
    nb = nbformat.read(path, as_version=4)
    title = re.match(r"# (.+)", nb.cells[0].source)
    promise = re.search(r"^> (.+)", "\n".join(cell.source for cell in nb.cells[:2]), re.MULTILINE)
    if not (title and promise): raise ValueError(f"{path.name}: the first cell must hold '# Title' and '> promise'")
    return Chapter(path.stem, title[1].strip(), promise[1].strip(), find_plot(nb, BEST.get(path.stem, "")), seconds.get(path.stem))


def shrink(plot: bytes) -> bytes:
    "Return a plot as a small PNG that remembers what it was made from."
    image = Image.open(io.BytesIO(plot)).convert("RGB")
    image.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
    canvas.paste(image, ((WIDTH - image.width) // 2, (HEIGHT - image.height) // 2))
    note, out = PngImagePlugin.PngInfo(), io.BytesIO()
    note.add_text("source", hashlib.sha256(plot).hexdigest()[:16])
    canvas.quantize(96, dither=Image.Dither.NONE).save(out, "PNG", optimize=True, pnginfo=note)
    return out.getvalue()


def rows(course: list[Chapter]) -> str:
    "Return the table of the map: a row a chapter."
    lines, part = ["| | chapter | |", "|---|---|---|"], None
    for c in course:
        if c.part != part: lines.append(f"| | **{c.part}. {PARTS[c.part]}** | |")
        part = c.part
        lines.append(f"| {c.image('', 200)} | [{c.title}]({c.name}.ipynb)<br>{c.promise} | {c.time()} |")
    return "\n".join(lines)


def grid(course: list[Chapter], columns: int = 3) -> str:
    "Return the table of the README: `columns` chapters side by side, as HTML."
    cells = [f'<td width="{100 // columns}%" valign="top"><a href="nbs/{c.name}.ipynb">{c.image("nbs/", 240)}<br><b>{c.name.split("_")[0]} {c.title}</b></a><br>'
             f'{c.promise} {c.time() and f"<i>{c.time()}</i>"}</td>' for c in course]
    lines = ["<tr>\n" + "\n".join(cells[i:i + columns]) + "\n</tr>" for i in range(0, len(cells), columns)]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def badge(name: str, value: str) -> str:
    "Return a badge as SVG."
    left, right = (7 * len(text) + 14 for text in (name, value))
    font = 'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" fill="#fff" text-anchor="middle"'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{name}: {value}">'
            f'<rect width="{left + right}" height="20" rx="3" fill="#0072b2"/><path d="M3 0h{left - 3}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#444"/>'
            f'<text x="{left / 2}" y="14" {font}>{name}</text><text x="{left + right / 2}" y="14" {font}>{value}</text></svg>\n')


def badges(course: list[Chapter]) -> dict[str, str]:
    "Return the badges by file name; each is read off the repository."
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    card = (ROOT / "checkpoints/niels-gpt.md").read_text()
    return {
        "badge_python.svg": badge("python", project["requires-python"].replace(">=", "") + " or newer"),
        "badge_licence.svg": badge("licence", project["license"]),
        "badge_chapters.svg": badge("chapters", str(len(course))),
        "badge_model.svg": badge("model", re.search(r"([\d,]+) parameters", card)[1] + " parameters"),
    }


def between(text: str, table: str) -> str:
    "Return `text` with `table` between the two marks."
    head, rest = text.split(BEGIN)
    return head + f"{BEGIN}\n\n{table}\n\n{END}" + rest.split(END)[1]


def wanted(course: list[Chapter]) -> dict[Path, bytes]:
    "Return every file that this tool writes, with its content."
    files = {ROOT / f"nbs/{PICTURES}/{name}": text.encode() for name, text in badges(course).items()}
    files |= {ROOT / f"nbs/{PICTURES}/{c.name}.png": shrink(c.plot) for c in course if c.plot}
    files[ROOT / "README.md"] = between((ROOT / "README.md").read_text(), grid(course)).encode()
    index = nbformat.read(ROOT / "nbs/index.ipynb", as_version=4)
    for cell in index.cells:
        if BEGIN in cell.source: cell.source = between(cell.source, rows(course))
    files[ROOT / "nbs/index.ipynb"] = (nbformat.writes(index, version=4) + "\n").encode()
    return files


def same(path: Path, content: bytes) -> bool:
    "Return whether a file is there and says the same; of a picture, whether it was made from the same plot."
    if not path.exists(): return False
    if path.suffix != ".png": return path.read_bytes() == content
    return Image.open(path).text.get("source") == Image.open(io.BytesIO(content)).text["source"]


def measure(names: list[str]) -> None:
    "Run the chapters, or those of `names`, and note their seconds."
    noted = json.loads(SECONDS.read_text())
    for path in chapters():
        if names and path.stem not in names: continue
        noted[path.stem] = round(run_seconds(path), 1)
        print(f"{path.stem}: {noted[path.stem]} s", flush=True)
        SECONDS.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n")


def main() -> int:
    "Do what the command line asks for."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", nargs="?", default="write", choices=("write", "check", "measure"))
    parser.add_argument("names", nargs="*", help="chapters to measure (default: all)")
    args = parser.parse_args()
    if args.verb == "measure": measure(args.names)
    seconds, found = json.loads(SECONDS.read_text()), chapters()
    course = [read_chapter(path, seconds) for path in sorted(found, key=reading_order)]
    files = wanted(course)
    kept = {ROOT / f"nbs/{PICTURES}/{name}" for name in ("chat_box.gif", "chat_box.png")}
    faults = [f"{path.relative_to(ROOT)} is out of step" for path, content in files.items() if not same(path, content)]
    faults += [f"{path.relative_to(ROOT)} belongs to no chapter" for path in (ROOT / f"nbs/{PICTURES}").glob("*.png") if path not in files and path not in kept]
    faults += [f"{path.relative_to(ROOT)} is larger than {LIMIT:,} bytes" for path, content in files.items() if path.suffix == ".png" and len(content) > LIMIT]
    if args.verb == "check":
        print("\n".join(faults + ["run: python tools/course_map.py"] if faults else ["the map and the README are in step with the chapters"]))
        return bool(faults)
    for path, content in files.items():
        path.parent.mkdir(exist_ok=True)
        if not same(path, content): path.write_bytes(content)
    print(f"{len(course)} chapters; without seconds: {', '.join(c.name for c in course if c.seconds is None) or 'none'}; "
          f"without a picture: {', '.join(c.name for c in course if not c.plot) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
