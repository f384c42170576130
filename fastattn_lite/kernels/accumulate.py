"""Moment accumulation on a GPU: S_r[c] = sum_j x_j^r x_jc y_j, and sum_j y_j, chunk by chunk.

A program takes a few rows of one chunk of tokens. It holds a tile of x transposed, multiplies it
by each row's monomial and by y on the matrix units, and keeps float32 sums in registers. Order 1
has no row but that of the constant 1; there x is taken as it lies, and no copy is made.
"""

import triton
import triton.language as tl


@triton.jit
def transpose_kernel(
    x, x_t, tokens, padded, stride_h, stride_n, stride_d, dim, D: tl.constexpr, BT: tl.constexpr
):
    """Write x_t[h, 0] = 1 and x_t[h, 1 + c, t] = x[h, t, c]; 0 beyond the tokens."""
    h, padded = tl.program_id(1).to(tl.int64), padded.to(tl.int64)
    start = tl.program_id(0).to(tl.int64) * BT
    t, c = tl.arange(0, BT), tl.arange(0, D)
    there = (start + t < tokens)[:, None] & (c < dim)[None, :]
    place = (start + t)[:, None] * stride_n + c.to(tl.int64)[None, :] * stride_d
    tile = tl.load(x + h * stride_h + place, mask=there, other=0.0)
    into = x_t + h * (D + 1) * padded + start
    tl.store(into + t, (start + t < tokens).to(x_t.dtype.element_ty))
    tl.store(into + (1 + c)[:, None] * padded + t[None, :], tl.trans(tile))


@triton.jit
def load_tokens(y, start, t, tokens, stride_n, stride_e, e, width):
    """Return the rows start + t of y, 0 beyond the tokens and beyond the width."""
    there = (start + t < tokens)[:, None] & (e < width)[None, :]
    place = (t.to(tl.int64) + start)[:, None] * stride_n + e.to(tl.int64)[None, :] * stride_e
    return tl.load(y + place, mask=there, other=0.0)


@triton.jit
def sum_products(x, y, AXIS: tl.constexpr):
    """Return sum x y along an axis, the same to the last bit in every thread that holds it.

    Without the 0 a product may be rounded once with the sum of another thread, and not with that
    of its own; several threads then write different bits to one place.
    """
    return tl.sum(x * y + 0.0, AXIS)


@triton.jit
def coefficient(second, row, there, a1, a2, a3, ORDER: tl.constexpr):
    """Return a_l for the entries of rows: the column's variable makes their degree l one more."""
    if ORDER < 2:
        a = a1 + row * 0.0
    elif ORDER == 2:
        a = tl.where(row == 0, a1, a2)
    else:
        is_square = tl.load(second + row, mask=there, other=0) > 0
        a = tl.where(row == 0, a1, tl.where(is_square, a3, a2))
    return a


@triton.jit
def store_sums(
    states, sums, line, there, weights, second, a1, a2, a3, held, ORDER: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """Write lines of a state: raw sums, or if RUNNING weighted means of the tokens held so far."""
    if RUNNING:
        weight = tl.load(weights + line, mask=there, other=0.0)
        weight *= coefficient(second, line // D, there, a1, a2, a3, ORDER)
        sums *= (weight / tl.maximum(held, 1))[:, None]
    place = line[:, None] * E + tl.arange(0, E)[None, :]
    tl.store(states + place, sums.to(states.dtype.element_ty), mask=there[:, None])


@triton.jit
def accumulate_plain(
    y, plain, c, last_chunk, chunk, tokens, stride_n, stride_e, width, E: tl.constexpr,
    BT: tl.constexpr, STAGES: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """Sum y_j."""
    t, e = tl.arange(0, BT), tl.arange(0, E)
    sums = tl.zeros([BT, E], tl.float32)
    for step in range(c, last_chunk):
        begin = step * chunk
        if RUNNING:
            tl.store(plain + e, tl.sum(sums, 0) / tl.maximum(begin, 1))
            plain += E
        for start in tl.range(begin, tl.minimum(begin + chunk, tokens), BT, num_stages=STAGES):
            sums += load_tokens(y, start, t, tokens, stride_n, stride_e, e, width)
    if not RUNNING:
        tl.store(plain + e, tl.sum(sums, 0))


@triton.jit
def accumulate_linear(
    x, x_t, y, states, weights, a1, c, last_chunk, chunk, tokens, padded, stride_xn, stride_xd,
    dim, stride_n, stride_e, width, COPIED: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    LINES: tl.constexpr, BT: tl.constexpr, STAGES: tl.constexpr, RUNNING: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Sum the row of the constant 1, x_j y_j^T."""
    t, d, e = tl.arange(0, BT), tl.arange(0, D), tl.arange(0, E)
    sums = tl.zeros([D, E], tl.float32)
    for step in range(c, last_chunk):
        begin = step * chunk
        if RUNNING:
            store_sums(states, sums, d, d < D, weights, weights, a1, a1, a1, begin, 1, D, E, True)
            states += LINES * E
        for start in tl.range(begin, tl.minimum(begin + chunk, tokens), BT, num_stages=STAGES):
            if COPIED:
                tile = tl.load(x_t + (1 + d)[:, None] * padded + (start + t)[None, :])
            else:
                tile = tl.trans(load_tokens(x, start, t, tokens, stride_xn, stride_xd, d, dim))
            values = load_tokens(y, start, t, tokens, stride_n, stride_e, e, width)
            if start < tokens:  # always: see accumulate_rows
                sums = tl.dot(tile, values, sums, input_precision=PRECISION)
    if not RUNNING:
        store_sums(states, sums, d, d < D, weights, weights, a1, a1, a1, 0, 1, D, E, False)


@triton.jit
def scaled_tile(
    x_t, y, first, second, row, last, column, start, tokens, padded, stride_n, stride_e, width,
    ORDER: tl.constexpr, E: tl.constexpr, W: tl.constexpr, S: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Return x^r x_c for S rows r and W columns c, (S * W, BT), and y, (BT, E)."""
    t, s, c = tl.arange(0, BT), tl.arange(0, S), tl.arange(0, W)
    at = (start + t)[None, :]
    tile = tl.load(x_t + (1 + column + c)[:, None] * padded + at)
    rows = tl.minimum(row + s, last - 1)[:, None]
    if ORDER == 2:
        values = tl.load(x_t + rows * padded + at)
    else:
        values = tl.load(x_t + tl.load(first + rows) * padded + at)
        values *= tl.load(x_t + tl.load(second + rows) * padded + at)
    scaled = tl.reshape(tile[None, :, :] * values[:, None, :], (S * W, BT))
    e = tl.arange(0, E)
    return scaled, load_tokens(y, start, t, tokens, stride_n, stride_e, e, width)


@triton.jit
def accumulate_rows(
    x_t, y, states, weights, first, second, a1, a2, a3, row, c, last_chunk, chunk, tokens, padded,
    stride_n, stride_e, width, PANELS: tl.constexpr, PANEL: tl.constexpr, ORDER: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, LINES: tl.constexpr, M: tl.constexpr, BT: tl.constexpr,
    STAGES: tl.constexpr, RUNNING: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sum M // W rows of a panel, in its W columns.

    The product stands in a branch that is always taken. At the top of a loop Triton starts a
    product and lets the next step overwrite registers that it still reads (Triton's issue 9433);
    in a branch it waits for the product's end. A tile that such a product reads has no other use:
    Triton would keep one copy too few of it.
    """
    last: tl.constexpr = PANELS[PANEL][1]
    column: tl.constexpr = PANELS[PANEL][2]
    W: tl.constexpr = PANELS[PANEL][3]
    S: tl.constexpr = M // W
    f = tl.arange(0, M)
    there, line = row + f // W < last, (row + f // W) * D + column + f % W
    sums = tl.zeros([M, E], tl.float32)
    for step in range(c, last_chunk):
        begin = step * chunk
        if RUNNING:
            store_sums(
                states, sums, line, there, weights, second, a1, a2, a3, begin, ORDER, D, E, True
            )
            states += LINES * E
        for start in tl.range(begin, tl.minimum(begin + chunk, tokens), BT, num_stages=STAGES):
            scaled, values = scaled_tile(
                x_t, y, first, second, row, last, column, start, tokens, padded, stride_n,
                stride_e, width, ORDER, E, W, S, BT,
            )  # fmt: skip
            if start < tokens:
                sums = tl.dot(scaled, values, sums, input_precision=PRECISION)
    if not RUNNING:
        store_sums(states, sums, line, there, weights, second, a1, a2, a3, 0, ORDER, D, E, False)


@triton.jit
def accumulate_program(
    program, x, x_t, y, states, plain, weights, first, second, a1, a2, a3, c, last_chunk, chunk,
    tokens, padded, stride_xn, stride_xd, dim, stride_n, stride_e, width, PANELS: tl.constexpr,
    R: tl.constexpr, ORDER: tl.constexpr, COPIED: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    LINES: tl.constexpr, M: tl.constexpr, BT: tl.constexpr, STAGES: tl.constexpr,
    RUNNING: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Take the plain sums if the program is 0, the row of 1 if it is 1, or rows of one panel."""
    if program == 0:
        LONG: tl.constexpr = 2 * BT if BT < 128 else BT
        accumulate_plain(
            y, plain, c, last_chunk, chunk, tokens, stride_n, stride_e, width, E, LONG, STAGES,
            RUNNING,
        )  # fmt: skip
    if R > 0:
        if program == 1:
            accumulate_linear(
                x, x_t, y, states, weights, a1, c, last_chunk, chunk, tokens, padded, stride_xn,
                stride_xd, dim, stride_n, stride_e, width, COPIED, D, E, LINES, BT, STAGES,
                RUNNING, PRECISION,
            )  # fmt: skip
    for panel in tl.static_range(len(PANELS)):
        row = PANELS[panel][0] + (program - PANELS[panel][4]) * (M // PANELS[panel][3])
        if (row >= PANELS[panel][0]) & (row < PANELS[panel][1]):
            accumulate_rows(
                x_t, y, states, weights, first, second, a1, a2, a3, row, c, last_chunk, chunk,
                tokens, padded, stride_n, stride_e, width, PANELS, panel, ORDER, D, E, LINES, M,
                BT, STAGES, RUNNING, PRECISION,
            )  # fmt: skip


@triton.jit(do_not_specialize=["tokens", "chunks", "z_programs"])
def accumulate_kernel(
    x, x_t, stride_xh, stride_xn, stride_xd, dim, tokens, padded, chunk, chunks, z_programs,
    a1, a2, a3,
    z, z_states, z_plain, z_weights, z_first, z_second, stride_zh, stride_zn, stride_ze, z_width,
    y, states, plain, weights, first, second, stride_yh, stride_yn, stride_ye, width,
    ORDER: tl.constexpr, PANELS: tl.constexpr, R: tl.constexpr, Z_PANELS: tl.constexpr,
    Z_R: tl.constexpr, D: tl.constexpr, E: tl.constexpr, F: tl.constexpr, M: tl.constexpr,
    BT: tl.constexpr, STAGES: tl.constexpr, RUNNING: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sum with y at the order, and with z at one less: program (of z or y, chunk, head).

    If RUNNING one program takes all chunks of a head, and writes at the start of each what the
    earlier ones sum to; otherwise a program takes one chunk and writes its sums, the plain ones
    as the last line.
    """
    program, c, h = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    last_chunk = chunks if RUNNING else c + 1
    place, padded = h * chunks + c, padded.to(tl.int64)
    LINES: tl.constexpr = R * D if RUNNING else R * D + 1
    Z_LINES: tl.constexpr = Z_R * D if RUNNING else Z_R * D + 1
    PLAIN: tl.constexpr = E if RUNNING else LINES * E
    Z_PLAIN: tl.constexpr = F if RUNNING else Z_LINES * F
    x += h * stride_xh
    x_t += h * (D + 1) * padded
    if program < z_programs:
        accumulate_program(
            program, x, x_t, z + h * stride_zh, z_states + place * Z_LINES * F,
            z_plain + place * Z_PLAIN, z_weights, z_first, z_second, a2, a3, 0.0, c, last_chunk,
            chunk, tokens, padded, stride_xn, stride_xd, dim, stride_zn, stride_ze, z_width,
            Z_PANELS, Z_R, ORDER - 1, ORDER > 1, D, F, Z_LINES, M, BT, STAGES, RUNNING, PRECISION,
        )  # fmt: skip
    else:
        accumulate_program(
            program - z_programs, x, x_t, y + h * stride_yh, states + place * LINES * E,
            plain + place * PLAIN, weights, first, second, a1, a2, a3, c, last_chunk, chunk,
            tokens, padded, stride_xn, stride_xd, dim, stride_yn, stride_ye, width, PANELS, R,
            ORDER, ORDER > 1, D, E, LINES, M, BT, STAGES, RUNNING, PRECISION,
        )  # fmt: skip
