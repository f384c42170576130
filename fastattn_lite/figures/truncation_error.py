"""The figure TruncationError: a polynomial in place of exp, and what attention feels of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from fastattn_lite.expansion import FAMILIES, Expansion
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.style import color, line_style
from fastattn_lite.figures.words import format_number, format_percent, say

NAME = "TruncationError"
MARGIN_OF_VIEW = 1.5
STEPS = 300
PADDING = 0.14
UNBOUNDED_LOW = -2.0
"""Where log(f/exp) falls without bound because f reaches 0, it is cut off here."""
Floats = npt.NDArray[np.float64]


class TruncationError(Figure):
    """f against exp on [-radius, radius], and log(f/exp) with its oscillation.

    Traits: `order` 0 to 10; `family` "taylor", "chebyshev" or "minimax"; `radius` 0.25 to 8.
    Chapter: expansion_truncation.
    """

    order = parameter(NAME, "order")
    family = parameter(NAME, "family")
    radius = parameter(NAME, "radius")

    def expansion(self) -> Expansion:
        """Return the expansion that the figure shows."""
        return FAMILIES[self.family](self.order, radius=self.radius)

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        expansion = self.expansion()
        words: dict[str, Any] = {
            "family": say(NAME, f"family.{self.family}"),
            "order": self.order,
            "radius": format_number(self.radius),
            "bound": format_percent(expansion.output_error_bound()),
            "oscillation": format_number(expansion.oscillation()),
            "error": format_number(expansion.max_error()),
        }
        if math.isfinite(expansion.oscillation()):
            return say(NAME, "summary", **words)
        scores = _scores(self.radius)
        is_negative = np.any(expansion(scores[np.abs(scores) <= self.radius]) < 0)
        weights = say(NAME, "summary_weights" if is_negative else "summary_zero")
        return f"{say(NAME, 'summary_unbounded', **words)} {weights}"

    def _draw(self, picture: Picture) -> None:
        """Draw f and exp on the left, the logarithm of their ratio on the right."""
        expansion, scores = self.expansion(), _scores(self.radius)
        value, ratio = picture.subplots(1, 2)
        for axes in (value, ratio):
            _mark_regions(axes, expansion, scores)
            axes.set_xlabel(say(NAME, "axis_score"))
        _draw_values(value, expansion, scores)
        _draw_ratio(ratio, expansion, scores)


def _scores(radius: float) -> Floats:
    return np.linspace(-MARGIN_OF_VIEW * radius, MARGIN_OF_VIEW * radius, STEPS + 1)


def _limits(low: float, high: float) -> tuple[float, float]:
    room = PADDING * ((high - low) or 1e-16)
    return low - room, high + room


def _mark_regions(axes: Axes, expansion: Expansion, scores: Floats) -> None:
    """Shade [-radius, radius], and hatch where f < 0."""
    radius = expansion.radius
    axes.axvspan(-radius, radius, color=color("accent"), alpha=0.06, linewidth=0)
    for edge in (-radius, radius):
        axes.axvline(edge, color=color("accent"), linewidth=1)
    is_negative = expansion(scores) < 0
    axes.fill_between(
        scores,
        0,
        1,
        where=is_negative,
        transform=axes.get_xaxis_transform(),
        facecolor="none",
        edgecolor=color("warning"),
        hatch="///",
        linewidth=0,
        label=say(NAME, "negative") if is_negative.any() else None,
    )
    axes.set_xlim(scores[0], scores[-1])


def _draw_values(axes: Axes, expansion: Expansion, scores: Floats) -> None:
    inside = expansion(scores[np.abs(scores) <= expansion.radius])
    axes.plot(scores, np.exp(scores), label=say(NAME, "exact"), **line_style("exact"))
    label = say(NAME, f"family.{expansion.name}")
    axes.plot(scores, expansion(scores), label=label, **line_style(expansion.name))
    top = max(math.exp(expansion.radius), float(inside.max()))
    axes.set_ylim(*_limits(min(0.0, float(inside.min())), top))
    axes.set_ylabel(say(NAME, "axis_value"))
    axes.legend(loc="upper left")


def _draw_ratio(axes: Axes, expansion: Expansion, scores: Floats) -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(expansion.log_ratio(scores))
    inside = ratio[(np.abs(scores) <= expansion.radius) & np.isfinite(ratio)]
    axes.plot(scores, ratio, **line_style(expansion.name))
    oscillation = expansion.oscillation()
    low = float(inside.min(initial=0)) if math.isfinite(oscillation) else UNBOUNDED_LOW
    axes.set_ylim(*_limits(low, float(inside.max(initial=0))))
    axes.set_ylabel(say(NAME, "axis_ratio"))
    title = say(NAME, "oscillation_mark", oscillation=format_number(oscillation))
    axes.set_title(title, fontsize=10)
    if math.isfinite(oscillation):
        for level in (inside.min(), inside.max()):
            axes.axhline(level, color=color("accent"), linestyle=":", linewidth=1)
