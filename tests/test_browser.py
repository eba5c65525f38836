"""Every chapter in a real JupyterLab in a real browser, and a conversation in the chat box.

`pytest -m "not browser"` leaves it out. Where there is no browser it is skipped, but with BROWSER=required it fails there.
The pictures are kept in the folder that BROWSER_SHOTS names.
"""
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

if os.environ.get("BROWSER") != "required":
    pytest.importorskip("playwright", reason="the browser test needs playwright: pip install -e '.[dev]'")
import lab_browser
from lab_browser import BOOK, Box, Page, book, run_all

if not lab_browser.find_browser():
    text = f"no browser on this machine: none of {', '.join(lab_browser.BROWSERS)} is on the path"
    if os.environ.get("BROWSER") == "required": raise RuntimeError(text)
    pytest.skip(text, allow_module_level=True)

pytestmark = pytest.mark.browser
WARM = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); from warm_start import lend_kernels; lend_kernels(at_once=True)"
CHAT = "08c_chat_box"
CHAPTERS = sorted(path.stem for path in (ROOT / "nbs").glob("[!._]*.ipynb"))
QUIET = r"to activate\.$|^Could not restore the debugger state"  # complaints of Lab itself: a slow machine, a kernel that is ended


@dataclass
class Desk:
    "A Lab in a browser: the page, the server's address, what the console has complained of, and where pictures go."
    page: Page
    url: str
    complaints: list[str]
    shots: Path

    def picture(self, name: str) -> None:
        "Take a picture of the window."
        self.page.screenshot(path=self.shots / f"{name}.png")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    "Lab, open at the map of the course."
    shots = Path(os.environ.get("BROWSER_SHOTS") or tmp_path_factory.mktemp("shots"))
    shots.mkdir(parents=True, exist_ok=True)
    with lab_browser.serve_lab(WARM if sys.platform == "linux" else "") as url, lab_browser.open_browser(lab_browser.find_browser()) as browser:
        page, complaints = browser.new_page(viewport={"width": 1200, "height": 1000}), []
        page.set_default_timeout(60_000)
        page.on("console", lambda m: m.type == "error" and not re.search(QUIET, m.text) and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())  # leave a page that has changed
        lab_browser.open_map(page, url)
        yield Desk(page, url, complaints, shots)


@contextlib.contextmanager
def chapter(desk: Desk, name: str) -> Iterator[Page]:
    "Open a chapter, and close it whatever happens; after a failure Lab itself is opened again."
    desk.complaints.clear()
    try:
        if name == "index": lab_browser.open_map(desk.page, desk.url)
        else: lab_browser.open_chapter(desk.page, name)
        yield desk.page
    except BaseException:
        desk.picture(f"failed_{name}")
        lab_browser.end_kernels(desk.url)
        lab_browser.open_map(desk.page, desk.url)
        raise
    if name != "index": lab_browser.close_chapter(desk.page, desk.url)


def committed(name: str) -> tuple[int, int, int]:
    "Return how many code cells, plots and red outputs the notebook was committed with."
    cells = [c for c in nbformat.read(ROOT / f"nbs/{name}.ipynb", as_version=4).cells if c.cell_type == "code"]
    outputs = [o for c in cells for o in c.outputs]
    return (sum(bool(c.source.strip()) for c in cells), sum("image/png" in o.get("data", {}) for o in outputs),
            sum(o.get("name") == "stderr" for o in outputs))


HERE, ELSEWHERE = (tuple(name for name in CHAPTERS if name != CHAT)[i::2] for i in range(2))  # test_browser_2.py opens the others: two files, two workers
COMMITTED = {name: committed(name) for name in CHAPTERS}  # read once: somebody may be at work on a chapter


def check_chapter(desk: Desk, name: str) -> None:
    "Run the chapter in sight from top to bottom: no error, every cell run, every plot drawn, the console silent."
    seconds, (n_cells, n_plots, n_red) = run_all(desk.page), COMMITTED[name]
    here = book(desk.page)
    assert here.locator(lab_browser.ERRORS).all_inner_texts() == []
    prompts = here.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert sum(bool(re.search(r"\[\d+\]", p)) for p in prompts) == n_cells, prompts
    widths = lab_browser.plots(desk.page)
    assert len(widths) == n_plots and min(widths, default=200) >= 200, widths
    assert here.locator(lab_browser.RED).count() <= n_red, here.locator(lab_browser.RED).all_inner_texts()
    assert here.locator("mjx-merror, .jp-RenderedMermaid .jp-mod-warning").count() == 0, "a formula or a drawing failed"
    assert here.get_by_text(re.compile("(Loading|Error (displaying|creating)) widget")).count() == 0
    assert desk.complaints == []
    print(f"{name}: {n_cells} cells, {n_plots} plots, {seconds:.1f} s")


SEEN = """root => [...root.querySelectorAll('img')].map(e => e.src).join() +
  [...root.querySelectorAll('.jp-OutputArea-output, .widget-html-content')].map(e => e.innerText).join()"""


def moved(slider: lab_browser.Locator, key: str) -> bool:
    "Press `key` on a slider and return whether it stands elsewhere now."
    before = slider.get_attribute("aria-valuenow")
    slider.press(key)
    return slider.get_attribute("aria-valuenow") != before


def check_laboratories(desk: Desk) -> int:
    "Move the first slider, or change the first text, of each laboratory in sight: what it shows changes. Return how many there are."
    labs = book(desk.page).locator(".jp-OutputArea-output:has(> .jupyter-widgets)").filter(has=desk.page.locator("[role=slider], input[type=text], textarea"))
    for lab in labs.all():
        before, slider, starter = lab.evaluate(SEEN), lab.locator("[role=slider]"), lab.get_by_role("button", disabled=False)
        for key in ("ArrowLeft", "ArrowRight", "ArrowRight"):  # a slider may stand at its end, or the text end there
            if not slider.count(): lab.locator("input[type=text], textarea").first.press_sequentially("é "), desk.page.keyboard.press("Tab")
            elif not moved(slider.first, key): continue
            if starter.count(): starter.first.click()
            with contextlib.suppress(lab_browser.TimeoutError):
                desk.page.wait_for_function(f"([root, before]) => ({SEEN})(root) !== before", arg=[lab.element_handle(), before], timeout=30_000)
                break
        else: raise AssertionError(f"a laboratory does not answer: {lab.inner_text()[:200]!r}")
    assert book(desk.page).locator(lab_browser.ERRORS).all_inner_texts() == [] and desk.complaints == []
    return labs.count()


def check_all(desk: Desk, name: str) -> None:
    "Open, run, check and close a chapter, and move its laboratories."
    with chapter(desk, name):
        check_chapter(desk, name)
        print("laboratories:", check_laboratories(desk))
        if name == "index":
            assert book(desk.page).locator(".jp-RenderedMermaid img").evaluate("e => e.complete && e.clientWidth") > 500, "the way of the data is not drawn"
            desk.picture("map")


@pytest.mark.parametrize("name", HERE)
def test_chapter_runs_in_lab(desk, name):
    check_all(desk, name)


@pytest.fixture(scope="module")
def box(desk) -> Iterator[Box]:
    "The chat box, after its chapter has been run from top to bottom; forgetful at the start."
    with chapter(desk, CHAT):
        check_chapter(desk, CHAT)
        box = Box(desk.page)
        box.button("Reset").click()
        box.wait("^ready$")
        yield box


WATCH = """root => { window.seen = [];
  new MutationObserver(() => window.seen.push([performance.now(), root.querySelector('[role=log]').lastChild.innerText]))
    .observe(root, {subtree: true, childList: true, characterData: true}); }"""


def test_a_question_is_answered_piece_by_piece(desk, box):
    question = "Who was Niels Bohr, and what is he known for?"
    box.root.evaluate(WATCH)
    box.ask(question)
    box.wait_reply()
    seen = desk.page.evaluate("() => window.seen")
    texts = list(dict.fromkeys(text for _, text in seen))
    seconds = (seen[-1][0] - seen[0][0]) / 1000
    print(f"the browser drew {len(texts)} states of the reply in {seconds:.1f} s; {box.status()}\n{box.log()}")
    assert question in box.log(), "letters of the question were lost"
    assert 3 < len(texts) < 30 * seconds + 5
    assert not any("\ufffd" in text for text in texts), "half a character was shown"
    assert box.text.input_value() == "" and not desk.complaints
    desk.picture("chat_light")


STOP = """root => { window.stopped = new Promise(done => {
  const button = name => [...root.querySelectorAll('button')].find(b => b.innerText.trim() === name);
  const status = () => root.querySelector('.niels-chat-status, .niels-chat-error').innerText;
  let writing = false, clicked = null, disabled = null;
  const timer = setInterval(() => {
    writing ||= status().startsWith('writing');
    if (writing && clicked === null && root.querySelector('[role=log]').lastChild.innerText.length > 20 && !button('Stop').disabled) {
      disabled = button('Send').disabled; clicked = performance.now(); button('Stop').click();
    } else if (writing && /^(stopped|ready|error)/.test(status())) {
      clearInterval(timer); done([clicked && performance.now() - clicked, status(), disabled]);
    }
  }, 5);
}) }"""


def test_stop_ends_a_reply(desk, box):
    for name, value in (("temperature", "2"), ("top-k", "256"), ("reply length", "400")): box.fill(name, value)  # babble, and go on
    try:
        for _ in range(8):
            box.root.evaluate(STOP)
            box.ask("Tell me a long story.")
            ms, status, send_was_disabled = desk.page.evaluate("() => window.stopped")
            if status.startswith("stopped: by you"): break  # else the reply was over too soon
        print(f"{ms:.0f} ms from the click on Stop to the status line, as the browser saw it; {status}")
        assert status.startswith("stopped: by you"), status
        assert send_was_disabled, "Send must be disabled while a reply is being written"
        if os.getloadavg()[0] < 1: assert ms < 200  # on a quiet machine
        assert not box.button("Send").is_disabled() and box.button("Stop").is_disabled()
    finally:
        for name, value in (("temperature", "0.3"), ("top-k", "50"), ("reply length", "256")): box.fill(name, value)


def test_its_work_is_shown(desk, box):
    switch, root = box.root.get_by_label("show its work"), box.root
    switch.check()
    box.ask("When was Niels Bohr born?")
    box.wait_reply()
    strip = root.get_by_role("img", name=re.compile("^The reply: "))
    strip.wait_for()
    n_bytes = int(re.search(r"([\d,]+) bytes", box.status())[1].replace(",", ""))
    assert strip.locator("> span").count() >= n_bytes > 10
    assert re.search("a second .*Why it stopped: ", root.inner_text()), "speed and the reason for the end belong to it"
    table, read = root.get_by_role("table", name=re.compile("^Candidates for byte ")), root.get_by_role("img", name=re.compile("^The text read"))
    beliefs = [float(p) for p in re.findall(r"([\d.]+)%", table.inner_text())]
    assert beliefs and all(0 <= p <= 100 for p in beliefs)
    box.fill("byte of the reply", "2")
    root.get_by_role("table", name="Candidates for byte 2 of the reply").wait_for()
    before = read.get_attribute("aria-label")
    root.get_by_label("layer", exact=True).select_option("3")
    root.get_by_text(re.compile("^Layer 3, head ")).wait_for()
    assert read.get_attribute("aria-label") != before
    strip.scroll_into_view_if_needed()
    desk.picture("chat_work")
    switch.uncheck()
    strip.wait_for(state="hidden")
    assert not desk.complaints


def test_an_error_is_shown_and_the_box_goes_on(desk, box):
    box.fill("top-k", "0")
    box.ask("Hello!")
    box.wait("^error: top_k", 10)
    desk.picture("chat_error")
    assert box.text.input_value() == "Hello!", "the question must survive the refusal"
    box.fill("top-k", "50")
    box.text.press("Enter")
    box.wait_reply()
    assert "Hello!" in box.log()
    box.text.press("Enter")
    box.wait("type a message", 5)


def test_markup_stays_text(desk, box):
    attack = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script> & goodbye"
    box.ask(attack)
    box.wait_reply()
    assert attack in box.log() and not desk.page.evaluate("() => window.pwned")


CONTRAST = """e => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  let ground = e;
  while (ground.parentElement && (parse(getComputedStyle(ground).backgroundColor)[3] ?? 1) < 0.99) ground = ground.parentElement;
  const [a, b] = [getComputedStyle(e).color, getComputedStyle(ground).backgroundColor].map(c => light(parse(c)));
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) }"""


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_box_is_readable_in_the_theme(desk, box, theme):
    lab_browser.menu(desk.page, "Settings", "Theme", theme)
    desk.page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")
    for words in (".user", ".assistant", ".assistant b"):
        contrast = box.root.locator(f"[role=log] {words}").last.evaluate(CONTRAST)
        print(f"{theme}, {words}: contrast {contrast:.1f}")
        assert contrast >= 4.5
    box.root.scroll_into_view_if_needed()
    desk.picture(f"chat_{theme.split()[-1].lower()}")


def test_box_is_used_by_keyboard_and_has_names(desk, box):
    tree = box.root.aria_snapshot()
    print(tree)
    nameless = re.findall(r"^\s*- (?:textbox|button|checkbox|combobox|spinbutton)(?::.*)?$", tree, re.MULTILINE)
    assert not nameless, nameless
    box.text.click()
    reached = []
    for _ in range(12):
        desk.page.keyboard.press("Tab")
        reached.append(desk.page.evaluate("() => (document.activeElement.innerText || document.activeElement.title || document.activeElement.labels?.[0]?.innerText || '').trim()"))
    print(reached)
    assert {"Send", "Reset", "temperature", "top-k", "reply length", "seed", "show its work"} <= set(reached)


def test_reset_forgets(desk, box):
    box.ask("What is a quantum?", enter=False)
    box.button("Send").click()
    box.wait("^writing")
    box.button("Reset").click()
    box.wait("^ready$", 15)
    assert "Nothing said yet" in box.log() and box.button("Reset").is_disabled()
    assert not desk.complaints and book(desk.page).locator(lab_browser.ERRORS).count() == 0


def test_voila_serves_the_box_alone(desk, tmp_path):
    if os.environ.get("BROWSER") != "required": pytest.importorskip("voila", reason="the page of the box alone needs voila: pip install -e '.[page]'")
    with lab_browser.serve("voila", f"nbs/{CHAT}.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", folder=ROOT, home=tmp_path) as url:
        page = desk.page.context.browser.new_page(viewport={"width": 900, "height": 900})
        page.goto(url, timeout=240_000)
        box = Box(page, within="body")
        box.text.wait_for(timeout=240_000)
        box.ask("When was Niels Bohr born?")
        box.wait_reply()
        assert "1885" in box.log()
        assert page.locator(".jp-InputArea-editor:visible").count() == 0, "code is shown"
        page.screenshot(path=desk.shots / "voila.png")
        page.close()
