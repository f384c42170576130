"""The score radius: keep every score in [-B, B], where the expansion is good.

A map of each token by itself (unit length) is safe under a causal mask. A statistic over all
tokens (their mean, their largest norm) tells early rows about later tokens, so it is refused
there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastattn_lite._arrays import (
    Array,
    accumulation_dtype,
    check_flag,
    check_mask,
    check_query_and_key,
    check_real,
    chunks,
    namespace,
)
from fastattn_lite.expansion import Expansion

NORMALIZATIONS = ("none", "unit", "center", "center+unit", "max")
"""The names that `normalization` takes."""
OVER_ALL_TOKENS = ("center", "center+unit", "max")
"""Those that use a statistic over all tokens and so leak the future of a causal row."""

ROWS_AT_ONCE = 256
"""How many rows of scores `check_scores` looks at together."""


def normalize(
    query: Array, key: Array, normalization: str = "unit", *, is_causal: bool = False
) -> tuple[Array, Array]:
    """Return query and key as the named convention maps them.

    Formula: "unit" x_i/|x_i| (a zero token stays 0); "center" k_j - mean(k); "center+unit" both;
    "max" x_i / max_j |x_j|, the authors' convention; "none" nothing. After "unit",
    "center+unit" and "max", |q_i . k_j| <= 1, so |s_ij| <= |scale|.
    Shapes: query (..., n_q, d), key (..., n_k, d), each mapped in its own axes. Cost: O(n d).
    Raises `ValueError` for an unknown name, and for a causal use of a statistic over all tokens.
    Equation: eq-unit-radius (chapter expansion_truncation).
    """
    xp = namespace(query=query, key=key)
    check_query_and_key(query, key)
    check_normalization(normalization, is_causal=check_flag("is_causal", is_causal))
    if normalization.startswith("center") and key.shape[-2] > 0:
        key = key - xp.mean(key, axis=-2, keepdims=True)
    if normalization.endswith("unit"):
        return _unit(xp, query), _unit(xp, key)
    if normalization == "max":
        return _by_largest_norm(xp, query), _by_largest_norm(xp, key)
    return query, key


def check_normalization(normalization: str, *, is_causal: bool) -> None:
    """Raise `ValueError` for an unknown name or a convention that would leak the future."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization: expected one of {NORMALIZATIONS}, got {normalization!r}")
    if is_causal and normalization in OVER_ALL_TOKENS:
        raise ValueError(
            f"normalization: {normalization!r} uses a statistic over all tokens, which would tell "
            'a causal row about later tokens; expected "none" or "unit"'
        )


def default_scale(normalization: str, dim: int) -> float:
    """Return 1 where the convention bounds |q.k| by 1, otherwise 1/sqrt(d)."""
    return 1 / math.sqrt(dim) if normalization in ("none", "center") else 1.0


def guaranteed_radius(normalization: str, scale: float) -> float:
    """Return the B with |s_ij| <= B that the convention promises, `inf` where it promises none."""
    return math.inf if normalization in ("none", "center") else abs(scale)


@dataclass(frozen=True)
class ScoreReport:
    """The scores that occur, against the radius for which an expansion was made."""

    smallest: float
    largest: float
    radius: float

    @property
    def inside(self) -> bool:
        """Whether every score lies in [-radius, radius], so that the bound holds."""
        return max(-self.smallest, self.largest) <= self.radius

    def __str__(self) -> str:
        verdict = "inside" if self.inside else "NOT inside"
        return (
            f"scores from {self.smallest:.4g} to {self.largest:.4g}: "
            f"{verdict} [-{self.radius:g}, {self.radius:g}]"
        )


def check_scores(
    query: Array,
    key: Array,
    *,
    expansion: Expansion,
    normalization: str = "none",
    is_causal: bool = False,
    scale: float | None = None,
) -> ScoreReport:
    """Look at the data: say which scores occur and whether the expansion's bound covers them.

    Formula: the range of s_ij = scale * q_i . k_j after `normalization`, over the pairs that
    attend. Cost: 2 n_q n_k d flops, in blocks of rows. Errors as in `normalize`; `ValueError`
    where there is no pair. Chapter: expansion_truncation.
    """
    xp = namespace(query=query, key=key)
    check_mask(query, key, is_causal)
    query, key = normalize(query, key, normalization, is_causal=is_causal)
    if query.shape[-2] == 0 or key.shape[-2] == 0:
        raise ValueError("query, key: expected at least one query and one key, got none")
    factor = default_scale(normalization, query.shape[-1]) if scale is None else scale
    query = check_real("scale", factor) * xp.astype(query, accumulation_dtype(xp, query, key))
    ranges = np.array(list(_ranges_by_row_block(xp, query, key, is_causal)))
    return ScoreReport(float(ranges.min()), float(ranges.max()), expansion.radius)


def _ranges_by_row_block(
    xp: Any, query: Array, key: Array, is_causal: bool
) -> Iterator[tuple[float, float]]:
    """Yield the smallest and the largest score of each block of rows, among pairs that attend."""
    for block in chunks(query.shape[-2], None, ROWS_AT_ONCE):
        rows = query[..., block, :]
        seen = key[..., : block.stop, :] if is_causal else key
        scores = rows @ xp.matrix_transpose(xp.astype(seen, rows.dtype))
        if is_causal:
            later = xp.tril(xp.ones_like(scores), k=block.start) == 0
            scores = xp.where(later, scores[..., :1], scores)
        yield float(xp.min(scores)), float(xp.max(scores))


def _unit(xp: Any, x: Array) -> Array:
    """Return each token divided by its length; dividing by its largest entry first is safe."""
    scaled = x / _nonzero(xp, xp.max(xp.abs(x), axis=-1, keepdims=True))
    squares = xp.sum(scaled * scaled, axis=-1, keepdims=True)
    return scaled / xp.sqrt(_nonzero(xp, squares))


def _by_largest_norm(xp: Any, x: Array) -> Array:
    """Return all tokens of a head divided by the largest of their lengths, as safely."""
    if x.shape[-2] == 0:
        return x
    scaled = x / _nonzero(xp, xp.max(xp.abs(x), axis=(-2, -1), keepdims=True))
    squares = xp.sum(scaled * scaled, axis=-1, keepdims=True)
    return scaled / xp.sqrt(_nonzero(xp, xp.max(squares, axis=-2, keepdims=True)))


def _nonzero(xp: Any, x: Array) -> Array:
    """Return x with 1 in place of 0; the root of 0 would have no finite gradient."""
    return xp.where(x == 0, xp.ones_like(x), x)
