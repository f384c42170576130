"""What everything that takes long says: lines, and one bar, on a terminal and in a notebook."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

BAR = 24
"""How many signs the bar has."""


def say(text: str) -> None:
    """Print a line at once; what takes long goes on where nobody can read it any more."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


class Progress:
    """A bar for work of so many steps; without a known end it shows the steps done.

    On a terminal it is one line of the error stream, in a notebook one line below the cell. It
    stays silent everywhere else, so that no log and no pipe fills with it. It is drawn at most
    once in `seconds`, and always at the end.
    """

    def __init__(self, steps: int | None, *, seconds: float = 0.0) -> None:
        self.steps = steps
        self.done = 0
        self._seconds, self._drawn = seconds, -float("inf")
        self._has_ended = False
        self._handle: Any = None

    def __call__(self, text: str, steps: int = 1) -> None:
        """Count the steps done, and show the text beside them."""
        self.done += steps
        if self.done == self.steps:
            self.finish(text)
        elif time.monotonic() - self._drawn >= self._seconds:
            self._show(self.line(text))

    def finish(self, text: str) -> None:
        """Show the last line, wherever the work ended; once."""
        if not self._has_ended:
            self._has_ended = True
            self._show(self.line(text), end="\n")

    def line(self, text: str) -> str:
        """Return what the bar says now."""
        if self.steps is None:
            return f"{self.done:,} {text}"
        filled = BAR * min(self.done, self.steps) // max(self.steps, 1)
        return f"[{'#' * filled}{'.' * (BAR - filled)}] {self.done:,}/{self.steps:,} {text}"

    def _show(self, line: str, end: str = "") -> None:
        self._drawn = time.monotonic()
        if _in_notebook():
            self._show_in_notebook(line)
        elif sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end=end, file=sys.stderr, flush=True)

    def _show_in_notebook(self, line: str) -> None:
        from IPython.display import display

        shown = {"text/plain": line}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


def _in_notebook() -> bool:
    """Say whether a Jupyter kernel runs this; does not import IPython."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
