"""What the site of the chapters needs beyond Sphinx and MyST-NB: formulas, drawings, and the order of the chapters."""
import hashlib
import html
import json
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from latex2mathml.converter import convert
from sphinx.application import Sphinx

NOTEBOOKS = Path(__file__).resolve().parent.parent / "nbs"


def slug(heading: str) -> str:
    "Name a heading as Jupyter does."
    return heading.replace(" ", "-")


class Mermaid(Directive):
    "A drawing in mermaid, as the picture that JupyterLab made of it."
    has_content = True

    def run(self) -> list[nodes.Node]:
        "Return the picture."
        text = "\n".join(self.content)
        name = f"mermaid-{hashlib.sha256(text.strip().encode()).hexdigest()[:12]}.svg"
        if not (NOTEBOOKS / "pictures" / name).exists(): raise self.error("not drawn yet: run python tools/browser_pictures.py mermaid")
        return [nodes.image(uri=f"/pictures/{name}", alt=text, classes=["mermaid"])]


def write_formula(writer, node: nodes.Element) -> None:
    "Write a formula as MathML, which browsers draw by themselves."
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    writer.body.append(convert(html.unescape(node.astext()), display=display))
    raise nodes.SkipNode


def reading_order(name: str) -> tuple:
    "Sort 02a before 02a2, and that before 02b; the same as in tools/course_map.py."
    number, letter, second = re.match(r"(\d+)([a-z]?)(\d*)", name).groups()
    return int(number), letter, int(second or 0)


def contents(parts: dict[str, str]) -> str:
    "Return the table of contents, which makes the side bar: the chapters by part, then the solutions."
    chapters = sorted((path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb")), key=reading_order)
    lines = []
    for part in sorted({reading_order(name)[0] for name in chapters}):
        of_part = [name for name in chapters if reading_order(name)[0] == part]
        lines += ["```{toctree}", ":hidden:", f":caption: {part}. {parts[str(part)]}", "", *of_part, "```", ""]
    return "\n".join(lines + ["```{toctree}", ":hidden:", ":caption: Solutions", ":glob:", "", "solutions/*", "```"])


def prepare(app: Sphinx, name: str, source: list[str]) -> None:
    "Leave out the cell that tells nbdev the module's name, and give the map a table of contents."
    notebook = json.loads(source[0])
    notebook["metadata"].setdefault("language_info", {"name": "python"})  # a draft has none
    notebook["cells"] = [cell for cell in notebook["cells"] if not "".join(cell["source"]).startswith("#| default_exp")]
    if name == "index":
        parts = dict(re.findall(r"\*\*(\d+)\. ([^*]+)\*\*", "".join(line for cell in notebook["cells"] for line in cell["source"])))
        notebook["cells"].append({"cell_type": "markdown", "id": "contents", "metadata": {}, "source": contents(parts)})
    source[0] = json.dumps(notebook)


def setup(app: Sphinx) -> None:
    "Tell Sphinx of the pieces above."
    app.add_directive("mermaid", Mermaid)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("source-read", prepare)
