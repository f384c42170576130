"""Power laws: exact lines, the interval by hand and by chance, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastattn_lite.scaling import PowerLaw, fit_power_law, meeting_tokens

TOKENS = [256, 512, 1024, 2048, 4096]


@pytest.mark.equation("eq-slope")
@pytest.mark.parametrize(("factor", "exponent"), [(3e-9, 2.0), (1e-6, 1.0), (7.0, 0.0)])
def test_an_exact_power_is_found_with_no_interval(factor, exponent):
    law = fit_power_law(TOKENS, [factor * n**exponent for n in TOKENS])
    assert law.exponent == pytest.approx(exponent, abs=1e-12)
    assert law.factor == pytest.approx(factor, rel=1e-10)
    assert law.high - law.low < 1e-6
    assert law(3000) == pytest.approx(factor * 3000**exponent, rel=1e-9)


@pytest.mark.equation("eq-slope", "eq-slope-interval")
def test_slope_and_interval_by_hand():
    """Three points: residuals (1, -2, 1) h about the line, one degree of freedom."""
    h = 0.1
    values = [math.exp(2 * x + h * r) for x, r in zip((0, 1, 2), (1, -2, 1), strict=True)]
    law = fit_power_law([math.exp(x) for x in (0, 1, 2)], values)
    reach = math.tan(0.95 * math.pi / 2) * math.sqrt(6 * h**2 / (1 * 2))
    assert law.exponent == pytest.approx(2, abs=1e-12)
    assert (law.low, law.high) == pytest.approx((2 - reach, 2 + reach), rel=1e-12)


@pytest.mark.equation("eq-slope-interval")
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_the_interval_holds_the_true_slope_as_often_as_it_says(confidence):
    random, hits = np.random.default_rng(0), 0
    for _ in range(2000):
        noise = np.exp(random.normal(scale=0.2, size=5))
        law = fit_power_law(TOKENS, noise * np.array(TOKENS) ** 1.5, confidence=confidence)
        hits += law.low <= 1.5 <= law.high
    assert hits / 2000 == pytest.approx(confidence, abs=0.03)


@pytest.mark.equation("eq-meeting")
def test_two_laws_meet_where_they_are_equal():
    square, line = PowerLaw(2e-9, 2.0, 2, 2), PowerLaw(3e-6, 1.0, 1, 1)
    n = meeting_tokens(square, line)
    assert n == pytest.approx(1500)
    assert meeting_tokens(line, square) == pytest.approx(n)
    assert square(n) == pytest.approx(line(n))
    assert math.isnan(meeting_tokens(line, PowerLaw(1.0, 1.0, 1, 1)))
    assert meeting_tokens(PowerLaw(1e-9, 1.001, 1, 1), PowerLaw(1.0, 1.0, 1, 1)) == math.inf


@pytest.mark.parametrize(
    ("tokens", "values", "options", "words"),
    [
        ([1, 2], [1, 2], {}, "at least 3"),
        ([1, 2, 4], [1, 2], {}, "3 tokens and 2 values"),
        ([2, 2, 2], [1, 2, 3], {}, "not all alike"),
        ([1, 2, 0], [1, 2, 3], {}, "tokens: expected a list"),
        ([1, 2, 3], [1, 2, math.nan], {}, "values: expected a list"),
        ([1, 2, 3], [1, 2, 3], {"confidence": 1}, "confidence: expected less than 1"),
        ([1, 2, 3], [1, 2, 3], {"confidence": 0}, "confidence: expected"),
    ],
)
def test_bad_input_is_named(tokens, values, options, words):
    with pytest.raises(ValueError, match=words):
        fit_power_law(tokens, values, **options)
