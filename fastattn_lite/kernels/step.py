"""One step of a stream on a GPU: start the kernels of `decode` for a token of any leading axes.

The state keeps the layout of `Moments.sums`, so both paths can go on from each other's states. A
new state is written; the given one stays as it is.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fastattn_lite._arrays import broadcast_lead
from fastattn_lite.attention import split_scale
from fastattn_lite.expansion import Expansion
from fastattn_lite.factorization import feature_weights
from fastattn_lite.kernels.decode import quotient_kernel, update_kernel
from fastattn_lite.kernels.launch import again, kept, launch, room
from fastattn_lite.kernels.states import cdiv, padded_width
from fastattn_lite.moments import Moments

Tensor = torch.Tensor
WARP = 32
"""Threads. A tile of the state has as many rows as threads: then each thread makes the features of
one row, and the compiler lets all share them."""
PARTS_TILE = 4096
"""Numbers of the partial sums that are added at once."""


def one_token(
    query: Tensor, key: Tensor, value: Tensor, state: Moments, expansion: Expansion
) -> tuple[Tensor, Moments]:
    """Return the output of one query and the moments with its token added.

    Formula: M_a <- M_a + k^a [v, 1], [F, G] = sum_a w_a q^a M_a, o = F / G, with the keys and
    queries times their share of the state's scale.
    Shapes: query (..., 1, d), key (..., 1, d), value (..., 1, d_v) to (..., 1, d_v) in the type of
    `value`; queries that share a state stand in leading axes where the state has length 1.
    Cost: the state is read once and written once, R (d_v + 1) numbers of float32 each.
    """
    tokens, roots = (query, key, value, state.sums), split_scale(state.key_map[1])
    output, sums = again(of_any_lead, tokens, state.order, roots, expansion)
    return output, replace(state, sums=sums)


def of_any_lead(
    query: Tensor, key: Tensor, value: Tensor, sums: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    """Return the output and the new sums, with the leading axes as two for the kernels."""
    query, key, value = (x.resolve_neg() for x in (query, key, value))
    own = tuple(sums.shape[:-2])
    lead = broadcast_lead(query, sums, names="query, moments")
    states, shares = split_axes(lead, own)
    sizes = [math.prod(lead[axis] for axis in axes) for axes in (states, shares)]
    queries = query.expand(*lead, *query.shape[-2:]).permute(*states, *shares, -2, -1)
    grouped = queries.reshape(*sizes, query.shape[-1])
    key, value = (
        x.expand(*own, *x.shape[-2:]).reshape(sizes[0], x.shape[-1]) for x in (key, value)
    )
    old = sums.contiguous().resolve_neg()
    output, new = again(step, (grouped, key, value, old), *options)
    back = np.argsort([*states, *shares]).tolist()
    output = output.reshape(*queries.shape[:-1], value.shape[-1]).permute(*back, -2, -1)
    return output.contiguous(), new


def split_axes(lead: tuple[int, ...], own: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Return the axes of the output in which states differ, and those whose queries share one."""
    own = (1,) * (len(lead) - len(own)) + own
    shares = [
        axis for axis, sizes in enumerate(zip(lead, own, strict=True)) if sizes[0] != sizes[1]
    ]
    return [axis for axis in range(len(lead)) if axis not in shares], shares


def step(
    query: Tensor, key: Tensor, value: Tensor, old: Tensor, order: int, roots: tuple[float, float],
    expansion: Expansion,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the outputs (states, group, d_v) and the new sums.

    Shapes: query (states, group, d), key (states, d), value (states, d_v), sums as they lie.
    """
    (heads, group, dim), width = query.shape, value.shape[1]
    rows, padded = old.shape[-2], padded_width(width)
    new = room(old.shape, old.dtype, old.device)
    tile = WARP if padded > 32 else 2 * WARP
    parts = cdiv(rows, tile)
    sums = room((heads * group, parts, width + 1), old.dtype, old.device)
    output = room((heads, group, width), value.dtype, value.device)
    tables = variables(dim, order, old.device), weights(expansion, dim, old.device)
    launch(
        update_kernel, (heads * parts,),
        old, new, sums, query, key, value, *tables, *roots, rows, parts,
        group, *query.stride(), *key.stride(), *value.stride(), dim, ORDER=order,
        WIDTH=width, E=padded, BR=tile, num_warps=tile // WARP,
    )  # fmt: skip
    launch(
        quotient_kernel, (heads * group,),
        sums, output, parts, WIDTH=width, E=padded, BP=PARTS_TILE // padded, num_warps=4,
    )  # fmt: skip
    return output, new


@functools.cache
def variables(dim: int, order: int, device: torch.device) -> Tensor:
    """Return the variables of each monomial in the order of `multi_indices`, shape (order, R).

    They are counted from 0, the lowest first; `dim` stands for the constant 1. Tables are kept for
    good: a CUDA graph that was captured with one goes on reading it.
    """
    table = [
        (*chosen, *(dim,) * (order - degree))
        for degree in range(order + 1)
        for chosen in itertools.combinations_with_replacement(range(dim), degree)
    ]
    return kept(np.array(table).T.tolist(), torch.int32, device)


@functools.cache
def weights(expansion: Expansion, dim: int, device: torch.device) -> Tensor:
    """Return the weights w_a on the device, shape (R,); kept for good, as the variables are."""
    return kept(feature_weights(expansion, dim).tolist(), torch.float32, device)
