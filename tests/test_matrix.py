"""What the full attention matrix is like: entropy, distance, ratios, rank, and what bounds them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from arrays import LIBRARIES, draw, worst
from hypothesis import given
from hypothesis import strategies as st

from fastattn_lite import (
    Expansion,
    attention_distance,
    attention_weights,
    chebyshev,
    fast_attention,
    feature_weights,
    minimax,
    monomial_features,
    number_of_features,
    ratio_limit,
    row_entropy,
    taylor,
)
from fastattn_lite.sentences import PASSAGE, content_words, word_model

SEEDS = st.integers(0, 2**32 - 1)
POSITIVE = [taylor(0), taylor(2), taylor(4), minimax(2, radius=2), minimax(3, radius=2)]


def passage() -> tuple[np.ndarray, np.ndarray]:
    """Return the queries and keys of the passage that the chapter looks at."""
    return word_model().tokens([word for text in PASSAGE for word in content_words(text)])


@pytest.mark.equation("eq-row-entropy")
def test_entropy_of_rows_known_by_hand():
    rows = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.5, 0.25, 0.125, 0.125]])
    expected = [0, math.log(4), math.log(2), 1.75 * math.log(2)]
    np.testing.assert_allclose(row_entropy(rows), expected, rtol=1e-15, atol=0)


@pytest.mark.equation("eq-row-entropy")
@given(SEEDS)
def test_entropy_lies_between_zero_and_that_of_equal_weights(seed):
    query, key, _ = draw(seed=seed, lead=(2,))
    entropy = row_entropy(attention_weights(query, key, is_causal=True))
    seen = np.arange(1, 12)
    assert np.all(entropy >= 0)
    assert np.all(entropy <= np.log(seen) + 1e-12)
    assert entropy.shape == (2, 11)


def test_a_negative_weight_makes_its_row_nan_and_no_other():
    entropy = row_entropy(np.array([[1.5, -0.5], [0.5, 0.5]]))
    assert math.isnan(entropy[0])
    assert entropy[1] == pytest.approx(math.log(2))


@pytest.mark.equation("eq-attention-distance")
def test_distance_of_rows_known_by_hand():
    np.testing.assert_array_equal(attention_distance(np.eye(5)), np.zeros(5))
    uniform = np.full((4, 4), 0.25)
    np.testing.assert_allclose(attention_distance(uniform), [1.5, 1.0, 1.0, 1.5], rtol=1e-15)
    assert attention_distance(uniform).mean() == (4**2 - 1) / (3 * 4)
    shifted = np.roll(np.eye(6), 2, axis=1)
    np.testing.assert_array_equal(attention_distance(shifted), [2, 2, 2, 2, 4, 4])
    assert attention_distance(np.array([[0.0, 0, 1]])) == 2


@pytest.mark.parametrize("function", [row_entropy, attention_distance])
@pytest.mark.parametrize("name", LIBRARIES)
def test_every_library_gives_the_same(function, name):
    query, key, _ = draw(lead=(2,))
    weights = attention_weights(query, key)
    assert worst(function(LIBRARIES[name](weights)), function(weights)) < 1e-14


@pytest.mark.parametrize("function", [row_entropy, attention_distance])
def test_half_precision_is_widened_and_bad_input_named(function):
    half = torch.full((3, 4), 0.25, dtype=torch.bfloat16)
    assert function(half).dtype == torch.float32
    with pytest.raises(TypeError, match="weights"):
        function(np.ones((3, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="weights"):
        function(np.ones(3))


@pytest.mark.equation("eq-ratio-limit")
@given(SEEDS, st.integers(0, 9), st.sampled_from([taylor, chebyshev, minimax]))
def test_the_ratio_is_that_of_a_fine_grid(seed, order, family):
    low, high = np.sort(np.random.default_rng(seed).uniform(-3, 3, 2))
    f = family(order, radius=3.0)
    values = f(np.linspace(low, high, 20_001))
    found = ratio_limit(f, low, high)
    if values.min() <= 1e-3:
        assert found > values.max() / 1.1e-3
    else:
        assert found == pytest.approx(values.max() / values.min(), rel=1e-4)
        assert found >= values.max() / values.min() * (1 - 1e-12)


@pytest.mark.equation("eq-ratio-limit")
def test_ratios_known_by_hand():
    assert ratio_limit(taylor(2), -1, 1) == pytest.approx(5, rel=1e-14)
    assert ratio_limit(taylor(2), -2, 2) == pytest.approx(10, rel=1e-14)  # least at -1, inside
    assert ratio_limit(taylor(2), -3, -1.5) == pytest.approx(2.5 / 0.625, rel=1e-14)
    assert ratio_limit(None, -1, 3) == math.exp(4)
    assert ratio_limit(taylor(1), -1, 1) == math.inf
    assert ratio_limit(taylor(3), -4, 0) == math.inf
    assert ratio_limit(Expansion((2.0,)), -5, 5) == 1
    assert ratio_limit(Expansion((2.0, 0.0)), 1, 1) == 1


def test_bad_limits_are_named():
    with pytest.raises(ValueError, match="low <= high, got 1 and 0"):
        ratio_limit(taylor(2), 1, 0)
    with pytest.raises(ValueError, match="high"):
        ratio_limit(taylor(2), 0, math.inf)
    with pytest.raises(TypeError, match="expansion"):
        ratio_limit(2, 0, 1)  # type: ignore[arg-type]


@pytest.mark.equation("eq-largest-weight")
@given(SEEDS, st.sampled_from([None, *POSITIVE]))
def test_no_weight_leaves_its_limits(seed, f):
    """Largest, smallest and entropy of every row, from the ratio alone."""
    query, key, _ = draw(seed=seed, keys=9)
    scores = query @ key.T / math.sqrt(3)
    scores = scores * min(1, 2 / np.abs(scores).max())
    kernel = np.exp(scores) if f is None else f(scores)
    weights = kernel / kernel.sum(axis=1, keepdims=True)
    chi = ratio_limit(f, scores.min(), scores.max())
    assert np.all(weights <= chi / (chi + 8) * (1 + 1e-12))
    assert np.all(weights >= 1 / (1 + 8 * chi) * (1 - 1e-12))
    assert np.all(row_entropy(weights) >= math.log(1 + 8 / chi) - 1e-12)


@pytest.mark.equation("eq-largest-weight")
def test_the_limit_of_the_largest_weight_is_reached():
    query, key = np.ones((1, 1)), np.array([[1.0], [-1], [-1], [-1]])
    weight = attention_weights(query, key, expansion=taylor(2), scale=1.0).max()
    chi = ratio_limit(taylor(2), -1, 1)
    assert weight == pytest.approx(chi / (chi + 3), rel=1e-14)


@pytest.mark.equation("eq-rebuilt-matrix")
@pytest.mark.filterwarnings("ignore::fastattn_lite.ExpansionWarning")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("f", [taylor(3), minimax(2, radius=1.4), Expansion((1, 0.2, -0.05))])
def test_the_matrix_is_rebuilt_from_the_features(f, is_causal):
    query, key = passage()
    left, right = (monomial_features(x, f.order) for x in (query, key))
    kernel = left * feature_weights(f, 4) @ right.T
    kernel = np.tril(kernel) if is_causal else kernel
    rebuilt = kernel / kernel.sum(axis=1, keepdims=True)
    options = {"expansion": f, "is_causal": is_causal, "scale": 1.0}
    np.testing.assert_allclose(rebuilt, attention_weights(query, key, **options), atol=1e-14)
    np.testing.assert_allclose(
        rebuilt, fast_attention(query, key, np.eye(24), **options), atol=1e-14
    )


@pytest.mark.equation("eq-rank-bound")
@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("dim", [1, 2, 4])
def test_the_rank_is_at_most_the_number_of_features_and_causal_it_is_full(order, dim):
    query, key = (1.5 * x for x in draw(queries=20, keys=20, dim=dim, seed=3)[:2])
    f = taylor(order)
    rank = np.linalg.matrix_rank(attention_weights(query, key, expansion=f))
    assert rank == min(20, number_of_features(dim, order))
    if order % 2 == 0:
        causal = attention_weights(query, key, expansion=f, is_causal=True)
        assert np.linalg.matrix_rank(causal) == 20


def test_a_matrix_of_low_rank_is_far_from_one_that_finds_every_token_itself():
    query, key = passage()
    matrix = attention_weights(query, key, expansion=taylor(2), scale=1.0)
    assert np.sum((np.eye(24) - matrix) ** 2) >= 24 - number_of_features(4, 2)
