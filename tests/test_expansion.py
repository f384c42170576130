"""Step 1 against values computed apart from the package (mpmath, a linear programme)."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy import optimize

from fastattn_lite import Expansion, chebyshev, minimax, order_for, taylor

FAMILIES = [taylor, chebyshev, minimax]


@pytest.mark.equation("eq-taylor")
@pytest.mark.parametrize("order", range(9))
def test_taylor_has_the_coefficients_one_over_factorial(order):
    expected = [float(1 / mpmath.factorial(power)) for power in range(order + 1)]
    assert taylor(order).coefficients == pytest.approx(expected, rel=1e-15)


@pytest.mark.equation("eq-taylor-remainder")
@pytest.mark.parametrize("order", range(7))
@pytest.mark.parametrize("radius", [0.5, 1, 3])
def test_taylor_stays_within_its_remainder(order, radius):
    x = np.linspace(-radius, radius, 401)
    bound = np.exp(np.maximum(0, x)) * np.abs(x) ** (order + 1) / math.factorial(order + 1)
    error = np.abs(taylor(order)(x) - np.exp(x))
    assert np.all(error <= bound + 1e-14)
    assert taylor(order, radius=radius).max_error() == pytest.approx(error.max(), rel=1e-6)


@pytest.mark.equation("eq-chebyshev")
@pytest.mark.parametrize("order", range(7))
@pytest.mark.parametrize("radius", [0.5, 1, 4])
def test_chebyshev_is_the_truncated_series(order, radius):
    with mpmath.workdps(30):
        x = [mpmath.mpf(radius) * t / 7 for t in range(-7, 8)]
        terms = [
            [
                (1 if k == 0 else 2) * mpmath.besseli(k, radius) * mpmath.chebyt(k, v / radius)
                for v in x
            ]
            for k in range(order + 1)
        ]
        expected = [float(sum(column)) for column in zip(*terms, strict=True)]
    scores = np.array([float(v) for v in x])
    assert chebyshev(order, radius=radius)(scores) == pytest.approx(expected, abs=1e-13)


@pytest.mark.equation("eq-minimax")
@pytest.mark.parametrize("order", range(7))
@pytest.mark.parametrize("radius", [0.25, 1, 4, 8])
def test_minimax_touches_its_error_level_in_turn(order, radius):
    expansion = minimax(order, radius=radius)
    x = radius * np.cos(np.linspace(np.pi, 0, 200_001))
    error = expansion(x) * np.exp(-x) - 1
    level = np.max(np.abs(error))
    touching = error[np.abs(error) >= level * (1 - 1e-6) - 1e-15]
    signs = np.sign(touching)
    assert 1 + np.count_nonzero(np.diff(signs)) == order + 2
    assert expansion.oscillation() == pytest.approx(2 * math.atanh(level), rel=1e-5)


@pytest.mark.parametrize(("order", "radius"), [(1, 1.0), (2, 1.0), (3, 2.0), (4, 4.0)])
def test_minimax_agrees_with_a_linear_programme(order, radius):
    x = radius * np.cos(np.linspace(np.pi, 0, 2001))
    powers = (x[:, None] / radius) ** np.arange(order + 1) * np.exp(-x)[:, None]
    ones = np.ones((len(x), 1))
    constraints = np.block([[powers, -ones], [-powers, -ones]])
    limits = np.concatenate([np.ones(len(x)), -np.ones(len(x))])
    cost = np.array([0.0] * (order + 1) + [1.0])
    result = optimize.linprog(cost, A_ub=constraints, b_ub=limits, bounds=(None, None))
    expected = math.tanh(math.atanh(result.fun) / 2)
    assert minimax(order, radius=radius).output_error_bound() == pytest.approx(expected, rel=1e-4)


@pytest.mark.equation("eq-oscillation")
@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize(("order", "radius"), [(2, 1.0), (3, 1.0), (4, 2.0), (6, 2.0)])
def test_oscillation_agrees_with_a_finer_search_in_high_precision(make, order, radius):
    expansion = make(order, radius=radius)
    with mpmath.workdps(40):
        points = [radius * mpmath.cos(mpmath.pi * i / 3000) for i in range(3001)]
        ratios = [mpmath.log(mpmath.polyval(expansion.coefficients[::-1], x)) - x for x in points]
        expected = float(max(ratios) - min(ratios))
    assert expansion.oscillation() == pytest.approx(expected, rel=1e-5)
    assert expansion.oscillation() >= expected * (1 - 1e-9)


@pytest.mark.equation("eq-output-bound")
@pytest.mark.parametrize(
    ("make", "order", "radius", "expected"),
    [
        (taylor, 1, 1, 1.0),
        (taylor, 2, 1, 0.09733),
        (taylor, 4, 1, 0.005709),
        (taylor, 6, 1, 0.0001405),
        (taylor, 4, 4, 0.9084),
        (minimax, 1, 1, 0.1181),
        (minimax, 2, 1, 0.01988),
        (minimax, 6, 1, 1.508e-6),
        (minimax, 4, 2, 0.007248),
        (minimax, 6, 4, 0.01630),
    ],
)
def test_output_bound_has_the_published_figures_of_the_book(make, order, radius, expected):
    assert make(order, radius=radius).output_error_bound() == pytest.approx(expected, rel=5e-4)


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("radius", [1.0, 2.0])
def test_the_bound_falls_with_the_order(make, radius):
    bounds = [make(order, radius=radius).output_error_bound() for order in range(2, 11, 2)]
    assert all(later < earlier / 2 for earlier, later in zip(bounds, bounds[1:], strict=False))


@pytest.mark.parametrize("order", range(9))
def test_minimax_has_the_smallest_bound_of_the_families(order):
    bounds = [make(order, radius=2.0).output_error_bound() for make in (taylor, chebyshev)]
    assert minimax(order, radius=2.0).output_error_bound() <= min(bounds) * (1 + 1e-9)


@pytest.mark.equation("eq-order-for")
@pytest.mark.parametrize("family", ["taylor", "chebyshev", "minimax"])
@pytest.mark.parametrize("radius", [1.0, 4.0])
def test_order_for_is_the_first_order_that_meets_the_tolerance(family, radius):
    make = {"taylor": taylor, "chebyshev": chebyshev, "minimax": minimax}[family]
    order = order_for(1e-3, radius=radius, family=family)
    assert make(order, radius=radius).output_error_bound() <= 1e-3
    assert all(make(p, radius=radius).output_error_bound() > 1e-3 for p in range(order))


def test_even_taylor_orders_are_positive_everywhere_and_odd_ones_are_not():
    for order in range(9):
        assert taylor(order).is_positive(math.inf) == (order % 2 == 0)


def test_positivity_is_strict():
    assert not taylor(1).is_positive()
    assert taylor(1).is_positive(0.999)
    assert taylor(1).oscillation() == math.inf
    assert taylor(1).output_error_bound() == 1.0
    assert not Expansion((1.0, 0.0, -1.0), 2.0).is_positive()
    assert not Expansion((0.25, -1.0, 1.0), 2.0).is_positive(), "touches 0 at x = 1/2"
    assert not Expansion((0.0, 0.0)).is_positive()
    assert not Expansion((1.0, 0.0, -1e-3)).is_positive(math.inf)


@pytest.mark.parametrize("order", [2, 4, 6])
@pytest.mark.parametrize("radius", [1.0, 4.0])
def test_even_minimax_orders_are_positive_everywhere(order, radius):
    assert minimax(order, radius=radius).is_positive(math.inf)


def test_a_common_factor_changes_no_bound():
    expansion = minimax(3, radius=2.0)
    doubled = Expansion(tuple(2 * a for a in expansion.coefficients), 2.0)
    assert doubled.oscillation() == pytest.approx(expansion.oscillation(), rel=1e-12)


def test_derivative_lowers_the_order_and_matches_a_difference():
    expansion = Expansion((1.0, -2.0, 0.5, 3.0))
    x, step = np.linspace(-1, 1, 9), 1e-6
    difference = (expansion(x + step) - expansion(x - step)) / (2 * step)
    assert expansion.derivative()(x) == pytest.approx(difference, abs=1e-8)
    assert taylor(4).derivative().coefficients == pytest.approx(taylor(3).coefficients)
    assert taylor(0).derivative().coefficients == (0.0,)


def test_high_orders_reach_round_off_and_never_fail():
    for order in (14, 20, 30):
        assert minimax(order, radius=1.0).output_error_bound() < 1e-14


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("radius", [1e-300, 1e-20, 1e-3, 300.0])
def test_the_order_is_the_one_asked_for_even_where_terms_vanish(make, radius):
    for order in (0, 1, 12, 30, 60):
        expansion = make(order, radius=radius)
        assert expansion.order == order
        assert 0 <= expansion.output_error_bound() <= 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: taylor(-1), ValueError, "order: expected at least 0, got -1"),
        (lambda: taylor(1.5), TypeError, "order: expected a whole number, got 1.5"),
        (lambda: minimax(2, radius=0), ValueError, "radius: expected a finite number above 0"),
        (lambda: chebyshev(2, radius=math.nan), ValueError, "radius: expected a finite number"),
        (lambda: minimax(2, radius=1e4), ValueError, "radius: expected at most 300, got 10000"),
        (lambda: Expansion(()), ValueError, "coefficients: expected at least one number"),
        (lambda: Expansion((1.0, math.inf)), ValueError, "coefficients: expected a finite number"),
        (lambda: order_for(0), ValueError, "tolerance: expected a finite number above 0"),
        (lambda: order_for(1.0), ValueError, "tolerance: expected a number below 1, got 1.0"),
        (lambda: order_for(0.1, family="bessel"), ValueError, "family: expected one of"),
        (lambda: order_for(1e-18), ValueError, "tolerance: expected one that an order up to 60"),
    ],
)
def test_bad_input_names_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_gradient_bound_of_known_cases():
    assert taylor(2, radius=1.0).gradient_bound() == pytest.approx(0.25, abs=1e-12)
    assert taylor(1, radius=0.9).gradient_bound() == pytest.approx(2.5, rel=1e-12)
    assert Expansion((1.0,)).gradient_bound() == 0
    assert Expansion((-1.0,)).gradient_bound() == math.inf
    assert taylor(1, radius=1.0).gradient_bound() == math.inf
