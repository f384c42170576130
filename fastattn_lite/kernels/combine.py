"""Prefix sums of moments on a GPU: what the tokens of earlier (or later, or all) chunks sum to.

The sums are weighted here, once, so that the evaluation needs no weights, and divided by the
number of tokens they hold, so that half precision neither overflows nor runs dry.
"""

import triton
import triton.language as tl

from fastattn_lite.kernels.accumulate import coefficient


@triton.jit(do_not_specialize=["tokens", "chunks", "entries"])
def combine_kernel(
    states, weighted, sums, source, weights, second, a1, a2, a3, tokens, chunk, chunks, entries,
    ORDER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, BF: tl.constexpr,
    DIRECTION: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write weighted means over the chunks before (1), after (-1) or all of them (0).

    `entries` are the (row, column) pairs; the one after the last is sum_j y_j, kept in float32.
    """
    h = tl.program_id(1).to(tl.int64)
    f = (tl.program_id(0) * BF + tl.arange(0, BF))[:, None]
    e = tl.arange(0, E)[None, :]
    weight = tl.load(weights + f, mask=f < entries, other=1.0)
    factor = coefficient(second, f // D, f < entries, a1, a2, a3, ORDER)
    weight = tl.where(f < entries, weight * factor, 1.0)
    start = tl.load(source + f, mask=f < entries, other=entries).to(tl.int64) * E
    there = (f <= entries) & (weight != 0.0)
    total = tl.zeros([BF, E], tl.float32)
    held = 0
    for step in tl.range(chunks, num_stages=STAGES):
        c = step
        if DIRECTION == -1:
            c = chunks - 1 - step
        if DIRECTION != 0:
            keep(weighted, sums, total, held, h * chunks + c, f, e, weight, entries, E)
        place = (h * chunks + c) * (entries + 1) * E + start + e
        total += tl.load(states + place, mask=there, other=0.0)
        held += tl.minimum(chunk, tokens - c * chunk)
    if DIRECTION == 0:
        keep(weighted, sums, total, held, h, f, e, weight, entries, E)


@triton.jit
def keep(weighted, sums, total, held, place, f, e, weight, entries, E: tl.constexpr):
    """Store the means of `held` tokens."""
    mean = total * weight / (tl.maximum(held, 1) * 1.0)
    into = weighted + place * entries * E + f.to(tl.int64) * E + e
    tl.store(into, mean.to(weighted.dtype.element_ty), mask=f < entries)
    tl.store(sums + place * E + e + f * 0, mean, mask=f == entries)
