"""The fused evaluation of attention on a GPU, step by step.

    o_i = sum_j f(s_ij) v_j / sum_j f(s_ij)  pairs, where tokens are few; otherwise
    S_r[c] = sum_j k_j^r k_jc v_j            accumulate, in chunks of tokens
    weighted means over chunks               combine: the earlier chunks or all
    G_i = a_0 n + q_i . sum_j h(s_ij) k_j    evaluate, with h(s) = (f(s) - a_0)/s
    o_i = F_i / G_i                          evaluate, with a chunk's own scores where causal

The scale of the scores is part of the coefficients: a_l scale^l.
"""

from __future__ import annotations

import torch

from fastattn_lite.kernels.evaluate import attention_kernel
from fastattn_lite.kernels.launch import launch, precision, room
from fastattn_lite.kernels.pairs import pairs_kernel
from fastattn_lite.kernels.settings import settings_for, takes_pairs
from fastattn_lite.kernels.states import (
    ALL,
    EARLIER,
    Coefficients,
    Tensor,
    Transposed,
    Weighted,
    accumulate,
    accumulate_running,
    arguments,
    cdiv,
    combine,
    cut_causal,
    cut_full,
    four,
    padded_width,
    runs,
    transposed,
)


def attention(
    query: Tensor, key: Tensor, value: Tensor, coefficients: Coefficients, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """Return the outputs o_i and the normalisers G_i.

    Shapes: query (h, n_q, d), key (g, n_k, d), value (g, n_k, d_v) to (h, n_q, d_v) in their dtype
    and (h, n_q) in float32; head i of the queries meets head i // (h // g) of the keys.
    Cost: about 3/4 of 4 n d^p (d_v + 1) / (p-1)! flops and float32 sums of every chunk, or
    2 n_q n_k (d + d_v) flops for few keys.
    """
    order = len(coefficients) - 1
    if takes_pairs(query.shape, key.shape[1], order, is_causal):
        return by_pairs(query, key, value, coefficients, is_causal)
    values, keys = weighted_means(transposed(key, order), value, coefficients, is_causal)
    return evaluate(query, key, value, keys, values, coefficients)


def weighted_means(
    key: Transposed, value: Tensor, coefficients: Coefficients, is_causal: bool
) -> tuple[Weighted, Weighted]:
    """Return the weighted means of values and of keys: of the earlier chunks, or of all."""
    order, dtype = len(coefficients) - 1, value.dtype
    cut = cut_causal(key.tokens, key.width, order) if is_causal else cut_full(key.tokens, key.x)
    if is_causal and runs(key, order, cut):
        return accumulate_running(key, value, key.x, coefficients, cut)
    direction = EARLIER if is_causal else ALL
    with_values, with_keys = accumulate(key, value, key.x, order, cut)
    values = combine(with_values, coefficients, direction, dtype)
    return values, combine(with_keys, coefficients[1:], direction, dtype)


def by_pairs(
    query: Tensor, key: Tensor, value: Tensor, coefficients: Coefficients, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """Return o_i and G_i from the scores themselves."""
    width = padded_width(query.shape[2]), padded_width(value.shape[2])
    output, normaliser = results(query, value)
    chosen = settings_for(query, len(coefficients) - 1, *width)
    launch(
        pairs_kernel, (cdiv(query.shape[1], chosen.pair_tokens), query.shape[0]),
        query, key, value, output, normaliser, query.shape[1], key.shape[1], *four(coefficients),
        query.shape[0] // key.shape[0], *query.stride(), *key.stride(), query.shape[2],
        *value.stride(), value.shape[2], ORDER=len(coefficients) - 1, D=width[0], E=width[1],
        BM=chosen.pair_tokens, BS=chosen.pair_keys, CAUSAL=is_causal,
        PRECISION=precision(query.dtype), num_warps=chosen.pair_warps,
        num_stages=chosen.pair_stages,
    )  # fmt: skip
    return output, normaliser


def results(query: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return room for the outputs and the normalisers."""
    rows, width = query.shape[:2], value.shape[2]
    output = room((*rows, width), value.dtype, value.device)
    return output, room(rows, torch.float32, value.device)


def evaluate(
    query: Tensor, key: Tensor, value: Tensor, keys: Weighted, values: Weighted,
    coefficients: Coefficients,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return o_i and G_i from the weighted means of keys and of values."""
    (heads, tokens, dim), width = query.shape, value.shape[2]
    output, normaliser = results(query, value)
    chosen = settings_for(query, values.order, values.width, values.columns)
    launch(
        attention_kernel, (cdiv(tokens, chosen.tokens), heads),
        query, *arguments(keys), *arguments(values), key, value, output, normaliser,
        tokens, values.tokens, values.chunks.size, values.chunks.count,
        *four(coefficients), heads // values.means.shape[0], *query.stride(), *key.stride(), dim,
        *value.stride(), width, PANELS=values.panels, R=values.rows, KEY_PANELS=keys.panels,
        KEY_R=keys.rows, ORDER=values.order, D=values.width, E=padded_width(width),
        BM=chosen.tokens, BS=chosen.chunk_keys, DIRECTION=values.direction, UNROLL=chosen.joined,
        STAGES=chosen.stages, PRECISION=precision(query.dtype), num_warps=chosen.warps,
        num_stages=chosen.pair_stages, maxnreg=chosen.registers,
    )  # fmt: skip
    return output, normaliser
