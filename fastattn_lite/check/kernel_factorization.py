"""The exercises of the chapter kernel_factorization."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from fastattn_lite.check.marking import (
    Floats,
    Function,
    Mistakes,
    NotYetError,
    answer_of,
    array_of,
    judge,
    marks,
    number_of,
    same,
)
from fastattn_lite.factorization import monomial_features, number_of_features

BYTES_PER_NUMBER = 4
GIBIBYTE = 2**30


@marks
def check_multiplicity(function: Function) -> str:
    """Mark `function(powers)`, how many ordered products give the monomial with these powers.

    Exercise of chapter kernel_factorization.
    """
    for powers in [(2, 0, 1), (1, 1), (0, 0), (3,), (2, 2, 1), (0, 4, 0, 2)]:
        answer = number_of(answer_of(function, powers))
        factorials = [math.factorial(power) for power in powers]
        every = math.factorial(sum(powers))
        otherwise = (
            f"for the powers {powers} your answer is {answer:g}. Count by hand for (1, 1) and "
            "(2, 0): the products x_1 x_2 and x_2 x_1, and x_1 x_1 alone."
        )
        mistakes: Mistakes = [
            (every, "you count every order of the factors, also of equal ones: x_1 x_1 is one."),
            (math.prod(factorials), "you divide by too little: what stands above the fraction?"),
            (
                1 / math.prod(factorials),
                "that is the weight for Taylor, 1/alpha!; here l! is kept.",
            ),
            (len(powers) ** sum(powers), "that is d^l, the number of all products of the degree."),
        ]
        judge(answer, every // math.prod(factorials), mistakes, otherwise)
    return "this is l!/alpha!, for every list of powers tried."


@marks
def check_monomials(function: Function) -> str:
    """Mark `function(x, order)`, all monomials of a list of numbers, graded-lexicographic.

    Each may take one product. Exercise of chapter kernel_factorization.
    """
    rng = np.random.default_rng(2)
    for dim, order in [(2, 2), (3, 3), (1, 4), (4, 0), (3, 1), (4, 4)]:
        counter = [0]
        numbers = rng.uniform(0.5, 2, dim).tolist()
        answer = answer_of(function, [_Counted(x, counter) for x in numbers], order)
        _judge_monomials(answer, numbers, order)
        most = number_of_features(dim, order)
        if counter[0] > most:
            raise NotYetError(
                f"the monomials are right, but for d = {dim} and order {order} you take "
                f"{counter[0]} products for {most} monomials. Start from the degree below."
            )
    return "right, and no monomial takes more than one product."


class _Counted(float):
    """A number that counts the products it takes part in; the list `counter` holds the count."""

    counter: list[int]

    def __new__(cls, value: float, counter: list[int]) -> _Counted:
        number = super().__new__(cls, value)
        number.counter = counter
        return number

    def __mul__(self, other: Any) -> _Counted:
        self.counter[0] += 1
        return _Counted(float(self) * float(other), self.counter)

    __rmul__ = __mul__

    def __pow__(self, power: Any, modulo: None = None) -> _Counted:
        del modulo
        self.counter[0] += max(0, int(power) - 1)
        return _Counted(float(self) ** power, self.counter)

    def __deepcopy__(self, memo: Any) -> _Counted:
        return self


def _judge_monomials(answer: Any, numbers: list[float], order: int) -> None:
    right = monomial_features(np.array([numbers]), order)[0]
    every = _ordered_products(numbers, order)
    count = len(answer) if hasattr(answer, "__len__") else -1
    if count == len(every) != len(right) and same(array_of(answer, (count,)), every):
        raise NotYetError(
            "you list every ordered product. Each monomial once is enough: leave x_2 x_1 out, "
            "since x_1 x_2 is there."
        )
    if count == len(right) - 1:
        raise NotYetError("one monomial is missing: does the list begin with the constant 1?")
    listed = array_of(answer, right.shape)
    if not same(listed, right) and same(np.sort(listed), np.sort(right)):
        raise NotYetError(
            "these are the monomials, but not in graded-lexicographic order: by degree, and in a "
            "degree those with x_1 first."
        )
    judge(listed, right, [], f"for d = {len(numbers)} and order {order} some monomials are wrong.")


def _ordered_products(numbers: list[float], order: int) -> list[float]:
    degrees = range(order + 1)
    chosen = [c for degree in degrees for c in itertools.product(numbers, repeat=degree)]
    return [math.prod(factors) for factors in chosen]


@marks
def check_rescaled(function: Function) -> str:
    """Mark `function(coefficients, factor)`: coefficients b with f(x) = sum_l b_l (factor^2 x)^l.

    Exercise of chapter kernel_factorization.
    """
    for coefficients, factor in [((1.0, 1.0, 0.5), 2.0), ((3.0, -1.0, 0.0, 2.0), 0.5), ((2.0,), 3)]:
        a, degree = np.array(coefficients), np.arange(len(coefficients))
        answer = array_of(answer_of(function, coefficients, factor), a.shape)
        otherwise = (
            f"for a = {coefficients} and the factor {factor:g} the new polynomial of c^2 x is not "
            "the old one of x. Try the coefficient of degree 1 alone."
        )
        judge(answer, a / float(factor) ** (2 * degree), _rescaled_mistakes(a, factor), otherwise)
    return "f(q.k) stays as it is when q and k are multiplied by the factor."


def _rescaled_mistakes(a: Floats, factor: float) -> Mistakes:
    degree = np.arange(len(a))
    return [
        (
            a / float(factor) ** degree,
            "both q and k are multiplied, so the score grows by the square of the factor.",
        ),
        (
            a * float(factor) ** (2 * degree),
            "the wrong way round: the features grow, so the coefficients must shrink.",
        ),
        (a / float(factor) ** 2, "a term of degree l has l factors q and l factors k."),
        (a, "these are the old coefficients: a larger score needs other ones."),
    ]


@marks
def check_largest_order(function: Function) -> str:
    """Mark `function(dim, tokens, gibibytes)`: the largest order whose features fit in memory.

    All features of all tokens, in float32. Exercise of chapter kernel_factorization.
    """
    for dim, tokens, gibibytes in [(4, 4096, 1), (64, 4096, 1), (3, 65536, 2), (128, 1000, 0.5)]:
        answer = number_of(answer_of(function, dim, tokens, gibibytes))
        budget = gibibytes * GIBIBYTE / (BYTES_PER_NUMBER * tokens)
        right = _largest(budget, minimal=dim)
        verdict = "is not the largest that fits" if answer < right else "needs more than there is"
        case = f"d = {dim}, {tokens:,} tokens and {gibibytes:g} GiB"
        otherwise = f"for {case} your order {answer:g} {verdict}."
        mistakes: Mistakes = [
            (right + 1, "that is the first order that does not fit."),
            (
                _largest(budget, full=dim),
                "you count every ordered product; the minimal basis is smaller.",
            ),
            (
                _largest(BYTES_PER_NUMBER * budget, minimal=dim),
                "a float32 number takes four bytes, not one.",
            ),
            (_largest(tokens * budget, minimal=dim), "there are many tokens, each with features."),
            (_largest(budget * 1e9 / GIBIBYTE, minimal=dim), "a GiB has 2^30 bytes, not 10^9."),
        ]
        judge(answer, right, mistakes, otherwise)
    return "one order more would not fit."


def _largest(budget: float, *, minimal: int = 0, full: int = 0) -> int:
    """Return the largest order whose basis in that many dimensions stays within the budget."""
    for order in itertools.count(1):
        products = sum(full**degree for degree in range(order + 1))
        if (number_of_features(minimal, order) if minimal else products) > budget:
            return order - 1
    raise AssertionError
