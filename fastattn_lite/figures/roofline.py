"""The figure Roofline: the two speeds of a machine, the steps on it, and what runs reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.style import color, line_style, marker
from fastattn_lite.figures.words import format_number, format_percent, say
from fastattn_lite.results import load_result
from fastattn_lite.roofline import Roof, Work, direct_work, roof_of, sample_work, step_work

NAME = "Roofline"
RESULTS = {"h100": "gpu_design_log", "h200": "gpu_roofline", "cpu": "cpu_roofline"}
UNIT = {"h100": 1e12, "h200": 1e12, "cpu": 1e9}
REACH = (1.0, 1e6)
MEASURED = {
    "accumulate": "chebyshev",
    "evaluate": "warning",
    "forward": "accent",
    "softmax": "exact",
}
MODELS = {"stored": "minimax", "fused": "taylor", "softmax": "exact"}


@dataclass(frozen=True)
class Reached:
    """One measured sample on the roofline."""

    what: str
    intensity: float
    rate: float
    share: float

    @property
    def step(self) -> str:
        """The step that was measured."""
        return self.what.partition(":")[0]


class Roofline(Figure):
    """The roof of a machine, the intensity of both steps under it, and stored measurements.

    Traits: `device` "h100", "h200" or "cpu"; `dim` d, 16 to 128; `order` p, 1 to 3; `tokens` n,
    256 to 1,048,576. The dimension of the values is d. Measurements of the same d and p are shown.
    Chapter: gpu_evaluation.
    """

    device = parameter(NAME, "device")
    dim = parameter(NAME, "dim")
    order = parameter(NAME, "order")
    tokens = parameter(NAME, "tokens")

    def _result(self) -> dict[str, Any]:
        return load_result(RESULTS[self.device])

    def roof(self) -> Roof:
        """Return the two speeds of the machine."""
        return roof_of(self._result())

    def works(self) -> dict[str, Work]:
        """Return the work of a step with stored features, of a fused one, of direct attention."""
        size = self._result()["samples"][0]["number_bytes"]
        sizes = (self.tokens, self.dim, self.order)
        return {
            "stored": step_work(*sizes, number_bytes=size, is_stored=True),
            "fused": step_work(*sizes, number_bytes=size),
            "softmax": direct_work(self.tokens, self.dim, number_bytes=size),
        }

    def measured(self) -> list[Reached]:
        """Return the stored measurements of this dimension and order, not causal."""
        roof, found = self.roof(), list[Reached]()
        for sample in self._result()["samples"]:
            if (sample["dim"], sample["order"]) == (self.dim, self.order):
                if not sample["is_causal"]:
                    work = sample_work(sample)
                    rate = work.flops / min(sample["values"])
                    share = rate / roof.attainable(work.intensity)
                    found.append(Reached(sample["what"], work.intensity, rate, share))
        return found

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        works, roof = self.works(), self.roof()

        def bound(work: Work) -> str:
            return say(NAME, "by_memory" if work.intensity < roof.ridge else "by_arithmetic")

        return say(
            NAME,
            "summary",
            device=say(NAME, f"device.{self.device}"),
            dim=self.dim,
            order=self.order,
            tokens=format_number(self.tokens),
            stored=format_number(works["stored"].intensity),
            stored_bound=bound(works["stored"]),
            fused=format_number(works["fused"].intensity),
            fused_bound=bound(works["fused"]),
            ridge=format_number(roof.ridge),
            best=self._best(),
        )

    def _best(self) -> str:
        measured = self.measured()
        if not measured:
            return say(NAME, "none")
        best = max(measured, key=lambda reached: reached.share)
        return say(
            NAME,
            "best",
            what=say(NAME, f"what.{best.what}"),
            rate=format_number(best.rate / UNIT[self.device]),
            unit=say(NAME, f"unit.{self.device}"),
            share=format_percent(best.share),
        )

    def _draw(self, picture: Picture) -> None:
        """Draw the roof on the left, the shares that were reached on the right."""
        roof, shares = picture.subplots(1, 2)
        self._draw_roof(roof)
        self._draw_shares(shares)

    def _draw_roof(self, axes: Axes) -> None:
        roof = self.roof()
        places = [REACH[0], roof.ridge, REACH[1]]
        axes.loglog(places, [roof.attainable(x) for x in places], **line_style("exact"))
        for name, work in self.works().items():
            x, y = work.intensity, roof.attainable(work.intensity)
            label, series = say(NAME, f"line_{name}"), MODELS[name]
            axes.plot([x], [y], color=color(series), marker=marker(series), ls="", label=label)
        for reached in self.measured():
            shade = color(MEASURED[reached.step])
            axes.plot([reached.intensity], [reached.rate], color=shade, marker="X", ls="")
        axes.set(xlim=REACH, ylim=(roof.peak / 300, 4 * roof.peak))
        axes.set(xlabel=say(NAME, "axis_intensity"), ylabel=say(NAME, "axis_rate"))
        axes.legend(loc="lower right")

    def _draw_shares(self, axes: Axes) -> None:
        measured = self.measured()[::-1]
        names = [say(NAME, f"what.{reached.what}") for reached in measured]
        shades = [color(MEASURED[reached.step]) for reached in measured]
        axes.barh(names, [reached.share for reached in measured], color=shades)
        axes.set(xlim=(0, 1), xlabel=say(NAME, "axis_share"))
        if not measured:
            axes.set_title(say(NAME, "none"), fontsize=9)
