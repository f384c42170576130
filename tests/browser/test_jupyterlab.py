"""A figure in JupyterLab with a kernel: the browser moves Python, and Python the browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from browser.stage import OWN, Stage
from fastattn_lite.figures import AttentionMatrix, TruncationError
from tools.notebooks import ROOT

pytestmark = pytest.mark.browser

CELLS = [
    "from fastattn_lite.figures import TruncationError\nfigure = TruncationError()\nfigure",
    "print('order is', figure.order)",
    "figure.order = 5",
    "figure.family = 'minimax'; figure.radius = 2.5",
    "from fastattn_lite.figures import AttentionMatrix\nmatrix = AttentionMatrix()\nmatrix",
    "matrix.look_at([[1, 0], [0, 2], [1, 1]], [[1, 0], [0, 1], [-1, 1]], ['x', 'y', 'z'])",
]
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


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """Start JupyterLab in an empty home, with nothing to fetch; yield the notebook's address."""
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, work / "figure.ipynb")
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS), encoding="utf-8")
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {name: str(tmp_path / name.lower()) for name in places}
    log = tmp_path / "log.txt"
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


def run_cell(page: Page, place: int) -> None:
    page.locator(".jp-CodeCell").nth(place).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def open_notebook(lab: str, stage: Stage) -> Page:
    """Open the notebook and wait until its kernel does."""
    host = lab.partition("doc/")[0]
    page = stage.open(lab, width=1200, own=(*OWN, host, host.replace("http", "ws")))
    expect(page.locator(".jp-CodeCell")).to_have_count(len(CELLS), timeout=30_000)
    expect(page.locator("[data-status=idle]").first).to_be_attached(timeout=30_000)
    return page


def test_figure_is_live_both_ways(lab: str, stage: Stage) -> None:
    page = open_notebook(lab, stage)
    cells = page.locator(".jp-CodeCell")
    run_cell(page, 0)
    live = page.locator(".jp-OutputArea-output .fastattn")
    live.wait_for(timeout=30_000)
    assert page.locator("fastattn-figure").count() == 0, "the live widget, not the HTML part"
    figure = TruncationError()
    expect(live.locator(".fastattn-sentence")).to_have_text(figure.summary())

    slider = live.get_by_role("slider", name="Order p")
    slider.press("ArrowRight")
    run_cell(page, 1)
    expect(cells.nth(1).locator(".jp-OutputArea-output")).to_have_text("order is 3")

    for place, changes in ((2, {"order": 5}), (3, {"family": "minimax", "radius": 2.5})):
        run_cell(page, place)
        for name, value in changes.items():
            setattr(figure, name, value)
        figure.order = 5
        expect(live.locator(".fastattn-sentence")).to_have_text(figure.summary())
    expect(slider).to_have_attribute("aria-valuetext", "5")

    slider.focus()
    for key in ("a", "b", "ArrowLeft", "ArrowDown", "x"):
        page.keyboard.press(key)
    expect(slider).to_have_attribute("aria-valuetext", "3")
    assert cells.count() == len(CELLS), "JupyterLab took the keys for its shortcuts"
    assert slider.evaluate("node => node === document.activeElement")


def test_a_reader_hands_over_tokens(lab: str, stage: Stage) -> None:
    page = open_notebook(lab, stage)
    run_cell(page, 4)
    live = page.locator(".jp-OutputArea-output .fastattn")
    live.wait_for(timeout=30_000)
    figure = AttentionMatrix()
    expect(live.locator(".fastattn-sentence")).to_have_text(figure.summary())
    run_cell(page, 5)
    figure.look_at([[1, 0], [0, 2], [1, 1]], [[1, 0], [0, 1], [-1, 1]], ["x", "y", "z"])
    expect(live.locator(".fastattn-sentence")).to_have_text(figure.summary())
    expect(live.get_by_role("slider", name="Row")).to_have_attribute("max", "2")
