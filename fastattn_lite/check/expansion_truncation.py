"""The exercises of the chapter expansion_truncation."""

from __future__ import annotations

import numpy as np

from fastattn_lite.check.marking import (
    AGREES,
    Floats,
    Function,
    Mistakes,
    NotYetError,
    answer_of,
    array_of,
    judge,
    kind_of,
    marks,
    number_of,
)
from fastattn_lite.expansion import Expansion, chebyshev, minimax, order_for, taylor
from fastattn_lite.factorization import number_of_features


@marks
def check_truncated_exp(function: Function) -> str:
    """Mark `function(x, order)`, the Taylor polynomial of exp for an array of scores.

    Exercise of chapter expansion_truncation.
    """
    scores = np.linspace(-2.0, 2.0, 9)
    for order in (2, 3, 0, 1, 6):
        answer = array_of(answer_of(function, scores, order), scores.shape)
        otherwise = (
            f"for order {order} the values are not those of the series. Compare your function "
            "with 1 + x for order 1."
        )
        judge(answer, taylor(order)(scores), _series_mistakes(scores, order), otherwise)
    return "this is the Taylor polynomial, for every order tried."


def _series_mistakes(scores: Floats, order: int) -> Mistakes:
    powers = scores ** np.arange(order + 1)[:, None]
    return [
        (np.exp(scores), "this is exp itself: stop after the term of degree `order`."),
        (
            taylor(max(order - 1, 0))(scores),
            "you stop one term early: the term of degree `order` belongs to the sum.",
        ),
        (taylor(order + 1)(scores), "you go one term too far: the last has degree `order`."),
        (powers.sum(axis=0), "these terms are x^l alone; what divides them in the series of exp?"),
        (taylor(order)(scores) - 1, "the first term is missing: at x = 0 the sum should be 1."),
    ]


@marks
def check_weight_distance(function: Function) -> str:
    """Mark `function(scores, expansion)`: the total variation between softmax and fast weights.

    `scores` holds one row. Exercise of chapter expansion_truncation.
    """
    rows = np.random.default_rng(1).uniform(-1, 1, (3, 6))
    expansions = (taylor(2), minimax(1), Expansion((3.0, 2.0, 1.0)))
    for row, expansion in zip(rows, expansions, strict=True):
        answer = number_of(answer_of(function, row, expansion))
        fast, exact = expansion(row), np.exp(row)
        gap = fast / fast.sum() - exact / exact.sum()
        mistakes = [
            (
                0.5 * np.abs(fast - exact).sum(),
                "you compare the kernels, not the weights: divide each row by its sum first.",
            ),
            *_distance_mistakes(gap),
        ]
        otherwise = "the number is not half the sum of |difference of weights|."
        judge(answer, 0.5 * np.abs(gap).sum(), mistakes, otherwise)
    return "this is the total variation; multiplying f by a constant does not change it."


def _distance_mistakes(gap: Floats) -> Mistakes:
    return [
        (
            np.abs(gap).sum(),
            "every difference is counted twice, once where a weight is too large and once where "
            "one is too small.",
        ),
        (0.0, "the differences cancel, since both sets of weights sum to 1: take absolute values."),
        (np.abs(gap).max(), "that is the largest single difference; add them up."),
        (np.linalg.norm(gap), "that is the Euclidean distance; here absolute values are added."),
    ]


@marks
def check_best_shift(function: Function) -> str:
    """Mark `function(keys)`: the number c that makes the largest |k_j - c| smallest.

    `keys` holds numbers (d = 1). Exercise of chapter expansion_truncation.
    """
    crowd = [1.0] * 9 + [-1.0]
    for numbers in ([2.0, 5.0, 5.5], crowd, [-3.0], [4.0, -2.0, 1.0, 0.5]):
        keys = np.array(numbers)
        answer = number_of(answer_of(function, keys))
        best = (keys.max() + keys.min()) / 2
        otherwise = (
            f"for the keys {numbers} another c gives a smaller radius than yours, "
            f"{np.max(np.abs(keys - answer)):.3g}."
        )
        mistakes: Mistakes = [
            (keys.mean(), "the mean follows the crowd: one key far away is left farther away."),
            (np.median(keys), "the median sees only the middle; which keys decide the radius?"),
            (-best, "the sign is turned round: c is subtracted."),
            (np.ptp(keys) / 2, "that is the radius that remains; the question asks for c."),
        ]
        judge(answer, best, mistakes, otherwise)
    return "no other shift gives a smaller radius."


@marks
def check_fitted_expansion(function: Function) -> str:
    """Mark `function(scores, tolerance)`: the cheapest expansion whose bound covers the scores.

    Exercise of chapter expansion_truncation.
    """
    for low, high, tolerance in [(-0.5, 0.4, 1e-2), (-3.0, 1.0, 1e-2), (-0.2, 1.5, 1e-4)]:
        scores = np.linspace(low, high, 20).reshape(4, 5)
        answer = answer_of(function, scores, tolerance)
        if not isinstance(answer, Expansion):
            raise NotYetError(
                f"expected an Expansion, such as minimax(...) returns, got {kind_of(answer)}."
            )
        _judge_radius(answer, max(-low, high))
        _judge_order(answer, max(-low, high), tolerance)
    return "the radius covers the scores that occur, and no smaller order meets the tolerance."


def _judge_radius(answer: Expansion, radius: float) -> None:
    occurring = f"the scores reach {radius:g} in absolute value"
    if answer.radius < radius * (1 - AGREES):
        raise NotYetError(
            f"{occurring}, but your expansion is made for {answer.radius:g}: the bound says "
            "nothing about scores outside. Mind the negative ones."
        )
    if answer.radius > radius * (1 + AGREES):
        raise NotYetError(
            f"{occurring}; you prepared for {answer.radius:g}. Fit the radius to the data."
        )


def _judge_order(answer: Expansion, radius: float, tolerance: float) -> None:
    bound = answer.output_error_bound()
    if bound > tolerance:
        raise NotYetError(
            f"your bound is {bound:.2g}, above the tolerance {tolerance:g}: raise the order."
        )
    if answer.order > order_for(tolerance, radius=radius):
        raise NotYetError(
            f"{answer.name} of order {answer.order} meets the tolerance, but other coefficients "
            "or a smaller order would do."
        )


@marks
def check_features_needed(function: Function) -> str:
    """Mark `function(radius, tolerance, dim)`: the numbers of features (Taylor, minimax) needed.

    Exercise of chapter expansion_truncation.
    """
    for radius, tolerance, dim in [(4.0, 1e-2, 64), (1.0, 1e-2, 64), (2.0, 1e-3, 16)]:
        answer = array_of(answer_of(function, radius, tolerance, dim), (2,))
        orders = [order_for(tolerance, radius=radius, family=f) for f in ("taylor", "minimax")]
        exact = [number_of_features(dim, order) for order in orders]
        by_error = [_order_by_error_of_exp(f, radius, tolerance) for f in (taylor, chebyshev)]
        mistakes: Mistakes = [
            (exact[::-1], "the pair is (Taylor, minimax), in this order."),
            (orders, "these are the orders; the question asks for the numbers of features."),
            (
                [float(dim**order) for order in orders],
                "these are powers of d; count the monomials, each once.",
            ),
            (
                [number_of_features(dim, order) for order in by_error],
                "you chose the orders by the error of exp; the weights feel its oscillation.",
            ),
        ]
        otherwise = (
            f"for radius {radius:g} and tolerance {tolerance:g} the numbers do not belong to the "
            "smallest orders whose bound meets the tolerance."
        )
        judge(answer, exact, mistakes, otherwise)
    return "compare the two numbers: they are the price of the coefficients."


def _order_by_error_of_exp(make: Function, radius: float, tolerance: float) -> int:
    """Return the smallest order with max |f - exp| < tolerance."""
    order = 0
    while make(order, radius=radius).max_error() >= tolerance:
        order += 1
    return order
