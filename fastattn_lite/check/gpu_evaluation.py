"""The exercises of the chapter gpu_evaluation."""

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
    small_tokens,
)
from fastattn_lite.complexity import moment_numbers
from fastattn_lite.factorization import number_of_features
from fastattn_lite.roofline import step_work

ONES = "the moments have one column more: the ones."
TWO_FLOPS = "a multiplication and an addition are two flops."
WHOLE = "do not round: the check compares all digits."


@marks
def check_intensity(function: Function) -> str:
    """Mark `function(tokens, dim, order, number_bytes, is_stored)`: flops a byte of one step.

    The values have `dim` numbers, the moments are float32. Exercise of chapter gpu_evaluation.
    """
    for case in [(4096, 64, 2, 2, False), (512, 16, 3, 4, True), (100, 8, 1, 2, True)]:
        tokens, dim, order, size, is_stored = case
        work = step_work(tokens, dim, order, number_bytes=size, is_stored=is_stored)
        moments, features = 4 * moment_numbers(dim, order), number_of_features(dim, order)
        flops, traffic, once = work.flops, work.bytes, size * tokens * features
        mistakes: Mistakes = [
            (flops / (traffic - once), "stored features pass twice: written, and read again."),
            (flops / (traffic - moments), "where are the bytes of the moments?"),
            (
                flops / (traffic - moments + moments / 4 * size),
                "the moments are float32 numbers, whatever the tokens are.",
            ),
            (flops / (traffic - size * tokens * dim), "two lists a token pass, not one."),
            (flops / 2 / traffic, TWO_FLOPS),
            (2 * flops / traffic, "these are the flops of both steps, with the bytes of one."),
            (flops * dim / (dim + 1) / traffic, ONES),
            (flops * dim / (dim + 1) / (traffic - 4 * features), ONES),
            (traffic / flops, "these are bytes a flop, the other way round."),
        ]
        otherwise = (
            f"for {tokens} tokens, dim {dim}, order {order}, {size} bytes a number, stored "
            f"{is_stored}: count the flops and the bytes apart and divide."
        )
        judge(number_of(answer_of(function, *case)), work.intensity, mistakes, otherwise)
    return "flops over bytes, for features in memory and for features that never leave the chip."


@marks
def check_row_states(function: Function) -> str:
    """Mark `function(key, value, block)`: S_0 = sum_j k_j v_j^T and S_r = sum_j k_jr k_j v_j^T.

    The result has the shape (d + 1, d, d_v); no table may have n x d^2 numbers. Exercise of
    chapter gpu_evaluation.
    """
    for seed, (tokens, dim, width, block) in enumerate(
        [(12, 3, 2, 4), (11, 5, 3, 4), (3, 2, 2, 8)]
    ):
        _, key, value = small_tokens(seed, tokens, dim, width)
        answer = array_of(answer_of(function, key, value, block), (dim + 1, dim, width))
        otherwise = (
            f"for {tokens} tokens in blocks of {block} the states are not the sums. Does the last "
            "block, which may be shorter, work? Does row 0 come first?"
        )
        judge(answer, _states(key, value), _state_mistakes(key, value, block), otherwise)
    tokens, dim = 2000, 16
    _, key, value = small_tokens(3, tokens, dim, dim)
    if peak_bytes(function, key, value, 64) > 4 * tokens * dim**2:
        raise NotYetError(
            "the states are right, but on the way you stored n x d^2 numbers. Multiply one block "
            "by one row, add, and forget it."
        )
    return "every row is the right sum, and no table of products is stored."


def _states(key: Floats, value: Floats) -> Floats:
    rows = np.column_stack([np.ones(len(key)), key])
    return np.einsum("jr,jc,je->rce", rows, key, value)


def _state_mistakes(key: Floats, value: Floats, block: int) -> Mistakes:
    right, whole = _states(key, value), len(key) - len(key) % block
    halved = right * np.where(np.arange(len(right)) > 0, 0.5, 1)[:, None, None]
    return [
        (np.roll(right, -1, axis=0), "row 0 stands last: it belongs to the front."),
        (halved, "the sums come without the factor 1/2; it is used when they are evaluated."),
        (
            _states(key[:whole], value[:whole]),
            "the last block, which may be shorter, is missing.",
        ),
        (
            np.concatenate([np.zeros_like(right[:1]), right[1:]]),
            "row 0 is empty: it takes the key times 1.",
        ),
    ]


@marks
def check_ridge_tokens(function: Function) -> str:
    """Mark `function(dim, order, number_bytes, ridge)`: from how many tokens arithmetic bounds.

    That is the number of tokens, not rounded, at which a fused step has the intensity of the
    ridge, for values of `dim` numbers. Exercise of chapter gpu_evaluation.
    """
    for dim, order, size, ridge in [(64, 2, 2, 295.0), (32, 2, 2, 100.0), (16, 3, 4, 9.0)]:
        moments = moment_numbers(dim, order)
        gained, spent = 2 * moments, 2 * dim * size * ridge
        exact = 4 * moments * ridge / (gained - spent)
        bare = gained * dim / (dim + 1)
        mistakes: Mistakes = [
            (math.ceil(exact), WHOLE),
            (math.floor(exact), WHOLE),
            (2 * bare * ridge / (bare - spent), ONES),
            (4 * moments * ridge / (moments - spent), TWO_FLOPS),
            (4 * moments * ridge / gained, "the tokens themselves must be read as well."),
            (size * moments * ridge / (gained - spent), "the moments are float32 numbers."),
            (
                4 * moments * ridge / (gained - spent / 2),
                "of each token two lists pass: the key and the value.",
            ),
            (
                4 * moments * ridge / (2 * gained - spent),
                "one step does 2 n R (d_v + 1) flops; twice that are both.",
            ),
        ]
        otherwise = (
            f"for dim {dim}, order {order}, {size} bytes and a ridge of {ridge:g} flops a byte "
            "the intensity at your answer is not the ridge. Write flops = ridge x bytes and solve."
        )
        judge(number_of(answer_of(function, dim, order, size, ridge)), exact, mistakes, otherwise)
    return "with more tokens than that, faster arithmetic helps and faster memory does not."
