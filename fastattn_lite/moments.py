"""Step 3, moments: everything the queries need to know about the keys and values.

M_a = sum_j k_j^a [v_j, 1] is a sum over tokens, so the moments of parts add up to the moments of
the whole, in any order and any grouping. The 1 beside each value makes the denominator one more
column of the same product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from array_api_compat import device

from fastattn_lite._arrays import (
    Array,
    accumulation_dtype,
    broadcast_lead,
    check_memory,
    check_token_axes,
    chunks,
    namespace,
)
from fastattn_lite.expansion import Expansion
from fastattn_lite.factorization import feature_blocks, feature_weights, number_of_features

FEATURES_AT_ONCE = 2**21
"""How many feature values below the last degree a chunk may hold (8 MiB in float32)."""
TOKENS_AT_ONCE = 2048
"""Most tokens in a chunk: enough for fast products, few enough for a processor's cache."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The moments of a set of keys and values up to a given order: a sum, so they add.

    Formula: M_a = sum_j k_j^a [v_j, 1] for |a| <= order, in the order of `multi_indices`.
    Shapes: `sums` (..., R, d_v + 1) with R = C(d+p, p); `dim` is d. `key_map` says what was done
    to the keys before (normalization, scale): differently treated keys never mix.
    Chapter: moment_accumulation.
    """

    sums: Array
    order: int
    dim: int
    key_map: tuple[str, float] = ("none", 1.0)

    @classmethod
    def empty(cls, key: Array, value: Array, *, order: int) -> Moments:
        """Return the moments of no token, all 0, for keys and values of these shapes.

        Cost: R (d_v + 1) numbers for each batch entry. Errors as in `accumulate`.
        """
        xp = namespace(key=key, value=value)
        check_token_axes(key=key, value=value)
        if key.shape[-2] != value.shape[-2]:
            raise ValueError(
                f"value: expected one value for each of the {key.shape[-2]} keys, "
                f"got the shape {tuple(value.shape)}"
            )
        features = number_of_features(key.shape[-1], order)
        lead = broadcast_lead(key, value, names="key, value")
        shape = (*lead, features, value.shape[-1] + 1)
        dtype = accumulation_dtype(xp, key, value)
        check_memory(f"the moments of {features:,} features", 2 * math.prod(shape), xp.finfo(dtype))
        return cls(xp.zeros(shape, dtype=dtype, device=device(key)), order, key.shape[-1])

    @classmethod
    def accumulate(
        cls, key: Array, value: Array, *, order: int, chunk_size: int | None = None
    ) -> Moments:
        """Return the moments of these keys and values, taken `chunk_size` tokens at a time.

        Shapes: key (..., n, d), value (..., n, d_v). Cost: 2 n R (d_v + 1) flops; the memory
        beyond the result does not grow with n. Half precision accumulates in float32.
        Raises `TypeError` or `ValueError` naming the argument that does not fit.
        Equation: eq-moments (chapter intro).
        """
        return cls.empty(key, value, order=order)._with_tokens(key, value, chunk_size)

    def update(self, key: Array, value: Array, *, chunk_size: int | None = None) -> Moments:
        """Return the moments with more tokens added; one token costs O(R d_v).

        Shapes, cost and errors as in `accumulate`.
        """
        new = replace(Moments.empty(key, value, order=self.order), key_map=self.key_map)
        self._check_same_kind(new)
        return self._with_tokens(key, value, chunk_size)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of tokens together."""
        self._check_same_kind(other)
        return replace(self, sums=self.sums + other.sums)

    def evaluate(
        self, query: Array, expansion: Expansion, *, chunk_size: int | None = None
    ) -> Array:
        """Return the attention outputs of the queries.

        Formula: [F_i, G_i] = sum_a w_a q_i^a M_a and o_i = F_i / G_i.
        Shapes: query (..., n, d) to (..., n, d_v), in the dtype of the moments.
        Cost: 2 n R (d_v + 1) flops. Raises `ValueError` where the query or the expansion does
        not fit the moments.
        Equation: eq-evaluate (chapter intro).
        """
        xp = namespace(query=query, moments=self.sums)
        check_token_axes(query=query)
        if query.shape[-1] != self.dim:
            raise ValueError(
                f"query: expected the dimension of the moments ({self.dim}), "
                f"got {query.shape[-1]} (shape {tuple(query.shape)})"
            )
        lead = broadcast_lead(query, self.sums, names="query, moments")
        size = tokens_at_once(lead, self.dim, expansion.order)
        weighted = self.weighted(expansion)
        outputs = [
            divided(weighted_sums(xp, query[..., tokens, :], weighted, expansion.order))
            for tokens in chunks(query.shape[-2], chunk_size, size)
        ]
        return xp.concat(outputs, axis=-2)

    def weighted(self, expansion: Expansion) -> Array:
        """Return w_a M_a for the monomials of the expansion, the first ones of the moments."""
        if expansion.order > self.order:
            raise ValueError(
                f"expansion: expected an order of at most {self.order}, that of the moments, "
                f"got {expansion.order}"
            )
        xp = namespace(moments=self.sums)
        weights = xp.asarray(
            feature_weights(expansion, self.dim), dtype=self.sums.dtype, device=device(self.sums)
        )
        return weights[:, None] * self.sums[..., : weights.shape[0], :]

    def _with_tokens(self, key: Array, value: Array, chunk_size: int | None) -> Moments:
        xp, sums = namespace(key=key), self.sums
        size = tokens_at_once(tuple(sums.shape[:-2]), self.dim, self.order)
        for tokens in chunks(key.shape[-2], chunk_size, size):
            keys = xp.astype(key[..., tokens, :], sums.dtype, copy=False)
            blocks = feature_blocks(xp, keys, self.order)
            extended = with_one(xp, value[..., tokens, :], sums.dtype)
            sums = sums + xp.concat([block @ extended for block in blocks], axis=-2)
        return replace(self, sums=sums)

    def _check_same_kind(self, other: Moments) -> None:
        if not isinstance(other, Moments):
            raise TypeError(f"moments: expected Moments, got {type(other).__name__}")
        namespace(self=self.sums, other=other.sums)
        if self._kind() != other._kind():
            raise ValueError(f"moments: expected {self._kind()}, got {other._kind()}")

    def _kind(self) -> str:
        normalization, scale = self.key_map
        return (
            f"moments of order {self.order}, dimension {self.dim}, "
            f"shape {tuple(self.sums.shape)}, normalization {normalization!r}, scale {scale:g}"
        )


def weighted_sums(xp: Any, query: Array, weighted: Array, order: int) -> Array:
    """Return [F_i, G_i] = sum_a q_i^a (w_a M_a), shape (..., n, d_v + 1)."""
    result, start = 0.0, 0
    for block in feature_blocks(xp, xp.astype(query, weighted.dtype, copy=False), order):
        stop = start + block.shape[-2]
        result = result + xp.matrix_transpose(block) @ weighted[..., start:stop, :]
        start = stop
    return result


def divided(sums: Array) -> Array:
    """Return o_i = F_i / G_i."""
    return sums[..., :-1] / sums[..., -1:]


def with_one(xp: Any, value: Array, dtype: Any) -> Array:
    """Return [v_j, 1] in the given dtype."""
    value = xp.astype(value, dtype, copy=False)
    ones = xp.ones((*value.shape[:-1], 1), dtype=dtype, device=device(value))
    return xp.concat([value, ones], axis=-1)


def tokens_at_once(lead: tuple[int, ...], dim: int, order: int) -> int:
    """Return how many tokens a chunk takes, so that its features stay within bounds."""
    kept = math.prod(lead) * number_of_features(dim, max(order - 1, 0))
    return min(TOKENS_AT_ONCE, max(1, FEATURES_AT_ONCE // max(1, kept)))
