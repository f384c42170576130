"""The figure ComplexityScaling: measured times and memory against n, with fits and models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import traitlets
from matplotlib.figure import Figure as Picture

from fastattn_lite.benchmark import crossover
from fastattn_lite.complexity import crossover_tokens, direct_memory
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.stored import (
    Result,
    given_results,
    own_result,
    provenance,
    series_of,
    source_name,
    stored_results,
)
from fastattn_lite.figures.style import MARKERS, color
from fastattn_lite.figures.words import format_number, say
from fastattn_lite.scaling import PowerLaw, fit_power_law

NAME = "ComplexityScaling"
COLORS = ("taylor", "minimax", "chebyshev", "warning", "exact")
"""The colours that the lines take in turn; the signs are shifted by one after each turn."""
LEAST_MEMORY_TOKENS = 256
"""Memory is shown from here on, so that the table of pairs crosses the picture."""
UNITS = {"time": "s", "memory": "byte"}
QUADRATIC = ("softmax", "pairs")
"""Kinds that visit all pairs."""
Points = list[list[float]]


@dataclass(frozen=True)
class Line:
    """An implementation on one machine, with its points in the case chosen now."""

    name: str
    source: str
    kind: str
    series: str
    shape: str
    hidden: bool
    points: Points
    law: PowerLaw | None


class ComplexityScaling(Figure):
    """Stored measurements on logarithmic axes; each line can be hidden, fits begin at `fit_from`.

    Traits: `fit_from`, the smallest n that a fit takes; `dim` d; `order` p; `quantity` "time" or
    "memory"; `is_causal`; `is_trained`, with the backward pass; `show_model`; `hidden`, a number
    whose bit i hides line i. `series` are the measurements, and `sources` says where they come
    from: every stored result of a processor or a graphics card unless `results` are given, and
    after them the reader's `own` (a result or the path of its file). Numbers are those of a head.
    Raises `ValueError` where `own` does not fit the schema. Chapter: complexity_scaling.
    """

    fit_from = parameter(NAME, "fit_from")
    dim = parameter(NAME, "dim")
    order = parameter(NAME, "order")
    quantity = parameter(NAME, "quantity")
    is_causal = parameter(NAME, "is_causal")
    is_trained = parameter(NAME, "is_trained")
    show_model = parameter(NAME, "show_model")
    hidden = parameter(NAME, "hidden")
    series: Any = traitlets.List().tag(sync=True, parameter=True)
    sources: Any = traitlets.List().tag(sync=True, parameter=True)

    def __init__(
        self,
        *,
        results: Sequence[Result] | None = None,
        own: Result | str | Path | None = None,
        **parameters: Any,
    ) -> None:
        stored = stored_results() if results is None else given_results(results)
        named = [(source_name(result), result) for result in stored]
        named += [] if own is None else [(say(NAME, "own"), own_result(own))]
        sources = [provenance(*each) for each in named]
        super().__init__(series=series_of(named), sources=sources, **parameters)

    def __repr__(self) -> str:
        """Return the line of Python that makes this figure, of the stored results."""
        state = {k: value for k, value in self.state().items() if k not in ("series", "sources")}
        return f"{NAME}({', '.join(f'{name}={value!r}' for name, value in state.items())})"

    def lines(self) -> list[Line]:
        """Return every line, in the order of the results."""
        found = dict.fromkeys((s["line"], s["source"], s["kind"]) for s in self.series)
        return [self._line(place, *item) for place, item in enumerate(found)]

    def _line(self, place: int, name: str, source: str, kind: str) -> Line:
        turn, step = divmod(place, len(COLORS))
        points = self._points(name)
        used = [point[:2] for point in points if point[0] >= self.fit_from]
        law = fit_power_law(*zip(*used, strict=True)) if len(used) >= 3 else None
        series, shape = COLORS[step], list(MARKERS)[(place + turn) % len(MARKERS)]
        return Line(name, source, kind, series, shape, bool(self.hidden >> place & 1), points, law)

    def _points(self, name: str) -> Points:
        for series in self.series:
            if (
                (series["line"], series["dim"]) == (name, self.dim)
                and series["order"] in (None, self.order)
                and series["is_causal"] == self.is_causal
                and series["is_trained"] == self.is_trained
                and series["unit"] == UNITS[self.quantity]
            ):
                return series["points"]
        return []

    def crossovers(self) -> dict[str, float | None]:
        """Return by machine from which n its fastest fast line beats its fastest softmax line.

        Of the lines that are shown. None where none was measured, and for memory.
        """
        return {source: self._crossover(source) for source in self._machines()}

    def _machines(self) -> list[str]:
        return list(dict.fromkeys(source["source"] for source in self.sources))

    def _crossover(self, source: str) -> float | None:
        if self.quantity != "time":
            return None
        softmax, fast = (self._fastest(source, kind) for kind in ("softmax", "fast"))
        ratios = {n: softmax[n] / fast[n] for n in softmax if n in fast}
        return crossover(ratios) if ratios else None

    def _fastest(self, source: str, kind: str) -> dict[int, float]:
        least: dict[int, float] = {}
        for line in self._shown():
            if (line.kind, line.source) == (kind, source):
                for n, value, *_ in line.points:
                    least[int(n)] = min(value, least.get(int(n), math.inf))
        return least

    def _shown(self) -> list[Line]:
        return [line for line in self.lines() if line.points and not line.hidden]

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        form = say(NAME, "causal" if self.is_causal else "full")
        if self.is_trained:
            form = say(NAME, "trained", form=form)
        words = {"dim": self.dim, "order": self.order, "form": form}
        shown = self._shown()
        if not shown:
            return say(NAME, "summary_none", **words)
        slopes = "; ".join(filter(None, (_slopes(kind, shown) for kind in ("softmax", "fast"))))
        return say(
            NAME,
            f"summary_{self.quantity}",
            **words,
            count=len(shown),
            fit_from=format_number(self.fit_from),
            slopes=slopes or say(NAME, "no_slopes"),
            crossover=self._crossovers_in_words(),
            counted=format_number(
                math.ceil(crossover_tokens(self.dim, self.order, is_causal=self.is_causal))
            ),
        )

    def _crossovers_in_words(self) -> str:
        found = [
            say(NAME, "crossover_on", tokens=format_number(round(tokens)), source=source)
            for source, tokens in self.crossovers().items()
            if tokens is not None
        ]
        return "; ".join(found) or say(NAME, "none")

    def models(self) -> list[Points]:
        """Return the lines of the models: counts at the rate of the largest n, or bytes."""
        shown = self._shown()
        if not (self.show_model and shown):
            return []
        first, last = (
            min(p[0] for s in shown for p in s.points),
            max(p[0] for s in shown for p in s.points),
        )
        if self.quantity == "memory":
            ends = (min(first, LEAST_MEMORY_TOKENS), last)
            return [
                [[n, direct_memory(round(n))] for n in ends],
                [[n, 16 * n * self.dim] for n in ends],
            ]
        return [_count(line, (first, last)) for line in shown if len(line.points) > 1]

    def _draw(self, picture: Picture) -> None:
        """Draw points, fits and models on logarithmic axes."""
        axes = picture.subplots()
        axes.set(
            xscale="log",
            yscale="log",
            xlabel=say(NAME, "axis_tokens"),
            ylabel=say(NAME, f"axis_{self.quantity}"),
        )
        for ends in self.models():
            axes.plot(*zip(*ends, strict=True), color=color("axis"), linewidth=1)
        for line in self._shown():
            axes.plot(
                *zip(*(point[:2] for point in line.points), strict=True),
                color=color(line.series),
                marker=MARKERS[line.shape],
                linestyle="none",
                label=line.name,
            )
            for n, *ends in line.points:
                axes.plot([n] * len(ends), ends, color=color(line.series), linewidth=1)
            if line.law:
                ends = [max(line.points[0][0], self.fit_from), line.points[-1][0]]
                axes.plot(ends, [line.law(n) for n in ends], color=color(line.series))
        if self._shown():
            axes.legend(loc="upper left", fontsize=7)


def _slopes(kind: str, shown: Sequence[Line]) -> str:
    """Return the smallest and the largest slope of the lines of one kind, in words."""
    found = [line.law.exponent for line in shown if line.law and line.kind == kind]
    if not found:
        return ""
    low, high = (f"{x:.2f}".replace("-", "−") for x in (min(found), max(found)))
    return say(NAME, f"{'slope' if low == high else 'slopes'}_of_{kind}", low=low, high=high)


def _count(line: Line, ends: tuple[float, float]) -> Points:
    """Return a straight line of slope 2 (all pairs) or 1 through the largest point."""
    tokens, value = line.points[-1][:2]
    power = 2 if line.kind in QUADRATIC else 1
    return [[n, value * (n / tokens) ** power] for n in ends]
