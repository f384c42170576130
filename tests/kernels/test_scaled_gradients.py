"""Gradients in float16, whatever the scale of the output's gradient: none is lost or too large."""

from __future__ import annotations

import pytest
import torch
from fused import BOTH_FORMS, HALF, relative, shorten_chunks, tokens
from torch import Tensor

from fastattn_lite import fast_attention, kernel_attention, taylor

CASES = [
    pytest.param(6_000.0, 0.0, True, id="large under the mask"),
    pytest.param(300.0, 3.0, False, id="large, and values with a mean"),
    pytest.param(300.0, 3.0, True, id="large, under the mask, and values with a mean"),
    pytest.param(1e-3, 0.0, False, id="small"),
    pytest.param(1e-3, 0.0, True, id="small under the mask"),
]


def gradients(attend, query: Tensor, key: Tensor, value: Tensor, upstream: Tensor):
    """Return the gradients of query, key and value."""
    given = [x.clone().requires_grad_() for x in (query, key, value)]
    return torch.autograd.grad(attend(*given), given, upstream.to(query.dtype))


def errors(query: Tensor, key: Tensor, value: Tensor, upstream: Tensor, is_causal: bool):
    """Return how far the gradients by the kernels are from those of the direct sum."""

    def by_kernels(*given: Tensor) -> Tensor:
        return fast_attention(*given, is_causal=is_causal, backend="triton")

    def by_the_sum(*given: Tensor) -> Tensor:
        return kernel_attention(*given, expansion=taylor(2), is_causal=is_causal)

    found = gradients(by_kernels, query, key, value, upstream)
    wanted = gradients(by_the_sum, *(x.double() for x in (query, key, value)), upstream)
    assert all(x.abs().max() < torch.finfo(HALF).max for x in wanted)
    return [relative(ours, truth) for ours, truth in zip(found, wanted, strict=True)]


@BOTH_FORMS
@pytest.mark.parametrize(("scale", "mean", "is_causal"), CASES)
def test_any_scale_of_the_gradient_is_as_good(scale, mean, is_causal, monkeypatch):
    n = 150 if is_causal else 100
    shorten_chunks(monkeypatch, n)
    query, key, value, upstream = tokens(*4 * [(2, n, 16)], dtype=HALF)
    upstream[1] *= 0.25
    plain = errors(query, key, value + mean, upstream, is_causal)
    scaled = errors(query, key, value + mean, upstream * scale, is_causal)
    assert max(plain) < 0.01
    assert all(ours < 1.2 * theirs + 1e-3 for ours, theirs in zip(scaled, plain, strict=True))


@BOTH_FORMS
def test_no_gradient_is_no_gradient():
    query, key, value = tokens(*3 * [(1, 20, 16)], dtype=HALF)
    nothing = torch.zeros_like(value)
    for found in gradients(
        lambda *given: fast_attention(*given, backend="triton"), query, key, value, nothing
    ):
        assert torch.equal(found, torch.zeros_like(found))
