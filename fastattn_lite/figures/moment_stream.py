"""The figure MomentStream: moments of chunks merge in any order, and take constant memory."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from fastattn_lite.complexity import cache_crossover_tokens, cache_numbers, moment_numbers
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.merging import STREAM_TOKENS, Merging, merge_tokens
from fastattn_lite.figures.parameters import parameter, specs
from fastattn_lite.figures.style import color, line_style, marker
from fastattn_lite.figures.words import format_number, say

NAME = "MomentStream"
CACHE_BYTES = {"float32": 4, "bfloat16": 2}
MOMENT_BYTES = 4
DEVICES = ("taylor", "chebyshev", "minimax", "warning")
"""The series whose colour and sign the devices take in turn."""


class MomentStream(Figure):
    """Tokens in chunks, the moments of each chunk, and the merges that add them to one.

    Traits: `devices` 1 to 8; `arrived`, how many of the 24 tokens have come; `merge` "sequence",
    "tree" or "shuffled"; `seed` 0 to 99. For the memory: `tokens` n, 16 to 1,048,576; `dim` d;
    `order` p, 0 to 4; `cache`, what the cache holds, "float32" or "bfloat16"; the dimension of the
    values is d. Chapter: moment_accumulation.
    """

    devices = parameter(NAME, "devices")
    arrived = parameter(NAME, "arrived")
    merge = parameter(NAME, "merge")
    seed = parameter(NAME, "seed")
    tokens = parameter(NAME, "tokens")
    dim = parameter(NAME, "dim")
    order = parameter(NAME, "order")
    cache = parameter(NAME, "cache")

    def merging(self) -> Merging:
        """Return the moments of the chunks and of every merge."""
        return merge_tokens(
            devices=self.devices, arrived=self.arrived, merge=self.merge, seed=self.seed
        )

    def memory(self, tokens: int) -> tuple[int, int]:
        """Return the bytes of a key-value cache of n tokens and of the moments."""
        cache = cache_numbers(tokens, self.dim) * CACHE_BYTES[self.cache]
        return cache, moment_numbers(self.dim, self.order) * MOMENT_BYTES

    def crossover(self) -> int:
        """Return the number of tokens from which the moments are not larger."""
        cache_bytes = CACHE_BYTES[self.cache]
        return math.ceil(cache_crossover_tokens(self.dim, self.order, cache_bytes=cache_bytes))

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        last = self.merging().nodes[-1]
        cache, moments = self.memory(self.tokens)
        return say(
            NAME,
            "summary",
            arrived=self.arrived,
            all=STREAM_TOKENS,
            devices=self.devices,
            merge=say(NAME, f"merge.{self.merge}"),
            count=last.count,
            total=format_number(last.total),
            chain=last.chain,
            tokens=format_number(self.tokens),
            dim=self.dim,
            order=self.order,
            cache=self.cache,
            cache_bytes=format_number(cache),
            moment_bytes=format_number(moments),
            crossover=format_number(self.crossover()),
        )

    def _draw(self, picture: Picture) -> None:
        """Draw the merges on the left, the memory on the right."""
        stream, memory = picture.subplots(1, 2)
        self._draw_stream(stream)
        self._draw_memory(memory)

    def _draw_stream(self, axes: Axes) -> None:
        merging = self.merging()
        bottom = merging.nodes[-1].level
        for device, (first, last) in enumerate(zip(merging.edges, merging.edges[1:], strict=False)):
            series = DEVICES[device % len(DEVICES)]
            for token in range(first, last):
                shade = color(series if token < self.arrived else "axis")
                shape = marker(series) if token < self.arrived else "o"
                axes.plot([token], [bottom + 1], color=shade, marker=shape, markersize=5)
        for node in merging.nodes:
            height = bottom - node.level
            for child in (merging.nodes[index] for index in node.children):
                ends = [child.place, node.place], [bottom - child.level, height]
                axes.plot(*ends, color=color("axis"), linestyle="-", linewidth=1, zorder=1)
            axes.plot([node.place], [height], color=color("accent"), marker="o")
            text = f" {node.count}: {format_number(node.total)}"
            axes.text(node.place + 0.3, height + 0.12, text, fontsize=8, color=color("text"))
        axes.set(xlim=(-1, STREAM_TOKENS + 2), ylim=(-0.6, bottom + 1.6), yticks=[])
        axes.grid(visible=False)
        axes.set_xlabel(say(NAME, "handle_arrived", arrived=self.arrived))

    def _draw_memory(self, axes: Axes) -> None:
        limits = specs(NAME)["tokens"]
        ends = [limits["min"], limits["max"]]
        cache, moments = zip(*map(self.memory, ends), strict=True)
        axes.loglog(ends, cache, label=say(NAME, "line_cache"), **line_style("minimax"))
        label = say(NAME, "line_moments", order=self.order)
        axes.loglog(ends, moments, label=label, **line_style("taylor"))
        crossover = self.crossover()
        if ends[0] <= crossover <= ends[1]:
            label = say(NAME, "crossover_mark", tokens=format_number(crossover))
            axes.axvline(crossover, color=color("quiet"), linestyle=":", label=label)
        axes.set(xlim=ends, xlabel=say(NAME, "axis_tokens"), ylabel=say(NAME, "axis_bytes"))
        axes.legend(loc="upper left")
