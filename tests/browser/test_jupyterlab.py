"""Every figure in JupyterLab with a kernel: the browser moves Python, and Python the browser.

One server and one page serve all figures: the tests write into the two cells of one notebook.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser.stage import OWN, Stage
from fastattn_lite import figures
from fastattn_lite.figures.parameters import SPECS
from tools.notebooks import ROOT

pytestmark = pytest.mark.browser

SPECIFICATIONS: dict[str, dict[str, Any]] = json.loads(SPECS.read_text(encoding="utf-8"))
LIVE = [name for name, parameters in SPECIFICATIONS.items() if parameters]
CELLS = ["import fastattn_lite.figures as figures", ""]
WORK, FIGURE = range(len(CELLS))
SETTINGS = {
    "ServerApp": {
        "ip": "127.0.0.1",
        "port": 0,
        "open_browser": False,
        "token": "figures",
        "disable_check_xsrf": True,
    },
    "LabApp": {"news_url": None, "check_for_updates_class": "jupyterlab.NeverCheckForUpdate"},
    "LabServerApp": {"extension_manager": "readonly"},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start JupyterLab in an empty home, with nothing to fetch; yield the notebook's address."""
    home = tmp_path_factory.mktemp("lab")
    work = home / "work"
    work.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, work / "figure.ipynb")
    settings = home / "settings.json"
    settings.write_text(json.dumps(SETTINGS), encoding="utf-8")
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {name: str(home / name.lower()) for name in places}
    log = home / "log.txt"
    command = [sys.executable, "-m", "jupyterlab", f"--config={settings}", "--allow-root"]
    with log.open("w", encoding="utf-8") as stream:
        server = subprocess.Popen(
            command,
            cwd=work,
            env={**os.environ, **own, "PYTHONPATH": str(ROOT), "JUPYTER_PLATFORM_DIRS": "1"},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            yield f"{address(server, log)}doc/tree/figure.ipynb?token=figures&reset"
        finally:
            server.terminate()
            server.wait(20)


def address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the server has said where it is."""
    for _ in range(400):
        said = log.read_text(encoding="utf-8")
        found = re.search(r"(http://127\.0\.0\.1:\d+/)lab", said)
        if found:
            return found[1]
        assert server.poll() is None, said
        time.sleep(0.1)
    raise AssertionError(said)


@pytest.fixture(scope="module")
def notebook(
    browser: Browser, lab: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """Open the notebook, with its kernel ready; nothing may fail until the last test is done."""
    stage = Stage(browser, tmp_path_factory.mktemp("page"))
    host = lab.partition("doc/")[0]
    page = stage.open(lab, width=1200, own=(*OWN, host, host.replace("http", "ws")))
    expect(page.locator(".jp-CodeCell")).to_have_count(len(CELLS), timeout=30_000)
    expect(page.get_by_role("button", name="| Idle")).to_be_visible(timeout=30_000)
    run(page, WORK, CELLS[WORK])
    yield page
    stage.close()
    assert stage.problems == []


def run(page: Page, place: int, source: str) -> None:
    """Put the source into that cell and run it to its end."""
    cell = page.locator(".jp-CodeCell").nth(place)
    prompt, editor = cell.locator(".jp-InputPrompt"), cell.locator(".cm-content")
    before = prompt.inner_text()
    editor.click()
    expect(editor).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Control+Enter")
    expect(prompt).to_have_text(re.compile(rf"^(?!{re.escape(before)})\[\d+\]:$"), timeout=30_000)


def show(page: Page, figure: figures.Figure, sentence: str = "") -> Locator:
    """Make that figure in the notebook; return it when it is drawn and says its sentence."""
    run(page, FIGURE, f"figure = figures.{figure!r}\nfigure")
    live = page.locator(".jp-OutputArea-output .fastattn")
    expect(live).to_have_attribute("data-figure", type(figure).__name__, timeout=30_000)
    expect(live.locator(".fastattn-sentence")).to_have_text(sentence or figure.summary())
    return live


def values(spec: dict[str, Any]) -> tuple[Any, Any]:
    """Return two values of a parameter: one step from its default, and another."""
    if spec["kind"] in ("boolean", "choice"):
        options = spec.get("options", [False, True])
        place = options.index(spec["default"])
        return options[(place + 1) % len(options)], options[(place + 2) % len(options)]
    place, last = place_on_slider(spec, spec["default"]), place_on_slider(spec, spec["max"])
    first, other = next(pair for pair in ((1, 2), (-1, -2), (1, -1)) if fits(place, pair, last))
    return value_at(spec, place + first), value_at(spec, place + other)


def fits(place: int, steps: tuple[int, int], last: int) -> bool:
    """Say whether both steps from that place stay on the slider."""
    return all(0 <= place + step <= last for step in steps)


def place_on_slider(spec: dict[str, Any], value: Any) -> int:
    """Return the step of the slider at which that value stands."""
    if "grid" in spec:
        return spec["grid"].index(value) if value in spec["grid"] else len(spec["grid"]) - 1
    return round((value - spec["min"]) / spec.get("step", 1))


def value_at(spec: dict[str, Any], place: int) -> Any:
    """Return the value at a step of the slider."""
    even = round(spec["min"] + place * spec.get("step", 1), 9)
    return spec["grid"][place] if "grid" in spec else even


def control_of(live: Locator, name: str) -> Locator:
    """Return the control of a parameter; the lines that are hidden have switches in the table."""
    return live.locator("table" if name == "hidden" else f'[data-parameter="{name}"]')


def is_switches(spec: dict[str, Any]) -> bool:
    """Say whether a parameter is a row of switches, one for each binary digit."""
    return spec.get("max", 0) >= 2**31


def move(control: Locator, spec: dict[str, Any], value: Any) -> None:
    """Move a control of the figure to that value, one step away, as a reader does."""
    if is_switches(spec):
        control.get_by_role("checkbox").first.click()
    elif spec["kind"] == "boolean":
        control.locator("input").click()
    elif spec["kind"] == "choice":
        control.locator(f'input[value="{value}"]').click()
    else:
        control.get_by_role("slider").press(
            "ArrowRight" if value > spec["default"] else "ArrowLeft"
        )


def expect_shown(control: Locator, spec: dict[str, Any], value: Any) -> None:
    """Wait until the control shows that value."""
    if is_switches(spec):
        for place in range(2):
            is_hidden = bool(value >> place & 1)
            expect(control.get_by_role("checkbox").nth(place)).to_be_checked(checked=not is_hidden)
    elif spec["kind"] == "boolean":
        expect(control.locator("input")).to_be_checked(checked=value)
    elif spec["kind"] == "choice":
        expect(control.locator(f'input[value="{value}"]')).to_be_checked()
    else:
        place = place_on_slider(spec, value)
        expect(control.get_by_role("slider")).to_have_value(str(place))


def expect_printed(page: Page, text: str) -> None:
    output = page.locator(".jp-CodeCell").nth(WORK).locator(".jp-OutputArea-output")
    expect(output).to_have_text(text)


@pytest.mark.parametrize("name", LIVE)
def test_figure_is_live_both_ways(notebook: Page, name: str) -> None:
    figure, specs = getattr(figures, name)(), SPECIFICATIONS[name]
    live = show(notebook, figure)
    assert notebook.locator("fastattn-figure").count() == 0, "the live widget, not the HTML part"
    controls = {key: control_of(live, key) for key in specs}

    for key, spec in specs.items():
        moved = values(spec)[0]
        move(controls[key], spec, moved)
        setattr(figure, key, moved)
        expect(live.locator(".fastattn-sentence")).to_have_text(figure.summary())
    run(notebook, WORK, "print(figure)")
    expect_printed(notebook, repr(figure))

    for key, spec in specs.items():
        told = values(spec)[1]
        run(notebook, WORK, f"figure.{key} = {told!r}")
        setattr(figure, key, told)
        expect_shown(controls[key], spec, told)
        expect(live.locator(".fastattn-sentence")).to_have_text(figure.summary())


def test_figure_on_data_of_the_reader_is_live(notebook: Page) -> None:
    figure = figures.ErrorVersusOrder()
    live = show(notebook, figure)
    rows = "[[0.1, 0.2], [0.3, -0.4], [-0.5, 0.6]]"
    run(notebook, WORK, f"figure.data = {{name: {rows} for name in ('query', 'key', 'value')}}")
    expect(live.locator(".fastattn-readouts")).to_contain_text("your own: n = 3, d = 2")


def test_a_reader_hands_over_tokens(notebook: Page) -> None:
    figure = figures.AttentionMatrix()
    live = show(notebook, figure)
    tokens = ([[1, 0], [0, 2], [1, 1]], [[1, 0], [0, 1], [-1, 1]], ["x", "y", "z"])
    run(notebook, WORK, "figure.look_at({!r}, {!r}, {!r})".format(*tokens))
    figure.look_at(*tokens)
    expect(live.locator(".fastattn-sentence")).to_have_text(figure.summary())
    expect(live.get_by_role("slider", name="Row")).to_have_attribute("max", "2")


def test_quiz_marks_answers_beside_a_kernel(notebook: Page) -> None:
    live = show(notebook, figures.Quiz("intro"), "Score: 0 of 4 right.")
    live.get_by_role("radio").first.check()
    live.get_by_role("button", name="Check").first.click()
    expect(live).to_contain_text("Not yet.")


def test_keys_stay_in_the_figure(notebook: Page) -> None:
    live = show(notebook, figures.TruncationError(order=5))
    slider = live.get_by_role("slider", name="Order p")
    slider.focus()
    for key in ("a", "b", "ArrowLeft", "ArrowDown", "x"):
        notebook.keyboard.press(key)
    expect(slider).to_have_attribute("aria-valuetext", "3")
    cells = notebook.locator(".jp-CodeCell")
    assert cells.count() == len(CELLS), "JupyterLab took the keys for its shortcuts"
    assert slider.evaluate("node => node === document.activeElement")
