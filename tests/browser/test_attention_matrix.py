"""AttentionMatrix on a page without a kernel: matrices, rows, words and numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from browser.stage import (
    HEIGHTS,
    REDRAWS,
    SENTENCES,
    Stage,
    check_redraws,
    check_width_and_theme,
    drag,
    sentence,
    state,
)
from fastattn_lite.figures import AttentionMatrix

pytestmark = pytest.mark.browser

SETTINGS = [
    {"order": order, "family": family, "temperature": temperature, "is_causal": causal}
    for order, family, temperature, causal in itertools.product(
        range(7), ("taylor", "chebyshev", "minimax"), (0.25, 1.0, 8.0), (False, True)
    )
]


def own_tokens(count: int = 5, dim: int = 2) -> AttentionMatrix:
    """Return the figure of a reader's own tokens."""
    query, key = np.random.default_rng(1).normal(size=(2, count, dim))
    return AttentionMatrix(query=query, key=key, temperature=1)


def map_box(page: Page, place: int = 0) -> Any:
    """Return the place of the outline of the chosen row, in one of the matrices."""
    picture = page.locator(".fastattn-picture").nth(place)
    return picture.evaluate(
        "picture => picture.querySelector('.fastattn-line').getBoundingClientRect().toJSON()"
    )


def test_the_page_says_what_python_says(stage: Stage) -> None:
    shown = stage.show(AttentionMatrix()).evaluate(SENTENCES, SETTINGS)
    expected = [AttentionMatrix(**settings).summary() for settings in SETTINGS]
    assert shown == expected
    assert any("Negative weights" in text for text in shown)


@pytest.mark.parametrize("count", [2, 5, 64])
def test_a_readers_own_tokens_are_shown(stage: Stage, count: int) -> None:
    figure = own_tokens(count)
    page = stage.show(figure)
    assert sentence(page) == figure.summary()
    assert state(page, "tokens") == figure.tokens
    names = page.locator(".fastattn-picture").first.locator(".fastattn-name").count()
    assert names == 2 * count or count == 64


@pytest.mark.parametrize("width", [375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, width: int, theme: Any) -> None:
    page = stage.show(AttentionMatrix(order=3, temperature=0.25), width=width, color_scheme=theme)
    check_width_and_theme(page, width, theme)
    sizes = page.eval_on_selector_all(
        ".fastattn button, .fastattn input[type=range], .fastattn-bar label, .fastattn-toggle",
        "nodes => nodes.map((node) => node.getBoundingClientRect().height)",
    )
    assert min(sizes) >= 24


def test_every_weight_is_a_square(stage: Stage) -> None:
    """24 x 24 squares of equal size for exp; under a causal mask those up to the diagonal."""
    page = stage.show(AttentionMatrix(temperature=4))
    count = """() => [...document.querySelectorAll(".fastattn-picture")[0]
        .querySelectorAll(".fastattn-cells.fastattn-exact")]
        .map((path) => path.getAttribute("d").split("M").length - 1).reduce((a, b) => a + b)"""
    assert page.evaluate(count) == 24 * 24
    page.locator('[data-parameter="is_causal"] input').check()
    page.wait_for_function("document.body.innerText.includes('tokens, causal')")
    assert 24 < page.evaluate(count) <= 24 * 25 // 2
    box = map_box(page)  # with half of its line on each side
    assert box["width"] / 24 == pytest.approx(box["height"], abs=2)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("order", "ArrowRight", 3),
        ("temperature", "ArrowLeft", 0.35),
        ("temperature", "End", 16),
        ("token", "End", 23),
        ("token", "ArrowLeft", 0),
    ],
)
def test_keys_move_sliders(stage: Stage, name: str, key: str, expected: float) -> None:
    figure = AttentionMatrix()
    page = stage.show(figure)
    page.locator(f'[data-parameter="{name}"] input').press(key)
    assert state(page, name) == expected
    setattr(figure, name, expected)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


def test_choices_and_the_mask(stage: Stage) -> None:
    figure = AttentionMatrix()
    page = stage.show(figure)
    page.get_by_label("minimax", exact=True).check()
    page.locator('[data-parameter="is_causal"] input').check()
    figure.family, figure.is_causal = "minimax", True
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_press_in_a_matrix_chooses_its_row(stage: Stage, place: int) -> None:
    page = stage.show(AttentionMatrix())
    name: Any = page.locator(".fastattn-picture").nth(place).locator(".fastattn-name").nth(7)
    middle = name.bounding_box()["y"] + name.bounding_box()["height"] / 2
    page.mouse.click(map_box(page, place)["x"] + 40, middle)
    assert state(page, "token") == 7
    page.wait_for_function("document.body.innerText.includes('“wind” gives')")
    slider = page.locator('[data-parameter="token"] input')
    assert slider.get_attribute("aria-valuetext") == "wind"
    box = map_box(page, place)
    assert box["y"] + box["height"] / 2 == pytest.approx(middle, abs=3)


def test_a_finger_taps_a_row_and_scrolls_without_choosing_one(stage: Stage) -> None:
    page = stage.show(AttentionMatrix(), width=375, has_touch=True, is_mobile=True)
    page.locator(".fastattn-picture").first.scroll_into_view_if_needed()
    box = map_box(page)
    page.touchscreen.tap(box["x"] + 40, box["y"] + 2.5 * box["height"])
    page.wait_for_function("document.body.innerText.includes('“steam” gives')")
    before = page.evaluate("scrollY")
    drag(page, (box["x"] + 90, box["y"] + 200), (box["x"] + 90, box["y"] + 20))
    page.wait_for_function("before => scrollY > before + 50", arg=before)
    assert state(page, "token") == 3


def test_a_row_that_is_not_there_is_the_last_one(stage: Stage) -> None:
    page = stage.show(AttentionMatrix(), address="#AttentionMatrix.token=63")
    assert "“read” gives" in sentence(page)
    slider = page.locator('[data-parameter="token"] input')
    assert (slider.input_value(), slider.get_attribute("max")) == ("23", "23")


def test_a_link_carries_the_setting_and_reset_takes_it_back(stage: Stage) -> None:
    address = (
        "#AttentionMatrix.order=4&AttentionMatrix.family=minimax&AttentionMatrix.is_causal=true"
    )
    page = stage.show(AttentionMatrix(), address=address)
    names = ("order", "family", "is_causal")
    assert [state(page, name) for name in names] == [4, "minimax", True]
    page.get_by_role("button", name="Reset").click()
    assert [state(page, name) for name in names] == [2, "taylor", False]


@pytest.mark.parametrize("kind", ["PNG", "SVG"])
def test_pictures_can_be_downloaded(stage: Stage, kind: str) -> None:
    page = stage.show(AttentionMatrix())
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download as {kind}").click()
    content = download.value.path().read_bytes()
    assert content.startswith(b"\x89PNG" if kind == "PNG" else b"<svg")
    assert kind == "PNG" or content.count(b"kettle") >= 7


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(AttentionMatrix())
    times = page.evaluate(REDRAWS)
    assert len(times) > 30
    check_redraws(page, times)


@pytest.mark.parametrize("width", [320, 375, 420, 560, 700, 800, 1100, 1600])
def test_nothing_below_the_figure_moves(stage: Stage, width: int) -> None:
    page = stage.show(AttentionMatrix(), width=width)
    states = [settings | {"token": row} for settings in SETTINGS[::3] for row in (1, 15)]
    assert len(set(page.evaluate(HEIGHTS, states))) == 1
