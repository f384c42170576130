"""What the browser tests share: a page that holds figures, and what it says."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from fastattn_lite.figures.base import DIST

OWN = ("file:", "data:", "blob:")


class Stage:
    """A page on file:// that holds figures; fails on script errors and foreign requests."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.folder, self.problems = browser, folder, list[str]()

    def show(self, body: Any, *, address: str = "", width: int = 800, **options: Any) -> Page:
        """Open the figure (or plain HTML) and wait until it is drawn."""
        file = self.write(body)
        page = self.open(file.as_uri() + address, width=width, **options)
        page.wait_for_selector(".fastattn-sentence:not(:empty)")
        return page

    def write(self, body: Any) -> Path:
        """Write the page that `show` opens."""
        body = body if isinstance(body, str) else body._repr_html_()
        file = self.folder / "page.html"
        file.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>page</title>'
            '<meta name="viewport" content="width=device-width">'
            f'<link rel="stylesheet" href="{(DIST / "figures.css").as_uri()}">'
            f'<body>{body}<script defer src="{(DIST / "page.js").as_uri()}"></script>',
            encoding="utf-8",
        )
        return file

    def open(
        self,
        address: str,
        *,
        width: int = 800,
        own: tuple[str, ...] = OWN,
        script: str = "",
        **options: Any,
    ) -> Page:
        """Open an address; requests that do not begin with one of `own` fail and are noted."""
        context = self.browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.route(lambda url: not url.startswith(own), lambda route: route.abort())
        page = context.new_page()
        page.add_init_script(script or ";")
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._hear)
        page.on("requestfailed", lambda request: self.problems.append(f"failed: {request.url}"))
        page.on("response", self._check)
        page.goto(address)
        return page

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _check(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def close(self) -> None:
        """Close every page."""
        for context in self.browser.contexts:
            context.close()


def check_width_and_theme(page: Page, width: int, theme: str) -> None:
    """Check that the page does not scroll sideways and that the figure has the theme's colour."""
    assert page.evaluate("document.documentElement.scrollWidth") == width
    surface = page.evaluate("getComputedStyle(document.querySelector('.fastattn')).backgroundColor")
    assert (surface == "rgb(255, 255, 255)") == (theme == "light")


def check_labels_inside(page: Page, width: int) -> None:
    """Check that every text of the plots stands within the page."""
    boxes = page.eval_on_selector_all(
        ".fastattn-plot text",
        "nodes => nodes.map((node) => { const box = node.getBoundingClientRect();"
        " return [box.left, box.right]; })",
    )
    assert min(left for left, _ in boxes) >= 0
    assert max(right for _, right in boxes) <= width


def sentence(page: Page) -> str:
    """Return what the first figure of the page says now."""
    return page.locator(".fastattn-sentence").first.inner_text()


def state(page: Page, name: str, place: int = 0) -> Any:
    """Return a parameter of the figure at that place on the page."""
    figure = f"document.querySelectorAll('fastattn-figure')[{place}]"
    return page.evaluate(f"{figure}.model.get('{name}')")


def box_of(page: Page, selector: str) -> dict[str, float]:
    """Return where a mark is drawn in the window: found and measured in one step of the page.

    A redraw makes marks anew, so one that was found a moment ago may have no place any more.
    """
    return page.evaluate(BOX, selector)


def middle_of(page: Page, selector: str) -> tuple[float, float]:
    """Return the middle of a mark."""
    box = box_of(page, selector)
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], steps: int = 5) -> None:
    """Drag a finger over the page (the context must have touch), from place to place."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    send("touchStart", start)
    for step in range(1, steps + 1):
        part = step / steps
        send(
            "touchMove",
            (start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])),
        )
    send("touchEnd")


def check_redraws(page: Page, times: list[float]) -> None:
    """Check that a redraw costs less than arithmetic that fills one frame (16 ms) of a quiet core.

    Both are measured on the same page, so that a slow or loaded machine fails nothing.
    """
    redraw, frame = (statistics.median(series) for series in (times, page.evaluate(FRAMES)))
    assert redraw < frame, f"a redraw took {redraw:.1f} ms, a frame of arithmetic {frame:.1f} ms"


BOX = "selector => document.querySelector(selector).getBoundingClientRect().toJSON()"
"""Return the rectangle of the first mark that a selector finds."""
FRAMES = """() => Array.from({ length: 15 }, () => {
    const start = performance.now();
    let sum = 0;
    for (let i = 0; i < 8e6; i += 1) sum += Math.sqrt(i);
    return performance.now() - start + 0 * sum;
})"""
"""Times a fixed amount of arithmetic, which a quiet core of 2024 does in about 16 milliseconds."""
REDRAWS = """async () => {
    const times = [];
    const note = (event) => times.push(event.detail.milliseconds);
    addEventListener("fastattn-redraw", note, true);
    const inputs = [...document.querySelectorAll("input[type=range]")];
    for (let step = 0; step < 60; step += 1) {
        const input = inputs[step % inputs.length];
        input.value = Number(input.value) + (step % 8 < 4 ? 1 : -1);
        input.dispatchEvent(new Event("input"));
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
    }
    return times;
}"""
"""Moves the sliders of a page and returns how long each redraw took, in milliseconds."""

_MOVE = """async (states) => {
    const figure = document.querySelector("fastattn-figure");
    const found = [];
    for (const state of states) {
        for (const [name, value] of Object.entries(state)) figure.model.set(name, value);
        await new Promise(requestAnimationFrame);
        found.push(WHAT);
    }
    return found;
}"""
SENTENCES = _MOVE.replace("WHAT", 'figure.querySelector(".fastattn-sentence").textContent')
HEIGHTS = _MOVE.replace("WHAT", "figure.offsetHeight")
"""Put the first figure into one state after another; return what it says, or its heights."""
