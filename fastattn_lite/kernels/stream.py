"""The state of a stream on a GPU: moments in halves, and beside them the latest tokens.

    M_a = M_a(far) + sum_j k_j^a [v_j, 1]        (j: the latest tokens)

It is a sum of two parts, as moments are, and anybody who asks for the sums gets the whole.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from fastattn_lite._arrays import is_watched
from fastattn_lite.attention import split_scale
from fastattn_lite.complexity import LATEST_TOKENS
from fastattn_lite.expansion import Expansion
from fastattn_lite.factorization import feature_weights
from fastattn_lite.kernels.decode import fold_kernel
from fastattn_lite.kernels.launch import again, kept, launch, room
from fastattn_lite.kernels.states import cdiv, padded_width
from fastattn_lite.moments import Moments

Tensor = torch.Tensor
MOST = LATEST_TOKENS
"""So many tokens stand beside the moments at most. With more, a step reads more tokens; with
fewer, it writes the moments more often. At d = 64 about 90 would move the fewest bytes."""
TOKEN_TILE = 16
"""Latest tokens that are taken at once."""
ROWS = 64
"""Rows of a state that are written at once."""
ALIGNED = 128
"""The numbers of a state begin at multiples of so many."""


@dataclass
class Latest:
    """Room for the latest tokens, shared by the states of a stream.

    Each state sees its first tokens only. Of two that go on from one state, the first to come
    writes the next place, and the other one needs a copy.
    """

    keys: Tensor
    values: Tensor
    taken: dict[int, object] = field(default_factory=dict[int, object])

    @classmethod
    def empty(cls, states: int, key: Tensor, value: Tensor) -> Latest:
        """Return room for tokens like these, for so many states."""
        keys, values = (x.new_empty((states, MOST, x.shape[-1])) for x in (key, value))
        return cls(keys, values)

    def fits(self, key: Tensor, value: Tensor, place: int) -> bool:
        """Say whether there is a place for such a token."""
        types = self.keys.dtype, self.values.dtype
        return types == (key.dtype, value.dtype) and place < self.keys.shape[1]

    def takes(self, place: int) -> bool:
        """Say whether the caller is the first to ask for this place, which is then its own."""
        mine = object()
        return self.taken.setdefault(place, mine) is mine

    def copy(self) -> Latest:
        """Return a room of its own with the same tokens."""
        return Latest(self.keys.clone(), self.values.clone())


@dataclass(frozen=True)
class Held:
    """What a state holds: the halves of the far moments (states, numbers), and `count` tokens.

    `shape` is that of the sums.
    """

    upper: Tensor
    lower: Tensor
    latest: Latest
    count: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, sums: Tensor, key: Tensor, value: Tensor) -> Held:
        """Return the sums in halves, with no token beside them yet."""
        states, (rows, columns) = math.prod(sums.shape[:-2]), sums.shape[-2:]
        flat = sums.reshape(states, rows, columns)
        padding = flat.new_zeros((states, -rows * columns % ALIGNED))
        values = flat[..., :-1].reshape(states, rows * (columns - 1))
        bits = torch.cat([values, flat[..., -1], padding], -1).view(torch.int32)
        halves = (bits >> 16).to(torch.int16), bits.to(torch.int16)
        return cls(*halves, Latest.empty(states, key, value), 0, tuple(sums.shape))

    def far(self) -> Tensor:
        """Return the far moments, joined, shape (states, R, d_v + 1)."""
        rows, columns = self.shape[-2:]
        bits = (self.upper.to(torch.int32) << 16) | (self.lower.to(torch.int32) & 0xFFFF)
        numbers, ones = rows * (columns - 1), rows * columns
        values = bits.view(torch.float32)[:, :ones]
        split = values[:, :numbers].reshape(len(bits), rows, columns - 1), values[:, numbers:, None]
        return torch.cat(split, -1)

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all that the kernels read: the halves, the latest tokens, and their count."""
        place = places(self.upper.device, self.latest.keys.shape[1])[self.count]
        return self.upper, self.lower, self.latest.keys, self.latest.values, place

    def folded(self, order: int, root: float, key: Tensor, value: Tensor) -> Held:
        """Return the same with the latest tokens added, and room for tokens like these."""
        latest = Latest.empty(self.upper.shape[0], key, value)
        if self.count == 0:
            return replace(self, latest=latest)
        upper, lower = again(fold, self.tensors(), self.shape[-2:], order, root)
        return replace(self, upper=upper, lower=lower, latest=latest, count=0)

    def with_room(self, order: int, root: float, key: Tensor, value: Tensor) -> Held:
        """Return the same with a free place behind the latest tokens, for the caller alone."""
        held = self
        if not self.latest.fits(key, value, self.count):
            held = self.folded(order, root, key, value)
        if not held.latest.takes(held.count):
            held = replace(held, latest=held.latest.copy())
            held.latest.takes(held.count)
        return held


class Stream(Moments):
    """Moments of which the latest tokens stand beside the sum, until somebody asks for it."""

    held: Held | None = None
    """What it holds, or `None` where its sums are all there is."""

    @classmethod
    def after(cls, state: Moments, held: Held) -> Stream:
        """Return the state that holds one token more, of the kind of the state before."""
        new = cls.__new__(cls)
        fields = {"order": state.order, "dim": state.dim, "key_map": tuple(state.key_map)}
        new.__dict__.update(fields, held=replace(held, count=held.count + 1))
        return new

    def __getattr__(self, name: str) -> Any:
        """Return the sums of all tokens, made when they are first asked for.

        From then on they are the state, for whoever asked may change them. What a transform or a
        mode of torch makes of them is its own.
        """
        held = self.__dict__.get("held")
        if name != "sums" or held is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        keys, values = (x[:, : held.count] for x in (held.latest.keys, held.latest.values))
        scaled = split_scale(self.key_map[1])[1] * keys.to(torch.float32)
        whole = Moments(held.far(), self.order, self.dim).update(scaled, values)
        sums = whole.sums.reshape(held.shape)
        if not is_watched():
            self.__dict__["sums"] = sums
            del self.__dict__["held"]
        return sums

    @property
    def facts(self) -> tuple[Any, ...] | None:
        """All that the checks of a call look at, or `None` where the sums may have been changed."""
        held = self.held
        return held and (self.order, self.dim, self.key_map, held.shape, held.upper.device)

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, type and device of the sums, which takes no memory."""
        if (held := self.held) is None:
            return self.sums
        return held.upper.new_empty(1, dtype=torch.float32).expand(held.shape)


def fold(
    upper: Tensor, lower: Tensor, keys: Tensor, values: Tensor, place: Tensor,
    shape: tuple[int, int], order: int, root: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the halves of the moments with the latest tokens before a place added."""
    rows, width, dim = shape[0], shape[1] - 1, keys.shape[-1]
    new = [room(upper.shape, upper.dtype, upper.device) for _ in range(2)]
    padded, parts = padded_width(width), cdiv(rows, ROWS)
    is_exact = values.dtype == torch.float32  # else three products in tf32 lose nothing of values
    launch(
        fold_kernel, (upper.shape[0] * parts,),
        upper, lower, *new, keys, values, place, variables(dim, order, keys.device), root, rows,
        parts, upper.shape[1], dim, ORDER=order, WIDTH=width, E=padded, BR=ROWS, BT=TOKEN_TILE,
        MOST=keys.shape[1], PRECISION="ieee" if is_exact else "tf32x3",
        num_warps=2 if is_exact or padded > 64 else 4,
    )  # fmt: skip
    return new[0], new[1]


@functools.cache
def places(device: torch.device, most: int) -> tuple[Tensor, ...]:
    """Return the numbers from 0 to `most` on the device, each at an address of one alignment."""
    numbers = [[count, 0, 0, 0] for count in range(most + 1)]
    return kept(numbers, torch.int32, device).unbind()


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
def orderings(dim: int, order: int, device: torch.device) -> Tensor:
    """Return l!/a! for each monomial of degree l, in how many orders its variables can stand."""
    ones = Expansion((1.0,) * (order + 1))
    return kept(feature_weights(ones, dim).tolist(), torch.float32, device)
