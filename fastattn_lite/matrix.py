"""What the full attention matrix is like: how wide its rows are, how far they reach, how sharp.

The fast form never stores the matrix. These few functions describe it where it is small enough to
be looked at, and say from f alone what it cannot do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastattn_lite._arrays import Array, accumulation_dtype, check_real, check_token_axes, namespace
from fastattn_lite.expansion import Expansion, check_expansion


def row_entropy(weights: Array) -> Array:
    """Return the entropy of every row of an attention matrix, in nats.

    Formula: H_i = -sum_j w_ij log w_ij, where 0 log 0 is 0; exp(H_i) is the number of keys that
    the row looks at, from 1 to n_k. A row with a negative weight has no entropy and gets nan.
    Shapes: weights (..., n_q, n_k), rows that sum to 1, to (..., n_q). Cost: n_q n_k logarithms.
    Raises `TypeError` or `ValueError` where `weights` is no floating-point matrix.
    Equation: eq-row-entropy (chapter full_attention_matrix).
    Source: Shannon 1948.
    """
    xp, weights = _matrix(weights)
    positive = weights > 0
    logarithms = xp.log(xp.where(positive, weights, xp.ones_like(weights)))
    summands = xp.where(weights < 0, xp.full_like(weights, math.nan), weights * logarithms)
    return -xp.sum(summands, axis=-1)


def attention_distance(weights: Array) -> Array:
    """Return how far every row of an attention matrix looks, in tokens.

    Formula: Delta_i = sum_j w_ij |i - j|, with queries and keys counted from the same first token.
    Shapes: weights (..., n_q, n_k), rows that sum to 1, to (..., n_q). Cost: 2 n_q n_k flops.
    Raises `TypeError` or `ValueError` where `weights` is no floating-point matrix.
    Equation: eq-attention-distance (chapter full_attention_matrix).
    Source: Dosovitskiy et al. 2021 (mean attention distance).
    """
    xp, weights = _matrix(weights)
    ones = xp.ones_like(weights)
    rows, columns = (xp.cumulative_sum(ones, axis=axis) for axis in (-2, -1))
    return xp.sum(weights * xp.abs(rows - columns), axis=-1)


def ratio_limit(expansion: Expansion | None, low: float, high: float) -> float:
    """Return the largest ratio that two weights of a row can have if scores lie in [low, high].

    Formula: chi = max f / min f on [low, high], with exp for f where `expansion` is None; `inf`
    unless f > 0 there. Among n keys a weight is then at least 1 / (1 + (n - 1) chi) and at most
    chi / (chi + n - 1). Scores are pure numbers. Cost: the roots of f'.
    Raises `ValueError` where low > high or a limit is not finite.
    Equation: eq-ratio-limit (chapter full_attention_matrix).
    Equation: eq-largest-weight (chapter full_attention_matrix).
    """
    low, high = check_real("low", low), check_real("high", high)
    if low > high:
        raise ValueError(f"low, high: expected low <= high, got {low:g} and {high:g}")
    if expansion is None:
        return math.exp(high - low)
    check_expansion(expansion)
    # f is largest and smallest at an end or at a root of f'; other points inside do no harm.
    line = np.polynomial.Polynomial([(low + high) / 2, (high - low) / 2])
    slope = np.polynomial.Polynomial(expansion.derivative().coefficients)(line)
    inside = np.clip(np.real(slope.trim().roots()), -1, 1)
    values = expansion(np.append(line(inside), [low, high]))
    return float(np.max(values) / np.min(values)) if np.min(values) > 0 else math.inf


def _matrix(weights: Array) -> tuple[Any, Array]:
    xp = namespace(weights=weights)
    check_token_axes(weights=weights)
    return xp, xp.astype(weights, accumulation_dtype(xp, weights))
