"""The rendered site of the chapters: no dead link, no picture missing, nothing fetched from elsewhere, no complaint of the browser."""
import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

if os.environ.get("BROWSER") != "required":
    for module in ("playwright", "myst_nb", "furo", "ziamath"): pytest.importorskip(module, reason="the site needs what `make docs` installs")
import lab_browser

if not lab_browser.find_browser() and os.environ.get("BROWSER") != "required": pytest.skip("no browser on this machine", allow_module_level=True)
pytestmark = pytest.mark.browser


class Quiet(http.server.SimpleHTTPRequestHandler):
    "A server of files that does not report each of them."

    def log_message(self, *args: object) -> None: "Say nothing."


@pytest.fixture(scope="module")
def site() -> Path:
    "The site where `make docs` writes it, by the same command; pages that are up to date are not written again. A warning is an error."
    options = ["-q", "-W", "--keep-going", "-c", "docs", "-d", "_docs/.doctrees"]
    done = subprocess.run([sys.executable, "-m", "sphinx", *options, "nbs", "_docs"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ROOT / "_docs"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    "Where the site is served."
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_link_is_dead(site, command):
    done = command("tools/check_site.py", site)
    assert done.returncode == 0, done.stdout
    print(done.stdout)


def test_every_page_is_drawn(site, address):
    with lab_browser.open_browser(lab_browser.find_browser()) as browser:
        page, complaints = browser.new_page(viewport={"width": 1280, "height": 900}), []
        page.on("console", lambda m: m.type == "error" and complaints.append(f"{page.url}: {m.text}"))
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("request", lambda r: r.url.startswith((address, "data:")) or complaints.append(f"{page.url} asks for {r.url}"))
        paths = sorted((ROOT / "nbs").rglob("[!._]*.ipynb"))
        for path in paths:
            page.goto(f"{address}/{path.relative_to(ROOT / 'nbs').with_suffix('.html')}")
            missing = page.evaluate("() => [...document.images].filter(e => !e.naturalWidth).map(e => e.src)")
            assert not missing, f"{path.stem}: {missing}"
        page.goto(f"{address}/index.html")
        assert page.locator("img.mermaid").evaluate("e => e.clientWidth") > 500
        names = [path.stem for path in paths if path.parent.name == "nbs" and path.stem != "index"]
        linked = page.locator(".sidebar-tree a").evaluate_all("es => es.map(e => e.getAttribute('href'))")
        assert set(f"{name}.html" for name in names) <= set(linked)
        assert not complaints, complaints
