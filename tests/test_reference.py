"""The oracle against the definition, entry by entry in high precision, and against torch."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from arrays import LIBRARIES, draw, worst

from fastattn_lite import (
    Expansion,
    attention_weights,
    kernel_attention,
    minimax,
    softmax_attention,
    taylor,
)


def by_definition(query, key, value, kernel, *, is_causal, scale):
    """Return attention as nested sums in 40 digits: no array code at all."""
    rows = []
    with mpmath.workdps(40):
        for i, q in enumerate(query):
            last = i + 1 if is_causal else len(key)
            scores = [scale * mpmath.fdot(q.tolist(), k.tolist()) for k in key[:last]]
            weights = [kernel(s) for s in scores]
            total = mpmath.fsum(weights)
            columns = value[:last].T.tolist()
            rows.append([float(mpmath.fdot(weights, column) / total) for column in columns])
    return np.array(rows)


@pytest.mark.equation("eq-softmax-kernel-sum")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3, -1.0])
def test_softmax_attention_is_its_definition(is_causal, scale):
    query, key, value = draw(dim=4)
    factor = 0.5 if scale is None else scale
    expected = by_definition(query, key, value, mpmath.exp, is_causal=is_causal, scale=factor)
    result = softmax_attention(query, key, value, is_causal=is_causal, scale=scale)
    assert worst(result, expected) < 1e-14


@pytest.mark.equation("eq-kernel-attention")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("expansion", [taylor(2), minimax(4, radius=2), Expansion((1, 0.1, -0.01))])
def test_kernel_attention_is_its_definition(is_causal, expansion):
    def kernel(s):
        return mpmath.polyval(expansion.coefficients[::-1], s)

    query, key, value = draw(dim=4)
    expected = by_definition(query, key, value, kernel, is_causal=is_causal, scale=0.5)
    result = kernel_attention(query, key, value, expansion=expansion, is_causal=is_causal)
    assert worst(result, expected) < 1e-13


@pytest.mark.parametrize("is_causal", [False, True])
def test_softmax_attention_agrees_with_torch(is_causal):
    inputs = [torch.from_numpy(x) for x in draw(lead=(2, 3))]
    expected = torch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=is_causal)
    assert worst(softmax_attention(*inputs, is_causal=is_causal), expected) < 1e-14


@pytest.mark.parametrize("expansion", [None, taylor(2)])
@pytest.mark.parametrize("is_causal", [False, True])
def test_weights_are_rows_that_sum_to_one(expansion, is_causal):
    query, key, _ = draw(lead=(2,))
    weights = attention_weights(query, key, expansion=expansion, is_causal=is_causal)
    assert worst(weights.sum(-1), np.ones((2, 11))) < 1e-14
    assert np.all(weights >= 0)
    if is_causal:
        assert np.all(np.triu(weights, k=1) == 0)


def test_large_scores_do_not_overflow():
    query, key, value = draw()
    assert np.all(np.isfinite(softmax_attention(1e4 * query, key, value)))


def test_a_large_score_of_a_later_token_changes_no_row():
    query, key, value = draw()
    query[:, 0] = 1.0
    before = softmax_attention(query, key, value, is_causal=True)
    key[-1] = [1e4, 0.0, 0.0]
    after = softmax_attention(query, key, value, is_causal=True)
    assert worst(after[:-1], before[:-1]) < 1e-14


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_library_gives_the_same(name):
    inputs = draw(lead=(2,))
    convert = LIBRARIES[name]
    for expansion in (None, taylor(2)):
        expected = attention_weights(*inputs[:2], expansion=expansion, is_causal=True)
        result = attention_weights(*map(convert, inputs[:2]), expansion=expansion, is_causal=True)
        assert worst(result, expected) < 1e-14


def test_the_output_has_the_type_of_the_value_and_half_precision_is_widened():
    query, key, value = (torch.from_numpy(x).to(torch.bfloat16) for x in draw())
    result = softmax_attention(query, key, value)
    assert result.dtype == torch.bfloat16
    exact = softmax_attention(query.double(), key.double(), value.double())
    assert worst(result.double(), exact.to(torch.bfloat16).double()) < 1e-2
    assert attention_weights(query, key).dtype == torch.float32
