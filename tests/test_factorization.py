"""Step 2: multi-indices, monomials and weights, against enumeration and exact arithmetic."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from array_api_compat import array_namespace
from arrays import LIBRARIES, worst

from fastattn_lite import (
    Expansion,
    chebyshev,
    feature_weights,
    minimax,
    monomial_features,
    multi_indices,
    number_of_features,
    taylor,
)
from fastattn_lite.factorization import feature_blocks

SIZES = [(1, 0), (1, 5), (2, 3), (3, 4), (5, 2), (4, 1), (3, 0)]


def enumerated(dim, order):
    """Return every multi-index by brute force, degree by degree, x_1 before x_2."""
    every = itertools.product(range(order, -1, -1), repeat=dim)
    return sorted((a for a in every if sum(a) <= order), key=sum)


@pytest.mark.equation("eq-graded-lexicographic")
@pytest.mark.parametrize(("dim", "order"), SIZES)
def test_multi_indices_are_all_of_them_in_graded_lexicographic_order(dim, order):
    assert [tuple(row) for row in multi_indices(dim, order)] == enumerated(dim, order)
    assert number_of_features(dim, order) == len(enumerated(dim, order))


@pytest.mark.equation("eq-feature-count")
@pytest.mark.parametrize(
    ("dim", "order", "count"),
    [(16, 2, 153), (32, 2, 561), (64, 2, 2145), (128, 2, 8385), (64, 3, 47905)],
)
def test_the_number_of_features_has_the_figures_of_the_book(dim, order, count):
    assert number_of_features(dim, order) == count


@pytest.mark.parametrize(("dim", "order"), SIZES)
@pytest.mark.parametrize("name", LIBRARIES)
def test_features_are_the_monomials(dim, order, name):
    x = np.random.default_rng(1).standard_normal((2, 7, dim))
    expected = np.stack([np.prod(x ** np.array(a), axis=-1) for a in enumerated(dim, order)], -1)
    assert worst(monomial_features(LIBRARIES[name](x), order), expected) < 1e-13


@pytest.mark.parametrize(("dim", "order"), [*SIZES, (9, 1), (9, 2)])
@pytest.mark.parametrize("most", [1, 2, 5, 1_000])
@pytest.mark.parametrize("name", LIBRARIES)
def test_features_in_parts_of_any_size_are_all_of_them(dim, order, most, name):
    """Many tokens of few variables leave room for less than one degree."""
    x = LIBRARIES[name](np.random.default_rng(1).standard_normal((2, 7, dim)))
    xp = array_namespace(x)
    parts = [xp.asarray(block, copy=True) for block in feature_blocks(xp, x, order, most=most)]
    expected = np.asarray(monomial_features(x, order)).swapaxes(-1, -2)
    assert worst(xp.concat(parts, axis=-2), expected) < 1e-13


@pytest.mark.equation("eq-factorization")
@pytest.mark.equation("eq-one-inner-product")
@pytest.mark.parametrize(("dim", "order"), SIZES)
@pytest.mark.parametrize("make", [taylor, chebyshev, minimax])
def test_the_polynomial_of_an_inner_product_is_an_inner_product_of_features(dim, order, make):
    query, key = np.random.default_rng(2).standard_normal((2, 9, dim))
    expansion = make(order, radius=2.0)
    weighted = feature_weights(expansion, dim) * monomial_features(query, order)
    assert worst(weighted @ monomial_features(key, order).T, expansion(query @ key.T)) < 1e-11


@pytest.mark.equation("eq-multinomial")
def test_weights_are_multinomial_and_may_be_negative():
    expansion = Expansion((2.0, -3.0, 5.0, -7.0))
    for a, weight in zip(multi_indices(3, 3), feature_weights(expansion, 3), strict=True):
        multinomial = math.factorial(a.sum()) / math.prod(math.factorial(power) for power in a)
        assert weight == pytest.approx(expansion.coefficients[a.sum()] * multinomial)


def test_taylor_weights_are_one_over_the_factorial_of_the_multi_index():
    expected = [1 / math.prod(map(math.factorial, a)) for a in multi_indices(4, 5).tolist()]
    assert feature_weights(taylor(5), 4) == pytest.approx(expected)


def test_narrow_integers_of_numpy_do_not_overflow():
    assert multi_indices(np.uint8(200), np.uint8(2)).shape == (20301, 200)
    assert monomial_features(np.full((1, 1), 0.5), np.uint8(255))[0, -1] == 0.5**255
    assert feature_weights(taylor(np.uint8(2)), np.uint8(200)).shape == (20301,)


def test_the_returned_weights_can_be_changed_without_harm():
    feature_weights(taylor(2), 3)[:] = 0
    assert feature_weights(taylor(2), 3)[0] == 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: number_of_features(0, 2), ValueError, "dim: expected at least 1, got 0"),
        (lambda: number_of_features(3, -1), ValueError, "order: expected at least 0, got -1"),
        (lambda: multi_indices(3.0, 2), TypeError, "dim: expected a whole number, got 3.0"),
        (lambda: multi_indices(512, 6), ValueError, "order: .* would need .* GiB"),
        (lambda: monomial_features(np.zeros(3), 2), ValueError, r"x: expected the shape \(\.\.\."),
        (lambda: monomial_features(np.zeros((4, 300)), 9), ValueError, "would need .* GiB"),
        (lambda: monomial_features(np.zeros((2, 3), int), 2), TypeError, "x: expected real float"),
        (lambda: monomial_features([[1.0]], 2), TypeError, "x: expected an array .* got list"),
    ],
)
def test_bad_input_names_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
