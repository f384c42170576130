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
from fastattn_lite.figures.stored import kind_of, series_of, source_name, stored_results
from fastattn_lite.results import load_result

pytestmark = pytest.mark.browser

CPU = load_result("cpu_order2")
GPU = load_result("gpu_h200")
H200 = "NVIDIA H200"
TRAINED = "forward + backward"


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
        *(sample(f"fast_attention, {TRAINED}", n, [1e-10 * n]) for n in sizes),
        *(sample("fast_attention, peak memory", n, [300.0 * n], unit="byte") for n in sizes[:4]),
        *(sample("flash_attention, peak memory", n, [99 * n], unit="byte", order=1) for n in sizes),
        sample("fast_attention, error", 512, [1e-6], unit="1"),
        sample("bf16 product", 8192, [1e-3], dim=8192, order=0),
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
    ComplexityScaling(is_trained=True, fit_from=65536),
    ComplexityScaling(results=[]),
]


def test_every_stored_result_is_drawn() -> None:
    names = [result["name"] for result in stored_results()]
    assert {"cpu_order2", "gpu_h200"} <= set(names)
    assert all(name.startswith(("cpu_", "gpu_")) for name in names)
    assert ComplexityScaling().series == series_of(
        (source_name(result), result) for result in stored_results()
    )


def test_the_measured_gpu_is_drawn_by_the_head() -> None:
    """64 heads in a call, also at 262,144 tokens: seconds are those of one head."""
    (fused,) = (line for line in ComplexityScaling().lines() if "fused" in line.name)
    assert fused.source == H200
    for tokens, heads in ((65_536, 64), (262_144, 64)):
        (values,) = (
            each["values"]
            for each in GPU["samples"]
            if each["what"] == "fused, forward"
            and (each["dim"], each["order"], each["tokens"]) == (64, 2, tokens)
            and not each["is_causal"]
        )
        (point,) = (point for point in fused.points if point[0] == tokens)
        assert point[1] == float(f"{min(values) / heads:.3g}")
        assert point[1] < point[2] < max(values) / heads, "the upper quartile"
    kinds = {line.kind for line in ComplexityScaling().lines() if line.source == H200}
    assert kinds == {"fast", "softmax", "pairs", "linear"}


def test_linear_attention_is_no_fast_form_of_a_polynomial() -> None:
    """It has no constant and no normaliser, so softmax is crossed by the kernels or not at all."""
    case: dict[str, Any] = {"dim": 64, "order": 1, "is_causal": True}
    places = {line.kind: place for place, line in enumerate(ComplexityScaling(**case).lines())}
    without = ComplexityScaling(**case, hidden=1 << places["linear"])
    assert ComplexityScaling(**case).crossovers() == without.crossovers()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"own": 3}, "own: expected a result or the path of its file, got 3"),
        ({"results": 3}, "results: expected a list of results, got 3"),
        ({"results": {}}, "results: expected a list of results"),
        ({"results": ["cpu_order2"]}, "results: expected a list of results"),
    ],
)
def test_what_is_no_result_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        ComplexityScaling(**given)


def test_the_page_shows_where_each_result_comes_from(stage: Stage) -> None:
    page = stage.show(ComplexityScaling())
    rows = page.locator("tbody").nth(1).locator("tr").all_inner_texts()
    assert len(rows) == len(stored_results())
    crossings = ComplexityScaling().crossovers()
    for row, result in zip(rows, stored_results(), strict=True):
        given = (source_name(result), result["date"], result["command"], result["title"])
        assert all(words in row for words in given)
        assert f"torch {result['versions']['torch']}" in row
        assert row.endswith(f"{crossings[source_name(result)]:,.0f}")
    assert "64 heads in a call up to n = 65,536, above it fewer in some cases" in rows[1]


def test_what_the_chapter_embeds_is_small() -> None:
    """Two numbers a point, not all repeats: the notebook has to stay under its limit."""
    assert all(len(point) <= 3 for each in ComplexityScaling().series for point in each["points"])
    assert len(ComplexityScaling()._repr_html_()) < 100_000


def test_lines_of_a_result() -> None:
    lines = {line.name: line for line in gpu_alone().lines()}
    kinds = {name.partition(" ·")[0]: line.kind for name, line in lines.items()}
    assert kinds == {
        "fast_attention, triton": "fast",
        "flash_attention, torch": "softmax",
        "flash-linear-attention, triton": "fast",
        "flash_attention, triton": "softmax",
    }
    forward = lines["fast_attention, triton · a made-up GPU"]
    least, quartile = pytest.approx(512e-8), pytest.approx(512 * 1.75e-8)
    assert forward.points[0] == [512, least, quartile], "the least of the repeats"
    assert forward.law
    assert forward.law.exponent == pytest.approx(1, abs=1e-3)
    signs = [(line.series, line.shape) for line in FIGURES[4].lines()]
    assert len(set(signs)) == len(signs) > 10


def test_softmax_has_no_order_and_the_fast_form_has() -> None:
    shown = {line.name.partition(",")[0] for line in gpu_alone(order=3).lines() if line.points}
    assert shown == {"flash_attention"}
    assert kind_of("scaled_dot_product_attention (cuDNN)") == "softmax"
    assert kind_of("matrix products") == "bound"
    assert kind_of("flex_attention, polynomial") == "pairs", "order matters, growth is n squared"


def test_the_crossover_is_that_of_the_shown_lines() -> None:
    """With the backward pass the fast form is faster than anything, but softmax is not measured."""
    place = "a made-up GPU"
    assert gpu_alone().crossovers() == {place: pytest.approx(3000, rel=1e-3)}
    names = [line.name for line in gpu_alone().lines()]
    hidden = gpu_alone(hidden=2 ** names.index(f"fast_attention, triton · {place}"))
    assert hidden.crossovers() == {place: pytest.approx(30_000, rel=1e-3)}
    assert gpu_alone(quantity="memory").crossovers() == {place: None}
    assert gpu_alone(is_trained=True).crossovers() == {place: None}
    alone = ComplexityScaling(results=[CPU]).crossovers()
    assert list(alone) == [CPU["device"]["processor"]]
    both = ComplexityScaling(results=[CPU, gpu_result()]).crossovers()
    assert both == {**alone, place: pytest.approx(3000, rel=1e-3)}, "each machine has its own"


def test_pair_by_pair_is_no_fast_form() -> None:
    """Where the polynomial of all pairs beats the fused kernels, the crossover stays theirs."""
    softmax, fused, pairs = (
        [sample(f"{what}, forward", n, [value(n)]) for n in (1024, 4096, 16384)]
        for what, value in (
            ("cudnn", lambda n: 1e-9 * n**2),
            ("fused", lambda n: 2e-6 * n),
            ("flex", lambda n: 1e-12 * n**2),
        )
    )
    result = {**gpu_result(), "samples": [*softmax, *fused, *pairs]}
    figure = ComplexityScaling(results=[result])
    assert figure.crossovers() == {"a made-up GPU": pytest.approx(2000, rel=1e-3)}
    ends = [points[-1][1] / points[0][1] for points in figure.models()]
    assert ends == [pytest.approx(256), pytest.approx(16), pytest.approx(256)]


def test_an_own_run_is_drawn_over_the_stored_ones(tmp_path: Path) -> None:
    path = tmp_path / "cpu_order2.json"
    path.write_text(json.dumps(CPU), encoding="utf-8")
    for own in (CPU, path, str(path)):
        names = [line.name for line in ComplexityScaling(results=[CPU], own=own).lines()]
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
    tables = page.locator("tbody")
    assert tables.first.locator("tr").count() == len(figure.lines())
    assert tables.last.locator("tr").count() == len(figure.sources)


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
        ("is_trained", "Space", True),
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
    assert state(page, "fit_from") == 262144


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
    given = {"series": figure.series, "sources": figure.sources}
    assert {**repeated.state(), **given} == figure.state()


def test_values_out_of_range_are_refused() -> None:
    for name, value in [("dim", 0), ("order", 4), ("quantity", "error"), ("fit_from", math.nan)]:
        with pytest.raises(traitlets.TraitError, match=name):
            ComplexityScaling(**{name: value})
