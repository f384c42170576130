"""The figure GradientBound: how fast a weight grows with its score, for exp and a polynomial."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure as Picture

from fastattn_lite.expansion import taylor
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.style import color, line_style, marker
from fastattn_lite.figures.words import format_number, say

NAME = "GradientBound"
REACH = 4.0
"""The scores shown are those in [-REACH, REACH]."""
HEIGHT = 0.75
"""The slopes shown are those in [-HEIGHT, HEIGHT]."""
POINTS = 161


@dataclass(frozen=True)
class Slope:
    """A weight, what it is a share of, its derivative by its score, and the bound on that."""

    total: float
    weight: float
    slope: float
    bound: float


def slope_of_weight(order: int | None, score: float, tokens: int) -> Slope:
    """Return what one key with this score weighs beside tokens - 1 keys with the score 0.

    Formula: A = f(s)/G with G = f(s) + (n - 1) f(0); dA/ds = f'(s)/G (1 - A), and for positive f
    at most |f'(s)/f(s)|/4. `order` None is exp; another one is the Taylor polynomial.
    """
    expansion = None if order is None else taylor(order)
    kernel = math.exp(score) if expansion is None else float(expansion(score))
    change = kernel if expansion is None else float(expansion.derivative()(score))
    others = tokens - 1  # f(0) is 1 in both cases
    total = kernel + others
    steepness = abs(change / kernel) if kernel else math.inf
    bound = steepness / 4 if change else 0.0
    if total == 0:
        return Slope(total, math.nan, math.nan, bound)
    return Slope(total, kernel / total, change * others / total**2, bound)


class GradientBound(Figure):
    """The derivative of an attention weight by its score: softmax against a Taylor polynomial.

    Traits: `order` p, 0 to 6; `score` s of one key, -4 to 4; `tokens` n, 2 to 64, of which all
    others have the score 0. Chapter: gradients.
    """

    order = parameter(NAME, "order")
    score = parameter(NAME, "score")
    tokens = parameter(NAME, "tokens")

    def slopes(self) -> tuple[Slope, Slope]:
        """Return what exp and the polynomial make of the chosen score."""
        exact = slope_of_weight(None, self.score, self.tokens)
        return exact, slope_of_weight(self.order, self.score, self.tokens)

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        exact, fast = self.slopes()
        text = say(
            NAME,
            "summary",
            order=self.order,
            score=format_number(self.score),
            tokens=self.tokens,
            exact=format_number(exact.slope),
            fast=format_number(fast.slope),
            bound=format_number(fast.bound),
        )
        is_positive = fast.weight > 0 and fast.total > 0
        return f"{text} {say(NAME, 'summary_inside' if is_positive else 'summary_outside')}"

    def _draw(self, picture: Picture) -> None:
        """Draw both slopes and the bound against the score."""
        axes, scores = picture.subplots(), np.linspace(-REACH, REACH, POINTS)
        exact = [slope_of_weight(None, s, self.tokens).slope for s in scores]
        found = [slope_of_weight(self.order, s, self.tokens) for s in scores]
        bound = np.array([slope.bound for slope in found])
        label = say(NAME, "bound_line", order=self.order)
        axes.plot(scores, bound, label=label, **line_style("warning"))
        axes.plot(scores, -bound, **line_style("warning"))
        axes.plot(scores, exact, label=say(NAME, "exact_line"), **line_style("exact"))
        slopes = [slope.slope for slope in found]
        label = say(NAME, "fast_line", order=self.order)
        axes.plot(scores, slopes, label=label, **line_style("taylor"))
        for slope, series in zip(self.slopes(), ("exact", "taylor"), strict=True):
            axes.plot([self.score], [slope.slope], color=color(series), marker=marker(series))
        axes.set(xlim=(-REACH, REACH), ylim=(-HEIGHT, HEIGHT))
        axes.set(xlabel=say(NAME, "axis_x"), ylabel=say(NAME, "axis_y"))
        axes.legend(loc="upper left")
