"""GradientBound on a page without a kernel."""

from __future__ import annotations

from typing import Any

import pytest

from browser.stage import (
    HEIGHTS,
    REDRAWS,
    Stage,
    check_redraws,
    check_width_and_theme,
    sentence,
    state,
)
from fastattn_lite.figures import GradientBound

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    "figure",
    [
        GradientBound(),
        GradientBound(order=0, score=0, tokens=2),
        GradientBound(order=1, score=-2, tokens=2),
        GradientBound(order=1, score=-1),
        GradientBound(order=3, score=-1.6, tokens=64),
        GradientBound(order=6, score=-4, tokens=16),
    ],
    ids=repr,
)
def test_the_page_says_what_python_says(stage: Stage, figure: GradientBound) -> None:
    assert sentence(stage.show(figure)) == figure.summary()


@pytest.mark.parametrize("width", [375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, width: int, theme: Any) -> None:
    page = stage.show(GradientBound(), width=width, color_scheme=theme)
    check_width_and_theme(page, width, theme)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("order", "ArrowLeft", 1),
        ("score", "ArrowRight", 1.1),
        ("score", "Home", -4),
        ("tokens", "ArrowUp", 16),
    ],
)
def test_keys_move_sliders(stage: Stage, name: str, key: str, expected: float) -> None:
    figure = GradientBound()
    page = stage.show(figure)
    page.locator(f'[data-parameter="{name}"] input').press(key)
    assert state(page, name) == expected
    setattr(figure, name, expected)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


def test_a_link_carries_the_state_and_reset_takes_it_back(stage: Stage) -> None:
    page = stage.show(GradientBound(), address="#GradientBound.score=-2&GradientBound.order=4")
    assert (state(page, "score"), state(page, "order")) == (-2, 4)
    page.get_by_role("button", name="Reset").click()
    assert (state(page, "score"), state(page, "order")) == (1, 2)


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(GradientBound(order=6, tokens=64))
    times = page.evaluate(REDRAWS)
    assert len(times) > 30
    check_redraws(page, times)


def test_the_figure_keeps_its_height(stage: Stage) -> None:
    page = stage.show(GradientBound())
    states = [
        GradientBound(order=order, score=score, tokens=tokens).state()
        for order in (0, 1, 2, 5)
        for score in (-4, -2, -1, 0.3)
        for tokens in (2, 64)
    ]
    for width in (375, 560, 800, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert len(set(page.evaluate(HEIGHTS, states))) == 1, width
