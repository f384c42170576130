"""CostRace and TruncationError on a page without a kernel, opened from disk."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from browser.stage import HEIGHTS, REDRAWS, SENTENCES, Stage, check_redraws, drag, sentence, state
from fastattn_lite.figures import CostRace, TruncationError
from fastattn_lite.figures.parameters import specs

pytestmark = pytest.mark.browser

FIGURES = [CostRace, TruncationError]
BOTH = CostRace()._repr_html_() + TruncationError()._repr_html_()

COSTS = [
    CostRace(tokens=tokens, dim=dim, order=order, is_causal=is_causal)
    for tokens in (16, 768, 1000, 4096, 1048576)
    for dim, order in ((1, 0), (8, 1), (63, 3), (64, 2), (256, 6))
    for is_causal in (False, True)
]
ERRORS = [
    TruncationError(order=order, family=family, radius=radius)
    for order in (0, 1, 2, 3, 10)
    for family in ("taylor", "chebyshev", "minimax")
    for radius in (0.25, 1.0, 1.125, 4.5, 8.0)
]
WIDTHS_AND_THEMES = list(itertools.product((375, 800, 1600), ("light", "dark")))

ROUND_OFF = re.compile(r"[\d.]+ × 10⁻¹[²³⁴⁵⁶]")

COLORS = """() => [".fastattn", ".fastattn-tick", ".fastattn-line"].map((name) => {
    const style = getComputedStyle(document.querySelector(name));
    return [style.backgroundColor, style.color, style.fill, style.stroke].join();
})"""
SIZES = """() => [...document.querySelectorAll(
    ".fastattn button, .fastattn input:not(.fastattn-bar input), .fastattn-bar label"
)].map((node) => {
    const box = node.getBoundingClientRect();
    return [node.innerText || node.type, box.width, box.height];
})"""


def known(text: str) -> str:
    """Return the sentence without digits that are round-off: float64 knows f to about 1e-15."""
    return ROUND_OFF.sub("tiny", text)


def says(page: Page, figure: Any) -> None:
    """Wait until the page says what the figure says in Python."""
    expect(page.locator(".fastattn-sentence").first).to_have_text(figure.summary())


def button(page: Page, name: str, place: int = 0) -> Locator:
    return page.get_by_role("button", name=name, exact=True).nth(place)


def plot_box(page: Page) -> Any:
    picture = page.locator(".fastattn-draggable").first
    picture.scroll_into_view_if_needed()
    return picture.bounding_box()


@pytest.mark.parametrize("figures", [COSTS, ERRORS], ids=["CostRace", "TruncationError"])
def test_the_page_says_what_python_says(stage: Stage, figures: list[Any]) -> None:
    page = stage.show(figures[-1])
    assert sentence(page) == figures[-1].summary()
    texts = page.evaluate(SENTENCES, [figure.state() for figure in figures])
    assert [known(text) for text in texts] == [known(figure.summary()) for figure in figures]


def test_the_states_tried_include_every_kind_of_sentence() -> None:
    texts = " ".join(figure.summary() for figure in COSTS + ERRORS)
    for words in ("negative weights", "touches zero", "at most", "no guarantee", "Causal"):
        assert words in texts
    assert {figure.crossover() > figure.tokens for figure in COSTS} == {True, False}


def test_ties_are_rounded_as_in_python(stage: Stage) -> None:
    figure = TruncationError(radius=1.125)
    assert "[−1.12, 1.12]" in figure.summary(), "JavaScript alone would say 1.13"
    says(stage.show(figure), figure)


@pytest.mark.parametrize("figure", FIGURES)
def test_every_width_and_theme(stage: Stage, figure: Any) -> None:
    page = stage.show(figure(), reduced_motion="reduce")
    seen = set()
    for width, theme in WIDTHS_AND_THEMES:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(50)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        picture: Any = page.locator(".fastattn-picture").first.bounding_box()
        assert 0.4 * min(width, 800) < picture["width"] <= width
        assert page.evaluate("document.getAnimations().length") == 0
        for name, across, high in page.evaluate(SIZES):
            assert min(across, high) >= 24, (name, width)
        seen.add((theme, *page.evaluate(COLORS)))
    assert len(seen) == 2, "one set of colours for light and one for dark"
    assert len({colors[1:] for colors in seen}) == 2


@pytest.mark.parametrize("figures", [COSTS, ERRORS], ids=["CostRace", "TruncationError"])
def test_the_figure_keeps_its_height(stage: Stage, figures: list[Any]) -> None:
    page = stage.show(figures[0])
    states = [figure.state() for figure in figures[::3]]
    for width in (375, 560, 720, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert len(set(page.evaluate(HEIGHTS, states))) == 1, width


KEYS = [
    (CostRace, "Tokens n", "tokens", [("ArrowRight", 1536), ("Home", 16), ("End", 1048576)]),
    (CostRace, "Head dimension d", "dim", [("ArrowLeft", 32), ("End", 256), ("ArrowDown", 128)]),
    (CostRace, "Order p", "order", [("ArrowUp", 3), ("End", 6), ("ArrowRight", 6), ("Home", 0)]),
    (CostRace, "Causal", "is_causal", [("Space", True), ("Space", False)]),
    (TruncationError, "Order p", "order", [("ArrowRight", 3), ("End", 10), ("Home", 0)]),
    (TruncationError, "Taylor", "family", [("ArrowRight", "chebyshev")]),
    (TruncationError, "Taylor", "family", [("ArrowLeft", "minimax")]),
    (
        TruncationError,
        "Score radius B",
        "radius",
        [("ArrowLeft", 0.75), ("End", 8), ("Home", 0.25)],
    ),
]


@pytest.mark.parametrize("figure", FIGURES)
def test_keys_move_every_control(stage: Stage, figure: Any) -> None:
    page = stage.show(figure())
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => { heard += 1; })")
    tried = set()
    for _, label, name, presses in [entry for entry in KEYS if entry[0] is figure]:
        own = figure()
        button(page, "Reset").click()
        control = page.get_by_label(label, exact=True)
        for key, expected in presses:
            control.press(key)
            assert state(page, name) == expected, (name, key)
            setattr(own, name, expected)
            says(page, own)
        tried.add(name)
    assert tried == set(specs(figure.__name__))
    assert page.evaluate("heard") == 0, "JupyterLab would take the key"


@pytest.mark.parametrize("figure", FIGURES)
def test_screen_readers_get_names_values_and_a_sentence(stage: Stage, figure: Any) -> None:
    page = stage.show(figure())
    title = page.locator(".fastattn-title").inner_text()
    region = page.get_by_role("region", name=title)
    for group in ("Controls of this figure", "Tools of this figure"):
        assert region.get_by_role("group", name=group).count() == 1
    for slider in region.get_by_role("slider").all():
        output = slider.locator("xpath=preceding-sibling::output")
        assert output.get_attribute("aria-live") == "off", "the slider says its value itself"
        assert slider.get_attribute("aria-valuetext") == output.inner_text()
    assert (
        len({image.get_attribute("aria-label") for image in region.get_by_role("img").all()}) == 2
    )
    terms = region.locator("dt").all_inner_texts()
    values = region.locator("dd").all_inner_texts()
    assert len(terms) == len(values) == 4
    assert all(terms + values)
    live = region.locator("[role=status]")
    assert live.inner_text() == "", "nothing is read out before the reader acts"
    slider = region.get_by_role("slider", name="Order p")
    for _ in range(3):
        slider.press("ArrowRight")
    expect(live).to_have_text(figure(order=5).summary())


@pytest.mark.parametrize(
    ("figure", "name", "low", "high"),
    [(CostRace, "tokens", 16, 1048576), (TruncationError, "radius", 0.25, 1.5)],
)
@pytest.mark.parametrize("is_touch", [False, True], ids=["mouse", "touch"])
def test_the_plot_is_dragged(
    stage: Stage, figure: Any, name: str, low: float, high: float, is_touch: bool
) -> None:
    page = stage.show(figure(), width=375, has_touch=is_touch)
    box = plot_box(page)
    middle = box["y"] + box["height"] / 2
    start = (box["x"] + 0.6 * box["width"], middle)
    seen = []
    for end in ((box["x"] + box["width"] - 1, middle), (box["x"] + 0.58 * box["width"], middle)):
        if is_touch:
            drag(page, start, end)
        else:
            page.mouse.move(*start)
            page.mouse.down()
            page.mouse.move(*end, steps=5)
            page.mouse.up()
        seen.append(state(page, name))
    assert seen[0] == pytest.approx(high, rel=0.1)
    assert low <= seen[1] < seen[0] / 2
    page.mouse.move(box["x"] + 100, middle)
    assert state(page, name) == seen[1], "the plot let go"
    says(page, figure(**{name: seen[1]}))


def test_a_finger_scrolls_the_page_over_a_plot(stage: Stage) -> None:
    page = stage.show(BOTH, width=375, has_touch=True)
    box = plot_box(page)
    before = page.evaluate("scrollY")
    across = box["x"] + box["width"] / 2
    drag(page, (across, box["y"] + 250), (across, box["y"] + 20), steps=8)
    page.wait_for_function("before => scrollY > before + 100", arg=before)


@pytest.mark.parametrize("figure", FIGURES)
def test_reset_brings_back_the_state_of_the_page(stage: Stage, figure: Any) -> None:
    own = figure(order=1)
    address = f"#{figure.__name__}.order=5"
    page = stage.show(own, address=address)
    says(page, figure(order=5))
    button(page, "Reset").click()
    says(page, own)


@pytest.mark.parametrize(
    "figure",
    [
        CostRace(tokens=3000, dim=17, order=6, is_causal=True),
        TruncationError(order=7, family="minimax", radius=3.7),
    ],
    ids=repr,
)
def test_a_copied_link_opens_the_same_state(stage: Stage, figure: Any) -> None:
    page = stage.show(type(figure)())
    page.evaluate(SENTENCES, [figure.state()])
    button(page, "Copy link").click()
    expect(page.locator(".fastattn-copied")).to_have_count(1)
    link = page.url
    assert link.count("#") == 1
    stage.show(type(figure)())
    again = stage.open(link)
    says(again, figure)
    assert {name: state(again, name) for name in figure.state()} == figure.state()


def test_a_link_that_cannot_be_copied_is_shown(stage: Stage) -> None:
    page = stage.show(CostRace())
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    button(page, "Copy link").click()
    entry = page.get_by_label("Copy this text:")
    assert entry.input_value() == page.url
    assert entry.evaluate("node => node.selectionEnd === node.value.length")


ADDRESSES = [
    ("#CostRace.order=many&CostRace.tokens=&CostRace.dim=NaN", CostRace()),
    ("#CostRace.is_causal=yes&CostRace.constructor=1&CostRace.__proto__=1", CostRace()),
    ("#CostRace2.order=5&TruncationError.order=5&order=5&CostRace.order", CostRace()),
    ("#%E0%A4%A&=&&CostRace.order=%3Cimg%20src=x%3E", CostRace()),
    ("#CostRace.order=99&CostRace.tokens=-1e9", CostRace(order=6, tokens=16)),
    ("#CostRace.order=3.4&CostRace.is_causal=true", CostRace(order=3, is_causal=True)),
    ("#TruncationError.family=TAYLOR&TruncationError.radius=wide", TruncationError()),
    (
        "#TruncationError.radius=Infinity&TruncationError.order=4",
        TruncationError(order=4, radius=8),
    ),
]


@pytest.mark.parametrize("figure", FIGURES)
def test_nonsense_in_the_address_is_ignored(stage: Stage, figure: Any) -> None:
    """What makes no sense leaves its parameter alone; what lies outside stops at the limit."""
    cases = [(address, own) for address, own in ADDRESSES if isinstance(own, figure)]
    page = stage.show(figure(), address=cases[0][0])
    for address, expected in cases:
        page.evaluate("address => { location.hash = address; }", address)
        says(page, expected)
        assert {name: state(page, name) for name in expected.state()} == expected.state(), address
        button(page, "Reset").click()


def test_two_figures_of_a_kind_keep_separate_links(stage: Stage) -> None:
    page = stage.show(TruncationError()._repr_html_() + TruncationError(order=4)._repr_html_())
    page.get_by_label("Order p").nth(1).press("ArrowRight")
    button(page, "Copy link", place=1).click()
    expect(page.locator(".fastattn-copied")).to_have_count(1)
    page.get_by_label("Order p").nth(0).press("Home")
    button(page, "Copy link", place=0).click()
    expect(page.locator(".fastattn-copied")).to_have_count(2)
    assert "TruncationError2.order=5" in page.url
    again = stage.open(page.url)
    again.wait_for_function("document.querySelectorAll('.fastattn-sentence').length === 2")
    assert [state(again, "order", place) for place in (0, 1)] == [0, 5]
    again.evaluate("location.hash = '#TruncationError2.order=9'")
    again.wait_for_function(
        "document.querySelectorAll('fastattn-figure')[1].model.get('order') === 9"
    )
    assert state(again, "order", 0) == 0


def downloaded(page: Page, kind: str, folder: Path) -> Path:
    with page.expect_download() as download:
        button(page, f"Download as {kind}").click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


@pytest.mark.parametrize("figure", FIGURES)
def test_downloads_are_pictures(stage: Stage, figure: Any, tmp_path: Path) -> None:
    page = stage.show(figure())
    words = set(page.locator(".fastattn-picture text").all_text_contents())
    for theme, surface in (("light", (255, 255, 255)), ("dark", (0x16, 0x1A, 0x20))):
        page.emulate_media(color_scheme=theme)
        file = downloaded(page, "SVG", tmp_path)
        assert file.name == f"{figure.__name__}.svg"
        root = ElementTree.parse(file).getroot()
        assert words <= {node.text for node in root.iter()}
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) >= 2
        assert "var(" not in file.read_text(encoding="utf-8")
        file = downloaded(page, "PNG", tmp_path)
        assert file.name == f"{figure.__name__}.png"
        with Image.open(file) as picture:
            assert picture.format == "PNG"
            assert picture.width == 2 * float(root.get("width", "0"))
            colors: Any = picture.convert("RGB").getcolors(1 << 24)
        assert max(colors)[1] == surface
        assert sum(count for count, color in colors if color != surface) > 10_000


@pytest.mark.parametrize("figure", FIGURES)
def test_redraw_within_a_frame(stage: Stage, figure: Any) -> None:
    page = stage.show(figure())
    times = page.evaluate(REDRAWS)
    assert len(times) > 30
    check_redraws(page, times)


@pytest.mark.parametrize("figure", [COSTS[3], ERRORS[7]], ids=repr)
def test_without_scripts_the_words_stand_there(stage: Stage, figure: Any) -> None:
    page = stage.open(stage.write(figure).as_uri(), width=375, java_script_enabled=False)
    assert page.locator("fastattn-figure p").first.inner_text() == figure.summary()
    assert page.get_by_text("Run this cell to make the figure live.").is_visible()
