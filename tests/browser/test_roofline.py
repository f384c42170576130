"""Roofline on a page without a kernel, opened from disk, and in Python."""

from __future__ import annotations

import re
from typing import Any

import pytest
import traitlets
from playwright.sync_api import Page

from browser.stage import (
    HEIGHTS,
    REDRAWS,
    SENTENCES,
    Stage,
    check_labels_inside,
    check_redraws,
    check_width_and_theme,
    sentence,
    state,
)
from fastattn_lite.figures import Roofline

pytestmark = pytest.mark.browser

FIGURES = [
    Roofline(),
    Roofline(device="cpu", dim=32, tokens=16_384),
    Roofline(dim=16, order=3, tokens=256),
    Roofline(device="h200", dim=16),
    Roofline(device="cpu", dim=128, order=1, tokens=1_048_576),
]


def press(page: Page, name: str, key: str) -> None:
    page.locator(f'[data-parameter="{name}"] input').first.press(key)


@pytest.mark.parametrize("figure", FIGURES, ids=repr)
def test_the_page_says_what_python_says(stage: Stage, figure: Roofline) -> None:
    assert sentence(stage.show(figure)) == figure.summary()


def test_every_setting_says_what_python_says_and_keeps_its_height(stage: Stage) -> None:
    settings: list[dict[str, Any]] = [
        {"device": device, "dim": dim, "order": order}
        for device in ("h100", "h200", "cpu")
        for dim in (16, 32, 64, 128)
        for order in (1, 2, 3)
    ]
    page = stage.show(Roofline(), width=1000)
    expected = [Roofline(**setting).summary() for setting in settings]
    assert page.evaluate(SENTENCES, settings) == expected
    heights = page.evaluate(HEIGHTS, settings)
    assert max(heights) - min(heights) < 40, "only the sentence may take a line more"


@pytest.mark.parametrize("figure", [FIGURES[0], FIGURES[1], FIGURES[3]], ids=repr)
@pytest.mark.parametrize("width", [340, 375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, figure: Roofline, width: int, theme: Any) -> None:
    page = stage.show(figure, width=width, color_scheme=theme, reduced_motion="reduce")
    check_width_and_theme(page, width, theme)
    check_labels_inside(page, width)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("device", "ArrowRight", "h200"),
        ("dim", "ArrowLeft", 32),
        ("dim", "End", 128),
        ("order", "ArrowRight", 3),
        ("tokens", "Home", 256),
        ("tokens", "ArrowUp", 131_072),
    ],
)
def test_keys_move_every_control(stage: Stage, name: str, key: str, expected: Any) -> None:
    page = stage.show(Roofline())
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => { heard += 1; })")
    press(page, name, key)
    assert state(page, name) == expected
    assert page.evaluate("heard") == 0, "JupyterLab would take the key"
    text = Roofline(**{name: expected}).summary()
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=text)


def test_every_measured_run_has_a_cross_and_a_bar(stage: Stage) -> None:
    page = stage.show(Roofline())
    runs = Roofline().measured()
    roof, shares = page.locator(".fastattn-plot").all()
    assert roof.locator(".fastattn-point").count() == len(runs) + 3
    assert shares.locator("rect.fastattn-bar-mark").count() == len(runs) >= 9
    assert "36.9 ms" in shares.inner_text()


@pytest.mark.parametrize(("device", "unit"), [("h100", "µs"), ("h200", "µs"), ("cpu", "ms")])
def test_the_least_time_has_a_unit_that_fits(stage: Stage, device: str, unit: str) -> None:
    page = stage.show(Roofline(device=device))
    term = page.locator(".fastattn-readouts div", has_text="Least time of a step")
    assert re.search(rf"\b[1-9]\d{{0,2}}(\.\d+)? {unit} a head$", term.inner_text())


def test_a_setting_without_a_run_says_so(stage: Stage) -> None:
    page = stage.show(FIGURES[2])
    assert page.locator("rect.fastattn-bar-mark").count() == 0
    assert "No run is stored" in page.locator(".fastattn-plot").last.inner_text()


def test_a_link_carries_the_state(stage: Stage) -> None:
    page = stage.show(Roofline(), address="#Roofline.device=cpu&Roofline.dim=32")
    assert (state(page, "device"), state(page, "dim")) == ("cpu", 32)
    page.get_by_role("button", name="Reset").click()
    assert (state(page, "device"), state(page, "dim")) == ("h100", 64)


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(Roofline())
    times = page.evaluate(REDRAWS)
    assert len(times) > 20
    check_redraws(page, times)


@pytest.mark.parametrize("figure", FIGURES, ids=repr)
def test_still_and_html(figure: Roofline) -> None:
    roof, shares = figure.still().axes
    assert roof.get_yscale() == "log"
    assert len(shares.patches) == len(figure.measured())
    assert figure.summary() in figure._repr_html_()
    assert eval(repr(figure), {"Roofline": Roofline}).state() == figure.state()


def test_nothing_measured_is_above_the_roof() -> None:
    for figure in (Roofline(), Roofline(dim=32), FIGURES[1], FIGURES[3], Roofline(device="cpu")):
        assert figure.measured()
        assert all(0 < run.share < 1 for run in figure.measured())


def test_storing_the_features_costs_intensity() -> None:
    works = Roofline().works()
    assert works["stored"].intensity < Roofline().roof().ridge < works["fused"].intensity


@pytest.mark.parametrize(("name", "value"), [("device", "t4"), ("dim", 8), ("order", 4)])
def test_values_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(traitlets.TraitError, match=name):
        Roofline(**{name: value})
