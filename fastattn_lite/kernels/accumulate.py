"""Moment accumulation on a GPU: S_r[c] = sum_j x_j^r x_jc y_j, and sum_j y_j, chunk by chunk.

A program takes a few rows of one chunk of tokens. It holds a tile of x transposed, multiplies it
by each row's monomial and by y on the matrix units, and keeps float32 sums in registers.
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
    place = (start + t)[:, None] * stride_n + c[None, :] * stride_d
    tile = tl.load(x + h * stride_h + place, mask=there, other=0.0)
    into = x_t + h * (D + 1) * padded + start
    tl.store(into + t, (start + t < tokens).to(x_t.dtype.element_ty))
    tl.store(into + (1 + c)[:, None] * padded + t[None, :], tl.trans(tile))


@triton.jit
def row_values(x_t, first, second, row, padded, t, ORDER: tl.constexpr):
    """Return the monomials of rows for tokens; `row` and `t` broadcast against each other."""
    if ORDER == 2:
        values = tl.load(x_t + row * padded + t)
    else:
        values = tl.load(x_t + tl.load(first + row) * padded + t)
        values *= tl.load(x_t + tl.load(second + row) * padded + t)
    return values


@triton.jit
def load_tokens(y, start, t, tokens, stride_n, stride_e, e, width):
    """Return the rows start + t of y, 0 beyond the tokens and beyond the width."""
    there = (start + t < tokens)[:, None] & (e < width)[None, :]
    place = (t.to(tl.int64) + start)[:, None] * stride_n + e[None, :] * stride_e
    return tl.load(y + place, mask=there, other=0.0)


@triton.jit
def accumulate_linear(
    x_t, y, states, begin, end, tokens, padded, stride_n, stride_e, width,
    R: tl.constexpr, D: tl.constexpr, E: tl.constexpr, BT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the row of the constant 1, sum_j x_j y_j^T, and below all rows sum_j y_j.

    The plain sums are a product with ones, too: read from registers beside a product of the same
    tile, Triton 3.6 and 3.7 keep too few copies of it and load the next one over it.
    """
    t, c, e = tl.arange(0, BT), tl.arange(0, D), tl.arange(0, E)
    ones = tl.full([64, BT], 1.0, y.dtype.element_ty)
    sums = tl.zeros([64, E], tl.float32)
    linear = tl.zeros([D, E], tl.float32)
    for start in range(begin, end, BT):
        values = load_tokens(y, start, t, tokens, stride_n, stride_e, e, width)
        sums = tl.dot(ones, values, sums, input_precision=PRECISION)
        if R > 0:
            tile = tl.load(x_t + (1 + c)[:, None] * padded + (start + t)[None, :])
            linear = tl.dot(tile, values, linear, input_precision=PRECISION)
    tl.store(states + R * D * E + e, tl.max(sums, 0))  # all 64 rows are the same
    if R > 0:
        tl.store(states + c[:, None] * E + e[None, :], linear)


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
    values = row_values(x_t, first, second, rows, padded, at, ORDER)
    scaled = tl.reshape(tile[None, :, :] * values[:, None, :], (S * W, BT))
    e = tl.arange(0, E)
    return scaled, load_tokens(y, start, t, tokens, stride_n, stride_e, e, width)


@triton.jit
def accumulate_rows(
    x_t, y, states, first, second, row, begin, end, tokens, padded, stride_n, stride_e, width,
    PANELS: tl.constexpr, PANEL: tl.constexpr, ORDER: tl.constexpr, D: tl.constexpr,
    E: tl.constexpr, M: tl.constexpr, BT: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Sum M // W rows of a panel, in its W columns, over one chunk.

    The first product stands before the loop: with sums that begin as zeros the compiler would let
    every matrix instruction wait for the one before.
    """
    last: tl.constexpr = PANELS[PANEL][1]
    column: tl.constexpr = PANELS[PANEL][2]
    W: tl.constexpr = PANELS[PANEL][3]
    S: tl.constexpr = M // W
    f, e = tl.arange(0, M), tl.arange(0, E)
    scaled, values = scaled_tile(
        x_t, y, first, second, row, last, column, begin, tokens, padded, stride_n, stride_e,
        width, ORDER, E, W, S, BT,
    )  # fmt: skip
    sums = tl.dot(scaled, values, input_precision=PRECISION)
    for start in tl.range(begin + BT, end, BT, num_stages=STAGES):
        scaled, values = scaled_tile(
            x_t, y, first, second, row, last, column, start, tokens, padded, stride_n, stride_e,
            width, ORDER, E, W, S, BT,
        )  # fmt: skip
        sums = tl.dot(scaled, values, sums, input_precision=PRECISION)
    r = row + f // W
    place = (r * D + column + f % W)[:, None] * E + e[None, :]
    tl.store(states + place, sums, mask=(r < last)[:, None])


@triton.jit
def accumulate_program(
    program, x_t, y, states, first, second, begin, end, tokens, padded, stride_n, stride_e, width,
    PANELS: tl.constexpr, R: tl.constexpr, ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    M: tl.constexpr, BT: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Take the linear part if the program is 0, otherwise some rows of one panel."""
    if program == 0:
        accumulate_linear(
            x_t, y, states, begin, end, tokens, padded, stride_n, stride_e, width, R,
            D, E, BT, PRECISION,
        )  # fmt: skip
    for panel in tl.static_range(len(PANELS)):
        row = PANELS[panel][0] + (program - PANELS[panel][4]) * (M // PANELS[panel][3])
        if (row >= PANELS[panel][0]) & (row < PANELS[panel][1]):
            accumulate_rows(
                x_t, y, states, first, second, row, begin, end, tokens, padded, stride_n, stride_e,
                width, PANELS, panel, ORDER, D, E, M, BT, STAGES, PRECISION,
            )  # fmt: skip


@triton.jit(do_not_specialize=["tokens", "z_programs"])
def accumulate_kernel(
    x_t, tokens, padded, chunk, z_programs,
    z, z_states, z_first, z_second, stride_zh, stride_zn, stride_ze, z_width,
    y, states, first, second, stride_yh, stride_yn, stride_ye, width,
    ORDER: tl.constexpr, PANELS: tl.constexpr, R: tl.constexpr, Z_PANELS: tl.constexpr,
    Z_R: tl.constexpr, D: tl.constexpr, E: tl.constexpr, F: tl.constexpr, M: tl.constexpr,
    BT: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sum with y at the order, and with z at one less: program (of z or y, chunk, head)."""
    program, c, h = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    begin, padded = c * chunk, padded.to(tl.int64)
    end = tl.minimum(begin + chunk, padded)
    place = h * tl.num_programs(1) + c
    x_t += h * (D + 1) * padded
    if program < z_programs:
        accumulate_program(
            program, x_t, z + h * stride_zh, z_states + place * (Z_R * D + 1) * F, z_first,
            z_second, begin, end, tokens, padded, stride_zn, stride_ze, z_width, Z_PANELS, Z_R,
            ORDER - 1, D, F, M, BT, STAGES, PRECISION,
        )  # fmt: skip
    else:
        accumulate_program(
            program - z_programs, x_t, y + h * stride_yh, states + place * (R * D + 1) * E, first,
            second, begin, end, tokens, padded, stride_yn, stride_ye, width, PANELS, R,
            ORDER, D, E, M, BT, STAGES, PRECISION,
        )  # fmt: skip
