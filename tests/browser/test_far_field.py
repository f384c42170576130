"""FarField on a page without a kernel: the target by pointer and keys, the two kernels."""

from __future__ import annotations

from typing import Any

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
    middle_of,
    sentence,
    state,
)
from fastattn_lite.figures import FarField

pytestmark = pytest.mark.browser


def handle(page: Page) -> tuple[float, float]:
    """Return the middle of the target's handle in the window."""
    return middle_of(page, ".fastattn-handle")


def test_the_page_says_what_python_says(stage: Stage) -> None:
    figures = [
        FarField(),
        FarField(target=0.5),
        FarField(centers=8, order=12, target=-5),
        FarField(kernel="gauss", order=0, radius=1.5, target=0),
        FarField(kernel="gauss", order=9, centers=3, target=1.7, seed=99),
        FarField(radius=0.25, centers=2, order=1, target=-0.4, seed=5),
    ]
    page = stage.show(figures[0])
    assert sentence(page) == figures[0].summary()
    found = page.evaluate(SENTENCES, [figure.state() for figure in figures])
    assert found == [figure.summary() for figure in figures]


@pytest.mark.parametrize("width", [375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, width: int, theme: Any) -> None:
    page = stage.show(FarField(), width=width, color_scheme=theme)
    check_width_and_theme(page, width, theme)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("order", "ArrowRight", 4),
        ("radius", "Home", 0.25),
        ("centers", "End", 8),
        ("target", "ArrowLeft", 2.9),
        ("seed", "ArrowUp", 1),
    ],
)
def test_keys_move_sliders(stage: Stage, name: str, key: str, expected: float) -> None:
    figure = FarField()
    page = stage.show(figure)
    page.locator(f'[data-parameter="{name}"] input').press(key)
    assert state(page, name) == expected
    setattr(figure, name, expected)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


def test_the_other_kernel_has_no_near_band(stage: Stage) -> None:
    page = stage.show(FarField())
    assert page.locator(".fastattn-band").count() == 1
    page.get_by_role("radio").nth(0).press("ArrowRight")
    assert state(page, "kernel") == "gauss"
    page.wait_for_function("!document.querySelector('.fastattn-band')")


def test_the_target_is_dragged_with_the_mouse(stage: Stage) -> None:
    page = stage.show(FarField())
    x, y = handle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=5)
    page.mouse.up()
    figure = FarField(target=state(page, "target"))
    assert figure.target < 2.6
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())
    assert handle(page)[0] == pytest.approx(x - 60, abs=4)


def test_a_finger_drags_the_target(stage: Stage) -> None:
    page = stage.show(FarField(), width=375, has_touch=True, is_mobile=True)
    page.locator(".fastattn-picture").first.scroll_into_view_if_needed()
    x, y = handle(page)
    drag(page, (x, y), (x - 60, y))
    assert state(page, "target") < 2


def test_a_link_carries_the_target(stage: Stage) -> None:
    page = stage.show(FarField(), address="#FarField.target=-2&FarField.kernel=gauss")
    assert (state(page, "target"), state(page, "kernel")) == (-2, "gauss")
    page.get_by_role("button", name="Reset").click()
    assert (state(page, "target"), state(page, "kernel")) == (3, "inverse")


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(FarField(kernel="gauss", centers=8, order=12))
    times = page.evaluate(REDRAWS)
    assert len(times) > 30
    check_redraws(page, times)


def test_the_figure_keeps_its_height(stage: Stage) -> None:
    page = stage.show(FarField())
    states = [
        FarField(kernel=kernel, target=target, order=order, centers=centers).state()
        for kernel in ("inverse", "gauss")
        for target in (-5, 0.3, 4.9)
        for order, centers in ((0, 1), (12, 8), (5, 3))
    ]
    for width in (375, 420, 480, 560, 640, 720, 800, 900, 1100, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert len(set(page.evaluate(HEIGHTS, states))) == 1, width
