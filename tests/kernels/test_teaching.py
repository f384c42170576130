"""The teaching kernel against the oracle, on a GPU or in Triton's interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastattn_lite import kernel_attention, taylor
from fastattn_lite.kernels import teaching

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def inputs(heads, queries, tokens, dim, width, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    shapes = [(heads, queries, dim), (heads, tokens, dim), (heads, tokens, width)]
    return [torch.randn(s, generator=random, dtype=torch.float64).to(DEVICE, dtype) for s in shapes]


def exact(query, key, value, scale):
    wide = [x.double() for x in (query, key, value)]
    return kernel_attention(*wide, expansion=taylor(2), scale=scale)


@pytest.mark.equation("eq-rows")
@pytest.mark.parametrize(
    ("heads", "queries", "tokens", "dim", "width"),
    [(1, 1, 1, 16, 16), (2, 7, 7, 16, 32), (1, 33, 65, 32, 16), (2, 16, 16, 16, 16)],
)
def test_the_outputs_are_those_of_the_oracle(heads, queries, tokens, dim, width):
    query, key, value = inputs(heads, queries, tokens, dim, width)
    found = teaching.teaching_attention(query, key, value, scale=0.3, block=16)
    difference = found.double() - exact(query, key, value, 0.3)
    assert found.shape == (heads, queries, width)
    assert difference.abs().max() < 2e-5


def test_low_precision_is_at_most_twice_as_wrong_as_the_plain_formula():
    query, key, value = inputs(1, 40, 40, 16, 16, torch.float16)
    found = teaching.teaching_attention(query, key, value, scale=0.25, block=16)
    right = exact(query, key, value, 0.25)
    scores = query @ key.mT * 0.25
    weights = 1 + scores + scores * scores / 2
    plain = weights @ value / weights.sum(dim=-1, keepdim=True)
    assert found.dtype == torch.float16
    assert torch.norm(found - right) <= 2 * torch.norm(plain - right) + 1e-4


def test_strided_inputs_are_read_in_the_right_places():
    query, key, value = (x.mT.contiguous().mT for x in inputs(2, 5, 9, 16, 16))
    found = teaching.teaching_attention(query, key, value, scale=1.0, block=16)
    assert (found.double() - exact(query, key, value, 1.0)).abs().max() < 2e-5


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((1, 4, 12), (1, 4, 12), (1, 4, 16)), "query and key: expected a power of two"),
        (((1, 4, 8), (1, 4, 8), (1, 4, 16)), "query and key: expected a power of two"),
        (((1, 4, 16), (1, 4, 16), (1, 4, 20)), "value: expected a power of two"),
        (((1, 4, 32), (1, 4, 16), (1, 4, 16)), "expected .h, n_q, d."),
        (((1, 4, 16), (1, 4, 16), (1, 5, 16)), "expected .h, n_q, d."),
        (((4, 16), (4, 16), (4, 16)), "query, key and value: expected .h, n_q, d."),
        (((1, 4, 16), (1, 0, 16), (1, 0, 16)), "with n > 0"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shapes, words):
    with pytest.raises(ValueError, match=words):
        teaching.teaching_attention(*(torch.zeros(s) for s in shapes), scale=1.0)


def test_different_types_are_refused():
    query, key, value = inputs(1, 4, 4, 16, 16)
    with pytest.raises(TypeError, match=r"expected one dtype, got .*float16"):
        teaching.teaching_attention(query, key.half(), value, scale=1.0)


def test_the_file_is_short_enough_to_be_read():
    assert len(Path(teaching.__file__).read_text(encoding="utf-8").splitlines()) <= 120


def test_each_kernel_starts_on_the_gpu_of_its_first_tensor(launches, monkeypatch) -> None:
    for name in ("accumulate_kernel", "evaluate_kernel"):
        monkeypatch.setattr(teaching, name, launches)
    query, key, value = torch.ones(3, 1, 20, 16)
    teaching.teaching_attention(query, key, value, scale=1.0, block=16)
    assert all(x is y for x, y in zip(launches.places, (key, query), strict=True))
    assert launches.current == []
