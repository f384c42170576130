"""One step of a stream on a GPU: start the kernels of `decode` for a token of any leading axes.

Both paths can go on from each other's states; the given one stays as it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from fastattn_lite.attention import split_scale
from fastattn_lite.expansion import Expansion
from fastattn_lite.kernels.decode import part_kernel, quotient_kernel
from fastattn_lite.kernels.launch import again, launch, room
from fastattn_lite.kernels.states import cdiv, padded_width
from fastattn_lite.kernels.stream import (
    TOKEN_TILE,
    Held,
    Stream,
    orderings,
    variables,
)
from fastattn_lite.moments import Moments

Tensor = torch.Tensor
WARP = 32
"""Threads. A tile of a state has as many rows as threads: then each thread makes the features of
one row, and the compiler lets all share them."""
PARTS_TILE = 4096
"""Numbers of the partial sums that are added at once."""


def one_token(
    query: Tensor, key: Tensor, value: Tensor, state: Moments, expansion: Expansion
) -> tuple[Tensor, Moments]:
    """Return the output of one query and the moments with its token added.

    Formula: [F, G] = sum_a w_a q^a M_a + sum_j f(s_j) [v_j, 1], o = F / G, with M_a the moments of
    far tokens, and j the latest ones, up to this one.
    Shapes: query (..., 1, d), key (..., 1, d), value (..., 1, d_v) to (..., 1, d_v) in the type of
    `value`; queries that share a state stand in leading axes where the state has length 1.
    Cost: the moments are read, R (d_v + 1) numbers, for tokens in bfloat16 to 8 binary digits from
    degree 2 on; with every `MOST`-th token they are read and written in float32.
    """
    held = state.held if isinstance(state, Stream) else None
    held, roots = held or Held.of(state.sums, key, value), split_scale(state.key_map[1])
    held = held.with_room(state.order, roots[1], key, value)
    tensors = (query, key, value, *held.tensors())
    (output,) = again(of_any_lead, tensors, held.shape, roots, expansion.coefficients)
    return output, Stream.after(state, held)


def of_any_lead(query: Tensor, key: Tensor, value: Tensor, *others: Any) -> tuple[Tensor]:
    """Return the output, with the leading axes as two for the kernels."""
    *held, shape, roots, coefficients = others
    query, key, value = (x.resolve_neg() for x in (query, key, value))
    own = tuple(shape[:-2])
    lead = tuple(torch.broadcast_shapes(query.shape[:-2], own))
    states, shares = split_axes(lead, own)
    sizes = [math.prod(lead[axis] for axis in axes) for axes in (states, shares)]
    queries = query.expand(*lead, *query.shape[-2:]).permute(*states, *shares, -2, -1)
    grouped = queries.reshape(*sizes, query.shape[-1])
    key, value = (
        x.expand(*own, *x.shape[-2:]).reshape(sizes[0], x.shape[-1]) for x in (key, value)
    )
    options = shape[-2], roots, coefficients
    (output,) = again(step, (grouped, key, value, *held), *options)
    back = np.argsort([*states, *shares]).tolist()
    output = output.reshape(*queries.shape[:-1], value.shape[-1]).permute(*back, -2, -1)
    return (output.contiguous(),)


def split_axes(lead: tuple[int, ...], own: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Return the axes of the output in which states differ, and those whose queries share one."""
    own = (1,) * (len(lead) - len(own)) + own
    shares = [
        axis for axis, sizes in enumerate(zip(lead, own, strict=True)) if sizes[0] != sizes[1]
    ]
    return [axis for axis in range(len(lead)) if axis not in shares], shares


def step(
    query: Tensor, key: Tensor, value: Tensor, upper: Tensor, lower: Tensor, keys: Tensor,
    values: Tensor, place: Tensor, rows: int, roots: tuple[float, float],
    coefficients: tuple[float, ...],
) -> tuple[Tensor]:  # fmt: skip
    """Return the outputs (states, group, d_v), and put the token behind the latest ones.

    Shapes: query (states, group, d), key (states, d), value (states, d_v), the state as in `Held`.
    """
    (heads, group, dim), width = query.shape, value.shape[1]
    padded, tiles = padded_width(width), tiles_of(dim, group)
    parts = cdiv(rows, WARP * tiles) + 1
    sums = room((heads * group, parts, width + 1), torch.float32, query.device)
    output = room((heads, group, width), value.dtype, value.device)
    order, numbers = len(coefficients) - 1, (*coefficients, 0.0, 0.0)[:4]
    tables = variables(dim, order, query.device), orderings(dim, order, query.device)
    launch(
        part_kernel, (heads * parts,),
        upper, lower, keys, values, place, sums, query, key, value, *tables,
        *roots, *numbers, rows, parts, group,
        exact_rows(value.dtype, dim, rows), upper.shape[1], *query.stride(), *key.stride(),
        *value.stride(), dim, ORDER=order, WIDTH=width, D=padded_width(dim), E=padded, BR=WARP,
        TILES=tiles, BT=TOKEN_TILE, MOST=keys.shape[1], num_warps=1,
    )  # fmt: skip
    launch(
        quotient_kernel, (heads * group,),
        sums, output, parts, WIDTH=width, E=padded, BP=PARTS_TILE // padded, num_warps=4,
    )  # fmt: skip
    return (output,)


def tiles_of(dim: int, group: int) -> int:
    """Return how many tiles of rows a program takes one after the other.

    Only a single query takes several. Wide heads have rows enough for all multiprocessors.
    """
    if group != 1:
        return 1
    return 4 if dim > 64 else 2


def exact_rows(dtype: torch.dtype, dim: int, rows: int) -> int:
    """Return how many rows of the moments are read in full; degrees 0 and 1 in any case.

    Tokens in bfloat16 have 8 binary digits; those of higher degree are read to as many, as the
    matrix units take them from the kernels for many tokens. Where keys share a large mean, moments
    are large and cancel: then this shows, there as here, and float32 tokens are the way out.
    """
    return 1 + dim if dtype == torch.bfloat16 else rows
