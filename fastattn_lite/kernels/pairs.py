"""Attention from the scores themselves: o_i = sum_j f(s_ij) v_j / sum_j f(s_ij), pair by pair.

What the moments stand for, n^2 times. It serves where that is less work: for few tokens, and
under a causal mask within a chunk.
"""

import triton
import triton.language as tl

from fastattn_lite.kernels.accumulate import load_tokens


@triton.jit
def polynomial(s, a0, a1, a2, a3, ORDER: tl.constexpr):
    """Return a_0 + a_1 s + ... by Horner's rule."""
    if ORDER == 0:
        value = s * 0.0 + a0
    elif ORDER == 1:
        value = a1 * s + a0
    elif ORDER == 2:
        value = (a2 * s + a1) * s + a0
    else:
        value = ((a3 * s + a2) * s + a1) * s + a0
    return value


@triton.jit
def add_tiles(
    acc, total, query, k, v, m, begin, end, tokens, stride_kn, stride_kd, dim, stride_vn, stride_ve,
    width, a0, a1, a2, a3, ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, BM: tl.constexpr,
    BS: tl.constexpr, CAUSAL: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add f(s_ij) v_j and f(s_ij) over the keys begin <= j < end, if MASKED those there alone."""
    t, s, d, e = tl.arange(0, BM), tl.arange(0, BS), tl.arange(0, D), tl.arange(0, E)
    for start in range(begin, end, BS):
        keys = load_tokens(k, start, s, tokens, stride_kn, stride_kd, d, dim)
        values = load_tokens(v, start, s, tokens, stride_vn, stride_ve, e, width)
        scores = tl.dot(query, tl.trans(keys), input_precision=PRECISION)
        weights = polynomial(scores, a0, a1, a2, a3, ORDER)
        if MASKED:
            last = m + t if CAUSAL else tokens - 1 + t * 0
            weights = tl.where(last[:, None] >= (start + s)[None, :], weights, 0.0)
        total += tl.sum(weights, 1)
        acc = tl.dot(weights.to(values.dtype), values, acc, input_precision=PRECISION)
    return acc, total


@triton.jit
def add_pairs(
    acc, total, query, k, v, m, begin, tokens, stride_kn, stride_kd, dim, stride_vn, stride_ve,
    width, a0, a1, a2, a3, ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, BM: tl.constexpr,
    BS: tl.constexpr, CAUSAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add f(s_ij) v_j and f(s_ij) over the keys from `begin` on, where CAUSAL those j <= i.

    BS divides BM and m - begin; tiles of keys that all BM queries meet need no mask.
    """
    end = m + BM if CAUSAL else tokens
    whole = m if CAUSAL else end // BS * BS
    acc, total = add_tiles(
        acc, total, query, k, v, m, begin, whole, tokens, stride_kn, stride_kd, dim, stride_vn,
        stride_ve, width, a0, a1, a2, a3, ORDER, D, E, BM, BS, CAUSAL, False, PRECISION,
    )  # fmt: skip
    return add_tiles(
        acc, total, query, k, v, m, whole, end, tokens, stride_kn, stride_kd, dim, stride_vn,
        stride_ve, width, a0, a1, a2, a3, ORDER, D, E, BM, BS, CAUSAL, True, PRECISION,
    )  # fmt: skip


@triton.jit
def store_outputs(
    acc, total, output, normaliser, h, m, tokens, width, BM: tl.constexpr, E: tl.constexpr
):
    """Write o_i = F_i / G_i and G_i."""
    t, e = tl.arange(0, BM), tl.arange(0, E)
    there = m + t < tokens
    tl.store(normaliser + h * tokens + m + t, total, mask=there)
    at = (h * tokens + m + t)[:, None] * width + e[None, :]
    result = (acc / total[:, None]).to(output.dtype.element_ty)
    tl.store(output + at, result, mask=there[:, None] & (e < width)[None, :])


@triton.jit(do_not_specialize=["queries", "keys", "group"])
def pairs_kernel(
    q, k, v, output, normaliser, queries, keys, a0, a1, a2, a3, group,
    stride_qh, stride_qn, stride_qd, stride_kh, stride_kn, stride_kd, dim,
    stride_vh, stride_vn, stride_ve, width, ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    BM: tl.constexpr, BS: tl.constexpr, CAUSAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write o_i = F_i / G_i and G_i = sum_j f(s_ij): program (tile of queries, head)."""
    m = tl.program_id(0) * BM
    h = tl.program_id(1).to(tl.int64)
    g = h // group
    query = load_tokens(
        q + h * stride_qh, m, tl.arange(0, BM), queries, stride_qn, stride_qd, tl.arange(0, D), dim
    )
    acc, total = add_pairs(
        tl.zeros([BM, E], tl.float32), tl.zeros([BM], tl.float32), query, k + g * stride_kh,
        v + g * stride_vh, m, 0, keys, stride_kn, stride_kd, dim, stride_vn, stride_ve, width,
        a0, a1, a2, a3, ORDER, D, E, BM, BS, CAUSAL, PRECISION,
    )  # fmt: skip
    store_outputs(acc, total, output, normaliser, h, m, queries, width, BM, E)
