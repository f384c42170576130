"""Step 2, factorization: write f(q.k) as one inner product of features of q and features of k.

The multinomial theorem gives (q.k)^l = sum_{|a|=l} (l!/a!) q^a k^a over the multi-indices
a = (a_1, ..., a_d) with |a| = a_1 + ... + a_d, a! = a_1! ... a_d! and q^a = q_1^a_1 ... q_d^a_d.
Hence f(q.k) = sum_{|a|<=p} w_a q^a k^a. The weights w_a stay apart from the features, so that
coefficients of any sign work.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastattn_lite._arrays import (
    Array,
    can_write_in_place,
    check_count,
    check_memory,
    check_token_axes,
    contiguous,
    multiply_into,
    namespace,
    room,
)
from fastattn_lite.expansion import Expansion

Factors = list[tuple[Array, Array]]
"""Variables x_i, each with the monomials of the degree below that it multiplies."""
BLOCK_NUMBERS = 2**21
"""About how many feature values a part of the last degree holds (8 MiB in float32)."""


def number_of_features(dim: int, order: int) -> int:
    """Return how many monomials of degree at most `order` there are in `dim` variables.

    Formula: R = C(d+p, p). Raises `ValueError` for dim < 1 or order < 0.
    Equation: eq-feature-count (chapter kernel_factorization).
    Equation: eq-rank-bound (chapter full_attention_matrix).
    """
    dim, order = check_count("dim", dim, least=1), check_count("order", order, least=0)
    return math.comb(dim + order, order)


def multi_indices(dim: int, order: int) -> npt.NDArray[np.int64]:
    """Return the multi-indices |a| <= order in graded-lexicographic order.

    Shape: (R, d), row r holds the powers a of feature r: by degree, then x_1 before x_2.
    Cost: R d numbers. Raises `ValueError` for dim < 1, order < 0, or where they exceed memory.
    Equation: eq-graded-lexicographic (chapter kernel_factorization).
    """
    features, dim, order = number_of_features(dim, order), int(dim), int(order)
    check_memory(
        f"the {features:,} multi-indices of dimension {dim}", features * dim, np.iinfo(np.int64)
    )
    blocks = [np.zeros((1, dim), dtype=np.int64)]
    unit = np.eye(dim, dtype=np.int64)
    for degree in range(1, order + 1):
        starts = first_positions(dim, degree - 1)
        blocks.append(np.concatenate([unit[i] + blocks[-1][starts[i] :] for i in range(dim)]))
    return np.concatenate(blocks)


def monomial_features(x: Array, order: int) -> Array:
    """Return every monomial x^a with |a| <= order of every token.

    Formula: phi_a(x) = x^a, graded-lexicographic, so that f(q.k) = sum_a w_a phi_a(q) phi_a(k);
    a monomial of degree l takes one product with one of degree l - 1.
    Shapes: x (..., n, d) to (..., n, R) with R = C(d+p, p). Cost: n R products and numbers.
    Raises `ValueError` for order < 0 or where the features would not fit in memory.
    Equation: eq-factorization (chapter intro).
    Equation: eq-graded-lexicographic, eq-one-inner-product (chapter kernel_factorization).
    Equation: eq-rebuilt-matrix (chapter full_attention_matrix).
    Source: the graded-lexicographic recursion of the improved fast Gauss transform.
    """
    xp = namespace(x=x)
    check_token_axes(x=x)
    features, order = number_of_features(x.shape[-1], order), int(order)
    numbers = features * math.prod(x.shape[:-1])
    check_memory(f"{features:,} features", numbers, xp.finfo(x.dtype), x)
    return xp.matrix_transpose(
        xp.concat(list(feature_blocks(xp, x, order, most=features)), axis=-2)
    )


def feature_blocks(
    xp: Any,
    x: Array,
    order: int,
    *partners: Array,
    most: int | None = None,
    table: Table | None = None,
) -> Iterator[Array]:
    """Yield the monomials in order as blocks (..., monomials, n), the last degree in parts.

    Tokens come last, so that a monomial is one contiguous row and a product of two rows is fast.
    A part has about `most` monomials, few enough to stay in a processor's cache until the caller
    has used them. It holds until the next one is asked for: all parts are written to one `table`,
    unless torch must keep them for the gradient of x or of the `partners` they are multiplied by.
    """
    most = most or block_rows(math.prod(x.shape[:-1]), number_of_features(x.shape[-1], order))
    writes = all(map(can_write_in_place, (x, *partners)))
    if writes:
        return (table or Table()).blocks(xp, xp.matrix_transpose(x), order, most)
    return _joined_blocks(xp, contiguous(xp, xp.matrix_transpose(x)), order, most)


def block_rows(tokens: int, features: int) -> int:
    """Return how many monomials of so many tokens to take at once, for parts of equal size."""
    parts = max(1, round(features * tokens / BLOCK_NUMBERS))
    return -(-features // parts)


def _joined_blocks(xp: Any, variables: Array, order: int, most: int) -> Iterator[Array]:
    """Yield each degree as a new array, from the one below it; the last degree in parts."""
    block = xp.ones_like(variables[..., :1, :])
    yield block
    for degree in range(1, order):
        (block,) = joined_products(xp, [next_factors(variables, block, degree)])
        yield block
    if order > 0:
        yield from joined_products(xp, factor_runs(next_factors(variables, block, order), most))


class Table:
    """Memory for the monomials of some tokens, filled block by block, and again for the next ones.

    The lower degrees stand on top. Below them the parts of the last degree are written over each
    other. New memory for every chunk of tokens would cost as much time as the products.
    """

    def __init__(self) -> None:
        self._made_for: tuple[Any, ...] = ()
        self._variables: Array = None
        self._parts: list[tuple[list[tuple[Array, Array, Array]], Array]] = []

    def blocks(self, xp: Any, variables: Array, order: int, most: int) -> Iterator[Array]:
        """Yield the blocks of `feature_blocks`."""
        made_for = (xp, variables.shape, variables.dtype, order, most)
        if made_for != self._made_for:
            self._prepare(xp, variables, order, most)
            self._made_for = made_for
        multiply = multiply_into(variables)
        if order > 0:
            self._variables[...] = variables
        for products, block in self._parts:
            for x_i, lower, place in products:
                multiply(x_i, lower, out=place)
            yield block

    def _prepare(self, xp: Any, variables: Array, order: int, most: int) -> None:
        """Take the memory, and list each product with its place."""
        *lead, dim, tokens = variables.shape
        ends = [0, *(number_of_features(dim, degree) for degree in range(order + 1))]
        rows = min(ends[-1], max(2 * ends[-2] + most, dim + 1))
        self._variables, self._parts = None, []  # gives the last memory back first
        whole = room(xp, (*lead, rows, tokens), variables)
        whole[..., :1, :] = 1.0
        self._variables = whole[..., 1 : dim + 1, :]
        products, first, end = list[tuple[Array, Array, Array]](), 0, min(rows, dim + 1)
        for degree in range(2, order + 1):
            below = whole[..., ends[degree - 1] : ends[degree], :]
            for x_i, lower in next_factors(self._variables, below, degree):
                if degree == order and end - first >= most:
                    self._parts.append((products, whole[..., first:end, :]))
                    products, first, end = [], ends[order], ends[order]
                start, end = end, end + lower.shape[-2]
                products.append((x_i, lower, whole[..., start:end, :]))
        self._parts.append((products, whole[..., first:end, :]))


def next_factors(variables: Array, below: Array, degree: int) -> Factors:
    """Return x_1 with every monomial below, x_2 with those without x_1, and so on."""
    starts = first_positions(variables.shape[-2], degree - 1)
    return [(variables[..., i : i + 1, :], below[..., start:, :]) for i, start in enumerate(starts)]


def joined_products(xp: Any, parts: Iterable[Factors]) -> Iterator[Array]:
    """Yield, for each part, its products x_i times lower, one below the other."""
    for factors in parts:
        yield xp.concat([x_i * lower for x_i, lower in factors], axis=-2)


def factor_runs(factors: Factors, most: int) -> Iterator[Factors]:
    """Yield the factors in runs whose products fill about `most` rows."""
    first, rows = 0, 0
    for last, (_, lower) in enumerate(factors, start=1):
        rows += lower.shape[-2]
        if rows >= most or last == len(factors):
            yield factors[first:last]
            first, rows = last, 0


def factor_rows(factors: Factors) -> int:
    """Return how many products there are."""
    return sum(lower.shape[-2] for _, lower in factors)


def feature_weights(expansion: Expansion, dim: int) -> npt.NDArray[np.float64]:
    """Return the weight of every monomial in f(q.k).

    Formula: w_a = a_|a| |a|!/a!, for Taylor 1/a!; in the order of `multi_indices`.
    Shape: (R,). Cost: R d numbers. Raises `ValueError` for dim < 1.
    Equation: eq-factorization (chapter intro).
    Equation: eq-multinomial, eq-one-inner-product (chapter kernel_factorization).
    Equation: eq-rebuilt-matrix (chapter full_attention_matrix).
    """
    return _feature_weights(expansion, check_count("dim", dim, least=1)).copy()


@functools.lru_cache(maxsize=32)
def _feature_weights(expansion: Expansion, dim: int) -> npt.NDArray[np.float64]:
    powers = multi_indices(dim, expansion.order)
    factorial = np.cumprod(np.concatenate([[1.0], np.arange(1.0, expansion.order + 1)]))
    degree = powers.sum(axis=1)
    coefficients = np.array(expansion.coefficients)
    return coefficients[degree] * factorial[degree] / np.prod(factorial[powers], axis=1)


def first_positions(dim: int, degree: int) -> list[int]:
    """Return where, among the monomials of one degree, those in x_i, ..., x_d alone begin."""
    total = math.comb(dim + degree - 1, degree)
    return [total - math.comb(dim - i + degree - 1, degree) for i in range(dim)]
