"""KernelSum on a page without a kernel: the query by pointer, finger and keys."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from browser.stage import (
    HEIGHTS,
    REDRAWS,
    Stage,
    box_of,
    check_redraws,
    check_width_and_theme,
    drag,
    middle_of,
    sentence,
    state,
)
from fastattn_lite.figures import KernelSum

pytestmark = pytest.mark.browser


def knob(page: Page) -> tuple[float, float]:
    """Return the middle of the query's knob in the window."""
    return middle_of(page, ".fastattn-knob .fastattn-handle")


@pytest.mark.parametrize(
    "figure",
    [
        KernelSum(),
        KernelSum(query_x=0, query_y=0, order=0),
        KernelSum(query_x=-2.5, query_y=2, order=1, tokens=12),
        KernelSum(query_x=3, query_y=-3, order=5, tokens=24, seed=99),
        KernelSum(query_x=-0.1, query_y=2.9, order=6, tokens=3, seed=7),
    ],
    ids=repr,
)
def test_the_page_says_what_python_says(stage: Stage, figure: KernelSum) -> None:
    assert sentence(stage.show(figure)) == figure.summary()


@pytest.mark.parametrize("width", [375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, width: int, theme: Any) -> None:
    page = stage.show(KernelSum(), width=width, color_scheme=theme)
    check_width_and_theme(page, width, theme)
    room = box_of(page, ".fastattn-knob-room")
    assert min(room["width"], room["height"]) >= 24


def test_a_unit_has_one_length_on_both_axes(stage: Stage) -> None:
    page = stage.show(KernelSum(query_x=0, query_y=0), width=620)
    middle = knob(page)
    for name in ("query_x", "query_y"):
        page.locator(f'[data-parameter="{name}"] input').press("End")
    page.wait_for_function("document.body.innerText.includes('Query (3, 3)')")
    corner = knob(page)
    assert corner[0] - middle[0] == pytest.approx(middle[1] - corner[1], abs=1)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("query_x", "ArrowRight", 1.3),
        ("query_y", "Home", -3),
        ("order", "ArrowLeft", 1),
        ("tokens", "End", 24),
        ("seed", "ArrowUp", 1),
    ],
)
def test_keys_move_sliders(stage: Stage, name: str, key: str, expected: float) -> None:
    figure = KernelSum()
    page = stage.show(figure)
    page.locator(f'[data-parameter="{name}"] input').press(key)
    assert state(page, name) == expected
    setattr(figure, name, expected)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


def test_the_query_is_dragged_with_the_mouse(stage: Stage) -> None:
    page = stage.show(KernelSum())
    x, y = knob(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 90, y + 60, steps=5)
    page.mouse.up()
    place = {name: state(page, name) for name in ("query_x", "query_y")}
    assert max(place.values()) < 0.2
    figure = KernelSum(**place)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())
    assert knob(page) == pytest.approx((x - 90, y + 60), abs=4)


def test_a_finger_drags_the_knob_and_scrolls_beside_it(stage: Stage) -> None:
    page = stage.show(KernelSum(), width=375, has_touch=True, is_mobile=True)
    page.locator(".fastattn-picture").first.scroll_into_view_if_needed()
    x, y = knob(page)
    before = page.evaluate("scrollY")
    drag(page, (x, y), (x - 60, y + 70))
    assert state(page, "query_x") < 0.5
    assert state(page, "query_y") < 0
    assert page.evaluate("scrollY") == before
    place = state(page, "query_x"), state(page, "query_y")
    box: Any = page.locator(".fastattn-picture").first.bounding_box()
    drag(page, (box["x"] + 80, box["y"] + 300), (box["x"] + 80, box["y"] + 80))
    page.wait_for_function("before => scrollY > before + 50", arg=before)
    assert (state(page, "query_x"), state(page, "query_y")) == place


def test_negative_weights_are_flagged(stage: Stage) -> None:
    figure = KernelSum(query_x=-2.5, query_y=2, order=1, tokens=12)
    page = stage.show(figure)
    negative = figure.sums().negative
    assert negative > 0
    assert page.locator("circle.fastattn-warning").count() == negative
    assert f"{negative} of 12" in page.locator(".fastattn-readouts").inner_text()
    page.locator('[data-parameter="order"] input').press("ArrowRight")
    page.wait_for_function("document.body.innerText.includes('0 of 12')")
    assert page.locator("circle.fastattn-warning").count() == 0


def test_a_link_carries_the_query(stage: Stage) -> None:
    page = stage.show(KernelSum(), address="#KernelSum.query_x=-2&KernelSum.order=4")
    assert (state(page, "query_x"), state(page, "order")) == (-2, 4)
    page.get_by_role("button", name="Reset").click()
    assert (state(page, "query_x"), state(page, "order")) == (1.2, 2)


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(KernelSum(tokens=24))
    times = page.evaluate(REDRAWS)
    assert len(times) > 30
    check_redraws(page, times)


def test_the_figure_keeps_its_height(stage: Stage) -> None:
    page = stage.show(KernelSum())
    places = [(0, 0), (3, -3), (-2.7, 2.9), (0.1, -0.2)]
    states = [
        KernelSum(query_x=x, query_y=y, order=order, tokens=24).state()
        for x, y in places
        for order in (1, 2, 5)
    ]
    for width in (375, 420, 560, 800, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert len(set(page.evaluate(HEIGHTS, states))) == 1, width
