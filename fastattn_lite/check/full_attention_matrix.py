"""The exercises of the chapter full_attention_matrix."""

from __future__ import annotations

import math

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
    peak_bytes,
)
from fastattn_lite.expansion import taylor
from fastattn_lite.factorization import monomial_features
from fastattn_lite.matrix import ratio_limit
from fastattn_lite.reference import attention_weights

COARSE = 1e-3
"""Within this a weight was found on a coarse grid."""


@marks
def check_rows_of_matrix(function: Function) -> str:
    """Mark `function(query, key, order, rows)`: the named rows of the attention matrix.

    f is the Taylor polynomial of that order and the scale is 1; no table may have n x n numbers.
    Exercise of chapter full_attention_matrix.
    """
    rng = np.random.default_rng(0)
    for tokens, dim, order, rows in [(7, 3, 2, [5, 0]), (6, 2, 4, [3]), (5, 4, 0, [0, 2, 4])]:
        query, key = rng.uniform(-1, 1, (2, tokens, dim))
        answer = array_of(answer_of(function, query, key, order, rows), (len(rows), tokens))
        exact = attention_weights(query, key, expansion=taylor(order), scale=1.0)[rows]
        otherwise = (
            f"for {tokens} tokens, d = {dim}, order {order} and the rows {rows} the weights are "
            "not those of f(q_i . k_j) over its sum. Is the scale 1?"
        )
        judge(answer, exact, _row_mistakes(query, key, order, rows), otherwise)
    tokens = 1500
    query, key = rng.uniform(-1, 1, (2, tokens, 4))
    if peak_bytes(function, query, key, 2, [3, 1400]) > 4 * tokens**2:
        raise NotYetError(
            "the rows are right, but on the way you stored n x n numbers. Choose the queries "
            "before they meet the keys."
        )
    return "these are the rows of the full matrix, and no other row was computed."


def _row_mistakes(query: Floats, key: Floats, order: int, rows: list[int]) -> Mistakes:
    f, asked = taylor(order), query[rows]
    kernel = f(asked @ key.T)
    exact, columns = np.exp(asked @ key.T), f(query @ key.T)
    columns = (columns / columns.sum(axis=1, keepdims=True)).T[rows]
    scaled = f(asked @ key.T / math.sqrt(query.shape[1]))
    exchanged = f(key[rows] @ query.T)
    unweighted = monomial_features(asked, order) @ monomial_features(key, order).T
    return [
        (kernel, "these numbers do not sum to 1: where is the denominator of each row?"),
        (exact / exact.sum(axis=1, keepdims=True), "this is softmax: put f in the place of exp."),
        (columns, "these are columns of the matrix: the rows belong to the queries."),
        (
            exchanged / exchanged.sum(axis=1, keepdims=True),
            "queries and keys are exchanged: row i belongs to the query q_i.",
        ),
        (
            unweighted / unweighted.sum(axis=1, keepdims=True),
            "each feature has a weight w_alpha.",
        ),
        (scaled / scaled.sum(axis=1, keepdims=True), "the scale is 1 here, not 1/sqrt(d)."),
        (kernel / kernel.sum(axis=0), "you divided by sums over the rows that were asked for."),
    ]


@marks
def check_order_for_full_rank(function: Function) -> str:
    """Mark `function(tokens, dim)`: the smallest order with at least as many features as tokens.

    Exercise of chapter full_attention_matrix.
    """
    for tokens, dim in [(24, 4), (15, 4), (1, 3), (1000, 64), (1_000_000, 64), (50, 1)]:
        answer = number_of(answer_of(function, tokens, dim))
        orders = range(tokens + 1)
        counts = (math.comb(dim + order, order) for order in orders)
        exact = next(order for order, count in zip(orders, counts, strict=False) if count >= tokens)
        mistakes: Mistakes = [
            (_order_of_full_basis(tokens, dim), "count each monomial once: R = C(d+p, p)."),
            (exact - 1, "at this order there are still fewer features than tokens."),
            (
                exact + 1,
                "a smaller order is enough: order 0 counts, so do the features of all degrees "
                "below, and R = n does not forbid full rank.",
            ),
            (math.comb(dim + exact, exact), "that is the number of features; give the order."),
        ]
        otherwise = (
            f"for {tokens:,} tokens and d = {dim} this is not the smallest order whose number of "
            "features reaches the number of tokens."
        )
        judge(answer, exact, mistakes, otherwise)
    return "from this order on the bound is n itself."


def _order_of_full_basis(tokens: int, dim: int) -> int:
    order, count = 0, 1
    while count < tokens:
        order += 1
        count += dim**order
    return order


@marks
def check_sharpest_weight(function: Function) -> str:
    """Mark `function(tokens, radius, order)`: the largest weight that one of n tokens can get.

    f is the Taylor polynomial of an even order, and all scores lie in [-radius, radius]. Exercise
    of chapter full_attention_matrix.
    """
    for tokens, radius, order in [(1000, 2.0, 2), (24, 0.5, 2), (10, 4.0, 4), (2, 1.0, 0)]:
        answer = number_of(answer_of(function, tokens, radius, order))
        f = taylor(order)
        chi, ends = ratio_limit(f, -radius, radius), float(f(radius) / f(-radius))
        mistakes: Mistakes = [
            (_limit(ends, tokens), "f is not smallest at -B here. Where does it turn up again?"),
            (_limit(math.exp(2 * radius), tokens), "that is the limit of exp, not of f."),
            (
                chi / (chi + tokens),
                "one of the tokens is the sharp one: how many others are there?",
            ),
            (chi, "that is the largest ratio of two weights; the weight is a share of the row."),
            (1 / (1 + (tokens - 1) * chi), "that is the smallest weight, not the largest."),
        ]
        otherwise = (
            f"for {tokens} tokens, radius {radius:g} and order {order} the weight is another. Let "
            "one key have the largest f and all others the smallest."
        )
        rounded = "Take a finer grid, both ends included, or the places where f' is 0."
        exact = _limit(chi, tokens)
        judge(answer, exact, mistakes, otherwise, within=1e-7, nearly=COARSE, rounded=rounded)
    return "no row of this polynomial can be sharper."


def _limit(ratio: float, tokens: int) -> float:
    return ratio / (ratio + tokens - 1)
