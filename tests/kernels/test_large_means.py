"""Keys that share a large mean: what chapter gpu_evaluation says of moments in 16 bits."""

from __future__ import annotations

import functools

import pytest
import torch
from fused import FLOOR, HALF, plain, relative, take, tokens

from fastattn_lite import fast_attention, kernel_attention, taylor

LAST = slice(-10, None)
"""Tokens that meet most others through moments, under the mask, too."""


@pytest.mark.parametrize("is_causal", [False, True])
def test_one_coordinate_more_takes_the_mean_out_and_keeps_every_score(is_causal, monkeypatch):
    """q.k = [q, q.c].[k - c, 1]; the queries have no share of the mean, so moments cancel."""
    take(monkeypatch, "moments")
    query, key, value = tokens(*3 * [(1, 270, 15)], dtype=torch.float64)
    query, key = query - query.mean(-1, keepdim=True), key + 10.0
    query, key, value = (x.to(HALF) for x in (query, key, value))
    center = key.double().mean(-2, keepdim=True)
    shift = (query.double() * center).sum(-1, keepdim=True)
    moved = torch.cat([key.double() - center, torch.ones_like(shift)], -1).to(HALF)
    widened = torch.cat([query.double(), shift], -1).to(HALF)

    attend = functools.partial(fast_attention, is_causal=is_causal, scale=15**-0.5)
    as_it_is = attend(query, key, value, backend="triton")[:, LAST]
    found = attend(widened, moved, value, backend="triton")[:, LAST]
    rough = plain(query, key, value, taylor(2), is_causal)[:, LAST]
    given = (x.double() for x in (query, key, value))
    exact = kernel_attention(*given, expansion=taylor(2), is_causal=is_causal)[:, LAST]
    assert relative(found, exact) <= 2 * relative(rough, exact) + FLOOR[HALF]
    assert relative(as_it_is, exact) > 5 * relative(found, exact)
