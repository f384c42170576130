"""The exercises of the chapter gradients."""

from __future__ import annotations

import numpy as np

from fastattn_lite.check.marking import (
    Function,
    Mistakes,
    NotYetError,
    answer_of,
    array_of,
    judge,
    marks,
    number_of,
    peak_bytes,
    small_tokens,
)
from fastattn_lite.factorization import number_of_features


@marks
def check_score_gradient(function: Function) -> str:
    """Mark `function(scores, value, upstream)`: dL/ds for f(s) = 1 + s + s^2/2.

    Exercise of chapter gradients.
    """
    for seed, (queries, keys, value_dim) in enumerate([(5, 7, 2), (1, 4, 3), (6, 6, 1)]):
        random = np.random.default_rng(seed)
        scores = random.uniform(-1, 1, (queries, keys))
        value = random.normal(size=(keys, value_dim))
        upstream = random.normal(size=(queries, value_dim))
        kernel, slope = 1 + scores + scores**2 / 2, 1 + scores
        total = kernel.sum(axis=1, keepdims=True)
        inner = np.sum(upstream * (kernel @ value) / total, axis=1, keepdims=True)
        toward = upstream @ value.T - inner
        mistakes: Mistakes = [
            (slope / total * (upstream @ value.T), "the denominator moves too: where is o_i?"),
            (slope * toward, "the denominator G_i is missing."),
            (kernel / total * toward, "this is f(s) where its derivative belongs."),
            (-slope / total * toward, "the sign is wrong: the output moves towards v_j."),
        ]
        otherwise = (
            f"for {queries} queries and {keys} keys these are not the derivatives of the loss by "
            "the scores. Compare one entry with a difference quotient."
        )
        answer = array_of(answer_of(function, scores, value, upstream), (queries, keys))
        judge(answer, slope / total * toward, mistakes, otherwise)
    return "every score knows how it moves the loss."


@marks
def check_value_gradient(function: Function) -> str:
    """Mark `function(query, key, upstream)`: dL/dv for f(s) = 1 + s, without n x n numbers.

    Exercise of chapter gradients.
    """
    for seed, (tokens, dim, value_dim) in enumerate([(12, 3, 2), (7, 1, 4), (5, 4, 1)]):
        query, key, upstream = small_tokens(seed, tokens, dim, value_dim)
        kernel = 1 + query @ key.T
        rows = upstream / kernel.sum(axis=1, keepdims=True)
        mistakes: Mistakes = [
            (kernel.T @ upstream, "the denominators are missing."),
            (kernel @ rows, "queries and keys stand the wrong way round: sum over the queries."),
            ((kernel - 1).T @ rows, "the feature 1 has a moment too."),
            (
                kernel.T @ upstream / kernel.sum(axis=0)[:, None],
                "each query has its own denominator; divide before you sum over the queries.",
            ),
        ]
        otherwise = (
            f"for {tokens} tokens these are not the gradients of the values. Value j collects "
            "(1 + q_i . k_j) g_i / G_i from every query i."
        )
        answer = array_of(answer_of(function, query, key, upstream), (tokens, value_dim))
        judge(answer, kernel.T @ rows, mistakes, otherwise)
    tokens = 1500
    if peak_bytes(function, *small_tokens(4, tokens, 4, 4)) > 4 * tokens**2:
        raise NotYetError(
            "the gradients are right, but on the way you stored n x n numbers. Sum over the "
            "queries first."
        )
    return "the queries are summed once, and every key meets their moments."


@marks
def check_saving(function: Function) -> str:
    """Mark `function(dim, order)`: numbers kept with the features over numbers kept without.

    The dimension of the values is that of the keys. Exercise of chapter gradients.
    """
    for dim, order in [(64, 2), (32, 2), (8, 3), (16, 1)]:
        answer, features = (
            number_of(answer_of(function, dim, order)),
            number_of_features(dim, order),
        )
        exact = 2 * features / (4 * dim + 1)
        mistakes: Mistakes = [
            (features / (4 * dim + 1), "queries and keys both have features."),
            (2 * features / (4 * dim), "the denominators are kept as well, one a token."),
            (2 * features / (3 * dim), "the outputs and the denominators are kept as well."),
            (2 * features / (3 * dim + 1), "the outputs are kept as well."),
            (
                2 * sum(dim**degree for degree in range(order + 1)) / (4 * dim + 1),
                "count each monomial once: R = C(d+p, p).",
            ),
            (1 / exact, "this is the ratio the other way round."),
        ]
        otherwise = (
            f"for dim = {dim}, order = {order} this is not the ratio. Count the numbers that each "
            "way keeps for one token, and divide."
        )
        judge(answer, exact, mistakes, otherwise, within=1e-6 * exact)
    return "so many times less is kept, whatever the number of tokens."
