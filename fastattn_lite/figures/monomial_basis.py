"""The figure MonomialBasis: f(q.k) written out term by term in the monomials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from fastattn_lite.expansion import Expansion
from fastattn_lite.factorization import feature_weights, multi_indices, number_of_features
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.random import RandomNumbers
from fastattn_lite.figures.style import color, marker
from fastattn_lite.figures.words import SUPERSCRIPTS, format_number, say

NAME = "MonomialBasis"
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
COEFFICIENTS: dict[str, Callable[[int], float]] = {
    "taylor": lambda degree: 1 / math.factorial(degree),
    "ones": lambda degree: 1.0**degree,
    "alternating": lambda degree: (-1.0) ** degree,
}
"""The coefficient a_l of each choice."""


@dataclass(frozen=True)
class Term:
    """One term weight * query * key of the sum; `factors` are the coordinates in their order."""

    factors: tuple[int, ...]
    weight: float
    query: float
    key: float
    total: float
    """The sum up to and including this term."""

    @property
    def product(self) -> float:
        """What this term adds."""
        return self.weight * self.query * self.key

    @property
    def name(self) -> str:
        """The monomial in x: equal neighbours written as a power, 1 for no factor."""
        return (
            "".join(_power(i, len(list(run))) for i, run in itertools.groupby(self.factors)) or "1"
        )


class MonomialBasis(Figure):
    """The monomials of degree at most p with their weights, and the sum that they make.

    Traits: `dim` d, 1 to 4; `order` p, 0 to 4; `coefficients`, "taylor" (1/l!), "ones" (1) or
    "alternating" ((-1)^l); `basis`, "minimal" (each monomial once) or "full" (every ordered
    product); `term`, which term is looked at, from 1 (the last one if there are fewer);
    `seed`, 0 to 99, of q and k, whose coordinates have one decimal.
    Chapter: kernel_factorization.
    """

    dim = parameter(NAME, "dim")
    order = parameter(NAME, "order")
    coefficients = parameter(NAME, "coefficients")
    basis = parameter(NAME, "basis")
    term = parameter(NAME, "term")
    seed = parameter(NAME, "seed")

    def expansion(self) -> Expansion:
        """Return the polynomial f."""
        return Expansion(tuple(map(COEFFICIENTS[self.coefficients], range(self.order + 1))))

    def vectors(self) -> tuple[list[float], list[float]]:
        """Return q and k; no coordinate is 0, so that every term adds something."""
        draw = RandomNumbers(self.seed).normals(2, self.dim).tolist()
        query, key = ([(math.floor(8 * x + 0.5) or 1) / 10 for x in row] for row in draw)
        return query, key

    def value(self) -> float:
        """Return f(q.k), computed from the score."""
        query, key = self.vectors()
        return self.expansion()(_added([q * k for q, k in zip(query, key, strict=True)])[-1])

    def terms(self) -> list[Term]:
        """Return every term of the sum, with the sum up to it."""
        query, key = self.vectors()
        factors, weights = self._factors_and_weights()
        at = [(_product(f, query), _product(f, key)) for f in factors]
        totals = _added([w * q * k for w, (q, k) in zip(weights, at, strict=True)])
        rows = zip(factors, weights, at, totals, strict=True)
        return [Term(f, weight, q, k, total) for f, weight, (q, k), total in rows]

    def counts(self) -> tuple[int, int]:
        """Return how many terms the minimal and the full basis have."""
        full = sum(self.dim**degree for degree in range(self.order + 1))
        return number_of_features(self.dim, self.order), full

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        terms, (minimal, full) = self.terms(), self.counts()
        place = min(self.term, len(terms))
        shown = terms[place - 1]
        return say(
            NAME,
            "summary",
            dim=self.dim,
            order=self.order,
            minimal=minimal,
            full=full,
            basis=self.basis,
            term=place,
            count=len(terms),
            name=shown.name,
            weight=format_number(shown.weight),
            product=format_number(shown.product),
            total=format_number(shown.total),
            value=format_number(self.value()),
        )

    def _factors_and_weights(self) -> tuple[list[tuple[int, ...]], list[float]]:
        """Return the coordinates of every term, and its weight."""
        expansion = self.expansion()
        if self.basis == "minimal":
            powers = multi_indices(self.dim, self.order).tolist()
            named = [tuple(i for i, power in enumerate(a) for _ in range(power)) for a in powers]
            return named, feature_weights(expansion, self.dim).tolist()
        ordered = [
            factors
            for degree in range(self.order + 1)
            for factors in itertools.product(range(self.dim), repeat=degree)
        ]
        return ordered, [expansion.coefficients[len(f)] for f in ordered]

    def _draw(self, picture: Picture) -> None:
        """Draw the running sum on the left, the two counts on the right."""
        running, sizes = picture.subplots(1, 2, width_ratios=(3, 1))
        terms = self.terms()
        running.axhline(self.value(), color=color("exact"), linewidth=1, label=say(NAME, "direct"))
        _draw_running_sum(running, terms, min(self.term, len(terms)))
        _draw_counts(sizes, self.counts())


def _draw_running_sum(axes: Axes, terms: list[Term], place: int) -> None:
    for degree in (1, 3):
        numbered = [r for r, term in enumerate(terms, 1) if len(term.factors) == degree]
        if numbered:
            edges = numbered[0] - 0.5, numbered[-1] + 0.5
            axes.axvspan(*edges, color=color("accent"), alpha=0.06, linewidth=0)
    totals = [term.total for term in terms]
    style: dict[str, Any] = {"color": color("taylor"), "marker": marker("taylor")}
    axes.plot(range(1, len(terms) + 1), totals, label=say(NAME, "running"), **style)
    axes.plot([place], [totals[place - 1]], color=color("accent"), marker="o", markersize=10)
    axes.set(xlabel=say(NAME, "axis_term"), ylabel=say(NAME, "axis_sum"))
    axes.legend(loc="best")


def _draw_counts(axes: Axes, counts: tuple[int, int]) -> None:
    names = [say(NAME, "basis.minimal"), say(NAME, "basis.full")]
    bars = axes.bar(names, counts, color=[color("taylor"), color("minimax")])
    axes.bar_label(bars, [str(count) for count in counts])
    axes.margins(y=0.1)
    axes.set_ylabel(say(NAME, "axis_count"))


def _product(factors: tuple[int, ...], x: list[float]) -> float:
    """Return the first factor times the product of the others: the recursion of the chapter."""
    result = 1.0
    for i in reversed(factors):
        result = x[i] * result
    return result


def _added(numbers: list[float]) -> list[float]:
    """Return the sums of the first 1, 2, ... numbers, each from the one before."""
    return list(itertools.accumulate(numbers))


def _power(coordinate: int, power: int) -> str:
    exponent = str(power).translate(SUPERSCRIPTS) if power > 1 else ""
    return "x" + str(coordinate + 1).translate(SUBSCRIPTS) + exponent
