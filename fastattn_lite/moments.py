"""Step 3, moments: everything the queries need to know about the keys and values.

M_a = sum_j k_j^a [v_j, 1] is a sum over tokens, so the moments of parts add up to the moments of
the whole, in any order and any grouping: chunks, prefixes, streams and devices are one sum. The 1
beside each value makes the denominator one more column of the same product.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from array_api_compat import array_namespace, device

from fastattn_lite import _storage
from fastattn_lite._arrays import (
    Array,
    accumulation_dtype,
    broadcast_lead,
    can_write_in_place,
    check_memory,
    check_token_axes,
    chunks,
    contiguous,
    full_precision,
    namespace,
)
from fastattn_lite.expansion import Expansion
from fastattn_lite.factorization import (
    Table,
    block_rows,
    feature_blocks,
    feature_weights,
    number_of_features,
)
from fastattn_lite.progress import Progress

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
        xp, shape = namespace(key=key, value=value), moments_shape(key, value, order)
        dtype = accumulation_dtype(xp, key, value)
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
        return cls.empty(key, value, order=order).with_tokens(key, value, chunk_size, Table())

    def update(self, key: Array, value: Array, *, chunk_size: int | None = None) -> Moments:
        """Return the moments with more tokens added; one token costs O(R d_v).

        Formula: M_a <- M_a + k_t^a [v_t, 1] for every new token t.
        Shapes, cost and errors as in `accumulate`. The sums keep their type: a state in float64
        stays one, whatever the type of the tokens.
        Equation: eq-stream (chapter moment_accumulation).
        """
        namespace(moments=self.sums, key=key, value=value)
        shape = moments_shape(key, value, self.order)
        check_kinds(self.kind(), kind_of(shape, self.order, key.shape[-1], self.key_map))
        return self.with_tokens(key, value, chunk_size, Table())

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of tokens together.

        Formula: M_a(A and B) = M_a(A) + M_a(B). Cost: R (d_v + 1) sums. Raises `ValueError` where
        order, dimension, shape or the treatment of the keys differ.
        Equation: eq-merge (chapter moment_accumulation).
        """
        self.check_same_kind(other)
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
        return self.quotients(query, expansion, chunk_size=chunk_size)[0]

    def quotients(
        self, query: Array, expansion: Expansion, *, chunk_size: int | None = None
    ) -> tuple[Array, Array]:
        """Return what `evaluate` does and the normalisers G_i (..., n), which gradients need."""
        namespace(query=query, moments=self.sums)
        check_token_axes(query=query)
        if query.shape[-1] != self.dim:
            raise ValueError(
                f"query: expected the dimension of the moments ({self.dim}), "
                f"got {query.shape[-1]} (shape {tuple(query.shape)})"
            )
        return self.at_queries(query, expansion, chunk_size, Table())

    def weighted(self, expansion: Expansion) -> Array:
        """Return w_a M_a for the monomials of the expansion, the first ones of the moments."""
        if expansion.order > self.order:
            raise ValueError(
                f"expansion: expected an order of at most {self.order}, that of the moments, "
                f"got {expansion.order}"
            )
        weights = _weights(expansion, self)
        return weights * self.sums[..., : weights.shape[0], :]

    @property
    def like(self) -> Array:
        """An array of the shape, the type and the device of the sums, for checks."""
        return self.sums

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the moments to one portable file (.npz, no pickle), whole or not at all.

        Cost: the R (d_v + 1) numbers, on the disk and once more in memory.
        Chapter: moment_accumulation.
        """
        normalization, scale = self.key_map
        fields = {"order": self.order, "dim": self.dim, "scale": float(scale)}
        sums = _storage.as_numpy(self.sums)
        _storage.write(Path(path), {"sums": sums, "normalization": normalization, **fields})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, like: Array | None = None) -> Moments:
        """Return the moments of a file that `save` wrote, in NumPy.

        With `like`, an array of floating-point numbers, they come in its library and on its
        device; their type is the stored one. Raises `ValueError` for a file that is damaged, of
        another version or none of moments, saying what was expected.
        Chapter: moment_accumulation.
        """
        found = _storage.read(Path(path))
        sums = found["sums"]
        if like is not None:
            sums = namespace(like=like).asarray(sums, device=device(like))
        key_map = (found["normalization"], found["scale"])
        return cls(sums, found["order"], found["dim"], key_map)

    def with_tokens(
        self, key: Array, value: Array, chunk_size: int | None, table: Table
    ) -> Moments:
        """Return what `update` does; the features are written to the table."""
        xp, sums = array_namespace(key), self.sums
        add = adder(xp, sums, key, value)
        size = tokens_at_once(tuple(sums.shape[:-2]), self.dim, self.order)
        for tokens in chunks(key.shape[-2], chunk_size, size):
            keys = xp.astype(key[..., tokens, :], sums.dtype, copy=False)
            values = value[..., tokens, :]
            with full_precision(key):
                found = feature_sums(xp, keys, with_one(xp, values, sums.dtype), self.order, table)
            sums = sums + found if sums is self.sums else add(sums, found)
        return replace(self, sums=sums)

    def at_queries(
        self, query: Array, expansion: Expansion, chunk_size: int | None, table: Table
    ) -> tuple[Array, Array]:
        """Return what `quotients` does; the features are written to the table."""
        xp, pairs = array_namespace(query), list[tuple[Array, Array]]()
        lead = broadcast_lead(query, self.sums, names="query, moments")
        size, weighted = tokens_at_once(lead, self.dim, expansion.order), self.weighted(expansion)
        with full_precision(query):
            for tokens in chunks(query.shape[-2], chunk_size, size):
                rows = query[..., tokens, :]
                pairs.append(
                    quotient(xp, weighted_sums(xp, rows, weighted, expansion.order, table))
                )
        return joined(xp, pairs)

    def check_same_kind(self, other: Moments) -> None:
        """Raise an error that says what differs, unless the other moments may be added."""
        if not isinstance(other, Moments):
            raise TypeError(f"moments: expected Moments, got {type(other).__name__}")
        namespace(self=self.like, other=other.like)
        check_kinds(self.kind(), other.kind())

    def kind(self) -> str:
        """Return in words what other moments must share with these to be added."""
        return kind_of(tuple(self.like.shape), self.order, self.dim, self.key_map)


def moments_shape(key: Array, value: Array, order: int) -> tuple[int, ...]:
    """Return the shape of the moments of these keys and values; errors as in `accumulate`."""
    xp = namespace(key=key, value=value)
    check_token_axes(key=key, value=value)
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"value: expected one value for each of the {key.shape[-2]} keys, "
            f"got the shape {tuple(value.shape)}"
        )
    return fitting_shape(xp, key, value, order)


def fitting_shape(xp: Any, key: Array, value: Array, order: int) -> tuple[int, ...]:
    """Return the shape of the moments of tokens that were checked; `ValueError` without memory."""
    features = number_of_features(key.shape[-1], order)
    lead = broadcast_lead(key, value, names="key, value")
    shape = (*lead, features, value.shape[-1] + 1)
    info = xp.finfo(accumulation_dtype(xp, key, value))
    check_memory(f"the moments of {features:,} features", 2 * math.prod(shape), info, key)
    return shape


def kind_of(shape: tuple[int, ...], order: int, dim: int, key_map: tuple[str, float]) -> str:
    """Return in words what moments must share to be added."""
    normalization, scale = key_map
    return (
        f"moments of order {order}, dimension {dim}, "
        f"shape {shape}, normalization {normalization!r}, scale {scale!r}"
    )


def check_kinds(expected: str, found: str, name: str = "moments") -> None:
    """Raise `ValueError` where two sets of moments may not be added; `name` is the argument."""
    if found != expected:
        raise ValueError(f"{name}: expected {expected}, got {found}")


def stream_moments(
    chunks: Iterable[tuple[Array, Array]],
    *,
    order: int,
    tokens: int | None = None,
    progress: bool = True,
) -> Moments:
    """Return the moments of a stream of chunks (key, value), of which it holds one at a time.

    Formula: y = M(chunk) - c, t = M + y, c = (t - M) - y, M = t: Kahan's compensated sum. The
    round-off of adding up does not grow with the number of chunks; the correction c takes as much
    memory as M itself.
    Shapes: key (..., n, d), value (..., n, d_v), n free. `tokens` says how many will come, for the
    progress bar. Cost: as `Moments.accumulate`, and 4 R (d_v + 1) sums a chunk.
    Raises `ValueError` for a stream without a chunk, or as `Moments.accumulate` does.
    Equation: eq-compensated (chapter moment_accumulation).
    """
    total, correction, bar = None, 0.0, Progress(tokens, seconds=0.1)
    for key, value in chunks:
        part = Moments.accumulate(key, value, order=order)
        if total is None:
            total = part
        else:
            total.check_same_kind(part)
            addend = part.sums - correction
            raised = total.sums + addend
            correction = (raised - total.sums) - addend
            total = replace(total, sums=raised)
        if progress:
            bar("tokens", key.shape[-2])
    if progress:
        bar.finish("tokens")
    if total is None:
        raise ValueError("chunks: expected at least one pair (key, value), got none")
    return total


def feature_sums(
    xp: Any, tokens: Array, partners: Array, order: int, table: Table | None = None
) -> Array:
    """Return sum_j x_j^a y_j for tokens x (..., n, d) and partners y (..., n, m): (..., R, m)."""
    blocks = feature_blocks(xp, tokens, order, partners, table=table)
    return xp.concat([block @ partners for block in blocks], axis=-2)


def weighted_sums(
    xp: Any, query: Array, weighted: Array, order: int, table: Table | None = None
) -> Array:
    """Return [F_i, G_i] = sum_a q_i^a (w_a M_a), shape (..., n, d_v + 1), tokens last in memory."""
    query = xp.astype(query, weighted.dtype, copy=False)
    blocks = feature_blocks(xp, query, order, weighted, table=table)
    rows = xp.matrix_transpose(weighted)
    first = next(blocks)
    result = rows[..., : (start := first.shape[-2])] @ first
    add = adder(xp, query, weighted)
    for block in blocks:
        stop = start + block.shape[-2]
        result = add(result, rows[..., start:stop] @ block)
        start = stop
    return xp.matrix_transpose(result)


def adder(xp: Any, *arrays: Array) -> Callable[[Array, Array], Array]:
    """Return what adds a second array to a first one, in its place where that is allowed."""
    if all(map(can_write_in_place, arrays)):
        return lambda total, part: xp.add(total, part, out=total)
    return lambda total, part: total + part


def prefix_sums(
    query: Array,
    key: Array,
    extended: Array,
    moments: Moments,
    expansion: Expansion,
    parts: list[slice],
    tables: tuple[Table, Table],
) -> tuple[list[Array], Moments]:
    """Return [F_i, G_i] over the tokens before each part, and the moments after all parts.

    Shapes: a part of m tokens gives (..., d_v + 1, m), tokens last as in `feature_blocks`.
    Formula: sum_a w_a q_i^a M_a, then M_a += sum_j k_j^a [v_j, 1] over the part; block of
    monomials by block, each through all parts, so that its moments stay in the cache. The
    features of queries and keys are written to the two `tables`.
    """
    xp, weights = array_namespace(query), _weights(expansion, moments)
    lead = broadcast_lead(query, moments.sums, names="query, moments")
    most = block_rows(math.prod(lead) * query.shape[-2], weights.shape[0])
    used = query, key, extended, moments.sums
    blocks = (
        feature_blocks(xp, x, expansion.order, *used, most=most, table=table)
        for x, table in zip((query, key), tables, strict=True)
    )
    zeros = functools.partial(xp.zeros, dtype=query.dtype, device=device(query))
    shape = (*lead, extended.shape[-1])
    sums = [zeros((*shape, tokens.stop - tokens.start)) for tokens in parts]
    add, after, start = adder(xp, *used), list[Array](), 0
    for queries, keys in zip(*blocks, strict=True):
        block = slice(start, start := start + keys.shape[-2])
        running = contiguous(xp, moments.sums[..., block, :])
        for i, tokens in enumerate(parts):
            weighted = xp.matrix_transpose(weights[block, :] * running)
            sums[i] = add(sums[i], weighted @ queries[..., tokens])
            running = add(running, keys[..., tokens] @ extended[..., tokens, :])
        after.append(running)
    return sums, replace(moments, sums=xp.concat(after, axis=-2))


def _weights(expansion: Expansion, moments: Moments) -> Array:
    """Return the w_a as one column, in the type and on the device of the moments."""
    xp, sums = array_namespace(moments.sums), moments.sums
    weights = feature_weights(expansion, moments.dim)
    return xp.asarray(weights, dtype=sums.dtype, device=device(sums))[:, None]


def quotient(xp: Any, sums: Array) -> tuple[Array, Array]:
    """Return o_i = F_i / G_i and a copy of G_i, so that the sums need not be kept."""
    return sums[..., :-1] / sums[..., -1:], contiguous(xp, sums[..., -1])


def joined(xp: Any, pairs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return the outputs and normalisers of all chunks as one array each."""
    outputs, normalizers = zip(*pairs, strict=True)
    return xp.concat(outputs, axis=-2), xp.concat(normalizers, axis=-1)


def with_one(xp: Any, value: Array, dtype: Any) -> Array:
    """Return [v_j, 1] in the given dtype."""
    value = xp.astype(value, dtype, copy=False)
    ones = xp.ones((*value.shape[:-1], 1), dtype=dtype, device=device(value))
    return xp.concat([value, ones], axis=-1)


def tokens_at_once(lead: tuple[int, ...], dim: int, order: int) -> int:
    """Return how many tokens a chunk takes, so that its features stay within bounds."""
    kept = math.prod(lead) * number_of_features(dim, max(order - 1, 0))
    return min(TOKENS_AT_ONCE, max(1, FEATURES_AT_ONCE // max(1, kept)))
