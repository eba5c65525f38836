"""Take the pictures that only a browser can draw, from the real thing in JupyterLab.

mermaid   every drawing in mermaid of the notebooks, as SVG, for the rendered site
chat      a conversation in the chat box, as an animation and as a still, for the README
"""
import argparse
import hashlib
import io
import re
import sys
import time
import urllib.parse
from pathlib import Path

import lab_browser
import nbformat
from lab_browser import Box, Page, book
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "nbs/pictures"
QUESTIONS = ("When was Niels Bohr born?", "And where?", "What was his shoe size?")
FRAME_MS, COLOURS, LIMIT = 120, 48, 1_500_000


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


def take_frames(page: Page, box: Box, seconds: float) -> list[Image.Image]:
    "Take pictures of the box until `seconds` after the reply has ended."
    frames, ended = [], None
    while ended is None or time.monotonic() < ended + seconds:
        frames.append(Image.open(io.BytesIO(box.root.screenshot())).convert("RGB"))
        if ended is None and re.match("ready|stopped|error", box.status()) and len(frames) > 4: ended = time.monotonic()
    return frames


def write_animation(frames: list[Image.Image], path: Path) -> None:
    "Write the frames as one GIF; equal neighbours become one longer frame."
    width, height = (max(size) for size in zip(*(f.size for f in frames)))
    palette = frames[-1].quantize(COLOURS)
    kept, times = [], []
    for frame in frames:
        canvas = Image.new("RGB", (width, height), "white")
        canvas.paste(frame)
        small = canvas.quantize(palette=palette, dither=Image.Dither.NONE)
        if kept and kept[-1].tobytes() == small.tobytes(): times[-1] += FRAME_MS
        else: kept.append(small), times.append(FRAME_MS)
    times[-1] += 3000
    kept[0].save(path, save_all=True, append_images=kept[1:], duration=times, loop=0, optimize=True, disposal=1)
    if path.stat().st_size > LIMIT: raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes, more than {LIMIT:,}")


def take_chat(page: Page, url: str) -> None:
    "Ask a few questions in the chat box, with its work shown, and keep what is seen."
    lab_browser.open_map(page, url)
    lab_browser.open_chapter(page, "08c_chat_box")
    lab_browser.run_all(page)
    box, frames = Box(page), []
    box.button("Reset").click()
    box.wait("^ready$")
    box.root.scroll_into_view_if_needed()
    for question in QUESTIONS:
        box.text.click()
        for piece in re.findall(r".{1,4}", question):
            page.keyboard.type(piece)
            frames.append(Image.open(io.BytesIO(box.root.screenshot())).convert("RGB"))
        page.keyboard.press("Enter")
        frames += take_frames(page, box, seconds=0.8)
    frames[-1].save(PICTURES / "chat_box.png", optimize=True)
    write_animation(frames, PICTURES / "chat_box.gif")
    print(f"{len(frames)} frames, {(PICTURES / 'chat_box.gif').stat().st_size:,} bytes")


def main() -> int:
    "Take the pictures that the command line asks for."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["mermaid", "chat"], choices=("mermaid", "chat"))
    args = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with lab_browser.serve_lab() as url, lab_browser.open_browser(lab_browser.find_browser()) as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.set_default_timeout(120_000)
        if "mermaid" in args.what: take_mermaid(page, url)
        if "chat" in args.what: take_chat(page, url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
