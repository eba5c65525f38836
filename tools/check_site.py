"""Check the rendered site: every internal address leads to a file and, where it names one, to a place in it; nothing is fetched from elsewhere."""
import argparse
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("img", "src"), ("script", "src"), ("source", "src"), ("video", "src"), ("iframe", "src"), ("object", "data")}


class Page(HTMLParser):
    "The places of a page, and the addresses that it names."

    def __init__(self, text: str):
        super().__init__()
        self.places, self.links, self.fetched = {"", "top"}, set(), set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        "Note the ids and the addresses of a tag."
        found = {name: value for name, value in attrs if value}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        for name in ("href", "src", "data", "poster"):
            if name in found and (name != "data" or tag == "object"): self.links.add(found[name])
        self.fetched |= {found[name] for kind, name in FETCHED if kind == tag and name in found}
        if tag == "link" and "stylesheet" in found.get("rel", ""): self.fetched.add(found["href"])


def faults(folder: Path) -> tuple[int, list[str]]:
    "Return how many internal addresses the site has, and what is wrong."
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found, count = [], 0
    for path, page in pages.items():
        where = path.relative_to(folder.resolve())
        found += [f"{where} fetches {link}" for link in page.fetched if urlsplit(link).scheme in ("http", "https") or link.startswith("//")]
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc: continue
            count += 1
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            if target.is_dir(): target /= "index.html"
            if not target.exists(): found.append(f"{where}: {link} leads nowhere")
            elif target in pages and unquote(address.fragment) not in pages[target].places: found.append(f"{where}: {link} names no place there")
    return count, found


def main() -> int:
    "Check the site in a folder; the status is 1 if anything is wrong."
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    count, found = faults(parser.parse_args().folder)
    print("\n".join(found) if found else f"{count:,} internal links, none of them dead; nothing is fetched from elsewhere")
    return bool(found) or not count


if __name__ == "__main__":
    sys.exit(main())
