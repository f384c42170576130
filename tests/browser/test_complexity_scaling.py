"""ComplexityScaling: any number of stored results, a reader's own run, fits, switches."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import traitlets

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
from fastattn_lite.figures import ComplexityScaling
from fastattn_lite.figures.stored import kind_of, series_of, stored_results
from fastattn_lite.results import load_result

pytestmark = pytest.mark.browser

CPU = load_result("cpu_order2")


def sample(what: str, tokens: int, values: list[float], **changes: Any) -> dict[str, Any]:
    """Return a measured series of d = 64, order 2, full."""
    given = {"library": "triton", "is_causal": False, "dim": 64, "order": 2, "unit": "s"}
    return {"what": what, "tokens": tokens, "values": values} | given | changes


def gpu_result() -> dict[str, Any]:
    """Return a made-up result of a graphics card: exact squares and lines that cross at 3,000."""
    result = copy.deepcopy(CPU)
    result["name"], result["device"]["processor"] = "gpu_made_up", "a made-up GPU"
    sizes = [512, 1024, 2048, 4096, 8192, 65536]
    softmax = {"library": "torch", "order": 1}
    result["samples"] = [
        *(sample("fast_attention, forward", n, [2e-8 * n, 1e-8 * n]) for n in sizes),
        *(sample("flash_attention, forward", n, [1e-8 * n**2 / 3000], **softmax) for n in sizes),
        *(sample("flash-linear-attention, forward", n, [1e-7 * n]) for n in sizes),
        *(sample("fast_attention, backward", n, [1e-10 * n]) for n in sizes),
        *(sample("fast_attention, peak memory", n, [300.0 * n], unit="byte") for n in sizes[:4]),
        *(sample("flash_attention, peak memory", n, [99 * n], unit="byte", order=1) for n in sizes),
        sample("fast_attention, error", 512, [1e-6], unit="1"),
    ]
    return result


def gpu_alone(**parameters: Any) -> ComplexityScaling:
    return ComplexityScaling(results=[gpu_result()], **parameters)


FIGURES = [
    ComplexityScaling(),
    ComplexityScaling(dim=32, is_causal=True, fit_from=512),
    ComplexityScaling(order=3),
    ComplexityScaling(quantity="memory"),
    ComplexityScaling(results=[CPU, gpu_result()], own=CPU, hidden=2**3 + 1, show_model=False),
    gpu_alone(),
    gpu_alone(quantity="memory", fit_from=1024),
    ComplexityScaling(results=[]),
]


def test_every_stored_result_is_drawn() -> None:
    names = [result["name"] for result in stored_results()]
    assert "cpu_order2" in names
    assert all(name.startswith(("cpu_", "gpu_")) for name in names)
    assert ComplexityScaling().series == series_of(
        (result["device"]["processor"], result) for result in stored_results()
    )


def test_lines_of_a_result() -> None:
    lines = {line.name: line for line in gpu_alone().lines()}
    kinds = {name.partition(" ·")[0]: line.kind for name, line in lines.items()}
    assert kinds == {
        "fast_attention, forward, triton": "fast",
        "flash_attention, forward, torch": "softmax",
        "flash-linear-attention, forward, triton": "fast",
        "fast_attention, backward, triton": "fast",
        "fast_attention, triton": "fast",
        "flash_attention, triton": "softmax",
    }
    forward = lines["fast_attention, forward, triton · a made-up GPU"]
    assert forward.points[0] == [512, pytest.approx(512e-8)], "the least of the repeats"
    assert forward.law
    assert forward.law.exponent == pytest.approx(1, abs=1e-3)
    signs = [(line.series, line.shape) for line in FIGURES[4].lines()]
    assert len(set(signs)) == len(signs) > 10


def test_softmax_has_no_order_and_the_fast_form_has() -> None:
    shown = {line.name.partition(",")[0] for line in gpu_alone(order=3).lines() if line.points}
    assert shown == {"flash_attention"}
    assert kind_of("scaled_dot_product_attention (cuDNN)") == "softmax"
    assert kind_of("matrix products") == "bound"
    assert kind_of("flex_attention, polynomial") == "fast"


def test_the_crossover_is_that_of_the_shown_lines() -> None:
    """The backward pass, which is faster than anything, has no softmax to be compared with."""
    assert gpu_alone().crossover() == pytest.approx(3000, rel=1e-3)
    fast = [line.name for line in gpu_alone().lines()].index(
        "fast_attention, forward, triton · a made-up GPU"
    )
    hidden = gpu_alone(hidden=2**fast)
    assert hidden.crossover() == pytest.approx(30_000, rel=1e-3)
    assert gpu_alone(quantity="memory").crossover() is None
    both = ComplexityScaling(results=[CPU, gpu_result()])
    assert both.crossover() == pytest.approx(3000, rel=1e-3), "the earliest of the machines"


def test_an_own_run_is_drawn_over_the_stored_ones(tmp_path: Path) -> None:
    path = tmp_path / "cpu_order2.json"
    path.write_text(json.dumps(CPU), encoding="utf-8")
    for own in (CPU, path, str(path)):
        names = [line.name for line in ComplexityScaling(own=own).lines()]
        assert sum(name.endswith("· your run") for name in names) == len(names) / 2
    broken = {**CPU, "samples": []}
    with pytest.raises(ValueError, match="samples"):
        ComplexityScaling(own=broken)


@pytest.mark.parametrize("figure", FIGURES, ids=range(len(FIGURES)))
def test_the_page_says_what_python_says(stage: Stage, figure: ComplexityScaling) -> None:
    page = stage.show(figure)
    assert sentence(page) == figure.summary()
    shown = [line for line in figure.lines() if line.points and not line.hidden]
    points = page.locator(".fastattn-picture .fastattn-point").count()
    assert points == sum(len(line.points) for line in shown)
    assert page.locator("tbody tr").count() == len(figure.lines())


@pytest.mark.parametrize("width", [340, 375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, width: int, theme: Any) -> None:
    page = stage.show(FIGURES[4], width=width, color_scheme=theme, reduced_motion="reduce")
    check_width_and_theme(page, width, theme)
    states = [
        {"dim": dim, "quantity": quantity, "fit_from": start, "hidden": hidden}
        for dim in (64, 16)
        for quantity in ("time", "memory")
        for start, hidden in ((256, 0), (4096, 511))
    ]
    assert len(set(page.evaluate(HEIGHTS, states))) == 1, "the figure changes its height"
    assert len(set(page.evaluate(SENTENCES, states))) >= 4


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("fit_from", "ArrowRight", 4096),
        ("dim", "ArrowLeft", 32),
        ("order", "ArrowRight", 3),
        ("quantity", "ArrowRight", "memory"),
        ("is_causal", "Space", True),
        ("show_model", "Space", False),
    ],
)
def test_keys_move_every_control(stage: Stage, name: str, key: str, expected: Any) -> None:
    page = stage.show(ComplexityScaling())
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => { heard += 1; })")
    page.locator(f'[data-parameter="{name}"] input').first.press(key)
    assert state(page, name) == expected
    assert page.evaluate("heard") == 0, "JupyterLab would take the key"
    figure = ComplexityScaling(**{name: expected})
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


def test_a_line_is_switched_off_and_on(stage: Stage) -> None:
    page = stage.show(ComplexityScaling())
    boxes = page.locator("tbody input")
    before = page.locator(".fastattn-picture .fastattn-point").count()
    for place in (1, 4):
        boxes.nth(place).press("Space")
    assert state(page, "hidden") == 2**1 + 2**4
    figure = ComplexityScaling(hidden=18)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())
    assert page.locator(".fastattn-picture .fastattn-point").count() < before
    boxes.nth(1).press("Space")
    assert state(page, "hidden") == 2**4
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("[...document.querySelectorAll('tbody input')].every((x) => x.checked)")


def test_the_start_of_the_fit_is_dragged(stage: Stage) -> None:
    page = stage.show(ComplexityScaling(), width=600)
    box: Any = page.locator(".fastattn-picture").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 200, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, y, steps=4)
    page.mouse.up()
    assert state(page, "fit_from") == 65536


def test_a_link_carries_the_state(stage: Stage) -> None:
    page = stage.show(ComplexityScaling(), address="#ComplexityScaling.dim=32")
    assert state(page, "dim") == 32


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(FIGURES[4])
    times = page.evaluate(REDRAWS)
    assert len(times) > 20
    check_redraws(page, times)


@pytest.mark.parametrize("figure", FIGURES, ids=range(len(FIGURES)))
def test_still_and_html(figure: ComplexityScaling) -> None:
    (axes,) = figure.still().axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    repeated = eval(repr(figure), {"ComplexityScaling": ComplexityScaling})
    assert {**repeated.state(), "series": figure.series} == figure.state()


def test_values_out_of_range_are_refused() -> None:
    for name, value in [("dim", 0), ("order", 4), ("quantity", "error"), ("fit_from", math.nan)]:
        with pytest.raises(traitlets.TraitError, match=name):
            ComplexityScaling(**{name: value})
