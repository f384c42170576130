"""The multipole method on a line: the moments, the bound, and what bad input says."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastattn_lite.multipole import (
    inverse_distance_sum,
    multipole_bound,
    multipole_moments,
    multipole_potential,
)

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return targets on both sides of [1, 3], sources inside it and charges of both signs."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1.0, 1.0], 9)
    return 2 + side * rng.uniform(1.1, 5, 9), rng.uniform(1, 3, 13), rng.normal(size=13)


def expanded(target, source, charge, order, center=2.0):
    moments = multipole_moments(source, charge, center=center, order=order)
    return multipole_potential(target, moments, center=center)


def test_direct_sum_is_the_double_loop():
    target, source, charge = draw(0)
    loops = [sum(c / abs(y - z) for z, c in zip(source, charge, strict=True)) for y in target]
    np.testing.assert_allclose(inverse_distance_sum(target, source, charge), loops, rtol=1e-13)


@pytest.mark.equation("eq-multipole")
def test_moments_are_sums_of_powers():
    source, charge = np.array([1.5, 3.0]), np.array([2.0, -1.0])
    moments = multipole_moments(source, charge, center=2.0, order=3)
    np.testing.assert_allclose(moments, [1.0, -2.0, -0.5, -1.25], rtol=1e-15)
    potential = multipole_potential(np.array([4.0, 0.0]), moments, center=2.0)
    terms = [Fraction(1), Fraction(-2), Fraction(-1, 2), Fraction(-5, 4)]
    right, left = (sum(t / Fraction(s * 2) ** i for i, t in enumerate(terms)) / 2 for s in (1, -1))
    np.testing.assert_allclose(potential, [float(right), float(left)], rtol=1e-15)


@settings(max_examples=40)
@given(SEEDS)
def test_a_high_order_is_the_direct_sum(seed):
    rng = np.random.default_rng(seed)
    _, source, charge = draw(seed)
    target = 2 + rng.choice([-1.0, 1.0], 9) * rng.uniform(4, 9, 9)
    direct = inverse_distance_sum(target, source, charge)
    error = np.abs(expanded(target, source, charge, 30) - direct)
    assert np.all(error <= 1e-14 * np.abs(charge).sum())


@pytest.mark.equation("eq-multipole-bound")
@settings(max_examples=40)
@given(SEEDS, st.integers(0, 12))
def test_the_error_stays_under_the_bound(seed, order):
    target, source, charge = draw(seed)
    error = np.abs(expanded(target, source, charge, order) - inverse_distance_sum(*draw(seed)))
    radius = float(np.max(np.abs(source - 2)))
    for y, wrong in zip(target, error, strict=True):
        bound = multipole_bound(order, radius=radius, distance=abs(float(y) - 2))
        assert wrong <= np.abs(charge).sum() * (bound + 1e-13)


@pytest.mark.equation("eq-multipole-bound")
@pytest.mark.parametrize("order", [0, 1, 4, 9])
def test_the_bound_is_reached_by_a_source_on_the_side_of_the_target(order):
    one, source, target = np.ones(1), np.array([3.0]), np.array([4.5])
    error = abs(expanded(target, source, one, order) - inverse_distance_sum(target, source, one))[0]
    assert error == pytest.approx(multipole_bound(order, radius=1, distance=2.5), rel=1e-9)


def test_the_error_falls_with_the_order():
    target, source, charge = draw(1)
    target = 2 + 1.5 * (target - 2)
    direct = inverse_distance_sum(target, source, charge)
    orders = range(0, 40, 4)
    errors = [np.abs(expanded(target, source, charge, p) - direct).max() for p in orders]
    assert np.all(np.diff(errors) < 0)
    assert errors[-1] < 1e-7 * errors[0]


def test_within_the_cluster_the_series_grows():
    source, target, one = np.array([3.0]), np.array([2.5]), np.ones(1)
    errors = [abs(expanded(target, source, one, order)[0] - 2) for order in (2, 4, 8)]
    assert errors[0] < errors[1] < errors[2]


def test_order_zero_far_away_counts_the_sources():
    source, target = np.linspace(1, 3, 17), np.array([1e9])
    count = expanded(target, source, np.ones(17), 0) * (target - 2)
    assert count[0] == pytest.approx(17, rel=1e-15)
    assert expanded(target, source[:0], np.ones(0), 3)[0] == 0


Y, Z, RHO = draw(0)
NAN = np.array([1.0, math.nan])
CALLS = [
    (lambda: inverse_distance_sum(Y, Z, RHO[:3]), ValueError, r"charge: .* 13 sources, .*\(3,\)"),
    (lambda: inverse_distance_sum(Z, Z, RHO), ValueError, "target: .* apart from every source"),
    (lambda: inverse_distance_sum(Y[:, None], Z, RHO), ValueError, r"target: .* shape \(points,\)"),
    (lambda: inverse_distance_sum(Y, Z.astype(int), RHO), TypeError, "source: .* int64"),
    (lambda: inverse_distance_sum(Y, Z, RHO * 1j), TypeError, "charge: .* complex128"),
    (lambda: inverse_distance_sum(Y, Z, RHO.tolist()), TypeError, "charge: .* got list"),
    (
        lambda: inverse_distance_sum(*(torch.from_numpy(x) for x in (Y, Z, RHO))),
        TypeError,
        "target: expected a NumPy array, got Tensor",
    ),
    (lambda: inverse_distance_sum(NAN, Z, RHO), ValueError, "target: expected finite numbers"),
    (lambda: multipole_moments(Z, RHO, center=0.0, order=-1), ValueError, "order: .* got -1"),
    (
        lambda: multipole_moments(Z, RHO, center=0.0, order=1.5),
        TypeError,
        "order: expected a whole",
    ),
    (lambda: multipole_moments(Z, RHO, center=math.inf, order=1), ValueError, "center: .* finite"),
    (
        lambda: multipole_moments(Z, RHO[:2], center=0.0, order=1),
        ValueError,
        "charge: expected one",
    ),
    (lambda: multipole_potential(Y, RHO, center=float(Y[0])), ValueError, "target: .* the center"),
    (lambda: multipole_bound(2, radius=1, distance=1), ValueError, "distance: .* radius 1, got 1"),
    (lambda: multipole_bound(2, radius=-1, distance=1), ValueError, "radius: .* got -1"),
]


@pytest.mark.parametrize(("call", "error", "words"), CALLS)
def test_bad_input_names_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
