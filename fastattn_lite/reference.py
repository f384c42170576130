"""The oracle: attention as a direct kernel sum, O(n_q n_k), the shape of the definition.

Everything fast in this package is tested against these few lines in float64.
"""

from __future__ import annotations

import math
from typing import Any

from fastattn_lite._arrays import (
    Array,
    accumulation_dtype,
    check_attention_inputs,
    check_mask,
    check_query_and_key,
    check_real,
    check_someone_to_attend_to,
    namespace,
)
from fastattn_lite.expansion import Expansion, check_expansion


def softmax_attention(
    query: Array, key: Array, value: Array, *, is_causal: bool = False, scale: float | None = None
) -> Array:
    """Return softmax attention by the direct sum.

    Formula: o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij) with s_ij = scale * q_i . k_j, over
    all j, or over j <= i where `is_causal`.
    Shapes: query (..., n_q, d), key (..., n_k, d), value (..., n_k, d_v) to (..., n_q, d_v);
    leading axes broadcast. Scores are pure numbers; `scale` is 1/sqrt(d) unless given.
    Cost: 2 n_q n_k (d + d_v) flops and O(n_q n_k) memory. The dtype is that of `value`.
    Raises `TypeError` or `ValueError` naming the argument that does not fit.
    Equation: eq-softmax-kernel-sum (chapter intro).
    Equation: eq-weighted-values (chapter attention_as_a_kernel_sum).
    Equation: eq-causal-sum (chapter attention_as_a_kernel_sum).
    Source: Vaswani et al. 2017.
    """
    return _weighted_mean(query, key, value, None, is_causal, scale)


def kernel_attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    expansion: Expansion,
    is_causal: bool = False,
    scale: float | None = None,
) -> Array:
    """Return attention with the polynomial f in place of exp, by the direct sum.

    Formula: o_i = sum_j f(s_ij) v_j / sum_j f(s_ij) with s_ij = scale * q_i . k_j.
    Shapes, cost, dtype and errors are those of `softmax_attention`.
    Equation: eq-kernel-attention (chapter intro).
    Source: FAST, arXiv 2402.07901.
    """
    check_expansion(expansion)
    return _weighted_mean(query, key, value, expansion, is_causal, scale)


def attention_weights(
    query: Array,
    key: Array,
    *,
    expansion: Expansion | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Array:
    """Return the attention matrix, whose rows sum to 1.

    Formula: A_ij = f(s_ij) / sum_j f(s_ij), with exp for f where `expansion` is None.
    Shapes: query (..., n_q, d), key (..., n_k, d) to (..., n_q, n_k). Cost: 2 n_q n_k d flops.
    The dtype is that of the wider input, at least float32. Errors as in `softmax_attention`.
    Equation: eq-attention-weights (chapter attention_as_a_kernel_sum).
    Equation: eq-row-shift (chapter attention_as_a_kernel_sum).
    """
    xp = namespace(query=query, key=key)
    check_query_and_key(query, key)
    if expansion is not None:
        check_expansion(expansion)
    check_mask(query, key, is_causal)
    check_someone_to_attend_to(query, key)
    dtype = accumulation_dtype(xp, query, key)
    scores = attention_scores(xp, query, key, dtype, scale)
    kernel = _shifted_exp(xp, scores, is_causal) if expansion is None else expansion(scores)
    kernel = causal_part(xp, kernel) if is_causal else kernel
    return kernel / xp.sum(kernel, axis=-1, keepdims=True)


def attention_scores(xp: Any, query: Array, key: Array, dtype: Any, scale: float | None) -> Array:
    """Return s_ij = scale * q_i . k_j in the given dtype; `scale` None is 1/sqrt(d)."""
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else check_real("scale", scale)
    return factor * (xp.astype(query, dtype) @ xp.matrix_transpose(xp.astype(key, dtype)))


def causal_part(xp: Any, kernel: Array) -> Array:
    """Return the kernel matrix with every entry j > i set to 0 (also where it is nan)."""
    return xp.tril(kernel)


def _weighted_mean(
    query: Array,
    key: Array,
    value: Array,
    expansion: Expansion | None,
    is_causal: bool,
    scale: float | None,
) -> Array:
    xp = check_attention_inputs(query, key, value, is_causal=is_causal)
    dtype = accumulation_dtype(xp, query, key, value)
    weights = attention_weights(
        xp.astype(query, dtype),
        xp.astype(key, dtype),
        expansion=expansion,
        is_causal=is_causal,
        scale=scale,
    )
    return xp.astype(weights @ xp.astype(value, dtype), value.dtype)


def _shifted_exp(xp: Any, scores: Array, is_causal: bool) -> Array:
    """Return exp(s_ij - max_j s_ij): the common factor cancels and nothing overflows."""
    if scores.shape[-1] == 0:
        return scores
    if is_causal:
        allowed = xp.tril(xp.ones_like(scores)) > 0
        scores = xp.where(allowed, scores, xp.full_like(scores, -math.inf))
    return xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
