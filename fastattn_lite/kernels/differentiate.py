"""The backward pass on a GPU: the evaluation again, with keys and queries exchanged.

With c_i = g_i / G_i and d_i = g_i . o_i / G_i, g the gradient of the output,

    dq_i = sum_j f'(s_ij) (c_i . v_j - d_i) k_j,    dk_j = sum_i f'(s_ij) (c_i . v_j - d_i) q_i,
    dv_j = sum_i f(s_ij) c_i.

Sums over other chunks come through moments; those within a chunk, and all of few tokens, through
the scores: the kernels that are called pairs.

In float16 c_i and d_i q_i are divided by a gain, one for each head, that takes the largest of them
well into its range: G_i grows with i under a mask, and a gradient may come in any scale.
"""

import triton
import triton.language as tl

from fastattn_lite.kernels.accumulate import load_tokens, sum_products
from fastattn_lite.kernels.evaluate import linear_form, state_place
from fastattn_lite.kernels.pairs import polynomial


@triton.jit
def upstream_tile(
    g, o, normaliser, h, m, tokens, stride_h, stride_n, stride_e, width, E: tl.constexpr,
    BM: tl.constexpr,
):  # fmt: skip
    """Return g_i / G_i and its product with o_i for the tokens from m on."""
    t, e = tl.arange(0, BM), tl.arange(0, E)
    total = tl.load(normaliser + h * tokens + m + t, mask=m + t < tokens, other=1.0)
    upstream = load_tokens(g + h * stride_h, m, t, tokens, stride_n, stride_e, e, width)
    scaled = upstream.to(tl.float32) / total[:, None]
    outputs = load_tokens(o + h * tokens * width, m, t, tokens, width, 1, e, width)
    return scaled, sum_products(scaled, outputs.to(tl.float32), 1)


@triton.jit(do_not_specialize=["tokens", "part"])
def largest_kernel(
    g, o, normaliser, q, largest, tokens, part, stride_h, stride_n, stride_e, dim, width,
    D: tl.constexpr, E: tl.constexpr, BM: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Write the largest |c_i| and |d_i| max |q_i| / 32 of a part of the tokens, for a gain of 1."""
    h, begin = tl.program_id(1).to(tl.int64), tl.program_id(0) * part
    t, i = tl.arange(0, BM), tl.arange(0, D)
    most = tl.zeros([BM], tl.float32)
    for m in range(begin, tl.minimum(begin + part, tokens), BM):
        scaled, inner = upstream_tile(
            g, o, normaliser, h, m, tokens, stride_h, stride_n, stride_e, width, E, BM
        )
        query = load_tokens(q + h * tokens * dim, m, t, tokens, dim, 1, i, dim)
        offset = tl.abs(inner) * tl.max(tl.abs(query.to(tl.float32)), 1) / 32
        length = tl.sqrt(tl.sum(scaled * scaled, 1))
        most = tl.maximum(most, tl.maximum(length, offset))
    tl.store(largest + h * PARTS + tl.program_id(0), tl.max(most, 0))


@triton.jit
def gain_of(largest, h, PARTS: tl.constexpr):
    """Return the power of two by which c_i is divided, so that the largest is about 2^9."""
    most = tl.max(tl.load(largest + h * PARTS + tl.arange(0, PARTS)), 0)
    bits = tl.maximum(most, 1e-30).to(tl.int32, bitcast=True) & 0x7F800000
    return bits.to(tl.float32, bitcast=True) / 256


@triton.jit(do_not_specialize=["tokens"])
def upstream_kernel(
    g, o, normaliser, q, c, d, offsets, largest, gains, tokens, stride_h, stride_n, stride_e, dim,
    width, D: tl.constexpr, E: tl.constexpr, BM: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Write c_i = g_i / (gain G_i), d_i = c_i . o_i and d_i q_i; without PARTS the gain is 1."""
    m = tl.program_id(0) * BM
    h = tl.program_id(1).to(tl.int64)
    t, i, e = tl.arange(0, BM), tl.arange(0, D), tl.arange(0, E)
    there = m + t < tokens
    gain = 1.0
    if PARTS > 0:
        gain = gain_of(largest, h, PARTS)
    tl.store(gains + h, gain, mask=m == 0)
    scaled, inner = upstream_tile(
        g, o, normaliser, h, m, tokens, stride_h, stride_n, stride_e, width, E, BM
    )
    scaled, inner = scaled / gain, inner / gain
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


@triton.jit(do_not_specialize=["tokens", "held", "chunks"])
def value_gradient_kernel(
    k, states, sums, first, second, local, gradient, tokens, held, chunk, chunks, a0, gains,
    dim, width, PANELS: tl.constexpr, R: tl.constexpr, ORDER: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, BM: tl.constexpr, DIRECTION: tl.constexpr,
    UNROLL: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dv_j = sum_i f(s_ij) c_i."""
    m = tl.program_id(0) * BM
    h = tl.program_id(1).to(tl.int64)
    place, _, count = state_place(h, m, held, chunk, chunks, 1, DIRECTION)
    k += h * tokens * dim
    acc = linear_form(
        tl.zeros([BM, E], tl.float32), k, k, states + place * R * D * E, sums + place * E, first,
        second, m, tokens, a0, dim, 1, dim, dim, 1, dim, PANELS, ORDER, D, E, BM,
        False, UNROLL, STAGES, PRECISION,
    )  # fmt: skip
    acc *= count * tl.load(gains + h)
    store_gradient(acc, local, gradient, h, m, tokens, width, BM, E, DIRECTION)


@triton.jit(do_not_specialize=["tokens", "held", "chunks"])
def score_gradient_kernel(
    x, z, factor, offset_states, offset_sums, offset_first, offset_second, states, sums,
    first, second, local, gradient, tokens, held, chunk, chunks, a1, gains, dim, width,
    PANELS: tl.constexpr, R: tl.constexpr, OFFSET_PANELS: tl.constexpr, OFFSET_R: tl.constexpr,
    ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    BM: tl.constexpr, DIRECTION: tl.constexpr, FACTOR: tl.constexpr, UNROLL: tl.constexpr,
    STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dq_i (x = q, z = c, factor = d) or dk_j (x = k, z = v, offsets from d_i q_i)."""
    m = tl.program_id(0) * BM
    h = tl.program_id(1).to(tl.int64)
    place, _, count = state_place(h, m, held, chunk, chunks, 1, DIRECTION)
    x += h * tokens * dim
    acc = -linear_form(
        tl.zeros([BM, D], tl.float32), x, x, offset_states + place * OFFSET_R * D * D,
        offset_sums + place * D, offset_first, offset_second, m, tokens, a1, dim, 1, dim, dim, 1,
        dim, OFFSET_PANELS, ORDER - 1, D, D,
        BM, False, UNROLL, STAGES, PRECISION,
    )  # fmt: skip
    if FACTOR:
        t = tl.arange(0, BM)
        acc *= tl.load(factor + h * tokens + m + t, mask=m + t < tokens, other=0.0)[:, None]
    acc = linear_form(
        acc, z + h * tokens * width, x, states + place * R * D * E, sums, first, second, m,
        tokens, 0.0, width, 1, width, dim, 1, dim, PANELS, ORDER, E, D, BM, True, UNROLL, STAGES,
        PRECISION,
    )  # fmt: skip
    acc *= count * tl.load(gains + h)
    store_gradient(acc, local, gradient, h, m, tokens, dim, BM, D, DIRECTION)


@triton.jit
def score_gradients(
    q, k, c, v, d, i, j, a0, a1, a2, a3, ORDER: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Return f(s_ij) and dL/ds_ij of a tile of queries i and keys j, if MASKED 0 where j > i."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    weights = polynomial(scores, a0, a1, a2, a3, ORDER)
    slopes = polynomial(scores, a1, 2 * a2, 3 * a3, 0.0, ORDER - 1)
    slopes *= tl.dot(c, tl.trans(v), input_precision=PRECISION) - d[:, None]
    if MASKED:
        there = i[:, None] >= j[None, :]
        weights, slopes = tl.where(there, weights, 0.0), tl.where(there, slopes, 0.0)
    return weights, slopes


@triton.jit
def add_keys(
    acc, query, scaled, offset, k, v, m, begin, end, keys, dim, width, a0, a1, a2, a3,
    ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, B: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add dL/ds_ij k_j to the queries' gradient, over the keys begin <= j < end."""
    t, i, e = tl.arange(0, B), tl.arange(0, D), tl.arange(0, E)
    for start in range(begin, end, B):
        key = load_tokens(k, start, t, keys, dim, 1, i, dim)
        value = load_tokens(v, start, t, keys, width, 1, e, width)
        _, slopes = score_gradients(
            query, key, scaled, value, offset, m + t, start + t, a0, a1, a2, a3, ORDER, MASKED,
            PRECISION,
        )  # fmt: skip
        acc = tl.dot(slopes.to(key.dtype), key, acc, input_precision=PRECISION)
    return acc


@triton.jit
def add_queries(
    key_sum, value_sum, key, value, q, c, d, m, begin, end, queries, dim, width, a0, a1, a2, a3,
    ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, B: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add dL/ds_ij q_i and f(s_ij) c_i to the keys' and values' gradients, begin <= i < end."""
    t, i, e = tl.arange(0, B), tl.arange(0, D), tl.arange(0, E)
    for start in range(begin, end, B):
        query = load_tokens(q, start, t, queries, dim, 1, i, dim)
        scaled = load_tokens(c, start, t, queries, width, 1, e, width)
        offset = tl.load(d + start + t, mask=start + t < queries, other=0.0)
        weights, slopes = score_gradients(
            query, key, scaled, value, offset, start + t, m + t, a0, a1, a2, a3, ORDER, MASKED,
            PRECISION,
        )  # fmt: skip
        slopes = tl.trans(slopes.to(query.dtype))
        key_sum = tl.dot(slopes, query, key_sum, input_precision=PRECISION)
        weights = tl.trans(weights.to(scaled.dtype))
        value_sum = tl.dot(weights, scaled, value_sum, input_precision=PRECISION)
    return key_sum, value_sum


@triton.jit(do_not_specialize=["queries", "keys", "chunk"])
def pairs_query_kernel(
    q, k, v, c, d, gradient, queries, keys, chunk, dim, width, a0, a1, a2, a3, gains,
    ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, B: tl.constexpr, CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dq_i from all keys, or where CAUSAL from the keys j <= i of its own chunk."""
    m = tl.program_id(0) * B
    h = tl.program_id(1).to(tl.int64)
    t, i, e = tl.arange(0, B), tl.arange(0, D), tl.arange(0, E)
    at, k, v = h * queries + m + t, k + h * keys * dim, v + h * keys * width
    query = load_tokens(q + h * queries * dim, m, t, queries, dim, 1, i, dim)
    scaled = load_tokens(c + h * queries * width, m, t, queries, width, 1, e, width)
    offset = tl.load(d + at, mask=m + t < queries, other=0.0)
    begin = (m // chunk) * chunk if CAUSAL else 0
    acc = add_keys(
        tl.zeros([B, D], tl.float32), query, scaled, offset, k, v, m, begin,
        m if CAUSAL else keys, keys, dim, width, a0, a1, a2, a3, ORDER, D, E, B, False, PRECISION,
    )  # fmt: skip
    if CAUSAL:
        acc = add_keys(
            acc, query, scaled, offset, k, v, m, m, m + B, keys, dim, width, a0, a1, a2, a3,
            ORDER, D, E, B, True, PRECISION,
        )  # fmt: skip
    there = (m + t < queries)[:, None] & (i < dim)[None, :]
    acc = (acc * tl.load(gains + h)).to(gradient.dtype.element_ty)
    tl.store(gradient + at[:, None] * dim + i[None, :], acc, mask=there)


@triton.jit(do_not_specialize=["queries", "keys", "chunk"])
def pairs_key_kernel(
    q, k, v, c, d, key_gradient, value_gradient, queries, keys, chunk, dim, width, a0, a1, a2, a3,
    gains, ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, B: tl.constexpr,
    CAUSAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dk_j and dv_j from all queries, or where CAUSAL from the i >= j of its own chunk."""
    m = tl.program_id(0) * B
    h = tl.program_id(1).to(tl.int64)
    t, i, e = tl.arange(0, B), tl.arange(0, D), tl.arange(0, E)
    q, c, d = q + h * queries * dim, c + h * queries * width, d + h * queries
    key = load_tokens(k + h * keys * dim, m, t, keys, dim, 1, i, dim)
    value = load_tokens(v + h * keys * width, m, t, keys, width, 1, e, width)
    key_sum, value_sum = tl.zeros([B, D], tl.float32), tl.zeros([B, E], tl.float32)
    begin, end = 0, queries
    if CAUSAL:
        begin, end = m + B, tl.minimum((m // chunk + 1) * chunk, queries)
        key_sum, value_sum = add_queries(
            key_sum, value_sum, key, value, q, c, d, m, m, m + B, queries, dim, width,
            a0, a1, a2, a3, ORDER, D, E, B, True, PRECISION,
        )  # fmt: skip
    key_sum, value_sum = add_queries(
        key_sum, value_sum, key, value, q, c, d, m, begin, end, queries, dim, width,
        a0, a1, a2, a3, ORDER, D, E, B, False, PRECISION,
    )  # fmt: skip
    there, at = m + t < keys, (h * keys + m + t)[:, None]
    inside = there[:, None] & (i < dim)[None, :]
    gain = tl.load(gains + h)
    key_sum = (key_sum * gain).to(key_gradient.dtype.element_ty)
    tl.store(key_gradient + at * dim + i[None, :], key_sum, mask=inside)
    inside = there[:, None] & (e < width)[None, :]
    value_sum = (value_sum * gain).to(value_gradient.dtype.element_ty)
    tl.store(value_gradient + at * width + e[None, :], value_sum, mask=inside)
