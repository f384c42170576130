"""What the chapter attention_as_a_kernel_sum claims of the direct sum, on random inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastattn_lite import attention_weights, softmax_attention

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 7 queries and 9 keys of dimension 3, and 9 values of dimension 2."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(7, 3)), rng.normal(size=(9, 3)), rng.normal(size=(9, 2))


@pytest.mark.equation("eq-attention-weights")
@given(SEEDS)
def test_weights_are_shares_of_exp(seed: int) -> None:
    query, key, _ = draw(seed)
    kernel = np.exp(np.einsum("id,jd->ij", query, key))
    expected = kernel / kernel.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(attention_weights(query, key, scale=1.0), expected, rtol=1e-12)


@pytest.mark.equation("eq-weighted-values")
@given(SEEDS)
def test_outputs_are_weighted_means_within_the_convex_hull(seed: int) -> None:
    query, key, value = draw(seed)
    output = softmax_attention(query, key, value)
    weights = attention_weights(query, key)
    np.testing.assert_allclose(output, weights @ value, rtol=0, atol=1e-13)
    shadow = np.random.default_rng(seed + 1).normal(size=(50, 2))
    along, ends = shadow @ output.T, shadow @ value.T
    assert np.all(along >= ends.min(axis=1, keepdims=True) - 1e-13)
    assert np.all(along <= ends.max(axis=1, keepdims=True) + 1e-13)


@pytest.mark.equation("eq-row-shift")
@given(SEEDS, st.floats(-50, 50))
def test_a_shift_of_a_row_changes_no_weight(seed: int, shift: float) -> None:
    """One more coordinate, 1 in every key, adds the same number to all scores of a row."""
    query, key, _ = draw(seed)
    shifts = np.linspace(-shift, shift, len(query))[:, None]
    shifted = np.hstack([query, shifts]), np.hstack([key, np.ones((len(key), 1))])
    np.testing.assert_allclose(
        attention_weights(*shifted, scale=1.0),
        attention_weights(query, key, scale=1.0),
        rtol=1e-12,
    )


@given(SEEDS)
def test_one_vector_subtracted_from_all_keys_changes_nothing(seed: int) -> None:
    query, key, value = draw(seed)
    moved = softmax_attention(query, key - key[0], value)
    np.testing.assert_allclose(moved, softmax_attention(query, key, value), rtol=0, atol=1e-12)


@pytest.mark.equation("eq-causal-sum")
@given(SEEDS)
def test_a_causal_output_is_the_output_of_the_tokens_so_far(seed: int) -> None:
    _, key, value = draw(seed)
    causal = softmax_attention(key, key, value, is_causal=True)
    for i in range(len(key)):
        so_far = slice(i + 1)
        last = softmax_attention(key[i : i + 1], key[so_far], value[so_far])
        np.testing.assert_allclose(causal[i], last[0], rtol=0, atol=1e-13)


@given(SEEDS)
def test_attention_is_a_sum_with_a_gauss_kernel(seed: int) -> None:
    query, key, value = draw(seed)
    distance = np.linalg.norm(query[:, None] - key, axis=-1)
    kernel = np.exp((key**2).sum(axis=1) / 2 - distance**2 / 2)
    expected = kernel @ value / kernel.sum(axis=1, keepdims=True)
    output = softmax_attention(query, key, value, scale=1.0)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)
