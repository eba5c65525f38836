"""Take the pictures that only a browser can draw, from the real thing in JupyterLab.

mermaid   every drawing in mermaid of the notebooks, as SVG, for the rendered site
chat      a conversation in the chat box, as an animation and as a still, for the README
"""
import argparse
import base64
import contextlib
import hashlib
import io
import re
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import lab_browser
import nbformat
from lab_browser import Box, Page, book
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "nbs/pictures"
QUESTIONS = ("When was Niels Bohr born?", "And where?", "What was his shoe size?")
COLOURS, SHORTEST, HEIGHT, LIMIT = 96, 0.04, 940, 1_500_000  # of a picture; seconds of a frame; pixels; bytes


def drawings(path: Path) -> list[str]:
    "Return the mermaid sources of a notebook, in order."
    text = "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    return [found.strip() for found in re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)]


def mermaid_file(source: str) -> Path:
    "Return where the picture of a drawing lies; its name changes with the drawing."
    return PICTURES / f"mermaid-{hashlib.sha256(source.encode()).hexdigest()[:12]}.svg"


def take_mermaid(page: Page, url: str) -> None:
    "Keep each drawing as JupyterLab draws it."
    found = {path.stem: drawings(path) for path in sorted((ROOT / "nbs").glob("[!._]*.ipynb"))}
    wanted = {mermaid_file(source) for sources in found.values() for source in sources}
    for old in set(PICTURES.glob("mermaid-*.svg")) - wanted: old.unlink()
    lab_browser.open_map(page, url)
    for name, sources in found.items():
        if not sources: continue
        if name != "index": lab_browser.open_chapter(page, name)
        images = book(page).locator(".jp-RenderedMermaid img")
        images.first.wait_for()
        for source, image in zip(sources, images.all(), strict=True):
            svg = urllib.parse.unquote(image.get_attribute("src").split(",", 1)[1])
            mermaid_file(source).write_text(svg[svg.index("<svg"):] + "\n")
            print(name, mermaid_file(source).name)


@contextlib.contextmanager
def film(page: Page) -> Iterator[list[tuple[float, bytes]]]:
    "Collect what the browser draws in the meantime: (seconds, PNG of the window)."
    frames, session = [], page.context.new_cdp_session(page)

    def keep(event: dict) -> None:
        frames.append((event["metadata"]["timestamp"], base64.b64decode(event["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "png"})
    yield frames
    page.wait_for_timeout(500)
    session.send("Page.stopScreencast")


def write_animation(frames: list[tuple[float, bytes]], area: tuple[int, int, int, int], path: Path) -> None:
    "Write the `area` of the frames as a GIF that lasts as long as it did; equal neighbours become one."
    images = [Image.open(io.BytesIO(png)).convert("RGB").crop(area) for _, png in frames]
    palette = images[-1].quantize(COLOURS, kmeans=1)
    kept, starts = [], []
    for (second, _), image in zip(frames, images):
        small = image.quantize(palette=palette, dither=Image.Dither.NONE)
        if kept and (kept[-1].tobytes() == small.tobytes() or second - starts[-1] < SHORTEST): continue
        kept.append(small), starts.append(second)
    kept.append(images[-1].quantize(palette=palette, dither=Image.Dither.NONE)), starts.append(frames[-1][0] + SHORTEST)
    times = [round(1000 * (after - before)) for before, after in zip(starts, starts[1:])] + [4000]
    kept[0].save(path, save_all=True, append_images=kept[1:], duration=times, loop=0, optimize=True, disposal=1)
    print(f"{path.name}: {len(kept)} frames, {sum(times) / 1000:.0f} s, {path.stat().st_size:,} bytes")
    if path.stat().st_size > LIMIT: raise ValueError(f"more than {LIMIT:,} bytes")


ALONE = "e => { for (let c = e.closest('.jp-Cell').nextElementSibling; c; c = c.nextElementSibling) c.style.visibility = 'hidden' }"


def take_chat(page: Page, url: str) -> None:
    "Ask a few questions in the chat box, open its work, and keep what is seen."
    lab_browser.open_map(page, url)
    lab_browser.open_chapter(page, "08c_chat_box")
    lab_browser.run_all(page)
    box = Box(page)
    box.root.get_by_label("show its work").uncheck()
    box.button("Reset").click()
    box.wait("^ready$")
    box.root.evaluate("e => e.closest('.jp-Cell').querySelector('.jp-Cell-outputWrapper').scrollIntoView({block: 'start'})")
    box.root.evaluate(ALONE)
    page.wait_for_timeout(1000)
    corner = box.root.bounding_box()
    with film(page) as frames:
        for question in QUESTIONS:
            box.text.click()
            page.keyboard.type(question, delay=60)
            page.wait_for_timeout(300)
            page.keyboard.press("Enter")
            box.wait_reply()
            page.wait_for_timeout(1500)
        box.root.get_by_label("show its work").check()
        box.root.get_by_role("img", name=re.compile("^The reply: ")).wait_for()
        page.wait_for_timeout(2500)
    width, height = min(corner["width"], 810), min(box.root.bounding_box()["height"], HEIGHT)
    area = tuple(int(v) for v in (corner["x"], corner["y"], corner["x"] + width, corner["y"] + height))
    write_animation(frames, area, PICTURES / "chat_box.gif")
    Image.open(io.BytesIO(frames[-1][1])).convert("RGB").crop(area).quantize(COLOURS).save(PICTURES / "chat_box.png", optimize=True)


def main() -> int:
    "Take the pictures that the command line asks for."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="both", choices=("mermaid", "chat", "both"))
    args = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with lab_browser.serve_lab() as url, lab_browser.open_browser(lab_browser.find_browser()) as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 1150})
        page.set_default_timeout(120_000)
        if args.what != "chat": take_mermaid(page, url)
        if args.what != "mermaid": take_chat(page, url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
