"""The figure CostRace: operations of softmax attention, n^2, and of a factorized order, n."""

from __future__ import annotations

import math

from matplotlib.figure import Figure as Picture

from fastattn_lite.complexity import crossover_tokens, direct_flops, fast_flops
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter, specs
from fastattn_lite.figures.style import color, line_style, marker
from fastattn_lite.figures.words import format_number, say

NAME = "CostRace"


class CostRace(Figure):
    """Operations against the number of tokens, with the point where both are equal.

    Traits: `tokens` n, 16 to 1,048,576; `dim` d, 1 to 256; `order` p, 0 to 6; `is_causal`. The
    dimension of the values is d. Chapter: intro.
    """

    tokens = parameter(NAME, "tokens")
    dim = parameter(NAME, "dim")
    order = parameter(NAME, "order")
    is_causal = parameter(NAME, "is_causal")

    def costs(self, tokens: float) -> tuple[float, float]:
        """Return the operations of softmax attention and of the factorized order at n tokens."""
        count = round(tokens)
        direct = direct_flops(count, self.dim, is_causal=self.is_causal)
        return direct, fast_flops(count, self.dim, self.order)

    def crossover(self) -> int:
        """Return the number of tokens from which the factorized order is not dearer."""
        return math.ceil(crossover_tokens(self.dim, self.order, is_causal=self.is_causal))

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        direct, fast = self.costs(self.tokens)
        text = say(
            NAME,
            "summary_faster" if fast <= direct else "summary_slower",
            tokens=format_number(self.tokens),
            dim=self.dim,
            order=self.order,
            direct=format_number(direct),
            fast=format_number(fast),
            ratio=format_number(max(direct / fast, fast / direct)),
            crossover=format_number(self.crossover()),
        )
        return f"{text} {say(NAME, 'summary_causal')}" if self.is_causal else text

    def _draw(self, picture: Picture) -> None:
        """Draw both costs against n on logarithmic axes."""
        limits = specs(NAME)["tokens"]
        ends = [limits["min"], limits["max"]]
        direct, fast = zip(*map(self.costs, ends), strict=True)
        axes = picture.subplots()
        axes.loglog(ends, direct, label=say(NAME, "direct"), **line_style("minimax"))
        label = say(NAME, "fast", order=self.order)
        axes.loglog(ends, fast, label=label, **line_style("taylor"))
        here = self.costs(self.tokens)
        for cost, series in zip(here, ("minimax", "taylor"), strict=True):
            axes.plot([self.tokens], [cost], color=color(series), marker=marker(series))
        crossover = self.crossover()
        if ends[0] <= crossover <= ends[1]:
            label = say(NAME, "crossover_mark", tokens=format_number(crossover))
            axes.axvline(crossover, color=color("quiet"), linestyle=":", label=label)
        axes.set(xlim=ends, xlabel=say(NAME, "axis_x"), ylabel=say(NAME, "axis_y"))
        axes.legend(loc="upper left")
