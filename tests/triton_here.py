"""Triton has wheels for Linux alone: where it has none, tests of kernels say so and are skipped."""

from __future__ import annotations

import importlib.util
import sys


def why_no_triton() -> str | None:
    """Return why the kernels cannot be tested here; where a wheel exists it must be installed."""
    if sys.platform == "linux" or importlib.util.find_spec("triton") is not None:
        return None
    return f"Triton has no wheel for {sys.platform}: the kernels are tested on Linux"
