"""The designs that `tools.gpu_designs` times: each changes one thing, and no result."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch
from fused import DEVICE

from fastattn_lite import fast_attention, gpu_calls, kernel_attention, taylor
from fastattn_lite.gpu_calls import distance
from fastattn_lite.kernels import backward, forward, rows, settings, step, stream
from tools import gpu_designs
from tools.gpu_designs import (
    ALL,
    BACKWARD_DESIGNS,
    DECODE_DESIGNS,
    DESIGNS,
    FULL,
    LARGEST_DIFFERENCE,
)

FUSED = gpu_calls.BY_NAME["fused"]
EACH = [pytest.param(design, id=design.name) for design in DESIGNS]
OF_GRADIENTS = [pytest.param(design, id=design.name) for design in BACKWARD_DESIGNS]
OF_DECODING = [pytest.param(design, id=design.name) for design in DECODE_DESIGNS]


def choices(dim: int) -> tuple[object, ...]:
    """Return all that a design may change."""
    like = torch.zeros(1, 1, dim, dtype=torch.bfloat16, device=DEVICE)
    passes = (forward, backward)
    tiles = [dataclasses.astuple(each.settings_for(like, 2, dim, dim)) for each in passes]
    cuts = [each.cut_causal(5_000, dim, 2) for each in passes]
    of_decoding = stream.MOST, step.tiles_of(dim, 1), step.exact_rows
    return *tiles, rows.rows_of(2, dim).panels, *cuts, forward.runs, *of_decoding


@pytest.mark.parametrize("design", [*EACH, *OF_GRADIENTS, *OF_DECODING])
def test_a_design_changes_its_cases_and_is_undone(design):
    for dim, _ in design.cases:
        before = choices(dim)
        with contextlib.suppress(ArithmeticError), design.change():
            assert choices(dim) != before
            raise ArithmeticError("a design may fail, too")
        assert choices(dim) == before


@pytest.mark.parametrize("design", EACH)
def test_a_design_computes_the_same(design, monkeypatch):
    monkeypatch.setattr(settings, "MOST_PAIRS", -1)
    dim, is_causal = design.cases[-1]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(3, 1, 270, dim, generator=generator).to(DEVICE, torch.float16)
    with design.change():
        found = fast_attention(*drawn, is_causal=is_causal, backend="triton")
    exact = kernel_attention(*drawn.double(), expansion=taylor(2), is_causal=is_causal)
    assert distance([found], [exact]) < LARGEST_DIFFERENCE


@pytest.mark.parametrize("design", OF_GRADIENTS)
def test_a_design_of_the_backward_pass_computes_the_same(design, monkeypatch):
    monkeypatch.setattr(settings, "MOST_PAIRS", -1)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(4, 1, 270, 16, generator=generator).to(DEVICE, torch.float16)
    *tokens, upstream = drawn
    tokens = [x.requires_grad_() for x in tokens]
    case = (16, design.cases[-1][1])
    with design.change():
        found = gpu_designs.call("backward", case, [*tokens, upstream])
    wide = [x.detach().double().requires_grad_() for x in tokens]
    output = kernel_attention(*wide, expansion=taylor(2), is_causal=case[1])
    exact = torch.autograd.grad(output, wide, upstream.double())
    assert distance(found, list(exact)) < LARGEST_DIFFERENCE


@pytest.mark.parametrize("design", OF_DECODING)
def test_a_design_of_decoding_computes_the_same(design, monkeypatch):
    monkeypatch.setattr(stream, "MOST", 3)
    monkeypatch.setattr(gpu_designs, "STREAMS", {16: 1})
    monkeypatch.setitem(gpu_calls.BY_NAME, "fused", small := dataclasses.replace(FUSED, tokens=4))
    drawn = torch.randn(3, 1, 20, 16, generator=torch.Generator().manual_seed(0))
    drawn = drawn.to(DEVICE, torch.float16)
    given = small.given(gpu_designs.decoding((16, False)), drawn)
    with design.change():
        (found,) = gpu_designs.call("decode", (16, False), given)
    query, key, value = drawn.double()
    exact = kernel_attention(query[:, -1:], key, value, expansion=taylor(2))
    assert distance([found], [exact]) < LARGEST_DIFFERENCE


@pytest.mark.parametrize("designs", [DESIGNS, BACKWARD_DESIGNS, DECODE_DESIGNS])
def test_every_prediction_has_its_case(designs):
    assert len({design.name for design in designs}) == len(designs)
    for design in designs:
        assert set(design.cases) <= {*ALL, *FULL}
        assert len(design.predicted) in (0, len(design.cases))
        assert all(0.5 < guess < 5 for guess in design.predicted)
        assert "by hand" in design.text or design.predicted, "seen before, or predicted"


def test_a_design_that_is_wrong_is_left_out(monkeypatch):
    heard, design = list[str](), DESIGNS[0]
    outputs = iter([[torch.ones(2)], [torch.tensor([1.0, 1.1])]])
    monkeypatch.setattr(gpu_designs, "call", lambda *_: next(outputs))
    assert gpu_designs.tried("", design, ALL[0], [], heard.append) == []
    assert "left out: its outputs differ from today's by 7.1e-02" in heard[0]


def test_a_design_with_one_result_that_is_no_number_is_left_out(monkeypatch):
    """Whichever of the gradients it is."""
    heard, good, bad = list[str](), torch.ones(2), torch.full((2,), torch.nan)
    outputs = iter([[good, good], [good, bad]])
    monkeypatch.setattr(gpu_designs, "call", lambda *_: next(outputs))
    assert gpu_designs.tried("backward", BACKWARD_DESIGNS[0], ALL[0], [], heard.append) == []
    assert "differ from today's by nan" in heard[0]


def test_quotients_are_those_of_the_design_over_today(monkeypatch):
    design, inside = DESIGNS[0], list[bool]()
    whole = rows.rows_of(2, 64).panels

    def seconds(*_: object) -> list[float]:
        inside.append(rows.rows_of(2, 64).panels != whole)
        return [3.0 if inside[-1] else 2.0]

    monkeypatch.setattr(gpu_designs, "call", lambda *_: [torch.ones(2)])
    monkeypatch.setattr(gpu_designs, "seconds", seconds)
    (made,) = gpu_designs.tried("", design, ALL[0], [], lambda _: None)
    assert made["values"] == gpu_designs.ROUNDS * [1.5]
    assert made["predicted"] == design.predicted[0]
    assert inside == gpu_designs.ROUNDS * [True, False], "in turn"


def test_few_streams_are_as_many_as_the_goal_has_at_least_and_nothing_was_predicted_for_them():
    for design in gpu_designs.FEW_DESIGNS:
        made = design.sample("few", design.cases[0], [1.0])
        assert (made["heads"], made.get("predicted")) == (64, None)
        assert gpu_designs.streams("decode", design.cases[0]) > 64
