"""What every figure is: a widget where there is a kernel, plain HTML and a picture elsewhere."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture

from fastattn_lite.figures.style import plot_style
from fastattn_lite.figures.words import say

if TYPE_CHECKING:
    from collections.abc import Mapping

DIST = Path(__file__).parent / "dist"
STILL_SIZE = (8.0, 3.6)


class Figure(anywidget.AnyWidget):
    """An interactive figure; the subclass has its parameters as traits.

    In JupyterLab and Colab it is a widget: `figure.order = 5` redraws it, and what the reader
    moves arrives here. On a built page its HTML part is brought to life by dist/page.js, without
    a kernel. A value outside its limits raises `traitlets.TraitError` and changes nothing.
    """

    _css = DIST / "figures.css"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # traitlets makes further subclasses, which already have the module's text.
        if not hasattr(cls, "_esm"):
            cls._esm = DIST / f"{cls.__name__}.js"
        super().__init_subclass__(**kwargs)

    def state(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in self._parameters()}

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        raise NotImplementedError

    def still(self) -> Picture:
        """Return what the figure shows now as a matplotlib figure."""
        with plot_style():
            picture = Picture(figsize=STILL_SIZE)
            FigureCanvasAgg(picture)
            self._draw(picture)
            picture.canvas.draw()
        return picture

    def __repr__(self) -> str:
        """Return the line of Python that makes this figure."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.state().items())
        return f"{type(self).__name__}({arguments})"

    def _parameters(self) -> list[str]:
        """Return the names of the parameters, in the order in which the class names them."""
        named = [name for kind in reversed(type(self).__mro__) for name in vars(kind)]
        marked = set(self.trait_names(parameter=True))
        return [name for name in dict.fromkeys(named) if name in marked]

    def _draw(self, picture: Picture) -> None:
        """Draw the still into an empty matplotlib figure."""
        raise NotImplementedError

    def _fallback(self) -> str:
        """Return the HTML that stands where no script runs."""
        return f"<p>{html.escape(self.summary())}</p>"

    def _repr_html_(self) -> str:
        """Return the element that the built page brings to life; parameters and words only."""
        name = type(self).__name__
        words = json.dumps(self.state(), separators=(",", ":"))
        state = html.escape(words, quote=False).replace("'", "&#x27;")
        hint = html.escape(say("common", "run_cell"))
        return (
            f'<fastattn-figure name="{name}" '
            f"state='{state}'>"
            f"{self._fallback()}"
            f'<p class="fastattn-run">{hint}</p>'
            "</fastattn-figure>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget view, the HTML part and the still."""
        bundle: Any = super()._repr_mimebundle_(**kwargs) or {}
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        parts: Mapping[str, str] = {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            "image/png": self._png(),
        }
        return {**data, **parts}, metadata

    def _png(self) -> str:
        """Return the still as base64 text."""
        stream = io.BytesIO()
        self.still().savefig(stream, format="png", metadata={"Software": None})
        return base64.b64encode(stream.getvalue()).decode("ascii")
