"""One token on a state, on a GPU: M_a <- M_a + k^a [v, 1], then o = F / G, in one pass.

    [F, G] = sum_a w_a q^a M_a

A program takes a run of rows a of one state, in the order of `multi_indices`. It reads them once,
writes them once with the token added, and multiplies them by the features of every query that
shares the state. Each row belongs to one program, so nothing is added twice; the parts of [F, G]
are summed in the order of the rows, so that the same input gives the same bits.
"""

import triton
import triton.language as tl

from fastattn_lite.kernels.accumulate import sum_products


@triton.jit
def variables(x, stride, dim, root, table, row, there, R, DEGREE: tl.constexpr):
    """Return root x_i for the variable of each row that stands in column DEGREE; x_dim is 1."""
    i = tl.load(table + DEGREE * R + row, mask=there, other=0)
    values = tl.load(x + i.to(tl.int64) * stride, mask=there & (i < dim), other=0.0)
    return tl.where(i < dim, root * values.to(tl.float32), 1.0)


@triton.jit
def features(x, stride, dim, root, table, row, there, R, ORDER: tl.constexpr):
    """Return (root x)^a for each row, lower variables multiplied onto higher ones."""
    product = variables(x, stride, dim, root, table, row, there, R, ORDER - 1)
    for step in tl.static_range(1, ORDER):
        product *= variables(x, stride, dim, root, table, row, there, R, ORDER - 1 - step)
    return product


@triton.jit(do_not_specialize=["R", "parts", "group"])
def update_kernel(
    state, updated, sums, query, key, value, table, weights, query_root, key_root, R, parts, group,
    stride_qh, stride_qg, stride_qd, stride_kh, stride_kd, stride_vh, stride_ve, dim,
    ORDER: tl.constexpr, WIDTH: tl.constexpr, E: tl.constexpr, BR: tl.constexpr,
):  # fmt: skip
    """Add the token to BR rows of a state and write their part of [F, G]: program (head, part).

    The column of the 1 stands beside the E columns of values. Places within the tile are
    constants, so that they take no registers.
    """
    h, part = (tl.program_id(0) // parts).to(tl.int64), tl.program_id(0) % parts
    r, e = tl.arange(0, BR), tl.arange(0, E)
    row, there, wide = part * BR + r, part * BR + r < R, e < WIDTH
    begin = (h * R + part * BR) * (WIDTH + 1)
    at, inside = r[:, None] * (WIDTH + 1) + e[None, :], there[:, None] & wide[None, :]
    last = r * (WIDTH + 1) + WIDTH
    values = tl.load(state + begin + at, mask=inside, other=0.0)
    ones = tl.load(state + begin + last, mask=there, other=0.0)
    weight = tl.load(weights + row, mask=there, other=0.0)
    k = features(key + h * stride_kh, stride_kd, dim, key_root, table, row, there, R, ORDER)
    v = value + h * stride_vh + e.to(tl.int64) * stride_ve
    values += k[:, None] * tl.load(v, mask=wide, other=0.0).to(tl.float32)[None, :]
    ones += k
    tl.store(updated + begin + at, values, mask=inside)
    tl.store(updated + begin + last, ones, mask=there)
    query += h * stride_qh
    sums += (h * group * parts + part) * (WIDTH + 1)
    for _ in range(group):
        q = features(query, stride_qd, dim, query_root, table, row, there, R, ORDER) * weight
        tl.store(sums + e, sum_products(q[:, None], values, 0), mask=wide)
        tl.store(sums + WIDTH, sum_products(q, ones, 0))
        query += stride_qg
        sums += parts * (WIDTH + 1)


@triton.jit(do_not_specialize=["parts"])
def quotient_kernel(sums, output, parts, WIDTH: tl.constexpr, E: tl.constexpr, BP: tl.constexpr):
    """Write o = F / G, with F and G summed over their parts: program (query)."""
    query = tl.program_id(0).to(tl.int64)
    p, e = tl.arange(0, BP), tl.arange(0, E)
    sums += query * parts * (WIDTH + 1)
    numerator, normaliser = tl.zeros([E], tl.float32), 0.0
    for start in range(0, parts, BP):
        at = (start + p) * (WIDTH + 1)
        there = start + p < parts
        inside = there[:, None] & (e < WIDTH)[None, :]
        numerator += tl.sum(tl.load(sums + at[:, None] + e[None, :], mask=inside, other=0.0), 0)
        normaliser += tl.sum(tl.load(sums + at + WIDTH, mask=there, other=0.0), 0)
    result = (numerator / normaliser).to(output.dtype.element_ty)
    tl.store(output + query * WIDTH + e, result, mask=e < WIDTH)
