"""How measured numbers grow with n: a power law, fitted as a straight line in logarithms.

    y = c n^e        log y = log c + e log n

The exponent e is the slope of the line of least squares. Its interval says how far chance, as the
scatter about the line shows it, can have moved the slope. It knows nothing of a law that bends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from fastattn_lite._arrays import check_real


@dataclass(frozen=True)
class PowerLaw:
    """The law y = factor * n^exponent, with the interval [low, high] of the exponent."""

    factor: float
    exponent: float
    low: float
    high: float

    def __call__(self, tokens: float) -> float:
        """Return factor * tokens^exponent."""
        return self.factor * tokens**self.exponent


def fit_power_law(
    tokens: Sequence[float], values: Sequence[float], *, confidence: float = 0.95
) -> PowerLaw:
    """Return the power law through measured values, with an interval of its exponent.

    Formula: with x = log n and y = log value, e = sum (x - mean x)(y - mean y) / S with
    S = sum (x - mean x)^2, and the interval e -+ t sqrt(sum (y - line)^2 / ((m - 2) S)), where t
    is the quantile (1 + confidence)/2 of Student's law with m - 2 degrees of freedom.
    Shapes: m tokens and m values, m >= 3; at least two different n. Cost: O(m).
    Raises `ValueError` where there are too few points, where lengths differ, or where a number is
    not positive; where `confidence` is not between 0 and 1.
    Equation: eq-slope, eq-slope-interval (chapter complexity_scaling).
    """
    share = check_real("confidence", confidence, positive=True)
    if share >= 1:
        raise ValueError(f"confidence: expected less than 1, got {share:g}")
    x, y = _logarithms("tokens", tokens), _logarithms("values", values)
    if len(x) != len(y) or len(x) < 3 or np.ptp(x) == 0:
        raise ValueError(
            "tokens: expected at least 3 of them, not all alike, and as many values, "
            f"got {len(x)} tokens and {len(y)} values"
        )
    line: Any = stats.linregress(x, y)
    reach = float(stats.t.ppf((1 + share) / 2, len(x) - 2)) * float(line.stderr)
    slope = float(line.slope)
    return PowerLaw(math.exp(float(line.intercept)), slope, slope - reach, slope + reach)


def meeting_tokens(first: PowerLaw, second: PowerLaw) -> float:
    """Return the n at which two power laws have the same value; nan for equal exponents.

    Formula: n = (c_2 / c_1)^(1 / (e_1 - e_2)); infinite or 0 where float64 cannot hold it.
    Cost: O(1). Equation: eq-meeting (chapter complexity_scaling).
    """
    difference = first.exponent - second.exponent
    if difference == 0:
        return math.nan
    power = math.log(second.factor / first.factor) / difference
    return math.exp(power) if power < 700 else math.inf


def _logarithms(name: str, numbers: Sequence[float]) -> npt.NDArray[np.float64]:
    array = np.asarray(numbers, dtype=np.float64)
    if array.ndim != 1 or not np.all(np.isfinite(array)) or not np.all(array > 0):
        raise ValueError(f"{name}: expected a list of finite numbers above 0, got {numbers!r}")
    return np.log(array)
