"""The figure ErrorVersusOrder: the measured error of attention under the bound of each family."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
from matplotlib.figure import Figure as Picture

from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.measured import ORDERS, Floats, Measurement, measure, random_tokens
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.style import color, line_style, marker
from fastattn_lite.figures.words import format_number, format_percent, say

NAME = "ErrorVersusOrder"
NAMED = 2
"""The order whose numbers the summary names."""
TOP, BOTTOM = 10.0, 1e-16
ASIDE = (-0.17, 0.0, 0.17)
"""Where the marks of the families stand beside their order, so that none hides another."""
MOST_PRODUCTS = 300_000
"""Largest n_q n_k (d + d_v) of the reader's own data: the page redraws at once up to here."""


class ErrorVersusOrder(Figure):
    """Largest error of attention over all queries, against the order, as a share of diam(V).

    Traits: `radius` B, 0.25 to 8; `dim` d, 1 to 64; `tokens` n, 2 to 128; `normalization`; `seed`
    of the random tokens, 0 to 99. `set_data` shows the reader's own tokens instead. The bounds
    tanh(osc/4) hold only while all scores lie in [-radius, radius]; the figure says where they do
    not. Chapter: expansion_truncation.
    """

    radius = parameter(NAME, "radius")
    dim = parameter(NAME, "dim")
    tokens = parameter(NAME, "tokens")
    normalization = parameter(NAME, "normalization")
    seed = parameter(NAME, "seed")
    data: Any = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    def set_data(self, query: Any, key: Any, value: Any) -> None:
        """Show attention of these tokens; the sliders for random ones then change nothing.

        Shapes: query (n_q, d), key (n_k, d), value (n_k, d_v), NumPy or anything that NumPy takes.
        Raises `ValueError` for other shapes, numbers that are not finite, equal values, or more
        than MOST_PRODUCTS products.
        """
        given = {"query": query, "key": key, "value": value}
        matrices = {name: _matrix(name, entry) for name, entry in given.items()}
        _check_together(**matrices)
        self.data = {name: matrix.tolist() for name, matrix in matrices.items()}

    def clear_data(self) -> None:
        """Show random tokens again."""
        self.data = None

    def state(self) -> dict[str, Any]:
        """Return the parameters, and the reader's own data where there are any."""
        return {**super().state(), **({"data": self.data} if self.data else {})}

    def __repr__(self) -> str:
        """Return the line of Python that makes this figure, without the reader's own data."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in super().state().items())
        return f"{NAME}({arguments})"

    def measurement(self) -> Measurement:
        """Return the errors and bounds that the figure shows."""
        return measure(*self._tokens(), normalization=self.normalization, radius=self.radius)

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        found, key = self.measurement(), self._tokens()[1]
        errors = [
            say(
                NAME,
                "summary_family",
                family=say(NAME, f"family.{family}"),
                error=format_percent(found.errors[family][NAMED]),
                bound=format_percent(found.bounds[family][NAMED]),
            )
            for family in found.errors
        ]
        numbers = {"radius": self.radius, "smallest": found.smallest, "largest": found.largest}
        words: dict[str, object] = {name: format_number(x) for name, x in numbers.items()}
        words |= {"tokens": key.shape[0], "dim": key.shape[1], "order": NAMED}
        words |= {"normalization": self.normalization, "errors": ", ".join(errors)}
        promise = say(NAME, "summary_inside" if found.inside else "summary_outside")
        return f"{say(NAME, 'summary', **words)} {promise}"

    def _tokens(self) -> tuple[Floats, Floats, Floats]:
        if not self.data:
            return random_tokens(self.seed, self.tokens, self.dim)
        query, key, value = (np.array(self.data[name]) for name in ("query", "key", "value"))
        return query, key, value

    def _draw(self, picture: Picture) -> None:
        """Draw bounds as lines and errors as marks, on a logarithmic axis."""
        found = self.measurement()
        axes = picture.subplots()
        for (family, errors), aside in zip(found.errors.items(), ASIDE, strict=True):
            bounds, name = found.bounds[family], say(NAME, f"family.{family}")
            alpha = 1.0 if found.inside else 0.3
            axes.plot(ORDERS, bounds, label=name, alpha=alpha, **line_style(family))
            shown = np.clip(errors, BOTTOM, TOP)
            places = np.array(ORDERS) + aside
            axes.plot(places, shown, color=color(family), marker=marker(family), linestyle="none")
        axes.set_yscale("log")
        axes.set(xlabel=say(NAME, "axis_order"), ylabel=say(NAME, "axis_error"), xticks=ORDERS)
        axes.set_title(say(NAME, "legend"), fontsize=9)
        axes.legend(loc="lower left")


def _matrix(name: str, entry: Any) -> Floats:
    """Return the entry as a float64 matrix, or say what was expected."""
    matrix = np.asarray(entry, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0 or not np.all(np.isfinite(matrix)):
        got = f"shape {matrix.shape}" if matrix.ndim != 2 or matrix.size == 0 else "nan or inf"
        raise ValueError(say(NAME, "expected_matrix", name=name, value=got))
    return matrix


def _check_together(query: Floats, key: Floats, value: Floats) -> None:
    shapes = query.shape, key.shape, value.shape
    if query.shape[1] != key.shape[1] or key.shape[0] != value.shape[0]:
        raise ValueError(say(NAME, "expected_shapes", value=", ".join(map(str, shapes))))
    products = query.shape[0] * key.shape[0] * (key.shape[1] + value.shape[1])
    if products > MOST_PRODUCTS:
        limit, got = f"{MOST_PRODUCTS:,}", f"{products:,}"
        raise ValueError(say(NAME, "expected_size", limit=limit, value=got))
    if not np.any(value != value[0]):
        raise ValueError(say(NAME, "expected_spread"))
