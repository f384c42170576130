"""The exercises of the chapter moment_accumulation."""

from __future__ import annotations

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
    small_tokens,
)
from fastattn_lite.complexity import cache_crossover_tokens
from fastattn_lite.expansion import taylor
from fastattn_lite.factorization import number_of_features
from fastattn_lite.reference import kernel_attention


@marks
def check_chunked_outputs(function: Function) -> str:
    """Mark `function(query, key, value, chunk_size)`: causal attention with f(s) = 1 + s.

    The score is s = q . k; no table may have n x n numbers. Exercise of chapter
    moment_accumulation.
    """
    for seed, (tokens, dim, value_dim, size) in enumerate(
        [(12, 3, 2, 4), (11, 5, 3, 4), (7, 1, 2, 1), (6, 2, 3, 10)]
    ):
        query, key, value = small_tokens(seed, tokens, dim, value_dim)
        answer = array_of(answer_of(function, query, key, value, size), (tokens, value_dim))
        exact = kernel_attention(query, key, value, expansion=taylor(1), scale=1.0, is_causal=True)
        otherwise = (
            f"for {tokens} tokens in chunks of {size} the outputs are not those of the weights "
            "1 + q_i . k_j over j <= i. Does the last chunk, which may be shorter, work?"
        )
        judge(answer, exact, _chunk_mistakes(query, key, value, size), otherwise)
    tokens = 1500
    if peak_bytes(function, *small_tokens(4, tokens, 4, 4), 50) > 4 * tokens**2:
        raise NotYetError(
            "the outputs are right, but on the way you stored n x n numbers. Only pairs within "
            "one chunk may meet."
        )
    return "every chunk meets its prefix and itself, and the memory grows with n."


def _chunk_mistakes(query: Floats, key: Floats, value: Floats, size: int) -> Mistakes:
    kernel, place = 1 + query @ key.T, np.arange(len(key))
    before, same_chunk = place[:, None] >= place, place[:, None] // size == place // size
    seen = [
        (kernel > 0, "these are the outputs without a causal mask: the future takes part."),
        (before | same_chunk, "within a chunk each token still sees the later ones."),
        (before & same_chunk, "only the chunk itself counts: the earlier chunks are missing."),
        (
            1.0 * before + same_chunk,
            "the chunk counts twice: use the moments for it before you add it to them.",
        ),
    ]
    causal = kernel * before
    return [
        *((_mean(kernel * mask, value), hint) for mask, hint in seen),
        (
            _mean(causal + (same_chunk & ~before), value),
            "the mask must take the whole of 1 + s from later tokens, not s alone.",
        ),
        (causal @ value, "each row is a sum, not yet a mean: where is the denominator?"),
    ]


def _mean(weights: Floats, value: Floats) -> Floats:
    return weights @ value / weights.sum(axis=1, keepdims=True)


@marks
def check_compensated_sum(function: Function) -> str:
    """Mark `function(numbers)`: the compensated sum of float32 numbers, in float32.

    Exercise of chapter moment_accumulation.
    """
    random = np.random.default_rng(0).uniform(0.5, 1, 20_000).astype(np.float32)
    large_first = np.concatenate([[2.0**24], np.ones(1000)]).astype(np.float32)
    for numbers in (np.array([1, 2, 4], dtype=np.float32), random, large_first):
        answer = answer_of(function, numbers)
        found, exact = number_of(answer), float(np.sum(numbers, dtype=np.float64))
        if str(getattr(answer, "dtype", "")).removeprefix("torch.") != "float32":
            raise NotYetError(
                "your result is no float32 number: all arithmetic must stay in float32. Start "
                "from np.float32(0)."
            )
        mistakes: Mistakes = [
            (
                float(np.cumsum(numbers)[-1]),
                "this is the plain sum, one after another: the lost digits stay lost.",
            ),
            (
                float(np.sum(numbers)),
                "this is np.sum, which adds in pairs: better, but small numbers that meet a large "
                "one are still lost.",
            ),
        ]
        otherwise = (
            f"the sum of {len(numbers):,} numbers is off by {abs(found - exact):.3g}, which is "
            "more than the last digit. Mind the sign of the correction."
        )
        last_digit = float(np.spacing(np.float32(exact)))
        judge(found, exact, mistakes, otherwise, within=last_digit, nearly=0.0)
    return "the round-off is that of the last digit, however many numbers you add."


@marks
def check_cache_crossover(function: Function) -> str:
    """Mark `function(dim, order, cache_bytes, moment_bytes)`: where cache and moments are equal.

    The dimension of the values is that of the keys. Exercise of chapter moment_accumulation.
    """
    for dim, order, cache, moment in [(64, 2, 4, 4), (64, 2, 2, 4), (128, 1, 2, 4), (8, 3, 1, 2)]:
        answer = number_of(answer_of(function, dim, order, cache, moment))
        exact = cache_crossover_tokens(dim, order, cache_bytes=cache, moment_bytes=moment)
        features = number_of_features(dim, order)
        mistakes: Mistakes = [
            (exact * (cache / moment) ** 2, "the bytes stand the wrong way round."),
            (exact * cache / moment, "the numbers are equal there, but not their bytes."),
            (exact * dim / (dim + 1), "the moments have one column more: the column of ones."),
            (2 * exact, "a cache holds the keys and the values."),
            (features, "that is the number of features; compare the bytes of the two."),
        ]
        otherwise = (
            f"for dim = {dim}, order = {order}, {cache} and {moment} bytes a number the two do "
            "not have the same size at your answer. Write each size in bytes and divide."
        )
        judge(answer, exact, mistakes, otherwise, within=1.0)
    return "from that many tokens on, the moments are smaller."
