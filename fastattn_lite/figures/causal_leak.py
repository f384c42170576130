"""The figure CausalLeak: change one token and see which outputs of causal attention move."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Picture

from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.measured import LEAK_TOKENS, MOVED, Leak, leak
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.style import color, marker
from fastattn_lite.figures.words import format_number, say

NAME = "CausalLeak"
LOWEST = 1e-6
"""Where outputs that did not move stand on the logarithmic axis."""


class CausalLeak(Figure):
    """How far each output of causal attention moves when one token is changed.

    Traits: `position` of the changed token, 0 to 15; `change`, -3 to 3; `normalization`; `seed`,
    0 to 99. Attention is that of the Taylor polynomial of order 2. Outputs before the position
    must not move; where they do, the normalisation has told them about the future.
    Chapter: expansion_truncation.
    """

    position = parameter(NAME, "position")
    change = parameter(NAME, "change")
    normalization = parameter(NAME, "normalization")
    seed = parameter(NAME, "seed")

    def leak(self) -> Leak:
        """Return the outputs before and after the change."""
        return leak(**self.state())

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        return say(
            NAME,
            "summary",
            position=self.position,
            last=LEAK_TOKENS - 1,
            change=format_number(self.change),
            normalization=self.normalization,
            leaked=self.leak().leaked,
            past=self.position,
        )

    def _draw(self, picture: Picture) -> None:
        """Draw how far every output moved; leaks in the colour of warnings."""
        movement, tokens = self.leak().movement, np.arange(LEAK_TOKENS)
        moved, is_past = movement > MOVED, tokens < self.position
        kinds = {
            "still": (~moved, "quiet", "o"),
            "allowed": (moved & ~is_past, "exact", "s"),
            "leaked": (moved & is_past, "warning", marker("warning")),
        }
        axes = picture.subplots()
        axes.axvspan(-0.6, self.position - 0.5, color=color("accent"), alpha=0.06, linewidth=0)
        height = np.maximum(movement, LOWEST)
        for key, (chosen, series, shape) in kinds.items():
            style: dict[str, Any] = {"color": color(series), "marker": shape, "linestyle": "none"}
            axes.vlines(tokens[chosen], LOWEST / 3, height[chosen], color=color(series), alpha=0.5)
            axes.plot(tokens[chosen], height[chosen], label=say(NAME, key), **style)
        axes.set(yscale="log", ylim=(LOWEST / 3, 10), xlim=(-0.6, LEAK_TOKENS - 0.4))
        axes.set(xlabel=say(NAME, "axis_token"), ylabel=say(NAME, "axis_movement"), xticks=tokens)
        axes.legend(loc="upper left", ncols=3)
