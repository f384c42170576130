"""The figure FarField: sources on a line, expanded about the middles of cells, error and bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.random import RandomNumbers
from fastattn_lite.figures.style import color, line_style, marker
from fastattn_lite.figures.words import format_number, say
from fastattn_lite.gauss import improved_gauss_bound
from fastattn_lite.multipole import multipole_bound

NAME = "FarField"
SOURCES = 24
REACH = 5.0
"""Targets stand from -REACH to REACH."""
STEPS = 240
HIGHEST = 12
FAR = 2.0
"""A target is far from a cell at this many half-widths from its middle, or more."""
TAIL = 80
"""So many terms of the series of exp are added up for what was cut off."""
LOWEST, HIGHEST_SHOWN = 1e-16, 10.0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """Sources on [-radius, radius], with their charges, in cells of equal width."""

    kernel: str
    radius: float
    source: Floats
    charge: Floats
    center: Floats
    """The middle of the cell of each source."""
    middles: Floats

    @property
    def half_width(self) -> float:
        """Half the width of a cell."""
        return self.radius / len(self.middles)

    def is_far(self, y: Floats, center: Floats) -> npt.NDArray[np.bool_]:
        """Say which targets use the expansion about which centre; a Gauss kernel is never near."""
        away = np.abs(y[:, None] - center) >= FAR * self.half_width - 1e-12
        return away | (self.kernel == "gauss")

    def errors(self, y: Floats, order: int) -> Floats:
        """Return the error at every target, divided by the sum of the charges.

        What was cut off is added up, so that no round-off hides a small error.
        """
        offset, distance = self.source - self.center, y[:, None] - self.center
        if self.kernel == "gauss":
            left = _exp_tail(2 * distance * offset, order) * np.exp(-(distance**2) - offset**2)
        else:
            share = offset / np.where(distance == 0, 1.0, distance)
            with np.errstate(divide="ignore", invalid="ignore"):  # near sources, left out below
                left = share ** (order + 1) / (np.abs(distance) * (1 - share))
        far = self.is_far(y, self.center)
        return np.abs(np.where(far, left, 0.0) @ self.charge) / np.sum(self.charge)

    def bounds(self, y: Floats, order: int) -> Floats:
        """Return the bound of the chapter at every target, divided by the sum of the charges."""
        held = np.array([np.sum(self.charge[self.center == middle]) for middle in self.middles])
        far = self.is_far(y, self.middles)
        bounds = [
            [self._bound(order, abs(place - c)) if is_far else 0.0 for c, is_far in row]
            for place, row in zip(y, (zip(self.middles, f, strict=True) for f in far), strict=True)
        ]
        return np.array(bounds) @ held / np.sum(self.charge)

    def _bound(self, order: int, distance: float) -> float:
        make = improved_gauss_bound if self.kernel == "gauss" else multipole_bound
        return make(order, radius=self.half_width, distance=distance)


def far_field(*, kernel: str, radius: float, centers: int, seed: int) -> Cells:
    """Return the sources of a seed, in that many cells; charges lie between 1/2 and 3/2."""
    random = RandomNumbers(seed)
    source = np.array([radius * (2 * random.uniform() - 1) for _ in range(SOURCES)])
    charge = np.array([0.5 + random.uniform() for _ in range(SOURCES)])
    middles = radius * ((2 * np.arange(centers) + 1) / centers - 1)
    cell = np.minimum(np.floor((source / radius + 1) * centers / 2).astype(int), centers - 1)
    return Cells(kernel, radius, source, charge, middles[cell], middles)


def _exp_tail(x: Floats, order: int) -> Floats:
    """Return exp(x) without its Taylor polynomial of that order."""
    term = x ** (order + 1) / math.factorial(order + 1)
    total = term
    for degree in range(order + 2, order + 1 + TAIL):
        term = term * x / degree
        total = total + term
    return total


class FarField(Figure):
    """The error of an expansion along the line of targets, and against the order, with its bound.

    Traits: `kernel`, "inverse" (1/|y - z|) or "gauss" (exp(-(y - z)^2)); `order` 0 to 12;
    `radius` 0.25 to 1.5 of the interval with the sources; `centers` 1 to 8, cells of equal width;
    `target` -5 to 5; `seed` 0 to 99 of the sources.
    Chapter: fast_multipole_ideas.
    """

    kernel = parameter(NAME, "kernel")
    order = parameter(NAME, "order")
    radius = parameter(NAME, "radius")
    centers = parameter(NAME, "centers")
    target = parameter(NAME, "target")
    seed = parameter(NAME, "seed")

    def cells(self) -> Cells:
        """Return the sources in their cells."""
        return far_field(
            kernel=self.kernel, radius=self.radius, centers=self.centers, seed=self.seed
        )

    def at_target(self, order: int) -> tuple[float, float]:
        """Return the error and its bound at the target."""
        y, cells = np.array([self.target]), self.cells()
        return float(cells.errors(y, order)[0]), float(cells.bounds(y, order)[0])

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        cells, y = self.cells(), np.array([self.target])
        error, bound = self.at_target(self.order)
        far = int(np.sum(cells.is_far(y, cells.middles)))
        return say(
            NAME,
            "summary",
            kernel=say(NAME, f"kernel.{self.kernel}"),
            sources=SOURCES,
            centers=self.centers,
            half_width=format_number(cells.half_width),
            order=self.order,
            target=format_number(self.target),
            near=int(np.sum(~cells.is_far(y, cells.center))),
            far=far,
            numbers=far * (self.order + 1),
            error=format_number(error),
            bound=format_number(bound),
        )

    def _draw(self, picture: Picture) -> None:
        """Draw the error along the line on the left, against the order on the right."""
        along, orders = picture.subplots(1, 2, width_ratios=(3, 2), sharey=True)
        cells = self.cells()
        _draw_line(along, cells, self.order, self.target)
        numbers = range(HIGHEST + 1)
        pairs = [self.at_target(order) for order in numbers]
        for place, series in ((1, "minimax"), (0, "taylor")):
            heights = _shown(np.array([pair[place] for pair in pairs]))
            orders.plot(numbers, heights, marker=marker(series), **line_style(series))
        orders.axvline(self.order, color=color("accent"), linewidth=1)
        orders.set(xlabel=say(NAME, "axis_order"))


def _shown(heights: Floats) -> Floats:
    """Return what can stand on a logarithmic axis."""
    return np.where(heights > 0, heights, np.nan)


def _draw_line(axes: Axes, cells: Cells, order: int, target: float) -> None:
    y = np.linspace(-REACH, REACH, STEPS + 1)
    near = ~np.all(cells.is_far(y, cells.middles), axis=1)
    transform = axes.get_xaxis_transform()
    shade: dict[str, Any] = {"color": color("warning"), "alpha": 0.12, "linewidth": 0}
    axes.fill_between(y, 0, 1, where=near.tolist(), transform=transform, **shade)
    label = say(NAME, "bound")
    axes.plot(y, _shown(cells.bounds(y, order)), label=label, **line_style("minimax"))
    error = _shown(cells.errors(y, order))
    axes.plot(y, error, label=say(NAME, "error"), **line_style("taylor"))
    low = np.full(SOURCES, 6 * LOWEST)
    axes.plot(cells.source, low, "o", color=color("exact"), markersize=3)
    axes.plot(cells.middles, 0 * cells.middles + 6 * LOWEST, "D", color=color("accent"))
    axes.axvline(target, color=color("accent"), linewidth=1)
    axes.set(yscale="log", ylim=(LOWEST, HIGHEST_SHOWN), xlim=(-REACH, REACH))
    axes.set(xlabel=say(NAME, "axis_target"), ylabel=say(NAME, "axis_error"))
    axes.legend(loc="upper right")
