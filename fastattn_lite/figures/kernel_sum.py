"""The figure KernelSum: one query among keys in the plane, and the weight of every key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from scipy.spatial import ConvexHull

from fastattn_lite.expansion import Expansion, taylor
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.random import RandomNumbers
from fastattn_lite.figures.style import color, line_style
from fastattn_lite.figures.words import format_number, say
from fastattn_lite.reference import attention_weights

NAME = "KernelSum"
SCALE = 1.0
"""Scores are q . k itself."""
REACH = 3.3
"""The plane is shown from -REACH to REACH."""
FULL_AREA = 2600.0
"""The area of a disc of weight 1, in square points; a weight beyond MOST is drawn as MOST."""
MOST = 1.5
STEPS = 200
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OneQuery:
    """One query among keys: scores, and weights and output under exp and under f_p."""

    key: Floats
    scores: Floats
    exact: Floats
    fast: Floats
    exact_output: Floats
    fast_output: Floats

    @property
    def apart(self) -> float:
        """The distance of the two outputs."""
        return float(np.linalg.norm(self.exact_output - self.fast_output))

    @property
    def negative(self) -> int:
        """How many keys have a negative weight under f_p."""
        return int(np.sum(self.fast < 0))


def one_query(*, query_x: float, query_y: float, order: int, tokens: int, seed: int) -> OneQuery:
    """Return the weights and outputs of the query; the value of a key is its own place."""
    key = RandomNumbers(seed).normals(tokens, 2)
    query = np.array([[query_x, query_y]])
    with np.errstate(divide="ignore", invalid="ignore"):
        fast = attention_weights(query, key, expansion=taylor(order), scale=SCALE)[0]
    exact = attention_weights(query, key, scale=SCALE)[0]
    return OneQuery(key, SCALE * key @ query[0], exact, fast, exact @ key, fast @ key)


class KernelSum(Figure):
    """The weight of every key for one query, under exp and under the Taylor polynomial.

    Traits: `query_x`, `query_y`, -3 to 3; `order` 0 to 6; `tokens` 3 to 24; `seed` 0 to 99. Keys
    are random points of the plane, the value of a key is its own place, and the scale is 1.
    Chapter: attention_as_a_kernel_sum.
    """

    query_x = parameter(NAME, "query_x")
    query_y = parameter(NAME, "query_y")
    order = parameter(NAME, "order")
    tokens = parameter(NAME, "tokens")
    seed = parameter(NAME, "seed")

    def sums(self) -> OneQuery:
        """Return the numbers that the figure shows."""
        return one_query(**self.state())

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        found = self.sums()
        first = int(np.argmax(found.exact))
        words: dict[str, Any] = {
            "x": format_number(self.query_x),
            "y": format_number(self.query_y),
            "tokens": self.tokens,
            "order": self.order,
            "exact": format_number(found.exact[first]),
            "fast": format_number(found.fast[first]),
            "exact_output": _place(found.exact_output),
            "fast_output": _place(found.fast_output),
            "apart": format_number(found.apart),
            "negative": found.negative,
        }
        text = say(NAME, "summary", **words)
        return f"{text} {say(NAME, 'summary_negative', **words)}" if found.negative else text

    def _draw(self, picture: Picture) -> None:
        """Draw the plane on the left, the weights against the scores on the right."""
        found = self.sums()
        plane, curve = picture.subplots(1, 2, width_ratios=(1, 1.2))
        _draw_plane(plane, found, (self.query_x, self.query_y))
        _draw_curve(curve, found, taylor(self.order))


def _place(point: Floats) -> str:
    return say(NAME, "place", x=format_number(point[0]), y=format_number(point[1]))


def _draw_plane(axes: Axes, found: OneQuery, query: tuple[float, float]) -> None:
    corners = found.key[ConvexHull(found.key).vertices]
    axes.fill(*corners.T, facecolor="none", edgecolor=color("axis"), linestyle=":")
    areas = FULL_AREA * np.minimum(np.abs([found.exact, found.fast]), MOST)
    ring = [color("warning" if weight < 0 else "taylor") for weight in found.fast]
    axes.scatter(*found.key.T, s=areas[0], color=color("exact"), alpha=0.55, linewidths=0)
    axes.scatter(*found.key.T, s=areas[1], facecolors="none", edgecolors=ring, linewidths=1.6)
    axes.plot(*found.exact_output, color=color("exact"), marker="D", linestyle="none")
    axes.plot(*found.fast_output, color=color("taylor"), marker="s", markerfacecolor="none")
    axes.plot([0, query[0]], [0, query[1]], color=color("accent"), linestyle="-", linewidth=1.5)
    axes.plot(*query, color=color("accent"), marker="o", markersize=9)
    axes.annotate(say(NAME, "handle"), query, xytext=(8, 6), textcoords="offset points")
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    axes.set(xlabel=say(NAME, "axis_across"), ylabel=say(NAME, "axis_up"))


def _draw_curve(axes: Axes, found: OneQuery, expansion: Expansion) -> None:
    low, high = found.scores.min(), found.scores.max()
    scores = np.linspace(low, high, STEPS)
    first = int(np.argmax(found.exact))
    exact = found.exact[first] * np.exp(scores - found.scores[first])
    fast = expansion(scores) / np.sum(expansion(found.scores))
    label = say(NAME, "fast_curve", order=expansion.order)
    axes.plot(scores, exact, label=say(NAME, "exact_curve"), **line_style("exact"))
    axes.plot(scores, fast, label=label, **line_style("taylor"))
    axes.plot(found.scores, found.exact, "o", color=color("exact"))
    axes.plot(found.scores, found.fast, "s", color=color("taylor"), markerfacecolor="none")
    axes.set(xlabel=say(NAME, "axis_score"), ylabel=say(NAME, "axis_weight"))
    axes.legend(loc="upper left")
