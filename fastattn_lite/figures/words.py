"""The words and numbers a reader sees: one catalogue, which the scripts read too."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

CATALOGUE = Path(__file__).parent / "strings" / "en.json"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Return all texts, by section (a figure's name or "common") and key."""
    return json.loads(CATALOGUE.read_text(encoding="utf-8"))


def say(section: str, key: str, **values: object) -> str:
    """Return a text with its holes filled."""
    return catalogue()[section][key].format(**values)


def format_number(x: float) -> str:
    """Return a number in three significant digits, as formatNumber in js/format.js does."""
    if math.isnan(x):
        return "–"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    x = x or 0.0  # also for -0.0
    size = abs(x)
    if size >= 1e6 or 0 < size < 1e-3:
        mantissa, _, exponent = f"{x:.2e}".partition("e")
        return f"{mantissa} × 10".replace("-", "−") + str(int(exponent)).translate(SUPERSCRIPTS)
    if size >= 1000 or x == int(x):
        return f"{x:,.0f}".replace("-", "−")
    return f"{float(f'{x:.3g}'):g}".replace("-", "−")


def format_percent(x: float) -> str:
    """Return a share of 1 in percent."""
    return f"{format_number(100 * x)} %"
