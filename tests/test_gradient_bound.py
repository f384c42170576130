"""What the chapter gradients claims of one score, and its figure in Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
import traitlets

from fastattn_lite import Expansion, attention_weights, minimax, taylor
from fastattn_lite.figures import GradientBound
from fastattn_lite.figures.gradient_bound import slope_of_weight


def moves(expansion: Expansion, seed: int, radius: float) -> np.ndarray:
    """Return every |do/ds_j| of a random row, in units of the diameter of its values."""
    random = np.random.default_rng(seed)
    scores, value = random.uniform(-radius, radius, 5), random.standard_normal(5)
    kernel = expansion(scores)
    toward = value - kernel @ value / kernel.sum()
    return np.abs(expansion.derivative()(scores) / kernel.sum() * toward) / np.ptp(value)


@pytest.mark.equation("eq-gradient-bound")
@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("radius", [0.9, 2.0])
@pytest.mark.parametrize("family", [taylor, minimax])
def test_no_score_moves_an_output_by_more_than_the_bound(family, radius, order):
    expansion = family(order, radius=radius)
    if not expansion.is_positive():
        assert expansion.gradient_bound() == math.inf
        return
    largest = max(moves(expansion, seed, radius).max() for seed in range(300))
    assert largest <= expansion.gradient_bound()


@pytest.mark.equation("eq-gradient-bound")
@pytest.mark.parametrize("order", [2, 3, 4, 6])
@pytest.mark.parametrize("radius", [0.5, 0.9, 4.0])
@pytest.mark.parametrize("family", [taylor, minimax])
def test_the_bound_is_no_less_than_the_ratio_on_a_much_finer_grid(family, radius, order):
    """The ratio is largest between the points of any grid; the bound must not fall short of it."""
    expansion = family(order, radius=radius)
    x = np.linspace(-radius, radius, 300_001)
    if not expansion.is_positive():
        assert expansion.gradient_bound() == math.inf
        return
    largest = np.max(np.abs(expansion.derivative()(x) / expansion(x))) / 4
    assert largest <= expansion.gradient_bound() * (1 + 1e-13)
    assert largest == pytest.approx(expansion.gradient_bound(), rel=1e-8)


@pytest.mark.equation("eq-gradient-bound")
def test_the_bound_is_reached_by_two_equal_weights():
    """With two values one apart and the score where f'/f is largest, A = 1/2 meets it."""
    reached = slope_of_weight(2, 0.0, 2).slope
    assert reached == pytest.approx(taylor(2).gradient_bound(), abs=1e-12)


@pytest.mark.equation("eq-log-slope")
@pytest.mark.parametrize("order", [2, 4, 6])
def test_even_taylor_orders_pull_no_harder_than_softmax(order):
    x = np.linspace(-9, 9, 4001)
    f = taylor(order)
    ratio = f.derivative()(x) / f(x)
    np.testing.assert_allclose(ratio, 1 - x**order / math.factorial(order) / f(x), atol=1e-10)
    assert np.max(ratio) <= 1 + 1e-12
    assert (np.min(ratio) >= -1 - 1e-12) == (order == 2)


@pytest.mark.parametrize("order", [None, *range(7)])
def test_the_figure_shows_the_derivative_of_a_weight(order):
    step, expansion = 1e-6, None if order is None else taylor(order)
    for score in (-2.5, -0.4, 0.0, 1.7):
        rows = [np.array([[score + move]]) for move in (-step, step)]
        keys = np.array([[1.0], *[[0.0]] * 6])
        low, high = (
            attention_weights(row, keys, expansion=expansion, scale=1.0)[0, 0] for row in rows
        )
        found = slope_of_weight(order, score, 7)
        assert found.slope == pytest.approx((high - low) / (2 * step), rel=1e-6, abs=1e-9)
        if found.weight > 0 and found.total > 0:
            assert abs(found.slope) <= found.bound * (1 + 1e-12)


def test_a_root_and_a_denominator_of_zero():
    assert slope_of_weight(1, -1.0, 8).bound == math.inf
    assert math.isnan(slope_of_weight(1, -2.0, 2).slope)
    assert slope_of_weight(0, 3.0, 2).slope == 0
    assert "promises nothing" in GradientBound(order=1, score=-2.0, tokens=2).summary()
    assert "It holds" in GradientBound(order=2, score=-4.0).summary()


@pytest.mark.parametrize("figure", [GradientBound(), GradientBound(order=1, score=-1, tokens=2)])
def test_still_and_html(figure):
    (axes,) = figure.still().axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert len(axes.get_legend().get_texts()) == 3
    assert figure.summary() in figure._repr_html_().replace("&#x27;", "'")
    assert eval(repr(figure), {"GradientBound": GradientBound}).state() == figure.state()


@pytest.mark.parametrize("wrong", [{"tokens": 1}, {"score": 4.5}, {"order": 7}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(traitlets.TraitError, match=next(iter(wrong))):
        GradientBound(**wrong)
