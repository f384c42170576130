"""Mark a reader's exercise, and show that two forms of a formula agree.

Every `check_*` function of an exercise takes the reader's own function, tries it on several
inputs and returns a `CheckResult`: a verdict and a hint. It never raises on a wrong answer, and
no hint gives the solution away.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt

from fastattn_lite.expansion import Expansion, chebyshev, minimax, order_for, taylor
from fastattn_lite.factorization import number_of_features
from fastattn_lite.reference import kernel_attention, softmax_attention

Floats = npt.NDArray[np.float64]
Function = Callable[..., Any]
Mistakes = list[tuple[Any, str]]
"""Wrong outcomes that readers reach, each with its hint."""
Inputs = ParamSpec("Inputs")

AGREES = 1e-9
"""Largest difference, relative to the size of the answer, that counts as the same number."""


@dataclass(frozen=True)
class CheckResult:
    """The verdict on an answer, and one sentence that helps; true exactly when it is correct."""

    passed: bool
    hint: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{'correct' if self.passed else 'not yet'}: {self.hint}"


def check_equal(old: Any, new: Any, tolerance: float = 1e-12) -> None:
    """Print whether two forms of the same quantity agree, and assert that they do.

    Formula: max |old - new| < tolerance, for numbers or arrays of the same shape.
    Raises `AssertionError` where they differ.
    """
    first, second = np.asarray(old), np.asarray(new)
    assert first.shape == second.shape, f"the shapes differ: {first.shape} and {second.shape}"
    agrees = bool(np.all(np.abs(first - second) < tolerance))
    print(f"difference < {tolerance:g}: {agrees}")
    assert agrees, f"the two forms differ by {np.max(np.abs(first - second)):.3g}"


def show_source(function: Function) -> None:
    """Print the text of a function as it stands in the package, without its docstring."""
    text = inspect.cleandoc("\n" + inspect.getsource(function))
    documentation = function.__doc__
    if documentation:
        start = text.index('"""')
        end = text.index('"""', start + 3) + 3
        text = text[:start].rstrip() + text[end:]
    print(text)


class _NotYetError(Exception):
    """The answer is wrong; the message is the hint."""


def _marks(check: Callable[Inputs, str]) -> Callable[Inputs, CheckResult]:
    """Turn a check that returns praise or raises `_NotYetError` into one that returns a verdict."""

    @functools.wraps(check)
    def marked(*args: Inputs.args, **kwargs: Inputs.kwargs) -> CheckResult:
        try:
            return CheckResult(True, check(*args, **kwargs))
        except _NotYetError as wrong:
            return CheckResult(False, str(wrong))

    return marked


@_marks
def check_crossover(function: Function) -> str:
    """Mark `function(dim, order)`, the number of tokens from which the fast form costs less.

    Exercise of chapter intro.
    """
    for dim, order in [(64, 2), (32, 2), (64, 1), (16, 3), (1, 4)]:
        answer = _number(_answer(function, dim, order))
        otherwise = (
            f"for dim = {dim} and order = {order} your answer {answer:,.0f} does not make the two "
            "costs equal. Write each cost as a number times n or n^2 and divide."
        )
        exact = number_of_features(dim, order) * (dim + 1) / dim
        _judge(answer, exact, _crossover_mistakes(dim, order), otherwise, within=1.0)
    return "at that many tokens the two costs are equal, for every dimension and order tried."


def _crossover_mistakes(dim: int, order: int) -> Mistakes:
    features = number_of_features(dim, order)
    products = sum(dim**degree for degree in range(order + 1))
    exact = features * (dim + 1) / dim
    return [
        (
            products * (dim + 1) / dim,
            "you count every product of coordinates separately, but x_1 x_2 = x_2 x_1: count each "
            "monomial once.",
        ),
        (features, "the moments have one column more than you count: the column of ones."),
        (2 * exact, "that is where a causal direct sum, which costs half, would cross."),
        (exact / 2, "the fast form has two passes, one over the keys and one over the queries."),
    ]


@_marks
def check_order_one_attention(function: Function) -> str:
    """Mark `function(query, key, value)`: attention with f(s) = 1 + s, without an n x n matrix.

    The score is s = q . k. Exercise of chapter intro.
    """
    for seed, (tokens, dim, value_dim) in enumerate([(7, 3, 2), (12, 5, 5), (9, 1, 4)]):
        inputs = _small_tokens(seed, tokens, dim, value_dim)
        answer = _array(_answer(function, *inputs), (tokens, value_dim))
        exact = kernel_attention(*inputs, expansion=taylor(1), scale=1.0)
        otherwise = "the outputs are not those of the weights 1 + q_i . k_j."
        _judge(answer, exact, _order_one_mistakes(*inputs), otherwise)
    tokens = 1500
    if _peak_bytes(function, *_small_tokens(3, tokens, 4, 4)) > 4 * tokens**2:
        raise _NotYetError(
            "the outputs are right, but on the way you stored n x n numbers. Let the keys meet "
            "the values before the queries do."
        )
    return "right, and the memory grows with n, not with n squared."


def _order_one_mistakes(query: Floats, key: Floats, value: Floats) -> Mistakes:
    scores = query @ key.T
    return [
        (
            softmax_attention(query, key, value, scale=1.0),
            "this is softmax attention; put 1 + s in the place of exp(s).",
        ),
        ((1 + scores) @ value, "each row is a sum, not yet a mean: where is the denominator?"),
        (
            kernel_attention(query, key, value, expansion=taylor(1)),
            "here the score is q . k itself, with no factor 1/sqrt(d).",
        ),
        (
            scores @ value / scores.sum(axis=1, keepdims=True),
            "the term of degree 0 is missing: f(s) = 1 + s.",
        ),
    ]


@_marks
def check_truncated_exp(function: Function) -> str:
    """Mark `function(x, order)`, the Taylor polynomial of exp for an array of scores.

    Exercise of chapter expansion_truncation.
    """
    scores = np.linspace(-2.0, 2.0, 9)
    for order in (2, 3, 0, 1, 6):
        answer = _array(_answer(function, scores, order), scores.shape)
        otherwise = (
            f"for order {order} the values are not those of the series. Compare your function "
            "with 1 + x for order 1."
        )
        _judge(answer, taylor(order)(scores), _series_mistakes(scores, order), otherwise)
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


@_marks
def check_weight_distance(function: Function) -> str:
    """Mark `function(scores, expansion)`: the total variation between softmax and fast weights.

    `scores` holds one row. Exercise of chapter expansion_truncation.
    """
    rows = np.random.default_rng(1).uniform(-1, 1, (3, 6))
    expansions = (taylor(2), minimax(1), Expansion((3.0, 2.0, 1.0)))
    for row, expansion in zip(rows, expansions, strict=True):
        answer = _number(_answer(function, row, expansion))
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
        _judge(answer, 0.5 * np.abs(gap).sum(), mistakes, otherwise)
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


@_marks
def check_best_shift(function: Function) -> str:
    """Mark `function(keys)`: the number c that makes the largest |k_j - c| smallest.

    `keys` holds numbers (d = 1). Exercise of chapter expansion_truncation.
    """
    crowd = [1.0] * 9 + [-1.0]
    for numbers in ([2.0, 5.0, 5.5], crowd, [-3.0], [4.0, -2.0, 1.0, 0.5]):
        keys = np.array(numbers)
        answer = _number(_answer(function, keys))
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
        _judge(answer, best, mistakes, otherwise)
    return "no other shift gives a smaller radius."


@_marks
def check_fitted_expansion(function: Function) -> str:
    """Mark `function(scores, tolerance)`: the cheapest expansion whose bound covers the scores.

    Exercise of chapter expansion_truncation.
    """
    for low, high, tolerance in [(-0.5, 0.4, 1e-2), (-3.0, 1.0, 1e-2), (-0.2, 1.5, 1e-4)]:
        scores = np.linspace(low, high, 20).reshape(4, 5)
        answer = _answer(function, scores, tolerance)
        if not isinstance(answer, Expansion):
            raise _NotYetError(
                f"expected an Expansion, such as minimax(...) returns, got {_kind(answer)}."
            )
        _judge_radius(answer, max(-low, high))
        _judge_order(answer, max(-low, high), tolerance)
    return "the radius covers the scores that occur, and no smaller order meets the tolerance."


def _judge_radius(answer: Expansion, radius: float) -> None:
    occurring = f"the scores reach {radius:g} in absolute value"
    if answer.radius < radius * (1 - AGREES):
        raise _NotYetError(
            f"{occurring}, but your expansion is made for {answer.radius:g}: the bound says "
            "nothing about scores outside. Mind the negative ones."
        )
    if answer.radius > radius * (1 + AGREES):
        raise _NotYetError(
            f"{occurring}; you prepared for {answer.radius:g}. Fit the radius to the data."
        )


def _judge_order(answer: Expansion, radius: float, tolerance: float) -> None:
    bound = answer.output_error_bound()
    if bound > tolerance:
        raise _NotYetError(
            f"your bound is {bound:.2g}, above the tolerance {tolerance:g}: raise the order."
        )
    if answer.order > order_for(tolerance, radius=radius):
        raise _NotYetError(
            f"{answer.name} of order {answer.order} meets the tolerance, but other coefficients "
            "or a smaller order would do."
        )


@_marks
def check_features_needed(function: Function) -> str:
    """Mark `function(radius, tolerance, dim)`: the numbers of features (Taylor, minimax) needed.

    Exercise of chapter expansion_truncation.
    """
    for radius, tolerance, dim in [(4.0, 1e-2, 64), (1.0, 1e-2, 64), (2.0, 1e-3, 16)]:
        answer = _array(_answer(function, radius, tolerance, dim), (2,))
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
        _judge(answer, exact, mistakes, otherwise)
    return "compare the two numbers: they are the price of the coefficients."


def _order_by_error_of_exp(make: Function, radius: float, tolerance: float) -> int:
    """Return the smallest order with max |f - exp| < tolerance."""
    order = 0
    while make(order, radius=radius).max_error() >= tolerance:
        order += 1
    return order


def _answer(function: Any, *inputs: Any) -> Any:
    """Return what the reader's function makes of copies of the inputs."""
    if not callable(function):
        raise _NotYetError(f"expected a function, got {_kind(function)}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = function(*copy.deepcopy(inputs))
    except (Exception, SystemExit) as error:
        message = f"your function raised {type(error).__name__}: {error}"
        raise _NotYetError(message) from None
    if answer is None:
        raise _NotYetError("your function returns nothing: does it end in `return`?")
    if answer is Ellipsis:
        raise _NotYetError("the blank `...` is still there: put your answer in its place.")
    return answer


def _array(answer: Any, shape: tuple[int, ...]) -> Floats:
    """Return the answer as finite numbers of that shape."""
    try:
        array = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise _NotYetError(f"expected numbers, got {_kind(answer)}.") from None
    if array.shape != shape:
        raise _NotYetError(f"expected the shape {shape}, got {array.shape}.")
    if not np.all(np.isfinite(array)):
        raise _NotYetError("some of your numbers are infinite or not a number (nan).")
    return array


def _number(answer: Any) -> float:
    return float(_array(answer, ()))


def _kind(answer: Any) -> str:
    return "nothing" if answer is None else f"a value of type {type(answer).__name__}"


def _same(answer: Any, expected: Any, within: float = 0.0) -> bool:
    """Say whether all numbers agree to round-off, or to `within`."""
    expected = np.asarray(expected, dtype=np.float64)
    allowed = within + AGREES * (1 + np.abs(expected))
    return bool(np.all(np.abs(np.asarray(answer) - expected) <= allowed))


def _judge(
    answer: Any, right: Any, mistakes: Mistakes, otherwise: str, *, within: float = 0.0
) -> None:
    """Raise the hint of the first known mistake that gives this answer, unless it is right."""
    if _same(answer, right, within):
        return
    for outcome, hint in mistakes:
        if _same(answer, outcome, within):
            raise _NotYetError(hint)
    raise _NotYetError(otherwise)


def _small_tokens(seed: int, tokens: int, dim: int, value_dim: int) -> Sequence[Floats]:
    """Return queries, keys and values with scores in (-1/2, 1/2), so that 1 + s is positive."""
    rng = np.random.default_rng(seed)
    bound = math.sqrt(0.5 / dim)
    return [
        rng.uniform(-bound, bound, (tokens, dim)),
        rng.uniform(-bound, bound, (tokens, dim)),
        rng.normal(size=(tokens, value_dim)),
    ]


def _peak_bytes(function: Function, *inputs: Any) -> int:
    """Return how much memory a call of the reader's function takes at most."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    _answer(function, *inputs)
    peak = tracemalloc.get_traced_memory()[1]
    if not was_tracing:
        tracemalloc.stop()
    return peak - before
