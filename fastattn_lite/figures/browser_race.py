"""The figure BrowserRace: both algorithms race in the reader's own browser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from fastattn_lite.benchmark import crossover
from fastattn_lite.complexity import crossover_tokens, direct_flops, fast_flops
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.style import color, line_style, marker
from fastattn_lite.figures.words import format_number, say
from fastattn_lite.scaling import PowerLaw, fit_power_law, meeting_tokens

NAME = "BrowserRace"
SERIES = {"direct": "minimax", "fast": "taylor"}
MOST = 1e12
"""No race has so many tokens, or takes so many seconds."""
FITTED = 5
"""A fit takes the points of the largest n."""
ASSUMED_RATE = 1e9
FARTHEST = 1e6
Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Outcome:
    """What a race says: points [n, seconds] and laws by algorithm, and where the two cross."""

    points: dict[str, Points]
    laws: dict[str, PowerLaw | None]
    counted: int
    fitted: float | None
    measured: float | None


class BrowserRace(Figure):
    """Softmax attention against the fast form, timed in the browser over growing n.

    Traits: `dim` d, 8 to 64; `order` p, 1 to 3; `most_tokens`, the largest n, 256 to 65,536;
    `budget`, the longest run in seconds, 0.25 to 8; `device` "cpu" or "gpu". `result` holds the
    race: {"device", "dim", "order", "points"} with points [algorithm, n, seconds], algorithm
    "direct" or "fast"; empty before a race. Chapter: complexity_scaling.
    """

    dim = parameter(NAME, "dim")
    order = parameter(NAME, "order")
    most_tokens = parameter(NAME, "most_tokens")
    budget = parameter(NAME, "budget")
    device = parameter(NAME, "device")
    result: Any = traitlets.Dict().tag(sync=True)

    @traitlets.validate("result")
    def _check_result(self, proposal: Any) -> Any:
        """Refuse what no race gives."""
        result = proposal["value"]
        if result and not _is_race(result):
            raise traitlets.TraitError(
                "result: expected device, dim, order and points [algorithm, n, seconds], all "
                f"above 0, on cpu or gpu, with an algorithm of {', '.join(SERIES)}, "
                f"got {result!r:.200}"
            )
        return result

    def outcome(self) -> Outcome:
        """Return what the race so far says about the settings chosen now."""
        points: dict[str, Points] = {name: [] for name in SERIES}
        if (self.result.get("dim"), self.result.get("order")) == (self.dim, self.order):
            for name, tokens, seconds in self.result["points"]:
                points[name].append((int(tokens), float(seconds)))
        laws = {name: _law(found[-FITTED:]) for name, found in points.items()}
        direct, fast = laws["direct"], laws["fast"]
        seconds = dict(points["fast"])
        ratios = {n: slow / seconds[n] for n, slow in points["direct"] if n in seconds}
        return Outcome(
            points,
            laws,
            math.ceil(crossover_tokens(self.dim, self.order)),
            _crossing(direct, fast),
            crossover(ratios) if ratios else None,
        )

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        found = self.outcome()
        words = {"dim": self.dim, "order": self.order, "counted": format_number(found.counted)}
        if not any(found.points.values()):
            return say(NAME, "summary_before", **words)
        for name, points in found.points.items():
            tokens, seconds = points[-1] if points else (0, math.nan)
            words[f"{name}_tokens"] = format_number(tokens)
            words[f"{name}_seconds"] = format_number(seconds)
            words[f"{name}_slope"] = slope_text(NAME, found.laws[name])
        fitted = (
            say(NAME, "not_yet") if found.fitted is None else format_number(round(found.fitted))
        )
        device = say(NAME, f"device.{self.result['device']}")
        return say(NAME, "summary", **words, fitted=fitted, device=device)

    def _draw(self, picture: Picture) -> None:
        """Draw the counted lines, and what was measured where there is something."""
        axes, found = picture.subplots(), self.outcome()
        for name, series in SERIES.items():
            self._draw_counted(axes, name, found.points[name])
            label = say(NAME, f"label_{name}", order=self.order)
            style = {"color": color(series), "marker": marker(series), "linestyle": "none"}
            axes.loglog(
                *zip(*found.points[name] or [(math.nan, math.nan)], strict=True),
                label=label,
                **style,
            )
            law = found.laws[name]
            if law:
                ends = [found.points[name][-FITTED:][0][0], found.points[name][-1][0]]
                axes.loglog(ends, [law(n) for n in ends], **line_style(series))
        axes.set(xlabel=say(NAME, "axis_tokens"), ylabel=say(NAME, "axis_seconds"))
        axes.legend(loc="upper left")

    def _draw_counted(self, axes: Axes, name: str, points: Points) -> None:
        """Draw the operations as seconds, at the rate of the largest point."""
        ends = [32, self.most_tokens]
        tokens, seconds = points[-1] if points else (1, self._flops(name, 1) / ASSUMED_RATE)
        rate = self._flops(name, tokens) / seconds
        axes.loglog(
            ends, [self._flops(name, n) / rate for n in ends], color=color("axis"), linewidth=1
        )

    def _flops(self, name: str, tokens: int) -> int:
        if name == "direct":
            return direct_flops(tokens, self.dim)
        return fast_flops(tokens, self.dim, self.order)


def _is_race(result: Any) -> bool:
    match result:
        case {"device": "cpu" | "gpu", "dim": int(), "order": int(), "points": list(points)}:
            return all(map(_is_point, points))
        case {"device": "", "points": []}:  # one that has just begun
            return True
        case _:
            return False


def _is_point(point: Any) -> bool:
    match point:
        case [str(name), int(tokens), int() | float() as seconds]:
            return name in SERIES and 0 < tokens < MOST and 1 / MOST < seconds < MOST
        case _:
            return False


def _law(points: Points) -> PowerLaw | None:
    return fit_power_law(*zip(*points, strict=True)) if len(points) >= 3 else None


def _crossing(direct: PowerLaw | None, fast: PowerLaw | None) -> float | None:
    """Return where the fitted lines cross; None beyond a million tokens."""
    if direct is None or fast is None or direct.exponent <= fast.exponent:
        return None
    tokens = meeting_tokens(direct, fast)
    return tokens if tokens <= FARTHEST else None


def slope_text(section: str, law: PowerLaw | None) -> str:
    """Return a fitted slope with its interval, two decimals each."""
    if law is None:
        return say(section, "too_few")
    value, low, high = (f"{x:.2f}".replace("-", "−") for x in (law.exponent, law.low, law.high))
    return say(section, "slope", value=value, low=low, high=high)
