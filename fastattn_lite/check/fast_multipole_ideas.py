"""The exercises of the chapter fast_multipole_ideas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastattn_lite.check.marking import (
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
from fastattn_lite.clusters import cluster_radius, farthest_points
from fastattn_lite.multipole import multipole_moments

CELLS_PER_TARGET = 3
"""Cells whose sources a target adds one by one."""


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
    for tokens, dim, count in [(6, 1, 3), (20, 2, 5), (40, 3, 40), (9, 2, 1)]:
        points = rng.normal(size=(tokens, dim))
        rows = array_of(answer_of(function, points, count), (count,))
        if not same(rows, np.round(rows)) or np.any((rows < 0) | (rows >= tokens)):
            raise NotYetError("expected row numbers, whole and from 0 on.")
        chosen = rows.astype(int)
        if len(set(chosen.tolist())) < count:
            raise NotYetError("a row is chosen twice: a chosen point is at the distance 0.")
        if chosen[0] != 0:
            raise NotYetError("the first row is not row 0.")
        _judge_farthest(points, chosen, count)
    return "each centre is the source that was farthest from the centres before it."


def _judge_farthest(points: Floats, chosen: Any, count: int) -> None:
    right = farthest_points(points, count)
    if same(points[chosen], right):
        return
    to_first = np.linalg.norm(points - points[0], axis=1)
    to_all = [0]
    while len(to_all) < count:
        sums = np.linalg.norm(points[:, None] - points[to_all], axis=-1).sum(axis=1)
        sums[to_all] = -1
        to_all.append(int(np.argmax(sums)))
    if np.array_equal(chosen[1:], np.argsort(-to_first, kind="stable")[: count - 1]):
        raise NotYetError("you measure from the first centre alone: the later ones count too.")
    if np.array_equal(chosen, to_all):
        raise NotYetError(
            "you add up the distances to the centres; what counts is the nearest centre."
        )
    raise NotYetError(
        f"for {count} of {len(points)} points your centres leave a point at the distance "
        f"{cluster_radius(points, points[chosen]):.3g}; farthest points leave "
        f"{cluster_radius(points, right):.3g}. Which point is the farthest from its nearest centre?"
    )


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
        judge(answer, right, mistakes, otherwise)
    return "there the two parts of the work are equal."
