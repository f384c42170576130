"""The exercises of the chapter attention_as_a_kernel_sum."""

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
    floats_of,
    judge,
    marks,
    number_of,
    peak_bytes,
    small_tokens,
)
from fastattn_lite.reference import softmax_attention


@marks
def check_stable_weights(function: Function) -> str:
    """Mark `function(scores)`: the weights of every row of scores, also of very large ones.

    Exercise of chapter attention_as_a_kernel_sum.
    """
    rng = np.random.default_rng(2)
    for scores in (rng.normal(size=(3, 5)), rng.normal(size=(4, 4))):
        answer = array_of(answer_of(function, scores), scores.shape)
        otherwise = "in each row the weights must be in proportion to exp(scores) and sum to 1."
        judge(answer, _weights(scores), _weight_mistakes(scores), otherwise)
    _judge_large_scores(function)
    return "right, also for scores of 5,000 and for rows that lie far apart."


def _weights(scores: Floats) -> Floats:
    kernel = np.exp(scores - scores.max(axis=1, keepdims=True))
    return kernel / kernel.sum(axis=1, keepdims=True)


def _weight_mistakes(scores: Floats) -> Mistakes:
    kernel = np.exp(scores)
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return [
        (_weights(scores.T).T, "your columns sum to 1; a row belongs to a query."),
        (kernel / kernel.sum(), "all weights together sum to 1; each row should."),
        (kernel, "these are the kernel values; divide each row by its sum."),
        (shifted, "these are shifted kernel values; divide each row by its sum."),
        (np.log(_weights(scores)), "these are logarithms of the weights."),
    ]


def _judge_large_scores(function: Function) -> None:
    cases = {
        "scores of 5,000 overflow: what may you subtract from a row?": [[5000.0, 4999.0]],
        "rows far below the others underflow: each row has a largest score of its own.": [
            [5000.0, 4999.0],
            [-5000.0, -5001.0],
        ],
        "scores of 5,000 and of -5,000 in one row overflow: what makes every exponent at most 0?": [
            [5000.0, -5000.0, 4999.0]
        ],
    }
    for hint, rows in cases.items():
        scores = np.array(rows)
        answer = floats_of(answer_of(function, scores))
        if answer.shape != scores.shape or not np.allclose(answer, _weights(scores), atol=1e-12):
            raise NotYetError(hint)


@marks
def check_keys_in_chunks(function: Function) -> str:
    """Mark `function(query, key, value, chunk_size)`: softmax attention, some keys at a time.

    The scale is 1/sqrt(d). Exercise of chapter attention_as_a_kernel_sum.
    """
    for seed, (tokens, chunk_size) in enumerate([(12, 4), (13, 5), (7, 20), (6, 1)]):
        inputs = _tokens(seed, tokens)
        answer = array_of(answer_of(function, *inputs, chunk_size), (tokens, 2))
        otherwise = (
            f"for {tokens} tokens in chunks of {chunk_size} the outputs are not those of "
            "softmax_attention."
        )
        mistakes = _chunk_mistakes(*inputs, chunk_size)
        judge(answer, softmax_attention(*inputs), mistakes, otherwise)
    _judge_large_keys(function)
    tokens = 1500
    if peak_bytes(function, *_tokens(4, tokens), 50) > 4 * tokens**2:
        raise NotYetError(
            "the outputs are right, but on the way you stored n x n numbers. A chunk of keys "
            "needs only its own columns."
        )
    return "right, also for large scores, and no table on the way has n x n numbers."


def _tokens(seed: int, tokens: int) -> tuple[Floats, Floats, Floats]:
    query, key, value = small_tokens(seed, tokens, 3, 2)
    return 4 * query, key, value


def _judge_large_keys(function: Function) -> None:
    """Try large scores, the largest of a row in the last chunk and then in the first."""
    query, key, value = _tokens(5, 9)
    for order in (slice(None), slice(None, None, -1)):
        far = (1000 * np.sort(key, axis=0))[order]
        answer = floats_of(answer_of(function, query, far, value, 4))
        if not np.allclose(answer, softmax_attention(query, far, value), rtol=0, atol=1e-9):
            raise NotYetError(
                "right for small scores, but large ones overflow. Keep the largest score seen so "
                "far for each row; when it grows, the sums so far shrink by one common factor."
            )


def _chunk_mistakes(query: Floats, key: Floats, value: Floats, size: int) -> Mistakes:
    starts = range(0, len(key), size)
    outputs = [softmax_attention(query, key[c : c + size], value[c : c + size]) for c in starts]
    scores = query @ key.T / math.sqrt(query.shape[1])
    tops = [scores[:, c : c + size].max(axis=1, keepdims=True) for c in starts]
    own = [np.exp(scores[:, c : c + size] - top) for c, top in zip(starts, tops, strict=True)]
    mixed = np.concatenate(own, axis=1)
    whole = max(len(key) // size * size, 1)
    return [
        (
            mixed @ value / mixed.sum(axis=1, keepdims=True),
            "every chunk is shifted by a largest score of its own, and shifts that differ do not "
            "cancel: what must happen to the sums so far?",
        ),
        (
            np.mean(outputs, axis=0),
            "you average the outputs of the chunks, but a chunk with large weights counts more: "
            "add numerators and denominators, and divide once.",
        ),
        (np.sum(outputs, axis=0), "you divide in every chunk; divide once, at the end."),
        (outputs[-1], "only the last chunk is left: the sums must go on from chunk to chunk."),
        (
            softmax_attention(query, key[:whole], value[:whole]),
            "the last chunk can be shorter than the others; yours is missing.",
        ),
        (
            softmax_attention(query, key, value, scale=1.0),
            "the scale is missing: here it is 1/sqrt(d).",
        ),
    ]


@marks
def check_window_attention(function: Function) -> str:
    """Mark `function(query, key, value, reach)`: softmax over the keys with |i - j| <= reach.

    The scale is 1/sqrt(d). Exercise of chapter attention_as_a_kernel_sum.
    """
    for seed, (tokens, reach) in enumerate([(9, 2), (8, 0), (7, 3), (5, 20)]):
        inputs = _tokens(seed, tokens)
        answer = array_of(answer_of(function, *inputs, reach), (tokens, 2))
        otherwise = f"for reach {reach} the outputs are not means over the keys of the window."
        judge(answer, _windowed(*inputs, reach), _window_mistakes(*inputs, reach), otherwise)
    return "right: a token sees at most 2 reach + 1 keys, and nothing of the others."


def _windowed(
    query: Floats, key: Floats, value: Floats, reach: int, *, back_only: bool = False, end: int = 1
) -> Floats:
    rows: list[Floats] = []
    for i in range(len(query)):
        seen = slice(max(0, i - reach), i + 1 if back_only else max(i + reach + end, i + 1))
        rows.append(softmax_attention(query[i : i + 1], key[seen], value[seen])[0])
    return np.array(rows)


def _window_mistakes(query: Floats, key: Floats, value: Floats, reach: int) -> Mistakes:
    scores = query @ key.T / math.sqrt(query.shape[1])
    distance = np.abs(np.subtract.outer(np.arange(len(key)), np.arange(len(key))))
    near = np.where(distance <= reach, np.exp(scores), 0.0)
    return [
        (
            near / np.exp(scores).sum(axis=1, keepdims=True) @ value,
            "you divide by the sum over all keys; the weights of the window must sum to 1.",
        ),
        (_windowed(query, key, value, reach, back_only=True), "keys after the token count too."),
        (
            _windowed(query, key, value, reach, end=0),
            "the key at distance `reach` after the token is missing: a slice leaves out its end.",
        ),
        (
            _windowed(math.sqrt(query.shape[1]) * query, key, value, reach),
            "the scale is missing: here it is 1/sqrt(d).",
        ),
        (
            _windowed(query, key, value, max(0, reach - 1)),
            "the window is too narrow: the keys at distance `reach` belong to it.",
        ),
        (
            _weights(np.where(distance <= reach, scores, 0.0)) @ value,
            "a score of 0 is no exclusion: exp(0) = 1. What is the score of a weight 0?",
        ),
        (softmax_attention(query, key, value), "every token still sees all keys."),
        (near @ value, "each row is a sum, not yet a mean: where is the denominator?"),
    ]


@marks
def check_tokens_that_fit(function: Function) -> str:
    """Mark `function(memory, heads, number_bytes)`: the most tokens whose matrices fit.

    One n x n matrix for every head. Exercise of chapter attention_as_a_kernel_sum.
    """
    for memory, heads, number_bytes in [
        (80 * 10**9, 16, 2),
        (16 * 10**9, 12, 4),
        (10**6, 1, 8),
        (10**9, 1, 4),
    ]:
        answer = number_of(answer_of(function, memory, heads, number_bytes))
        exact = math.sqrt(memory / (heads * number_bytes))
        mistakes: Mistakes = [
            (exact**2, "that many pairs fit; how many tokens have so many pairs?"),
            (math.sqrt(memory / number_bytes), "every head has a matrix of its own."),
            (math.sqrt(memory / heads), "a number takes number_bytes bytes."),
            (
                math.sqrt(8 * memory / (heads * number_bytes)),
                "`number_bytes` counts bytes, not bits.",
            ),
            (exact / 2, "you make room for more than one matrix a head."),
            (exact, "tokens come whole: round down."),
            (math.floor(exact) + 1, "round down: with one token more it does not fit."),
        ]
        otherwise = (
            f"for {memory:,} bytes, {heads} heads and {number_bytes} bytes a number the "
            "matrices do not just fill the memory."
        )
        judge(answer, math.floor(exact), mistakes, otherwise)
    return "twice the memory buys only the square root of 2 times as many tokens."
