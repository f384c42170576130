"""The backward pass on a GPU: the evaluation again, with keys and queries exchanged.

With c_i = g_i / G_i and d_i = g_i . o_i / G_i, g the gradient of the output,

    dq_i = sum_j f'(s_ij) (c_i . v_j - d_i) k_j,    dk_j = sum_i f'(s_ij) (c_i . v_j - d_i) q_i,
    dv_j = sum_i f(s_ij) c_i.

Sums over other chunks come through moments; those within a chunk through its scores.
"""

import triton
import triton.language as tl

from fastattn_lite.kernels.accumulate import load_tokens
from fastattn_lite.kernels.evaluate import linear_form, polynomial, state_place


@triton.jit(do_not_specialize=["tokens"])
def upstream_kernel(
    g, o, normaliser, q, c, d, offsets, tokens, gain, stride_h, stride_n, stride_e, dim, width,
    D: tl.constexpr, E: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Write c_i = g_i / (gain G_i), d_i = c_i . o_i and d_i q_i."""
    m = tl.program_id(0) * BM
    h = tl.program_id(1).to(tl.int64)
    t, i, e = tl.arange(0, BM), tl.arange(0, D), tl.arange(0, E)
    there = m + t < tokens
    total = tl.load(normaliser + h * tokens + m + t, mask=there, other=1.0)
    upstream = load_tokens(g + h * stride_h, m, t, tokens, stride_n, stride_e, e, width)
    scaled = upstream.to(tl.float32) / (gain * total)[:, None]
    outputs = load_tokens(o + h * tokens * width, m, t, tokens, width, 1, e, width)
    inner = tl.sum(scaled * outputs.to(tl.float32), 1)
    query = load_tokens(q + h * tokens * dim, m, t, tokens, dim, 1, i, dim)
    at = h * tokens + m + t
    tl.store(d + at, inner, mask=there)
    inside = there[:, None] & (e < width)[None, :]
    tl.store(c + at[:, None] * width + e[None, :], scaled.to(c.dtype.element_ty), mask=inside)
    inside = there[:, None] & (i < dim)[None, :]
    moved = (query.to(tl.float32) * inner[:, None]).to(offsets.dtype.element_ty)
    tl.store(offsets + at[:, None] * dim + i[None, :], moved, mask=inside)


@triton.jit
def store_gradient(
    acc, local, gradient, h, m, tokens, width, BM: tl.constexpr, E: tl.constexpr,
    DIRECTION: tl.constexpr,
):  # fmt: skip
    """Store a gradient, with what a chunk's own scores add where causal."""
    t, e = tl.arange(0, BM), tl.arange(0, E)
    there = (m + t < tokens)[:, None] & (e < width)[None, :]
    at = (h * tokens + m + t)[:, None] * width + e[None, :]
    if DIRECTION != 0:
        acc += tl.load(local + at, mask=there, other=0.0)
    tl.store(gradient + at, acc.to(gradient.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["tokens", "held", "chunks", "R", "half"])
def value_gradient_kernel(
    k, k_t, states, sums, first, second, R, half, local, gradient, tokens, held, padded,
    chunk, chunks, a0, gain, dim, width, ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    BM: tl.constexpr, DIRECTION: tl.constexpr, UNROLL: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dv_j = sum_i f(s_ij) c_i."""
    m = tl.program_id(0) * BM
    h, padded = tl.program_id(1).to(tl.int64), padded.to(tl.int64)
    place, _, count = state_place(h, m, held, chunk, chunks, 1, DIRECTION)
    acc = linear_form(
        tl.zeros([BM, E], tl.float32), k + h * tokens * dim, k_t + h * (D + 1) * padded,
        states + place * R * D * E, sums + place * E, first, second, m, tokens, padded, R, half,
        a0, dim, 1, dim, ORDER, D, E, BM, False, UNROLL, STAGES, PRECISION,
    )  # fmt: skip
    acc *= count * gain
    store_gradient(acc, local, gradient, h, m, tokens, width, BM, E, DIRECTION)


@triton.jit(do_not_specialize=["tokens", "held", "chunks", "R", "half", "offset_R", "offset_half"])
def score_gradient_kernel(
    x, x_t, z, factor, offset_states, offset_sums, offset_first, offset_second, offset_R,
    offset_half, states, sums, first, second, R, half, local, gradient, tokens, held, padded,
    chunk, chunks, a1, gain, dim, width, ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    BM: tl.constexpr, DIRECTION: tl.constexpr, FACTOR: tl.constexpr, UNROLL: tl.constexpr,
    STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dq_i (x = q, z = c, factor = d) or dk_j (x = k, z = v, offsets from d_i q_i)."""
    m = tl.program_id(0) * BM
    h, padded = tl.program_id(1).to(tl.int64), padded.to(tl.int64)
    place, _, count = state_place(h, m, held, chunk, chunks, 1, DIRECTION)
    x_t += h * (D + 1) * padded
    acc = -linear_form(
        tl.zeros([BM, D], tl.float32), x + h * tokens * dim, x_t,
        offset_states + place * offset_R * D * D, offset_sums + place * D, offset_first,
        offset_second, m, tokens, padded, offset_R, offset_half, a1, dim, 1, dim, ORDER - 1, D, D,
        BM, False, UNROLL, STAGES, PRECISION,
    )  # fmt: skip
    if FACTOR:
        t = tl.arange(0, BM)
        acc *= tl.load(factor + h * tokens + m + t, mask=m + t < tokens, other=0.0)[:, None]
    acc = linear_form(
        acc, z + h * tokens * width, x_t, states + place * R * D * E, sums, first, second, m,
        tokens, padded, R, half, 0.0, width, 1, width, ORDER, E, D, BM, True, UNROLL, STAGES,
        PRECISION,
    )  # fmt: skip
    acc *= count * gain
    store_gradient(acc, local, gradient, h, m, tokens, dim, BM, D, DIRECTION)


@triton.jit
def score_gradients(
    q, k, c, v, d, mask, a0, a1, a2, a3, ORDER: tl.constexpr, PRECISION: tl.constexpr
):
    """Return f(s_ij) and dL/ds_ij of a tile of queries and keys, 0 where masked."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    weights = tl.where(mask, polynomial(scores, a0, a1, a2, a3, ORDER), 0.0)
    slopes = polynomial(scores, a1, 2 * a2, 3 * a3, 0.0, ORDER - 1)
    upstream = tl.dot(c, tl.trans(v), input_precision=PRECISION) - d[:, None]
    return weights, tl.where(mask, slopes * upstream, 0.0)


@triton.jit(do_not_specialize=["tokens"])
def local_query_kernel(
    q, k, v, c, d, gradient, tokens, chunk, dim, width, a0, a1, a2, a3, gain,
    ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, B: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the part of dq_i that comes from the keys j <= i of its own chunk."""
    m = tl.program_id(0) * B
    h = tl.program_id(1).to(tl.int64) * tokens
    t, i, e = tl.arange(0, B), tl.arange(0, D), tl.arange(0, E)
    query = load_tokens(q + h * dim, m, t, tokens, dim, 1, i, dim)
    scaled = load_tokens(c + h * width, m, t, tokens, width, 1, e, width)
    offset = tl.load(d + h + m + t, mask=m + t < tokens, other=0.0)
    acc = tl.zeros([B, D], tl.float32)
    for start in range((m // chunk) * chunk, m + B, B):
        keys = load_tokens(k + h * dim, start, t, tokens, dim, 1, i, dim)
        values = load_tokens(v + h * width, start, t, tokens, width, 1, e, width)
        mask = (m + t)[:, None] >= (start + t)[None, :]
        _, slopes = score_gradients(
            query, keys, scaled, values, offset, mask, a0, a1, a2, a3, ORDER, PRECISION
        )
        acc = tl.dot(slopes.to(keys.dtype), keys, acc, input_precision=PRECISION)
    there = (m + t < tokens)[:, None] & (i < dim)[None, :]
    tl.store(gradient + (h + m + t)[:, None] * dim + i[None, :], acc * gain, mask=there)


@triton.jit(do_not_specialize=["tokens"])
def local_key_kernel(
    q, k, v, c, d, key_gradient, value_gradient, tokens, chunk, dim, width, a0, a1, a2, a3, gain,
    ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, B: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the parts of dk_j and dv_j that come from the queries i >= j of their own chunk."""
    m = tl.program_id(0) * B
    h = tl.program_id(1).to(tl.int64) * tokens
    t, i, e = tl.arange(0, B), tl.arange(0, D), tl.arange(0, E)
    keys = load_tokens(k + h * dim, m, t, tokens, dim, 1, i, dim)
    values = load_tokens(v + h * width, m, t, tokens, width, 1, e, width)
    key_sum = tl.zeros([B, D], tl.float32)
    value_sum = tl.zeros([B, E], tl.float32)
    for start in range(m, tl.minimum((m // chunk + 1) * chunk, tokens), B):
        query = load_tokens(q + h * dim, start, t, tokens, dim, 1, i, dim)
        scaled = load_tokens(c + h * width, start, t, tokens, width, 1, e, width)
        offset = tl.load(d + h + start + t, mask=start + t < tokens, other=0.0)
        mask = (start + t)[:, None] >= (m + t)[None, :]
        weights, slopes = score_gradients(
            query, keys, scaled, values, offset, mask, a0, a1, a2, a3, ORDER, PRECISION
        )
        slopes = tl.trans(slopes.to(query.dtype))
        key_sum = tl.dot(slopes, query, key_sum, input_precision=PRECISION)
        weights = tl.trans(weights.to(scaled.dtype))
        value_sum = tl.dot(weights, scaled, value_sum, input_precision=PRECISION)
    there = m + t < tokens
    at = (h + m + t)[:, None]
    inside = there[:, None] & (i < dim)[None, :]
    tl.store(key_gradient + at * dim + i[None, :], key_sum * gain, mask=inside)
    inside = there[:, None] & (e < width)[None, :]
    tl.store(value_gradient + at * width + e[None, :], value_sum * gain, mask=inside)
