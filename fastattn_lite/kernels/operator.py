"""The fused kernels for tensors of any leading axes, as the operator of `autograd` calls them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from fastattn_lite.kernels.backward import attention_backward
from fastattn_lite.kernels.forward import attention
from fastattn_lite.kernels.launch import LONGEST_AXIS, again
from fastattn_lite.kernels.rows import scaled

Tensor = torch.Tensor
Lead = tuple[int, ...]


def forward(
    query: Tensor, key: Tensor, value: Tensor, coefficients: Sequence[float], scale: float,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return o_i and G_i; heads of queries that share keys and values share their moments."""
    tokens = query, key, value
    output, normaliser = again(of_any_lead, tokens, tuple(coefficients), scale, is_causal)
    return output, normaliser


def of_any_lead(
    query: Tensor, key: Tensor, value: Tensor, coefficients: tuple[float, ...], scale: float,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return o_i and G_i, with all leading axes as one for the kernels."""
    lead, shared = leads(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    tokens = (flat(query, lead), flat(key, shared), flat(value, shared))
    output, normaliser = in_calls(attention, tokens, scaled(coefficients, scale), is_causal)
    return output.reshape(*lead, *output.shape[1:]), normaliser.reshape(*lead, -1)


def backward(
    upstream: Tensor, output: Tensor, normaliser: Tensor, query: Tensor, key: Tensor,
    value: Tensor, coefficients: Sequence[float], scale: float, is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of query, key and value, summed over the axes that they lack."""
    lead = output.shape[:-2]
    tokens = (flat(x, lead).contiguous() for x in (query, key, value, output))
    given = flat(upstream, lead), *tokens, normaliser.reshape(-1, normaliser.shape[-1])
    gradients = in_calls(attention_backward, given, scaled(coefficients, scale), is_causal)
    query, key, value = (
        gradient.reshape(*lead, *gradient.shape[1:]).sum_to_size(x.shape)
        for gradient, x in zip(gradients, (query, key, value), strict=True)
    )
    return query, key, value


def flat(x: Tensor, lead: Lead) -> Tensor:
    """Return x with its leading axes broadcast and as one, and as memory holds it.

    torch may note a minus sign beside a view of complex numbers; a kernel would not see it.
    """
    x, axes = x.resolve_neg(), x.shape[-2:]
    if x.shape[:-2] != lead:
        x = x.expand(*lead, *axes)
    return x if len(lead) == 1 else x.reshape(math.prod(lead), *axes)


def in_calls(function: Any, tensors: tuple[Tensor, ...], *options: Any) -> list[Tensor]:
    """Return what a function of `again` returns, in one call or where heads are many in several."""
    parts = [again(function, part, *options) for part in few_heads(*tensors)]
    return [x[0] if len(x) == 1 else torch.cat(x) for x in zip(*parts, strict=True)]


def few_heads(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tensors (heads, ...) where the first has too many heads for one call.

    The others may have fewer, each for a group of the first; groups stay whole, unless one alone
    is too many.
    """
    if len(first) <= LONGEST_AXIS:
        yield first, *others
        return
    group = len(first) // len(others[0])
    step = max(1, LONGEST_AXIS // group)
    pieces = zip(first.split(step * group), *(x.split(step) for x in others), strict=True)
    for queries, *shared in pieces:
        for some in queries.split(LONGEST_AXIS):
            yield some, *shared


@functools.lru_cache(maxsize=256)
def leads(query: Lead, key: Lead, value: Lead) -> tuple[Lead, Lead]:
    """Return the leading axes of all, and those of keys and values, cut where queries share them.

    Grouped query heads stand in the last of the leading axes, where the keys have length 1; any
    other broadcast is written out.
    """
    keys = torch.broadcast_shapes(key, value)
    lead = torch.broadcast_shapes(query, keys)
    padded = (1,) * (len(lead) - len(keys)) + tuple(keys)
    kept = len(lead)
    while kept > 0 and padded[kept - 1] == 1:
        kept -= 1
    return tuple(lead), (*lead[:kept], *(1,) * (len(lead) - kept))
