"""The rows of a state: which monomials meet every variable, and with which weight.

f(s) = a_0 + s h(s) with h of degree p - 1, so with S_r[c] = sum_j k_j^r k_jc v_j

    sum_j f(s_ij) v_j = a_0 sum_j v_j + sum_r q_i^r sum_c w_rc q_ic S_r[c],

where r runs over the monomials of degree below p, the rows, and c over the variables. A product
q^r q_c stands for the same monomial under several (r, c); those left of a row's first column are
not computed, and the weights w_rc share each w_a of `feature_weights` among the pairs that are.
The coefficient a_l in w_rc is that of the degree l of row and column together.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Panels = tuple[tuple[int, int, int, int], ...]
"""Rows that share columns: the first row, the one after the last, the first column, how many."""
LARGEST_ORDER = 3
"""Rows are products of at most two variables."""


@dataclass(frozen=True)
class Rows:
    """The rows of order p in `width` variables, sorted by their largest variable.

    `first` and `second` hold the variables of each row, counted from 1; 0 is the constant 1.
    The rows after the constant are computed in `panels`, and in no column before the quarter that
    holds their largest variable.
    """

    order: int
    width: int
    first: Integers
    second: Integers
    panels: Panels

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.first)

    def first_column(self, row: int) -> int:
        """Return the first column that is computed in a row."""
        if row == 0:
            return 0
        return min(column for first, last, column, _ in self.panels if first <= row < last)

    def monomial(self, row: int, column: int) -> tuple[int, ...]:
        """Return the variables of one entry, sorted, counted from 1."""
        return tuple(sorted(x for x in (self.first[row], self.second[row], column + 1) if x > 0))


@functools.lru_cache(maxsize=64)
def rows_of(order: int, width: int) -> Rows:
    """Return the rows for a polynomial of order 0 to 3."""
    pairs: list[tuple[int, int]] = [(0, 0)] if order > 0 else []
    if order > 1:
        for last in range(1, width + 1):
            pairs += [(last, i) for i in range(last + 1 if order > 2 else 1)]
    table = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    panels = panels_of(table[:, 0], width) if order > 1 else ()
    return Rows(order, width, table[:, 0].copy(), table[:, 1].copy(), panels)


def panels_of(largest: Integers, width: int) -> Panels:
    """Return the panels by the largest variables of sorted rows: quarters, halves or no cut.

    A quarter that is narrower than a tile of the matrix units, 16, is not cut off.
    """
    quarter, half, three, end = (int(np.sum(largest <= width * b // 4)) for b in (1, 2, 3, 4))
    if width < 32:
        return ((1, end, 0, width),)
    if width < 64:
        return (1, half, 0, width), (half, end, width // 2, width // 2)
    return (
        (1, quarter, 0, width),
        (quarter, three, width // 2, width // 2),
        (quarter, half, width // 4, width // 4),
        (three, end, 3 * width // 4, width // 4),
    )


def scaled(coefficients: Sequence[float], scale: float) -> tuple[float, ...]:
    """Return the coefficients a_l scale^l, so that f takes q.k itself; too large ones are inf."""
    return tuple(float(a) * math.prod([scale] * degree) for degree, a in enumerate(coefficients))


@functools.lru_cache(maxsize=64)
def shared_weights(order: int, width: int) -> Floats:
    """Return w_rc / a_l for entries of degree l, shape (rows, width): 0 where not computed."""
    rows = rows_of(order, width)
    entries = {
        (row, column): rows.monomial(row, column)
        for row in range(rows.count)
        for column in range(rows.first_column(row), width)
    }
    shares = Counter(entries.values())
    weights = np.zeros((rows.count, width), dtype=np.float32)
    for entry, monomial in entries.items():
        weights[entry] = orderings(monomial) / shares[monomial]
    return weights


@functools.lru_cache(maxsize=64)
def row_weights(order: int, width: int) -> Floats:
    """Return (l+1) l!/r! for every row r of degree l, shape (rows,).

    With every column computed, sum_r q^r k^r of these times a_{l+1} is f'(q.k).
    """
    rows = rows_of(order, width)
    pairs = zip(rows.first.tolist(), rows.second.tolist(), strict=True)
    monomials = [tuple(x for x in pair if x > 0) for pair in pairs]
    return np.array([(len(m) + 1) * orderings(m) for m in monomials], dtype=np.float32)


@functools.lru_cache(maxsize=64)
def sources(order: int, width: int) -> Integers:
    """Return, for every (row, column), where row * width + column of its monomial is computed."""
    rows = rows_of(order, width)
    computed: dict[tuple[int, ...], int] = {}
    for row in range(rows.count):
        for column in range(rows.first_column(row), width):
            computed.setdefault(rows.monomial(row, column), row * width + column)
    found = [
        computed[rows.monomial(row, column)] for row in range(rows.count) for column in range(width)
    ]
    return np.array(found, dtype=np.int32)


def orderings(monomial: tuple[int, ...]) -> int:
    """Return |a|!/a!, in how many orders the variables of a monomial can stand (degree <= 3)."""
    distinct = len(set(monomial))
    return {0: 1, 1: 1, 2: distinct, 3: (1, 3, 6)[distinct - 1] if monomial else 1}[len(monomial)]
