"""One token on a state, on a GPU: o = F / G, from moments and from the latest tokens.

    [F, G] = sum_a w_a q^a M_a + sum_j f(s_j) [v_j, 1]        (j: the latest tokens)
    M_a <- M_a + sum_j k_j^a [v_j, 1]                         (once there are enough of them)

As under a causal mask, near tokens are met by their scores and far ones through their moments. So
most steps read the moments and write none. They lie in halves: the upper 16 bits of every float32
apart from the lower ones, which a step reads only where its tokens are as precise.
"""

import triton
import triton.language as tl

from fastattn_lite.kernels.accumulate import load_tokens, sum_products
from fastattn_lite.kernels.pairs import polynomial


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


@triton.jit
def coefficient_of(row, dim, a0, a1, a2, a3, ORDER: tl.constexpr):
    """Return a_l for rows of degree l: they are sorted by it."""
    a = tl.where(row > 0, a1, a0)
    if ORDER > 1:
        a = tl.where(row > dim, a2, a)
    if ORDER > 2:
        a = tl.where(row >= (dim + 1) * (dim + 2) // 2, a3, a)
    return a


@triton.jit
def weighted_features(
    x, stride, dim, root, table, orderings, row, there, R, a0, a1, a2, a3, ORDER: tl.constexpr
):
    """Return w_a (root x)^a for each row: a_l times the orderings of the variables, l!/a!."""
    weight = tl.load(orderings + row, mask=there, other=0.0)
    weight *= coefficient_of(row, dim, a0, a1, a2, a3, ORDER)
    return weight * features(x, stride, dim, root, table, row, there, R, ORDER)


@triton.jit
def joined(upper, lower, at, there, exact, some):
    """Return numbers from both halves; not `exact`, the middle of those with that upper half.

    `some` says whether any of them may be exact.
    """
    high = tl.load(upper + at, mask=there, other=0).to(tl.int32) << 16
    low = tl.full(at.shape, 0x8000, tl.int32)
    if some:
        low = tl.load(lower + at, mask=there & exact, other=-0x8000).to(tl.int32) & 0xFFFF
    return (high | low).to(tl.float32, bitcast=True)


@triton.jit
def store_halves(upper, lower, at, there, numbers):
    """Write numbers as their halves."""
    bits = numbers.to(tl.int32, bitcast=True)
    tl.store(upper + at, (bits >> 16).to(tl.int16), mask=there)
    tl.store(lower + at, bits.to(tl.int16), mask=there)


@triton.jit
def tile_of(
    upper, lower, begin, there, exact, R, WIDTH: tl.constexpr, E: tl.constexpr, BR: tl.constexpr
):
    """Return the rows of a state from `begin` on: the sums with the values, and with the 1.

    The latter stand behind the former. Places within the tile are constants, so that they take no
    registers.
    """
    r, e, first, some = tl.arange(0, BR), tl.arange(0, E), begin * WIDTH, begin < exact
    at, inside = r[:, None] * WIDTH + e[None, :], there[:, None] & (e < WIDTH)[None, :]
    is_exact = begin + r < exact
    values = joined(upper + first, lower + first, at, inside, is_exact[:, None], some)
    ones = R * WIDTH + begin
    return values, joined(upper + ones, lower + ones, r, there, is_exact, some)


@triton.jit
def add_moments(
    upper, lower, sums, query, table, orderings, root, part, parts, group, exact, R,
    a0, a1, a2, a3, stride_qg, stride_qd, dim, ORDER: tl.constexpr, WIDTH: tl.constexpr,
    E: tl.constexpr, BR: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Write what TILES BR rows of a state add to [F, G] of every query that shares the state.

    Several queries share one tile; a single one takes more, and writes fewer parts.
    """
    r, e = tl.arange(0, BR), tl.arange(0, E)
    numerator, normaliser = tl.zeros([E], tl.float32), 0.0
    sums += part * (WIDTH + 1)
    for tile in range(TILES):
        begin = (part * TILES + tile) * BR
        row, there = begin + r, begin + r < R
        values, ones = tile_of(upper, lower, begin, there, exact, R, WIDTH, E, BR)
        for _ in range(group):
            q = weighted_features(
                query, stride_qd, dim, root, table, orderings, row, there, R, a0, a1, a2, a3, ORDER
            )
            numerator += sum_products(q[:, None], values, 0)
            normaliser += sum_products(q, ones, 0)
            if TILES == 1:
                tl.store(sums + e, numerator, mask=e < WIDTH)
                tl.store(sums + WIDTH, normaliser)
                numerator, normaliser = tl.zeros([E], tl.float32), 0.0
                query += stride_qg
                sums += parts * (WIDTH + 1)
    if TILES > 1:
        tl.store(sums + e, numerator, mask=e < WIDTH)
        tl.store(sums + WIDTH, normaliser)


@triton.jit
def add_latest(
    keys, values, count, sums, query, key, value, root, key_root, part, parts, group,
    a0, a1, a2, a3, stride_qg, stride_qd, stride_kd, stride_ve, dim, ORDER: tl.constexpr,
    WIDTH: tl.constexpr, D: tl.constexpr, E: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Put the token behind the `count` latest ones, and write what all of them add to [F, G]."""
    d, e, t = tl.arange(0, D), tl.arange(0, E), tl.arange(0, BT)
    query += d.to(tl.int64) * stride_qd
    k = tl.load(key + d.to(tl.int64) * stride_kd, mask=d < dim, other=0.0)
    v = tl.load(value + e.to(tl.int64) * stride_ve, mask=e < WIDTH, other=0.0)
    tl.store(keys + count * dim + d, k, mask=d < dim)
    tl.store(values + count * WIDTH + e, v, mask=e < WIDTH)
    k, v = key_root * k.to(tl.float32), v.to(tl.float32)
    sums += part * (WIDTH + 1)
    for _ in range(group):
        q = root * tl.load(query, mask=d < dim, other=0.0).to(tl.float32)
        normaliser = polynomial(sum_products(q, k, 0), a0, a1, a2, a3, ORDER)
        numerator = normaliser * v
        for start in range(0, count, BT):
            near = load_tokens(keys, start, t, count, dim, 1, d, dim).to(tl.float32)
            scores = sum_products(key_root * near, q[None, :], 1)
            f = tl.where(start + t < count, polynomial(scores, a0, a1, a2, a3, ORDER), 0.0)
            near = load_tokens(values, start, t, count, WIDTH, 1, e, WIDTH).to(tl.float32)
            numerator += sum_products(f[:, None], near, 0)
            normaliser += tl.sum(f, 0)
        tl.store(sums + e, numerator, mask=e < WIDTH)
        tl.store(sums + WIDTH, normaliser)
        query += stride_qg
        sums += parts * (WIDTH + 1)


@triton.jit(do_not_specialize=["R", "parts", "group", "exact"])
def part_kernel(
    upper, lower, keys, values, place, sums, query, key, value, table, orderings, root, key_root,
    a0, a1, a2, a3, R, parts, group, exact, size, stride_qh, stride_qg, stride_qd, stride_kh,
    stride_kd, stride_vh, stride_ve, dim, ORDER: tl.constexpr, WIDTH: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, BR: tl.constexpr, TILES: tl.constexpr, BT: tl.constexpr,
    MOST: tl.constexpr,
):  # fmt: skip
    """Write one part of [F, G] of the queries of a state: program (state, part).

    The last part is that of the latest tokens; every other one takes rows of the moments.
    """
    h, part = (tl.program_id(0) // parts).to(tl.int64), tl.program_id(0) % parts
    query += h * stride_qh
    sums += h * group * parts * (WIDTH + 1)
    if part == parts - 1:
        add_latest(
            keys + h * MOST * dim, values + h * MOST * WIDTH, tl.load(place), sums, query,
            key + h * stride_kh, value + h * stride_vh, root, key_root, part, parts, group,
            a0, a1, a2, a3, stride_qg, stride_qd, stride_kd, stride_ve, dim, ORDER, WIDTH, D, E, BT,
        )  # fmt: skip
    else:
        add_moments(
            upper + h * size, lower + h * size, sums, query, table, orderings, root, part, parts,
            group, exact, R, a0, a1, a2, a3, stride_qg, stride_qd, dim, ORDER, WIDTH, E, BR, TILES,
        )  # fmt: skip


@triton.jit(do_not_specialize=["R", "parts"])
def fold_kernel(
    upper, lower, new_upper, new_lower, keys, values, place, table, root, R, parts, size, dim,
    ORDER: tl.constexpr, WIDTH: tl.constexpr, E: tl.constexpr, BR: tl.constexpr, BT: tl.constexpr,
    MOST: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write BR rows of a state with its latest tokens added: program (state, part)."""
    h, part = (tl.program_id(0) // parts).to(tl.int64), tl.program_id(0) % parts
    t, e, r, begin = tl.arange(0, BT), tl.arange(0, E), tl.arange(0, BR), part * BR
    there = begin + r < R
    upper += h * size
    lower += h * size
    acc, ones = tile_of(upper, lower, begin, there, R, R, WIDTH, E, BR)
    count = tl.load(place)
    keys += h * MOST * dim
    values += h * MOST * WIDTH
    row, is_row = (begin + r)[:, None], there[:, None]
    for start in range(0, count, BT):
        near = keys + tl.minimum(start + t, count - 1)[None, :] * dim
        k = features(near, 1, dim, root, table, row, is_row, R, ORDER)
        k = tl.where((start + t < count)[None, :], k, 0.0)
        v = load_tokens(values, start, t, count, WIDTH, 1, e, WIDTH).to(tl.float32)
        acc = tl.dot(k, v, acc, input_precision=PRECISION)
        ones += tl.sum(k, 1)
    at, inside = r[:, None] * WIDTH + e[None, :], there[:, None] & (e < WIDTH)[None, :]
    first = h * size + begin * WIDTH
    store_halves(new_upper + first, new_lower + first, at, inside, acc)
    last = h * size + R * WIDTH + begin
    store_halves(new_upper + last, new_lower + last, r, there, ones)


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
