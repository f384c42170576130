"""The theorem of the book as a test: the error against softmax stays below tanh(osc/4) diam(V)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arrays import draw
from hypothesis import given, settings
from hypothesis import strategies as st

from fastattn_lite import (
    Expansion,
    attention_weights,
    chebyshev,
    fast_attention,
    minimax,
    normalize,
    softmax_attention,
    taylor,
)

FAMILIES = {"taylor": taylor, "chebyshev": chebyshev, "minimax": minimax}
ROUND_OFF = 1e-12


def diameter(value: np.ndarray) -> float:
    """Return the largest distance between two values."""
    return float(np.max(np.linalg.norm(value[:, None] - value[None], axis=-1)))


@pytest.mark.equation("eq-output-bound")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.filterwarnings("ignore::fastattn_lite.ExpansionWarning")
def test_the_output_error_never_exceeds_the_bound(family, radius, order):
    query, key, value = draw(queries=60, keys=60, dim=2, value_dim=3)
    value[:, 0] = np.exp(20 * normalize(query, key, "unit")[1][:, 0])  # one far key stands out
    expansion = FAMILIES[family](order, radius=radius)
    options = {"scale": radius, "normalization": "unit"}
    result = fast_attention(query, key, value, expansion=expansion, **options)
    exact = softmax_attention(*normalize(query, key, "unit"), value, scale=radius)
    error = np.linalg.norm(result - exact, axis=-1).max()
    bound = expansion.output_error_bound() * diameter(value)
    assert error <= bound + ROUND_OFF
    if bound > 1e-9 and expansion.is_positive():
        assert error > bound / 500, "a bound that is never approached would test nothing"


@given(
    coefficients=st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=4),
    scores=st.lists(st.floats(-1, 1), min_size=2, max_size=20),
)
@settings(max_examples=200)
def test_total_variation_is_bounded_for_any_positive_polynomial(coefficients, scores):
    expansion = Expansion((2.0, *coefficients))
    query, key = np.ones((1, 1)), np.array(scores)[:, None]
    exact = attention_weights(query, key, scale=1.0)
    weights = attention_weights(query, key, expansion=expansion, scale=1.0)
    distance = np.abs(weights - exact).sum() / 2
    assert distance <= expansion.output_error_bound() + ROUND_OFF


@pytest.mark.parametrize(("make", "order"), [(taylor, 2), (minimax, 2), (minimax, 1), (taylor, 4)])
def test_the_bound_is_reached(make, order):
    expansion = make(order)
    x = np.linspace(-1, 1, 100_001)
    ratio = expansion.log_ratio(x)
    low, high = x[np.argmin(ratio)], x[np.argmax(ratio)]
    best = 0.0
    for share in np.linspace(0.01, 0.99, 99):
        keys = np.array([low] * round(1000 * share) + [high] * round(1000 * (1 - share)))[:, None]
        exact = attention_weights(np.ones((1, 1)), keys, scale=1.0)
        weights = attention_weights(np.ones((1, 1)), keys, expansion=expansion, scale=1.0)
        best = max(best, float(np.abs(weights - exact).sum() / 2))
    bound = expansion.output_error_bound()
    assert best <= bound + ROUND_OFF
    assert best > 0.999 * bound


@pytest.mark.parametrize("family", FAMILIES)
def test_outside_the_radius_the_bound_fails(family):
    expansion = FAMILIES[family](4, radius=1.0)
    query, key, value = draw(queries=60, keys=60, dim=2)
    options = {"scale": 6.0, "normalization": "unit"}
    result = fast_attention(query, key, value, expansion=expansion, **options)
    exact = softmax_attention(*normalize(query, key, "unit"), value, scale=6.0)
    error = np.linalg.norm(result - exact, axis=-1).max()
    assert error > 3 * expansion.output_error_bound() * diameter(value)


@pytest.mark.equation("eq-oscillation")
def test_the_oscillation_over_one_row_gives_a_tighter_bound():
    rng = np.random.default_rng(5)
    expansion = taylor(2)
    for _ in range(100):
        scores = rng.uniform(-1, 1, size=6)
        ratio = expansion.log_ratio(scores)
        bound = math.tanh((ratio.max() - ratio.min()) / 4)
        exact = np.exp(scores) / np.exp(scores).sum()
        weights = expansion(scores) / expansion(scores).sum()
        assert np.abs(weights - exact).sum() / 2 <= bound + ROUND_OFF
        assert bound <= expansion.output_error_bound()
