"""The fused backward pass on a GPU: states again, with keys and queries exchanged.

Saved are query, key, value, output and normaliser only: O(n d) numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fastattn_lite.kernels.differentiate import (
    largest_kernel,
    pairs_key_kernel,
    pairs_query_kernel,
    score_gradient_kernel,
    upstream_kernel,
    value_gradient_kernel,
)
from fastattn_lite.kernels.launch import launch, precision, room
from fastattn_lite.kernels.settings import settings_for, takes_pairs
from fastattn_lite.kernels.states import (
    ALL,
    EARLIER,
    LATER,
    Chunks,
    Coefficients,
    Tensor,
    Transposed,
    Weighted,
    accumulate,
    arguments,
    cdiv,
    combine,
    cut_causal,
    cut_full,
    four,
    padded_width,
    transposed,
)

LONGEST_CHUNK = 2**30
"""A chunk that holds all tokens."""
PARTS = 64
"""Parts of the tokens in which the largest gradient is looked for, in float16."""


@dataclass(frozen=True)
class Upstream:
    """c_i = g_i / (gain G_i), d_i = c_i . o_i and d_i q_i; the gain of each head (heads,)."""

    scaled: Tensor
    inner: Tensor
    offsets: Tensor
    gains: Tensor


def attention_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, output: Tensor,
    normaliser: Tensor, coefficients: Coefficients, is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of query, key and value; all have the same number of heads.

    Shapes: (h, n, d) or (h, n, d_v), normaliser (h, n) in float32; all but the gradient lie
    contiguous. Formulas: see `differentiate`.
    """
    up = upstream(gradient, output, normaliser, query)
    tokens, order = (query, key, value), len(coefficients) - 1
    if takes_pairs(query.shape, key.shape[1], order, is_causal, True):
        return pair_gradients(*tokens, up, coefficients, is_causal, query.dtype)
    cuts, local = (cut_full(key.shape[1], key), cut_full(query.shape[1], query)), None
    if is_causal:
        cuts = (cut_causal(query.shape[1], padded_width(query.shape[2]), order),) * 2
        local = pair_gradients(*tokens, up, coefficients, True, torch.float32, cuts[0].size)
    q, k = transposed(query, order), transposed(key, order)
    directions = (EARLIER, LATER) if is_causal else (ALL, ALL)
    of_query = query_gradient(q, k, value, up, coefficients, directions[0], cuts[0], local)
    of_key, of_value = key_gradients(q, k, value, up, coefficients, directions[1], cuts[1], local)
    return of_query, of_key, of_value


def upstream(gradient: Tensor, output: Tensor, normaliser: Tensor, query: Tensor) -> Upstream:
    """Return what the gradients need of the output's gradient."""
    (heads, tokens, dim), width = query.shape, output.shape[2]
    scaled, offsets = room_like(output), room_like(query)
    inner, gains = room_like(normaliser), room((heads,), torch.float32, query.device)
    largest, given = gains, (gradient, output, normaliser, query)
    parts = PARTS if query.dtype == torch.float16 else 0
    sizes = {"D": padded_width(dim), "E": padded_width(width), "BM": 64, "PARTS": parts}
    if parts > 0:
        largest = room((heads, parts), torch.float32, query.device)
        launch(
            largest_kernel, (parts, heads),
            *given, largest, tokens, cdiv(tokens, parts), *gradient.stride(), dim, width, **sizes,
        )  # fmt: skip
    launch(
        upstream_kernel, (cdiv(tokens, 64), heads),
        *given, scaled, inner, offsets, largest, gains, tokens, *gradient.stride(), dim, width,
        **sizes,
    )  # fmt: skip
    return Upstream(scaled, inner, offsets, gains)


def room_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return memory for as many numbers as x has."""
    return room(x.shape, x.dtype if dtype is None else dtype, x.device)


def pair_gradients(
    query: Tensor, key: Tensor, value: Tensor, up: Upstream, coefficients: Coefficients,
    is_causal: bool, dtype: torch.dtype, chunk: int = LONGEST_CHUNK,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return what the scores add to the three gradients: all, or where causal those of a chunk."""
    of_query, of_key, of_value = (room_like(x, dtype) for x in (query, key, value))
    (heads, queries, dim), (keys, width) = query.shape, value.shape[1:]
    chosen = settings_for(query, len(coefficients) - 1, padded_width(dim), padded_width(width))
    tile = chosen.pair_keys
    given = (query, key, value, up.scaled, up.inner)
    sizes = (queries, keys, chunk, dim, width, *four(coefficients), up.gains)
    constants = {
        "ORDER": len(coefficients) - 1, "D": padded_width(dim), "B": tile, "CAUSAL": is_causal,
        "E": padded_width(width), "PRECISION": precision(query.dtype),
        "num_warps": chosen.pair_warps, "num_stages": chosen.pair_stages,
    }  # fmt: skip
    by_query, by_key = ((cdiv(count, tile), heads) for count in (queries, keys))
    launch(pairs_query_kernel, by_query, *given, of_query, *sizes, **constants)
    launch(pairs_key_kernel, by_key, *given, of_key, of_value, *sizes, **constants)
    return of_query, of_key, of_value


def slopes(coefficients: Coefficients) -> Coefficients:
    """Return the coefficients of f'."""
    return tuple(degree * a for degree, a in enumerate(coefficients))[1:]


def query_gradient(
    q: Transposed, k: Transposed, value: Tensor, up: Upstream, coefficients: Coefficients,
    direction: int, cut: Chunks, local: tuple[Tensor, Tensor, Tensor] | None,
) -> Tensor:  # fmt: skip
    """Return sum_j f'(s_ij) (c_i . v_j - d_i) k_j."""
    order, dtype = len(coefficients) - 1, q.x.dtype
    with_values, with_keys = accumulate(k, value, k.x, order, cut)
    means = combine(with_values, coefficients, direction, dtype, derivative=True)
    offsets = combine(with_keys, slopes(coefficients), direction, dtype)
    base = None if local is None else local[0]
    return score_gradient(q.x, up.scaled, up.inner, offsets, means, coefficients, up.gains, base)


def key_gradients(
    q: Transposed, k: Transposed, value: Tensor, up: Upstream, coefficients: Coefficients,
    direction: int, cut: Chunks, local: tuple[Tensor, Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return sum_i f'(s_ij) (c_i . v_j - d_i) q_i and sum_i f(s_ij) c_i."""
    order, dtype = len(coefficients) - 1, q.x.dtype
    with_scaled, with_offsets = accumulate(q, up.scaled, up.offsets, order, cut)
    means = combine(with_scaled, coefficients, direction, dtype)
    _, of_key, of_value = (None, None, None) if local is None else local
    value_part = value_gradient(k.x, value, means, coefficients, up.gains, of_value)
    means = combine(with_scaled, coefficients, direction, dtype, derivative=True)
    offsets = combine(with_offsets, slopes(coefficients), direction, dtype)
    key_part = score_gradient(k.x, value, None, offsets, means, coefficients, up.gains, of_key)
    return key_part, value_part


def score_gradient(
    x: Tensor, z: Tensor, factor: Tensor | None, offsets: Weighted, means: Weighted,
    coefficients: Coefficients, gains: Tensor, local: Tensor | None,
) -> Tensor:  # fmt: skip
    """Return the gradient of x through the scores: times z, less the offsets times a factor."""
    (heads, tokens, dim), gradient = x.shape, room_like(x)
    chosen = settings_for(x, means.order, means.width, means.columns)
    launch(
        score_gradient_kernel, (cdiv(tokens, chosen.tokens), heads),
        x, z, x if factor is None else factor, *arguments(offsets), *arguments(means),
        gradient if local is None else local, gradient, tokens, means.tokens,
        means.chunks.size, means.chunks.count, coefficients[1], gains, dim, z.shape[2],
        PANELS=means.panels, R=means.rows, OFFSET_PANELS=offsets.panels, OFFSET_R=offsets.rows,
        ORDER=means.order, D=means.width, E=means.columns, BM=chosen.tokens,
        DIRECTION=means.direction, FACTOR=factor is not None, UNROLL=chosen.joined,
        STAGES=chosen.stages, PRECISION=precision(x.dtype), num_warps=chosen.warps,
    )  # fmt: skip
    return gradient


def value_gradient(
    k: Tensor, value: Tensor, means: Weighted, coefficients: Coefficients, gains: Tensor,
    local: Tensor | None,
) -> Tensor:  # fmt: skip
    """Return the gradient of the values."""
    (heads, tokens, dim), gradient = k.shape, room_like(value)
    chosen = settings_for(k, means.order, means.width, means.columns)
    launch(
        value_gradient_kernel, (cdiv(tokens, chosen.tokens), heads),
        k, *arguments(means), gradient if local is None else local, gradient, tokens,
        means.tokens, means.chunks.size, means.chunks.count, coefficients[0], gains, dim,
        value.shape[2], PANELS=means.panels, R=means.rows, ORDER=means.order, D=means.width,
        E=means.columns, BM=chosen.tokens, DIRECTION=means.direction, UNROLL=chosen.joined,
        STAGES=chosen.stages, PRECISION=precision(k.dtype), num_warps=chosen.warps,
    )  # fmt: skip
    return gradient
