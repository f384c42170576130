"""Every page of the built book in a browser: from disk, and from a server with no other host."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.stage import OWN, Stage, sentence, state
from fastattn_lite.figures.parameters import SPECS, specs
from tools.build import INDEX, build
from tools.notebooks import BOOK
from tools.serve import make_server

pytestmark = pytest.mark.browser

CHAPTERS = sorted(path.stem for path in BOOK.iterdir() if path.suffix in {".ipynb", ".md"})
PAGES = [*(f"book/{stem}" for stem in CHAPTERS), "genindex", "prf-prf", "search"]
FIGURES = [name for name, parameters in json.loads(SPECS.read_text()).items() if parameters]


def has_figures(stem: str) -> bool:
    """Tell whether a chapter shows a figure with something to move."""
    source = BOOK / f"{stem}.ipynb"
    text = source.read_text(encoding="utf-8") if source.exists() else ""
    return any(f'<fastattn-figure name=\\"{name}\\"' in text for name in FIGURES)


WITH_FIGURES = [f"book/{stem}" for stem in CHAPTERS if has_figures(stem)]
assert WITH_FIGURES, "without a page the tests of figures would be skipped in silence"
MOST_TABS = 200
"""A reader without a mouse reaches the first figure from the top in at most so many steps."""

SHIFT = """
window.shift = 0;
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
WIDE = """() => [...document.querySelectorAll("body *")].filter((node) => {
    const box = node.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && node.checkVisibility();
}).slice(0, 5).map((node) => node.outerHTML.slice(0, 90))"""
UNDRAWN = """() => [...document.querySelectorAll("fastattn-figure")].filter((figure) =>
    !figure.querySelector(".fastattn")
    || !figure.querySelector(".fastattn-sentence").textContent
    || [...figure.querySelectorAll(".fastattn-picture")].some((svg) =>
        !svg.querySelector(".fastattn-line, .fastattn-bar-mark, .fastattn-point"))
).map((figure) => figure.getAttribute("name"))"""
LONELY = """() => [...document.querySelectorAll("article span.math")].filter((formula) => {
    const text = (formula.closest(".math-whole") ?? formula).nextSibling;
    if (text?.nodeType !== 3 || !/^[.,;:)?!]/.test(text.data)) return false;
    if (!formula.checkVisibility()) return false;
    const mark = document.createRange();
    mark.setStart(text, 0);
    mark.setEnd(text, 1);
    const end = [...formula.querySelectorAll(".katex-base")].pop().getBoundingClientRect();
    return mark.getBoundingClientRect().left < end.right - 8;
}).map((formula) => formula.textContent)"""
"""Formulas whose comma or full stop stands alone at the beginning of the next line."""
SURFACES = """() => [...document.querySelectorAll(".fastattn")].map(
    (figure) => getComputedStyle(figure).backgroundColor)"""
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(22, 26, 32)"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Serve the book; build it first if that has not been done."""
    if not INDEX.exists():
        assert build() == 0
    server = make_server(0)
    server.RequestHandlerClass.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def settle(page: Page) -> None:
    """Wait until the page is drawn and nothing is under way."""
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
    page.wait_for_function("!document.querySelector('fastattn-figure:not(:has(.fastattn))')")
    page.wait_for_timeout(200)


def check(page: Page) -> None:
    settle(page)
    assert page.evaluate(UNDRAWN) == []
    assert page.evaluate("window.shift") < 0.1
    width = page.viewport_size
    assert width
    if page.evaluate("document.documentElement.scrollWidth") > width["width"]:
        raise AssertionError(f"wider than the window: {page.evaluate(WIDE)}")
    assert page.evaluate(LONELY) == []


@pytest.mark.parametrize("name", PAGES)
def test_page_from_disk_on_a_phone(stage: Stage, site: str, name: str) -> None:
    del site
    address = (INDEX.parent / f"{name}.html").as_uri()
    page = stage.open(address, width=375, script=SHIFT, has_touch=True)
    check(page)


# What axe finds that neither the book's style sheet nor its scripts can mend.
KNOWN: dict[str, str] = {}


@cache
def axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


AXE = """(rules) => axe.run({ exclude: [[".katex-html"]] }, {
    preload: false, resultTypes: ["violations"],
    ...(rules.length ? { runOnly: { type: "rule", values: rules } } : {}),
})"""
"""Formulas are left out: what is drawn of them is hidden from screen readers, who get MathML."""


JOIN = """() => {
    const seen = new Set();
    const repeated = [...document.querySelectorAll(".highlight span")].filter((word) => {
        const block = word.closest("[class*=highlight-]");
        const ground = getComputedStyle(word.closest(".highlight")).backgroundColor;
        const { color } = getComputedStyle(word);
        const look = [word.className, color, block?.className, ground].join();
        const isJudged = word.textContent.trim().length > 1 && word.checkVisibility();
        const isKnown = seen.has(look) || !isJudged;
        if (isJudged) seen.add(look);
        return isKnown && !word.children.length;
    });
    for (const word of repeated) word.replaceWith(word.textContent);
}"""
"""Leaves one coloured word of each kind in the code: over thousands axe takes minutes in all.

Single letters and words that are folded away have no colour in the eyes of axe.
"""


def violations(page: Page, *rules: str) -> list[str]:
    """Return what axe finds by these rules (all, if none is named), as readable lines."""
    page.evaluate(axe())
    return [
        f"{rule['id']}: {node['target']} {node['html'][:120]} {node.get('failureSummary')}"
        for rule in page.evaluate(AXE, rules)["violations"]
        for node in rule["nodes"]
        if rule["id"] not in KNOWN
    ]


@pytest.mark.parametrize("name", PAGES)
def test_page_from_a_server_in_light_and_dark(stage: Stage, site: str, name: str) -> None:
    options: Any = {"own": (*OWN, site), "script": SHIFT, "reduced_motion": "reduce"}
    page = stage.open(f"{site}{name}.html", width=1280, color_scheme="light", **options)
    check(page)
    assert set(page.evaluate(SURFACES)) <= {LIGHT}
    choose_theme(page, "dark")
    check(page)
    assert set(page.evaluate(SURFACES)) <= {DARK}
    page.evaluate(JOIN)
    assert violations(page, "color-contrast", "link-in-text-block") == []
    choose_theme(page, "light")
    assert violations(page) == []


def choose_theme(page: Page, wanted: str) -> None:
    """Press the button in the header until the book has the wanted theme."""
    button = page.locator(".theme-switch-button:visible").first
    for _ in range(3):
        button.press("Enter")
        if page.locator("html").get_attribute("data-theme") == wanted:
            break
    assert page.locator("html").get_attribute("data-theme") == wanted
    button.blur()
    page.wait_for_function("!document.querySelector('.tooltip')")
    page.wait_for_function("!document.getAnimations().length")


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_keyboard_alone_moves_the_first_figure(stage: Stage, site: str, name: str) -> None:
    page = stage.open(f"{site}{name}.html", width=1280, own=(*OWN, site))
    settle(page)
    seen = []
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.outerHTML.slice(0, 80)"))
        if page.evaluate("document.activeElement.matches('fastattn-figure input[type=range]')"):
            break
    else:
        raise AssertionError(f"no figure after {MOST_TABS} steps: {seen}")
    before = sentence(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".fastattn-sentence").first).not_to_have_text(before)
    focus = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert focus != "none", "the focus is not seen"
    print(f"{name}: {len(seen)} steps")


@pytest.mark.parametrize("is_served", [False, True], ids=["disk", "server"])
def test_search_works_without_a_network(stage: Stage, site: str, is_served: bool) -> None:
    address = f"{site}search.html" if is_served else (INDEX.parent / "search.html").as_uri()
    page = stage.open(f"{address}?q=minimax", own=(*OWN, site))
    link = page.locator("#search-results li a").first
    link.wait_for()
    assert "expansion_truncation" in " ".join(
        found.get_attribute("href") or "" for found in page.locator("#search-results li a").all()
    )


def test_index_leads_to_the_first_chapter(stage: Stage, site: str) -> None:
    page = stage.open(site, own=(*OWN, site))
    page.wait_for_url("**/book/intro.html")


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_a_link_to_a_setting_opens_it_on_the_page(stage: Stage, site: str, name: str) -> None:
    del site
    page = stage.open((INDEX.parent / f"{name}.html").as_uri())
    settle(page)
    kinds: list[str] = page.locator("fastattn-figure").evaluate_all(
        "nodes => nodes.map((node) => node.getAttribute('name'))"
    )
    kind = next(kind for kind in kinds if kind in FIGURES)
    limits = specs(kind).items()
    parameter, value = next((name, spec["max"]) for name, spec in limits if "max" in spec)
    again = stage.open(f"{page.url}#{kind}.{parameter}={value}")
    settle(again)
    assert state(again, parameter, kinds.index(kind)) == value
    figure = again.locator("fastattn-figure").nth(kinds.index(kind))
    expect(figure).to_be_in_viewport()
