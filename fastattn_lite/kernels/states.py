"""The states of keys and values on a GPU: transposed copies, raw sums by chunk, weighted means."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from fastattn_lite.kernels import rows
from fastattn_lite.kernels.accumulate import accumulate_kernel, transpose_kernel
from fastattn_lite.kernels.combine import combine_kernel
from fastattn_lite.kernels.launch import LONGEST_AXIS, kept, launch, precision, room
from fastattn_lite.kernels.settings import settings_for

Tensor = torch.Tensor
Coefficients = tuple[float, ...]
Targets = tuple[Tensor, Tensor]
ALL, EARLIER, LATER = 0, 1, -1
"""Which chunks a token meets through their moments."""
TOKEN_TILE = 128
"""Transposed copies are padded to a multiple of it, and chunks hold whole tiles."""
LONGEST_OF_ORDER_1 = 256
"""Tokens of a causal chunk at order 1, whose state is small beside the scores of the chunk."""
COMBINED_AT_ONCE = 4
"""Chunks whose sums are on their way from memory together."""


@dataclass(frozen=True)
class Transposed:
    """One argument (heads, tokens, dim) with its transposed copy, a row of ones on top.

    Order 1 has no rows but that of the constant 1, and needs none: there the copy is x itself.
    """

    x: Tensor
    copy: Tensor
    width: int

    @property
    def tokens(self) -> int:
        """The number of tokens."""
        return self.x.shape[1]

    @property
    def padded(self) -> int:
        """The number of tokens with the padding."""
        return cdiv(self.tokens, TOKEN_TILE) * TOKEN_TILE


@dataclass(frozen=True)
class Chunks:
    """Where the tokens are cut."""

    size: int
    count: int


@dataclass(frozen=True)
class States:
    """Raw sums of every chunk: (heads, chunks, rows * D + 1, E), for a polynomial of `order`."""

    sums: Tensor
    order: int
    width: int
    tokens: int
    chunks: Chunks

    @property
    def table(self) -> rows.Rows:
        """The rows."""
        return rows.rows_of(self.order, self.width)

    @property
    def columns(self) -> int:
        """The padded width of what is summed."""
        return self.sums.shape[3]


@dataclass(frozen=True)
class Weighted:
    """Weighted means of states, ready for the evaluation, and the constant's part in float32.

    `means` (heads, chunks or 1, rows * D * E), of which `panels` are to be evaluated.
    """

    means: Tensor
    sums: Tensor
    order: int
    width: int
    panels: rows.Panels
    direction: int
    tokens: int
    chunks: Chunks

    @property
    def rows(self) -> int:
        """The number of rows."""
        return rows.rows_of(self.order, self.width).count

    @property
    def columns(self) -> int:
        """The padded width of what was summed."""
        return self.sums.shape[2]


def cdiv(number: int, size: int) -> int:
    """Return how many pieces of a size hold a number."""
    return -(-number // size)


def padded_width(width: int) -> int:
    """Return the power of two that holds a dimension, at least 16."""
    return max(16, 1 << (width - 1).bit_length())


def transposed(x: Tensor, order: int) -> Transposed:
    """Return x with its transposed copy, as moments of the order take it."""
    heads, tokens, dim = x.shape
    width, tile = padded_width(dim), 64
    if order == 1:
        return Transposed(x, x, width)
    padded = cdiv(tokens, TOKEN_TILE) * TOKEN_TILE
    copy = room((heads, width + 1, padded), x.dtype, x.device)
    launch(
        transpose_kernel, (padded // tile, heads),
        x, copy, tokens, padded, *x.stride(), dim, D=width, BT=tile, num_warps=4,
    )  # fmt: skip
    return Transposed(x, copy, width)


def cut_causal(tokens: int, width: int, order: int) -> Chunks:
    """Return the chunks of the causal form: within one the cost is quadratic."""
    size = max(TOKEN_TILE, 16 * width)
    if order == 1:
        size = min(size, LONGEST_OF_ORDER_1)
    size *= max(1, cdiv(tokens, size * LONGEST_AXIS))
    return Chunks(size, cdiv(max(tokens, 1), size))


def cut_full(tokens: int, like: Tensor) -> Chunks:
    """Return enough chunks to keep the device busy, with about 8 programs a chunk and head."""
    tiles, wanted = cdiv(max(tokens, 1), TOKEN_TILE), 16 * processors(like.device)
    pieces = max(1, min(tiles, cdiv(wanted, 8 * like.shape[0])))
    size = cdiv(tiles, pieces) * TOKEN_TILE
    return Chunks(size, cdiv(max(tokens, 1), size))


@functools.lru_cache(maxsize=8)
def processors(device: torch.device) -> int:
    """Return the number of multiprocessors (1 under the interpreter)."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def accumulate(
    x: Transposed, y: Tensor, z: Tensor, order: int, chunks: Chunks
) -> tuple[States, States]:
    """Return the raw sums of x with y for a polynomial of the order, and with z of one less.

    Both in one launch: those of z alone would leave most of the device idle.
    """
    of_y, of_z = empty_states(x, y, order, chunks), empty_states(x, z, order - 1, chunks)
    unweighted = (0.0,) * (order + 1)
    into = targets(of_y), targets(of_z)
    start_accumulation(x, y, z, unweighted, chunks, *into, is_running=False)
    return of_y, of_z


def accumulate_running(
    x: Transposed, y: Tensor, z: Tensor, coefficients: Coefficients, chunks: Chunks
) -> tuple[Weighted, Weighted]:
    """Return what `accumulate` and `combine` return for the earlier chunks, in one pass.

    A program takes all chunks of a head in turn, so that no raw sums are written and read again.
    """
    order = len(coefficients) - 1
    of_y = empty_means(x, y, order, chunks)
    of_z = empty_means(x, z, order - 1, chunks)
    into = (of_y.means, of_y.sums), (of_z.means, of_z.sums)
    start_accumulation(x, y, z, coefficients, chunks, *into, is_running=True)
    return of_y, of_z


def start_accumulation(
    x: Transposed, y: Tensor, z: Tensor, coefficients: Coefficients, chunks: Chunks,
    of_y: Targets, of_z: Targets, *, is_running: bool,
) -> None:  # fmt: skip
    """Start the kernel: all programs of z, then all of y, for every head, and chunk if raw."""
    order = len(coefficients) - 1
    columns, z_columns = padded_width(y.shape[2]), padded_width(z.shape[2])
    chosen = settings_for(y, order, x.width, columns)
    table, z_table = rows.rows_of(order, x.width), rows.rows_of(order - 1, x.width)
    lines = max(chosen.lines, x.width)
    (count, panels), (z_count, z_panels) = programs(table, lines), programs(z_table, lines)
    launch(
        accumulate_kernel, (z_count + count, 1 if is_running else chunks.count, x.x.shape[0]),
        x.x, x.copy, *x.x.stride(), x.x.shape[2], x.tokens, x.padded, chunks.size, chunks.count,
        z_count, *four(coefficients)[1:],
        z, *of_z, *table_of(order - 1, x.width, z.device), *z.stride(), z.shape[2],
        y, *of_y, *table_of(order, x.width, y.device), *y.stride(), y.shape[2],
        ORDER=order, PANELS=panels, R=table.count, Z_PANELS=z_panels, Z_R=z_table.count,
        D=x.width, E=columns, F=z_columns, M=lines, BT=chosen.moment_tokens,
        STAGES=chosen.moment_stages, RUNNING=is_running, PRECISION=precision(y.dtype),
        num_warps=chosen.moment_warps, maxnreg=chosen.moment_registers,
    )  # fmt: skip


def runs(x: Transposed, order: int, chunks: Chunks) -> bool:
    """Say whether programs that take all chunks of a head are enough for the device."""
    chosen = settings_for(x.x, order, x.width)
    count, _ = programs(rows.rows_of(order, x.width), max(chosen.lines, x.width))
    return x.x.shape[0] * count >= 2 * processors(x.x.device) or chunks.count == 1


def empty_states(x: Transposed, y: Tensor, order: int, chunks: Chunks) -> States:
    """Return room for the raw sums of x with y."""
    count = rows.rows_of(order, x.width).count
    shape = (x.x.shape[0], chunks.count, count * x.width + 1, padded_width(y.shape[2]))
    sums = room(shape, torch.float32, y.device)
    return States(sums, order, x.width, x.tokens, chunks)


def empty_means(x: Transposed, y: Tensor, order: int, chunks: Chunks) -> Weighted:
    """Return room for the weighted means of the chunks before each."""
    table, columns = rows.rows_of(order, x.width), padded_width(y.shape[2])
    shape = (x.x.shape[0], chunks.count)
    means, sums = means_and_sums(shape, table.count * x.width, columns, y.dtype, y.device)
    return Weighted(means, sums, order, x.width, table.panels, EARLIER, x.tokens, chunks)


def means_and_sums(
    shape: tuple[int, int], lines: int, columns: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return room for lines of means, and for the plain means, by head and chunk."""
    means = room((*shape, lines * columns), dtype, device)
    return means, room((*shape, columns), torch.float32, device)


def programs(table: rows.Rows, lines: int) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """Return how many programs share the lines of a state, and each panel with its first one.

    One more takes the plain sums, and one the row of the constant 1 where there is one.
    """
    count, panels = 1 + min(table.count, 1), list[tuple[int, ...]]()
    for first, last, column, columns in table.panels:
        panels.append((first, last, column, columns, count))
        count += cdiv(last - first, lines // columns)
    return count, tuple(panels)


def targets(states: States) -> Targets:
    """Return where raw sums go, and the plain ones."""
    return states.sums, states.sums[..., -1, :]


def combine(
    states: States, coefficients: Coefficients, direction: int, dtype: torch.dtype,
    *, derivative: bool = False,
) -> Weighted:  # fmt: skip
    """Return weighted means over the chunks: of f, or with `derivative` of every column of f'."""
    heads, chunks, lines, width = states.sums.shape
    kept = chunks if direction != ALL else 1
    device = states.sums.device
    means, sums = means_and_sums((heads, kept), lines - 1, width, dtype, device)
    order, block = states.order, 16
    source, weights = entries(order, states.width, derivative, device)
    launch(
        combine_kernel, (cdiv(lines, block), heads),
        states.sums, means, sums, source, weights, variables(order, states.width, device)[1],
        *four(coefficients)[1:], states.tokens, states.chunks.size, chunks, lines - 1,
        ORDER=order, D=states.width, E=width, BF=block, DIRECTION=direction,
        STAGES=COMBINED_AT_ONCE, num_warps=4,
    )  # fmt: skip
    panels, count = states.table.panels, states.table.count
    if derivative:
        panels = ((1, count, 0, width),) if count > 1 else ()
    return Weighted(
        means, sums, states.order, states.width, panels, direction, states.tokens, states.chunks
    )


def four(coefficients: Coefficients) -> Coefficients:
    """Return the coefficients with zeros up to the third degree."""
    return (*coefficients, 0.0, 0.0, 0.0)[:4]


def table_of(order: int, width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weight of every (row, column), and the variables of each row, on the device."""
    return entries(order, width, False, device)[1], *variables(order, width, device)


@functools.cache
def variables(order: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the variables of each row on the device; one unused number where there is no row."""
    table = rows.rows_of(order, width)
    first, second = (
        kept([*numbers.tolist(), 0], torch.int32, device) for numbers in (table.first, table.second)
    )
    return first, second


@functools.cache
def entries(
    order: int, width: int, derivative: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return, for every (row, column), where its sum stands and its weight, on the device.

    The weight lacks the coefficient of the entry's degree, so no table depends on a scale.
    """
    if derivative:
        source = rows.sources(order, width)
        weights = rows.row_weights(order, width).repeat(width)
    else:
        weights = rows.shared_weights(order, width).reshape(-1)
        source = np.arange(weights.size, dtype=np.int32)
    where = kept([*source.tolist(), 0], torch.int32, device)
    return where, kept([*weights.tolist(), 0.0], torch.float32, device)


def arguments(means: Weighted) -> tuple[Tensor, ...]:
    """Return weighted means as kernels take them, with the variables of their rows."""
    return means.means, means.sums, *variables(means.order, means.width, means.means.device)
