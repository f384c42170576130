"""MomentStream on a page without a kernel, opened from disk, and in Python."""

from __future__ import annotations

from typing import Any

import pytest
import traitlets
from playwright.sync_api import Page

from browser.stage import (
    Stage,
    check_labels_inside,
    check_redraws,
    check_width_and_theme,
    sentence,
    state,
)
from fastattn_lite.figures import MomentStream

pytestmark = pytest.mark.browser

FIGURES = [
    MomentStream(),
    MomentStream(devices=1, arrived=0, merge="sequence"),
    MomentStream(devices=8, arrived=17, merge="shuffled", seed=3, tokens=1048576, order=4),
    MomentStream(devices=7, arrived=5, merge="sequence", dim=256, cache="bfloat16", order=0),
]


def press(page: Page, name: str, key: str) -> None:
    page.locator(f'[data-parameter="{name}"] input').first.press(key)


@pytest.mark.parametrize("figure", FIGURES, ids=repr)
def test_the_page_says_what_python_says(stage: Stage, figure: MomentStream) -> None:
    assert sentence(stage.show(figure)) == figure.summary()


@pytest.mark.parametrize("figure", [FIGURES[0], FIGURES[2]], ids=repr)
@pytest.mark.parametrize("width", [340, 375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, figure: MomentStream, width: int, theme: Any) -> None:
    page = stage.show(figure, width=width, color_scheme=theme, reduced_motion="reduce")
    check_width_and_theme(page, width, theme)
    check_labels_inside(page, width)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("devices", "ArrowRight", 5),
        ("arrived", "ArrowLeft", 23),
        ("arrived", "Home", 0),
        ("merge", "ArrowRight", "shuffled"),
        ("seed", "ArrowUp", 1),
        ("tokens", "End", 1048576),
        ("dim", "ArrowLeft", 32),
        ("order", "ArrowRight", 3),
        ("cache", "ArrowRight", "bfloat16"),
    ],
)
def test_keys_move_every_control(stage: Stage, name: str, key: str, expected: Any) -> None:
    figure = MomentStream()
    page = stage.show(figure)
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => { heard += 1; })")
    if isinstance(expected, str):
        page.locator(f'input[value="{getattr(figure, name)}"]').press(key)
    else:
        press(page, name, key)
    assert state(page, name) == expected
    assert page.evaluate("heard") == 0, "JupyterLab would take the key"
    setattr(figure, name, expected)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


@pytest.mark.parametrize("is_touch", [False, True])
def test_tokens_arrive_by_dragging(stage: Stage, is_touch: bool) -> None:
    page = stage.show(MomentStream(arrived=0), width=600, has_touch=is_touch)
    box: Any = page.locator(".fastattn-picture").first.bounding_box()
    if is_touch:
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + 100)
    else:
        page.mouse.move(box["x"] + 20, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 120, steps=4)
        page.mouse.up()
    assert state(page, "arrived") == pytest.approx(12, abs=1)


def test_what_has_not_arrived_is_grey_and_counts_as_nothing(stage: Stage) -> None:
    page = stage.show(MomentStream(devices=3, arrived=7))
    stream = page.locator(".fastattn-plot").first
    assert stream.locator(".fastattn-point.fastattn-axis").count() == 24 - 7
    assert stream.locator("text", has_text="0: 0").count() == 2, "two devices"
    readouts = page.locator(".fastattn-readouts").inner_text()
    assert "up to round-off" in readouts or "to the last digit" in readouts


def test_a_link_carries_the_state(stage: Stage) -> None:
    page = stage.show(MomentStream(), address="#MomentStream.devices=6&MomentStream.merge=shuffled")
    assert state(page, "devices") == 6
    assert state(page, "merge") == "shuffled"
    page.get_by_role("button", name="Reset").click()
    assert state(page, "devices") == 4


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(FIGURES[2])
    times = page.evaluate(
        """async () => {
            const times = [];
            const note = (event) => times.push(event.detail.milliseconds);
            addEventListener("fastattn-redraw", note, true);
            const input = document.querySelector('[data-parameter="arrived"] input');
            for (let step = 0; step < 40; step += 1) {
                input.value = step % 24;
                input.dispatchEvent(new Event("input"));
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
            }
            return times;
        }"""
    )
    assert len(times) > 20
    check_redraws(page, times)


@pytest.mark.parametrize("figure", FIGURES, ids=repr)
def test_still_and_html(figure: MomentStream) -> None:
    stream, memory = figure.still().axes
    assert f"{figure.arrived} arrived" in stream.get_xlabel()
    assert memory.get_yscale() == "log"
    assert eval(repr(figure), {"MomentStream": MomentStream}).state() == figure.state()


def test_every_merge_holds_the_same_moments() -> None:
    for merge in ("sequence", "tree", "shuffled"):
        found = MomentStream(devices=8, merge=merge, seed=5).merging()
        assert found.nodes[-1].count == 24
        assert found.difference < 1e-13
        assert len(found.nodes) == 2 * 8 - 1
    assert MomentStream(devices=8, merge="tree").merging().nodes[-1].chain == 3
    assert MomentStream(devices=8, merge="sequence").merging().nodes[-1].chain == 7


def test_values_out_of_range_are_refused() -> None:
    for name, value in [("devices", 0), ("arrived", 25), ("merge", "sorted"), ("cache", "int8")]:
        with pytest.raises(traitlets.TraitError, match=name):
            MomentStream(**{name: value})
