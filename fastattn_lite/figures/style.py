"""One palette for the scripts, the style sheet and matplotlib."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler

PALETTE = Path(__file__).parent / "palette.json"
FAMILIES = ("taylor", "chebyshev", "minimax")
MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "cross": "X"}


@cache
def palette() -> dict[str, Any]:
    """Return the colours by theme ("light", "dark") and the lines by series."""
    return json.loads(PALETTE.read_text(encoding="utf-8"))


def color(name: str) -> str:
    """Return a colour of the light theme, in which pictures are drawn."""
    return palette()["light"][name]


def line_style(series: str) -> dict[str, Any]:
    """Return colour, dash and width of a series as arguments for matplotlib's `plot`."""
    line = palette()["lines"][series]
    style = (0, tuple(line["dash"])) if line["dash"] else "-"
    return {"color": color(series), "linestyle": style, "linewidth": 0.8 * line["width"]}


def marker(series: str) -> str:
    """Return the marker of a series."""
    return MARKERS[palette()["lines"][series]["marker"]]


def _settings() -> dict[Any, Any]:
    """Return the settings that make matplotlib's pictures look like the figures."""
    lines = [line_style(series) for series in (*FAMILIES, "exact", "warning")]
    return {
        "axes.axisbelow": True,
        "axes.edgecolor": color("axis"),
        "axes.grid": True,
        "axes.labelcolor": color("quiet"),
        "axes.prop_cycle": cycler(
            color=[line["color"] for line in lines],
            linestyle=[line["linestyle"] for line in lines],
        ),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.dpi": 110,
        "figure.facecolor": color("surface"),
        "figure.figsize": (7.2, 3.4),
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "grid.color": color("grid"),
        "legend.frameon": False,
        "lines.linewidth": 2,
        "savefig.facecolor": color("surface"),
        "text.color": color("text"),
        "xtick.color": color("quiet"),
        "ytick.color": color("quiet"),
    }


@contextmanager
def plot_style() -> Generator[None]:
    """Draw matplotlib pictures in the book's style: `with plot_style(): ...`."""
    settings = _settings()
    before = {name: mpl.rcParams[name] for name in settings}
    mpl.rcParams.update(settings)
    try:
        yield
    finally:
        mpl.rcParams.update(before)  # and no others: a notebook's backend may have set some
