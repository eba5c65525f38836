"""Serve the chapters in JupyterLab and read them in a headless browser, as a person would.

The browser test and the pictures of the README are made with this. It needs playwright (`pip install -e ".[dev]"`) and a
Chromium of the system; nothing is written into the repository.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Locator, Page, TimeoutError, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync --disable-dev-shm-usage --force-color-profile=srgb").split()
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page, not only those in sight
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "docmanager-extension/plugin": {"autosave": False},
}


def find_browser() -> str | None:
    "Return the path of the system's Chromium, or None."
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextlib.contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    "Start the browser at `path`, and end it."
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=FLAGS)
        try: yield browser
        finally: browser.close()


def write_settings(folder: Path) -> None:
    "Write Lab's user settings below `folder`."
    for name, values in SETTINGS.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


def free_port() -> int:
    "Return a port of this machine that nobody uses now."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def request(url: str, method: str = "GET") -> bytes:
    "Return what the server answers to `url`; an `OSError` if it does not, or refuses."
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer: return answer.read()


def end_kernels(url: str) -> list[threading.Thread]:
    "Have the server end every kernel that there is now: they live in process groups of their own. Return who waits for it."
    def end(kernel: dict) -> None:
        with contextlib.suppress(OSError): request(f"{url}/api/kernels/{kernel['id']}", "DELETE")
    with contextlib.suppress(OSError):
        waiting = [threading.Thread(target=end, args=[kernel]) for kernel in json.loads(request(url + "/api/kernels"))]
        for thread in waiting: thread.start()
        return waiting
    return []


def lab_environment(home: Path) -> dict[str, str]:
    "Return the environment of a Lab whose settings and state stay below `home`, and that asks no network."
    places = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    labs = {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    return os.environ | places | labs | {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


@contextlib.contextmanager
def serve(*command: str, folder: Path, home: Path) -> Iterator[str]:
    "Run `python -m COMMAND --port=...` in `folder`; yield its address as soon as it answers, then end it and its kernels."
    url = f"http://127.0.0.1:{(port := free_port())}"
    with open(home / "server.log", "w") as log:
        server = subprocess.Popen([sys.executable, "-m", *command, f"--port={port}"], cwd=folder, env=lab_environment(home), stdout=log, stderr=log)
    try:
        for _ in range(480):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
                break
            if server.poll() is not None: raise RuntimeError((home / "server.log").read_text()[-2000:])
            time.sleep(0.25)
        yield url
    finally:
        for thread in end_kernels(url): thread.join()
        server.send_signal(signal.SIGTERM)
        try: server.wait(15)
        except subprocess.TimeoutExpired: server.kill()


def drop_outputs(path: Path) -> None:
    "Write the notebook without outputs and numbers of cells."
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "code": cell.outputs, cell.execution_count = [], None
    nbformat.write(nb, path)


@contextlib.contextmanager
def serve_lab(config: str = "") -> Iterator[str]:
    """Serve the project by JupyterLab, with copies of the notebooks, without outputs, so that none can be changed; yield its address.

    `config` is Python that the server runs as its configuration.
    """
    with tempfile.TemporaryDirectory() as tmp:
        home, work = Path(tmp), Path(tmp) / "work"
        shutil.copytree(ROOT / "nbs", work / "nbs", ignore=shutil.ignore_patterns(".*", "_*"))
        for path in (work / "nbs").glob("*.ipynb"): drop_outputs(path)
        for path in ROOT.glob("[!._]*"):
            if path.name != "nbs": (work / path.name).symlink_to(path)
        write_settings(home / "settings")
        (home / "config").mkdir()
        (home / "config/jupyter_server_config.py").write_text(config)
        options = ["--no-browser", "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True",
                   "--ServerApp.allow_root=True", "--ServerApp.ip=127.0.0.1"]
        with serve("jupyterlab", *options, folder=work, home=home) as url: yield url


def menu(page: Page, *names: str) -> None:
    "Click through a menu of Lab."
    page.locator(".lm-MenuBar-item", has_text=re.compile(f"^{names[0]}$")).click()
    for name in names[1:]:
        item = page.locator(".lm-Menu-item", has=page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{name}$"))).last
        item.hover()
    item.click()


BOOK = ".jp-NotebookPanel:not(.lm-mod-hidden)"  # the notebook in sight


PROMPTS = "book => [...document.querySelectorAll(book + ' .jp-CodeCell .jp-InputPrompt')].map(e => e.textContent.trim())"


def book(page: Page) -> Locator:
    "Return the notebook in sight."
    return page.locator(BOOK)


def wait_book(page: Page, name: str) -> None:
    "Wait until nbs/NAME.ipynb is in sight, with a kernel that is ready."
    page.locator(f".lm-TabBar-tab.jp-mod-current[title*='{name}.ipynb']").wait_for(timeout=120_000)
    book(page).locator(".jp-CodeCell").first.wait_for(timeout=120_000)
    book(page).locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)


def open_map(page: Page, url: str) -> None:
    "Open Lab at the map of the course, with nothing else open."
    page.goto(f"{url}/lab/tree/nbs/index.ipynb?reset", timeout=120_000)
    wait_book(page, "index")
    page.keyboard.press("Control+B")  # no side bar


def open_chapter(page: Page, name: str) -> None:
    "Open a chapter, without outputs, by its link in the map."
    page.locator(".lm-TabBar-tab[title*='index.ipynb']").click()
    book(page).locator(f"a[href*='/{name}.ipynb']").last.click()
    wait_book(page, name)


def close_chapter(page: Page, url: str) -> None:
    "Close the notebook in sight without saving it, and end its kernel."
    menu(page, "File", "Close Tab")
    page.locator(".jp-Dialog button", has_text="Discard").click()
    end_kernels(url)


RED = "[data-mime-type='application/vnd.jupyter.stderr']"
ERRORS = RED + ":has-text('Traceback (most recent call last)')"  # Lab draws an error as it draws what goes to stderr
DONE = f"""book => (p => p.every(p => /\\d/.test(p)) || !p.some(p => p.includes('*')) &&
  [...document.querySelectorAll(book + " {RED}")].some(e => e.textContent.includes('Traceback')))(({PROMPTS})(book))"""


def run_all(page: Page, timeout: float = 240) -> float:
    "Run the notebook in sight from top to bottom, wait until every cell has a number or one has failed, and return the seconds."
    started = time.monotonic()
    menu(page, "Run", "Run All Cells")
    page.wait_for_function(DONE, arg=BOOK, timeout=timeout * 1000, polling=100)
    return time.monotonic() - started


PLOTS = """book => [...document.querySelectorAll(book + ' .jp-OutputArea-output img[src^="data:image/png"]')]
  .filter(e => !e.closest('.jupyter-widgets')).map(e => e.complete ? e.naturalWidth : 0)"""


def plots(page: Page) -> list[int]:
    "Return the width of every plot that the notebook in sight shows outside of widgets; 0 where one is not drawn."
    return page.evaluate(PLOTS, BOOK)


class Box:
    "The chat box in a page, for fingers and eyes."

    def __init__(self, page: Page, within: str = BOOK):
        ask = page.get_by_placeholder("Ask niels-gpt")
        self.page, self.root = page, page.locator(within).locator(".jp-OutputArea-output", has=ask).last
        self.text = self.root.get_by_placeholder("Ask niels-gpt")

    def button(self, name: str) -> Locator: return self.root.get_by_role("button", name=name, exact=True)
    def log(self) -> str: return self.root.get_by_role("log").inner_text()
    def status(self) -> str: return self.root.locator(".niels-chat-status, .niels-chat-error").inner_text()

    def wait(self, pattern: str, timeout: float = 60) -> None:
        "Wait until the status line matches `pattern`."
        started = time.monotonic()
        while not re.search(pattern, self.status()):
            if time.monotonic() - started > timeout: raise TimeoutError(f"the status stays {self.status()!r}, not {pattern!r}")
            time.sleep(0.02)

    def fill(self, name: str, value: str) -> None:
        "Put a value into the setting called `name`."
        field = self.root.get_by_label(name, exact=True)
        field.fill(value)
        field.press("Tab")

    def ask(self, question: str, *, enter: bool = True) -> None:
        "Type a question as fast as the machine can, and press Enter."
        self.text.click()
        self.page.keyboard.type(question)
        if enter: self.page.keyboard.press("Enter")

    def wait_reply(self) -> None:
        "Wait until a reply has begun and ended."
        self.wait("^writing")
        self.wait("^(ready|stopped)")
