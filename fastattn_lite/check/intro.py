"""The exercises of the chapter intro."""

from __future__ import annotations

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
    small_tokens,
)
from fastattn_lite.expansion import taylor
from fastattn_lite.factorization import number_of_features
from fastattn_lite.reference import kernel_attention, softmax_attention


@marks
def check_crossover(function: Function) -> str:
    """Mark `function(dim, order)`, the number of tokens from which the fast form costs less.

    Exercise of chapter intro.
    """
    for dim, order in [(64, 2), (32, 2), (64, 1), (16, 3), (1, 4)]:
        answer = number_of(answer_of(function, dim, order))
        otherwise = (
            f"for dim = {dim} and order = {order} your answer {answer:,.0f} does not make the two "
            "costs equal. Write each cost as a number times n or n^2 and divide."
        )
        exact = number_of_features(dim, order) * (dim + 1) / dim
        judge(answer, exact, _crossover_mistakes(dim, order), otherwise, within=1.0)
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


@marks
def check_order_one_attention(function: Function) -> str:
    """Mark `function(query, key, value)`: attention with f(s) = 1 + s, without an n x n matrix.

    The score is s = q . k. Exercise of chapter intro.
    """
    for seed, (tokens, dim, value_dim) in enumerate([(7, 3, 2), (12, 5, 5), (9, 1, 4)]):
        inputs = small_tokens(seed, tokens, dim, value_dim)
        answer = array_of(answer_of(function, *inputs), (tokens, value_dim))
        exact = kernel_attention(*inputs, expansion=taylor(1), scale=1.0)
        otherwise = "the outputs are not those of the weights 1 + q_i . k_j."
        judge(answer, exact, _order_one_mistakes(*inputs), otherwise)
    tokens = 1500
    if peak_bytes(function, *small_tokens(3, tokens, 4, 4)) > 4 * tokens**2:
        raise NotYetError(
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
