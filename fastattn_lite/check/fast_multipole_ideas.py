"""The exercises of the chapter fast_multipole_ideas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastattn_lite.check.marking import (
    AGREES,
    Floats,
    Function,
    Mistakes,
    NotYetError,
    answer_of,
    array_of,
    judge,
    marks,
    number_of,
    same,
)
from fastattn_lite.multipole import multipole_moments

CELLS_PER_TARGET = 3
"""Cells whose sources a target adds one by one."""
FOUND_BY_SEARCH = 1e-6
"""A search for the smallest number of operations finds its place no better than this."""
Measure = Callable[[Floats], Floats]
"""From the distances of every row to several centres, one distance for each row."""


@marks
def check_moved_moments(function: Function) -> str:
    """Mark `function(moments, shift)`: moments about c' = c - shift from those about c.

    Exercise of chapter fast_multipole_ideas.
    """
    rng = np.random.default_rng(3)
    for order, shift in [(1, 0.5), (3, -1.5), (0, 2.0), (5, 0.25)]:
        source, charge = rng.uniform(-1, 1, 7), rng.normal(size=7)
        old, right, backwards = (
            multipole_moments(source, charge, center=center, order=order)
            for center in (0.0, -shift, shift)
        )
        answer = array_of(answer_of(function, old, shift), right.shape)
        otherwise = (
            f"for order {order} and the shift {shift:g} the moments are not those about the new "
            "centre. Write out l = 1 by hand: the sum of rho_j (z_j - c + shift)."
        )
        judge(answer, right, _moved_mistakes(old, shift, backwards), otherwise)
    return "the moments about the new centre, and no source was needed."


def _moved_mistakes(old: Floats, shift: float, backwards: Floats) -> Mistakes:
    powers = np.arange(len(old))
    plain = [sum(shift ** (p - m) * old[m] for m in range(p + 1)) for p in powers]
    return [
        (backwards, "the shift has the wrong sign: z - c' is z - c plus the shift."),
        (np.array(plain), "the binomial coefficients are missing: (a + b)^2 has the term 2 a b."),
        (old, "these are the moments about the old centre."),
        (
            old + np.where(powers > 0, shift**powers * old[0], 0.0),
            "only the first and the last term of each power of a sum are there.",
        ),
    ]


@marks
def check_farthest(function: Function) -> str:
    """Mark `function(points, count)`: the rows of `count` farthest points, beginning with row 0.

    Exercise of chapter fast_multipole_ideas.
    """
    rng = np.random.default_rng(4)
    for tokens, dim, count in [(20, 2, 5), (6, 1, 3), (40, 3, 40), (9, 2, 1)]:
        points = rng.normal(size=(tokens, dim))
        rows = array_of(answer_of(function, points, count), (count,))
        if not same(rows, np.round(rows)) or np.any((rows < 0) | (rows >= tokens)):
            raise NotYetError("expected row numbers, whole and from 0 on.")
        chosen = rows.astype(int)
        if len(set(chosen.tolist())) < count:
            raise NotYetError("a row is chosen twice: a chosen point is at the distance 0.")
        if chosen[0] != 0:
            raise NotYetError("the first row is not row 0.")
        _judge_farthest(points, chosen)
    return "each centre is the source that was farthest from the centres before it."


def _judge_farthest(points: Floats, chosen: Any) -> None:
    """Refuse the first row that is not the farthest from the nearest of those before it."""
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    steps = range(1, len(chosen))
    wrong = [m for m in steps if not _is_next(_to_nearest, apart, chosen[: m + 1])]
    if not wrong:
        return
    for hint, measure in OTHER_MEASURES.items():
        if all(_is_next(measure, apart, chosen[: m + 1]) for m in steps):
            raise NotYetError(hint)
    m = wrong[0]
    nearest = _to_nearest(apart[:, chosen[:m]])
    raise NotYetError(
        f"number {m + 1} of your {len(chosen)} rows is {nearest[chosen[m]]:.3g} away from the "
        f"nearest row before it, and another row is {nearest.max():.3g} away. Which row is the "
        "farthest from its nearest centre?"
    )


def _is_next(measure: Measure, apart: Floats, chosen: Any) -> bool:
    """Say whether no row that was left is farther, by this measure, than the last one chosen."""
    before, last = chosen[:-1], chosen[-1]
    distance = measure(apart[:, before])
    return bool(distance[last] >= np.delete(distance, before).max() * (1 - AGREES))


def _to_nearest(distances: Floats) -> Floats:
    return distances.min(axis=1)


OTHER_MEASURES: dict[str, Measure] = {
    "you measure from the first centre alone: the later ones count too.": lambda to: to[:, 0],
    "you measure from the last centre alone: the earlier ones count too.": lambda to: to[:, -1],
    "you add up the distances to the centres; what counts is the nearest centre.": (
        lambda to: to.sum(axis=1)
    ),
}
"""What readers take for the distance from several centres, each with its hint."""


@marks
def check_best_cells(function: Function) -> str:
    """Mark `function(n, order)`: the number of cells with the fewest operations.

    Exercise of chapter fast_multipole_ideas.
    """
    for n, order in [(1000, 10), (3000, 2), (64, 0), (10**6, 5)]:
        answer = number_of(answer_of(function, n, order))
        right = math.sqrt(CELLS_PER_TARGET * n / (order + 1))
        mistakes: Mistakes = [
            (
                right * math.sqrt((order + 1) / order) if order else math.nan,
                "p + 1 moments, not p.",
            ),
            (right / math.sqrt(CELLS_PER_TARGET), "each target adds the sources of three cells."),
            (math.sqrt(n), "that balances nothing: both terms have factors before them."),
            (right**2, "take the root: the derivative of 1/C is -1/C^2."),
            (
                n * right * (order + 1) + CELLS_PER_TARGET * n**2 / right,
                "that is the number of operations; the number of cells is asked.",
            ),
            (1 / right, "that is the inverse."),
        ]
        otherwise = (
            f"for n = {n:,} and order {order} another number of cells takes fewer operations. "
            "Set the derivative by C to 0, or make the two terms equal."
        )
        judge(answer, right, mistakes, otherwise, within=FOUND_BY_SEARCH * right)
    return "there the two parts of the work are equal."
