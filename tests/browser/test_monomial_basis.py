"""MonomialBasis on a page without a kernel, opened from disk."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from browser.stage import (
    HEIGHTS,
    REDRAWS,
    SENTENCES,
    Stage,
    check_redraws,
    check_width_and_theme,
    sentence,
    state,
)
from fastattn_lite.figures import MonomialBasis

pytestmark = pytest.mark.browser

STATES = [
    {"dim": dim, "order": order, "seed": seed, "term": term}
    for dim, order in ((1, 4), (2, 0), (3, 3), (4, 4))
    for seed, term in itertools.product(range(0, 100, 9), (1, 37))
]


@pytest.mark.parametrize("coefficients", ["taylor", "ones", "alternating"])
@pytest.mark.parametrize("basis", ["minimal", "full"])
def test_the_page_says_what_python_says(stage: Stage, coefficients: str, basis: str) -> None:
    kind = {"coefficients": coefficients, "basis": basis}
    shown = stage.show(MonomialBasis(**kind)).evaluate(SENTENCES, STATES)
    assert shown == [MonomialBasis(**kind, **settings).summary() for settings in STATES]


@pytest.mark.parametrize("width", [320, 375, 600, 800, 1600])
def test_nothing_below_the_figure_moves(stage: Stage, width: int) -> None:
    figure = MonomialBasis(basis="full", coefficients="alternating")
    page = stage.show(figure, width=width)
    assert len(set(page.evaluate(HEIGHTS, STATES))) == 1


@pytest.mark.parametrize("width", [375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, width: int, theme: Any) -> None:
    figure = MonomialBasis(dim=4, order=4, basis="full")
    page = stage.show(figure, width=width, color_scheme=theme)
    check_width_and_theme(page, width, theme)
    sizes = page.eval_on_selector_all(
        ".fastattn button, .fastattn input[type=range], .fastattn-bar label, .fastattn-rows tr",
        "nodes => nodes.map((node) => node.getBoundingClientRect().height)",
    )
    assert min(sizes) >= 24


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("dim", "ArrowRight", 3),
        ("order", "ArrowLeft", 1),
        ("order", "Home", 0),
        ("term", "ArrowLeft", 4),
        ("term", "End", 6),
        ("seed", "End", 99),
    ],
)
def test_keys_move_sliders(stage: Stage, name: str, key: str, expected: int) -> None:
    page, figure = stage.show(MonomialBasis()), MonomialBasis()
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => { heard += 1; })")
    page.locator(f'[data-parameter="{name}"] input').press(key)
    assert state(page, name) == expected
    assert page.evaluate("heard") == 0, "JupyterLab would take the key"
    setattr(figure, name, expected)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


@pytest.mark.parametrize(("name", "chosen"), [("basis", "full"), ("coefficients", "ones")])
def test_keys_choose(stage: Stage, name: str, chosen: str) -> None:
    page, figure = stage.show(MonomialBasis()), MonomialBasis(**{name: chosen})
    page.locator(f'[data-parameter="{name}"] input').first.press("ArrowRight")
    assert state(page, name) == chosen
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


def test_the_table_shows_the_terms_and_a_click_chooses_one(stage: Stage) -> None:
    page = stage.show(MonomialBasis(dim=3, order=2))
    rows = page.locator("tbody tr")
    assert rows.count() == 11
    assert page.locator(".fastattn-unused").inner_text().strip() == ""
    assert rows.nth(5).inner_text().split("\t")[1:4] == ["x₁x₂", "2", "1"]
    rows.nth(8).click()
    assert state(page, "term") == 9
    page.wait_for_function("document.querySelector('[aria-current]').innerText.startsWith('9')")
    assert page.locator("[aria-current]").count() == 1


def test_the_table_follows_the_term(stage: Stage) -> None:
    page = stage.show(MonomialBasis(dim=4, order=4, basis="full", term=300))
    numbers = [text.split("\t")[0] for text in page.locator("tbody tr").all_inner_texts()]
    assert numbers == [str(number) for number in range(295, 306)]
    assert page.locator("[aria-current]").inner_text().startswith("300\tx₄x₂²x₃")


def test_the_sum_is_compared_with_the_polynomial(stage: Stage) -> None:
    page = stage.show(MonomialBasis(dim=4, order=4, coefficients="alternating", basis="full"))
    assert page.locator(".fastattn-readouts").inner_text().endswith(", equal")


def test_a_term_is_dragged(stage: Stage) -> None:
    page = stage.show(MonomialBasis())
    box: Any = page.locator(".fastattn-picture").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + 80, steps=4)
    page.mouse.up()
    assert state(page, "term") == 1


def test_the_slider_of_terms_ends_at_the_last(stage: Stage) -> None:
    page = stage.show(MonomialBasis(term=341))
    slider = page.locator('[data-parameter="term"] input')
    assert slider.get_attribute("aria-valuetext") == "6 of 6"
    slider.press("ArrowLeft")
    assert state(page, "term") == 5
    page.locator('[data-parameter="order"] input').press("Home")
    page.wait_for_function("document.body.innerText.includes('Term 1 of 1')")
    assert slider.is_disabled()


def test_a_link_carries_the_state(stage: Stage) -> None:
    page = stage.show(MonomialBasis(), address="#MonomialBasis.dim=3&MonomialBasis.basis=full")
    assert sentence(page) == MonomialBasis(dim=3, basis="full").summary()
    page.get_by_role("button", name="Reset").click()
    assert state(page, "dim") == 2


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(MonomialBasis(dim=4, order=4, basis="full", term=300))
    times = page.evaluate(REDRAWS)
    assert len(times) > 30
    check_redraws(page, times)
