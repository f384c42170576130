"""Evaluation on a GPU: sum_r z_i^(row r of x_i) S_r at each token, and a chunk's own scores.

    linear form: out_i = sum_r x_i^r (z_i S_r) + a_0 sum_j y_j

With z = x = q and S from keys and values it is the numerator of attention; with S from keys and
keys it gives the normaliser; with z the output's gradient it gives the gradient of the query.
"""

import triton
import triton.language as tl

from fastattn_lite.kernels.accumulate import load_tokens, sum_products
from fastattn_lite.kernels.pairs import add_pairs, store_outputs


@triton.jit
def row_values(
    x, first, second, row, m, t, tokens, stride_n, stride_d, dim, ORDER: tl.constexpr
):  # fmt: skip
    """Return the monomials of rows, but not of the constant 1, at the tokens from m on."""
    if ORDER == 2:
        values = load_tokens(x, m, t, tokens, stride_n, stride_d, row - 1, dim)
    else:
        i, j = tl.load(first + row) - 1, tl.load(second + row) - 1
        values = load_tokens(x, m, t, tokens, stride_n, stride_d, i, dim)
        others = load_tokens(x, m, t, tokens, stride_n, stride_d, tl.maximum(j, 0), dim)
        values = tl.where((j < 0)[None, :], values, values * others)
    return values


@triton.jit
def add_rows(
    acc, z, x, states, first, second, m, tokens, e, stride_zn, stride_ze, z_width, stride_n,
    stride_d, dim, at_k, at_e, PANELS: tl.constexpr, PANEL: tl.constexpr, ORDER: tl.constexpr,
    K: tl.constexpr, E: tl.constexpr, BM: tl.constexpr, UNROLL: tl.constexpr,
    STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add x_i^r (z_i S_r) for the rows r of a panel, in its columns; S rows make one product.

    Narrow panels join more rows, so that every product is UNROLL * K long.
    """
    column: tl.constexpr = PANELS[PANEL][2]
    W: tl.constexpr = PANELS[PANEL][3]
    S: tl.constexpr = UNROLL * K // W
    t, w, j = tl.arange(0, BM), column + tl.arange(0, W), tl.arange(0, S * W)
    tile = load_tokens(z, m, t, tokens, stride_zn, stride_ze, w, z_width)
    for row in tl.range(PANELS[PANEL][0], PANELS[PANEL][1], S, num_stages=STAGES):
        r = row + tl.arange(0, S)
        values = row_values(x, first, second, r, m, t, tokens, stride_n, stride_d, dim, ORDER)
        scaled = tl.reshape(values[:, :, None] * tile[:, None, :], (BM, S * W))
        place = (row + j // W) * (K * E) + (column + j % W) * at_k
        state = tl.load(states + place[:, None] + e[None, :] * at_e)
        if m < tokens:  # always: see accumulate_rows
            acc = tl.dot(scaled, state, acc, input_precision=PRECISION)
    return acc


@triton.jit
def linear_form(
    acc, z, x, states, sums, first, second, m, tokens, a0, stride_zn, stride_ze, z_width,
    stride_n, stride_d, dim, PANELS: tl.constexpr, ORDER: tl.constexpr, K: tl.constexpr,
    E: tl.constexpr, BM: tl.constexpr, FLIPPED: tl.constexpr, UNROLL: tl.constexpr,
    STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the linear form of the tokens from m on, (BM, E); FLIPPED takes states transposed."""
    k, e, t = tl.arange(0, K), tl.arange(0, E), tl.arange(0, BM)
    at_k: tl.constexpr = 1 if FLIPPED else E
    at_e: tl.constexpr = K if FLIPPED else 1
    if not FLIPPED:
        acc += a0 * tl.load(sums + e)[None, :]
    if ORDER > 0:
        tile = load_tokens(z, m, t, tokens, stride_zn, stride_ze, k, z_width)
        linear = tl.load(states + k[:, None] * at_k + e[None, :] * at_e)
        acc = tl.dot(tile, linear, acc, input_precision=PRECISION)
    for panel in tl.static_range(len(PANELS)):
        acc = add_rows(
            acc, z, x, states, first, second, m, tokens, e, stride_zn, stride_ze, z_width,
            stride_n, stride_d, dim, at_k, at_e, PANELS, panel, ORDER, K, E, BM, UNROLL, STAGES,
            PRECISION,
        )  # fmt: skip
    return acc


@triton.jit
def state_place(h, m, tokens, chunk, chunks, group, DIRECTION: tl.constexpr):
    """Return which state the tokens from m on meet, the head of its keys, and its tokens."""
    g = h // group
    c = m // chunk
    if DIRECTION == 0:
        place, held = g, tokens
    elif DIRECTION == 1:
        place, held = g * chunks + c, c * chunk
    else:
        place, held = g * chunks + c, tl.maximum(tokens - (c + 1) * chunk, 0)
    return place, g, held * 1.0


@triton.jit(do_not_specialize=["tokens", "held", "chunks", "group"])
def attention_kernel(
    q, key_states, key_sums, key_first, key_second, states, sums, first, second,
    k, v, output, normaliser, tokens, held, chunk, chunks, a0, a1, a2, a3, group,
    stride_qh, stride_qn, stride_qd, stride_kh, stride_kn, stride_kd, dim,
    stride_vh, stride_vn, stride_ve, width, PANELS: tl.constexpr, R: tl.constexpr,
    KEY_PANELS: tl.constexpr, KEY_R: tl.constexpr, ORDER: tl.constexpr, D: tl.constexpr,
    E: tl.constexpr, BM: tl.constexpr, BS: tl.constexpr, DIRECTION: tl.constexpr,
    UNROLL: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write o_i = F_i / G_i and G_i = a_0 n + q_i . sum_j h(s_ij) k_j, h(s) = (f(s) - a_0)/s."""
    m = tl.program_id(0) * BM
    h = tl.program_id(1).to(tl.int64)
    place, g, count = state_place(h, m, held, chunk, chunks, group, DIRECTION)
    t, d = tl.arange(0, BM), tl.arange(0, D)
    q += h * stride_qh
    found = linear_form(
        tl.zeros([BM, D], tl.float32), q, q, key_states + place * KEY_R * D * D,
        key_sums + place * D, key_first, key_second, m, tokens, a1, stride_qn, stride_qd, dim,
        stride_qn, stride_qd, dim, KEY_PANELS, ORDER - 1, D, D, BM, False, UNROLL,
        STAGES, PRECISION,
    )  # fmt: skip
    query = load_tokens(q, m, t, tokens, stride_qn, stride_qd, d, dim)
    total = (a0 + sum_products(found, query.to(tl.float32), 1)) * count
    acc = linear_form(
        tl.zeros([BM, E], tl.float32), q, q, states + place * R * D * E, sums + place * E,
        first, second, m, tokens, a0, stride_qn, stride_qd, dim, stride_qn, stride_qd, dim,
        PANELS, ORDER, D, E, BM, False, UNROLL, STAGES, PRECISION,
    ) * count  # fmt: skip
    if DIRECTION == 1:
        acc, total = add_pairs(
            acc, total, query, k + g * stride_kh, v + g * stride_vh, m, (m // chunk) * chunk,
            tokens, stride_kn, stride_kd, dim, stride_vn, stride_ve, width, a0, a1, a2, a3,
            ORDER, D, E, BM, BS, True, PRECISION,
        )  # fmt: skip
    store_outputs(acc, total, output, normaliser, h, m, tokens, width, BM, E)
