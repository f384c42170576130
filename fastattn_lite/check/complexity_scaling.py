"""The exercises of the chapter complexity_scaling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from fastattn_lite.check.marking import (
    Floats,
    Function,
    Mistakes,
    answer_of,
    array_of,
    judge,
    marks,
    number_of,
)
from fastattn_lite.complexity import crossover_tokens, time_crossover_tokens
from fastattn_lite.scaling import fit_power_law

USEFUL = [
    *[(1000, 8, 12.0), (4096, 64, 2.5), (65536, 32, 4.0), (1, 8, 2.0)],
    (3, 8, 2.0),  # order 0
    (190, 8, 4.0),  # where R without the column of ones would say one order more
    (10**6, 16, 1.5),  # a high order
]
"""Tokens, dimension and ratio of the rates, for the largest useful order."""


@marks
def check_slope_interval(function: Function) -> str:
    """Mark `function(tokens, values)`: slope, low and high end of its 95 % interval.

    Exercise of chapter complexity_scaling.
    """
    random = np.random.default_rng(0)
    for count, power in [(5, 2.0), (4, 1.0), (7, 0.3)]:
        tokens: Floats = np.exp2(np.arange(6, 6 + count, dtype=np.float64))
        noise = np.exp(random.normal(scale=0.1, size=count))
        values: Floats = 1e-6 * tokens**power * noise
        answer = array_of(answer_of(function, tokens, values), (3,))
        law = fit_power_law(tokens.tolist(), values.tolist())
        exact = np.array([law.exponent, law.low, law.high])
        otherwise = (
            f"for {count} points your slope is {answer[0]:.3f} with the interval "
            f"{answer[1]:.3f} to {answer[2]:.3f}. Go through the two equations step by step."
        )
        if abs(answer[0] - exact[0]) < 1e-9:
            otherwise = (
                "the slope is right, the interval is not. What stands under the root, is the root "
                "taken, and which quantile stands before it?"
            )
        judge(answer, exact, _slope_mistakes(tokens, values, exact), otherwise)
    return "slope and interval are those of the line of least squares."


def _slope_mistakes(tokens: Floats, values: Floats, exact: Floats) -> Mistakes:
    count, slope = len(tokens), exact[0]
    error = (exact[2] - slope) / stats.t.ppf(0.975, count - 2)

    def interval(factor: float) -> Floats:
        return slope + np.array([0, -factor, factor]) * error

    plain: Any = stats.linregress(tokens, values)
    reach = float(stats.t.ppf(0.975, count - 2)) * float(plain.stderr)
    raw = float(plain.slope) + np.array([0, -reach, reach])

    def divided(by: int) -> Floats:
        return interval(float(stats.t.ppf(0.975, count - 2)) * math.sqrt((count - 2) / by))

    normal = (
        "1.96 is the quantile of the normal law, as if the scatter were known exactly. With few "
        "points Student's law is wider."
    )
    used = "a line through the points has already used up two of them: divide by H - 2."
    free = "which Student's law? The degrees of freedom are what you divide by."
    return [
        (raw, "you fitted the numbers themselves; a power is a straight line in the logarithms."),
        (exact[[0, 2, 1]], "the lower end comes before the upper end."),
        (interval(float(stats.norm.ppf(0.975))), normal),
        (interval(1.96), normal),
        (interval(float(stats.t.ppf(0.975, count))), free),
        (interval(float(stats.t.ppf(0.975, count - 1))), free),
        (
            interval(float(stats.t.ppf(0.95, count - 2))),
            "with the quantile 0.95 each tail keeps 5 %. Both together may keep 5 %.",
        ),
        (divided(by=count), used),
        (divided(by=count - 1), used),
        (interval(1), "that is the standard error; the quantile of Student's law is missing."),
    ]


@marks
def check_time_crossover(function: Function) -> str:
    """Mark `function(dim, order, direct_rate, fast_rate, fixed)`: the crossover in time.

    The dimension of the values is that of the keys; `fixed` is the longer fixed time of the fast
    form. Exercise of chapter complexity_scaling.
    """
    for dim, order, direct, fast, fixed in [
        (64, 2, 1e10, 1e10, 0.0),
        (64, 2, 4e10, 1e10, 1e-3),
        (32, 1, 1e13, 2e13, 5e-5),
        (16, 3, 2e12, 1e12, 2e-5),
    ]:
        answer = number_of(answer_of(function, dim, order, direct, fast, fixed))
        exact = time_crossover_tokens(dim, order, direct_rate=direct, fast_rate=fast, fixed=fixed)
        otherwise = (
            f"for d = {dim}, order {order}, rates {direct:g} and {fast:g} and {fixed:g} s more "
            f"fixed time the two times differ at your n = {answer:,.0f}. Write down both times, "
            "set them equal, and solve for n."
        )
        mistakes = _crossover_mistakes(dim, order, direct, fast, fixed)
        judge(answer, exact, mistakes, otherwise, within=1)  # rounded up or down, or not at all
    return "both forms take the same time there, for all rates and fixed times tried."


def _crossover_mistakes(dim: int, order: int, direct: float, fast: float, fixed: float) -> Mistakes:
    def at(slow: float, quick: float, more: float) -> float:
        return time_crossover_tokens(dim, order, direct_rate=slow, fast_rate=quick, fixed=more)

    start = at(direct, fast, 0)
    return [
        (at(fast, direct, fixed), "the rates stand the wrong way round."),
        (
            at(fast, direct, 0),
            "the rates stand the wrong way round, and the fixed time is missing.",
        ),
        (crossover_tokens(dim, order), "that is where the counts are equal, not the times."),
        (start, "the fixed time is missing."),
        (
            at(direct * dim / (dim + 1), fast, fixed * (dim + 1) / dim),
            "the moments have one column more: the ones.",
        ),
        (
            start + fixed * direct / (4 * dim),
            "you added the fixed time as if the equation were linear; it has an n squared.",
        ),
        (
            2 * at(direct, fast, fixed),
            "twice too large: a direct sum has two products of matrices, and so has the fast form.",
        ),
    ]


@marks
def check_useful_order(function: Function) -> str:
    """Mark `function(tokens, dim, rate_ratio)`: the largest order that is faster than softmax.

    `rate_ratio` is the rate of the direct form over that of the fast form; no fixed times. -1
    where even order 0 is slower. Exercise of chapter complexity_scaling.
    """
    for tokens, dim, ratio in USEFUL:
        answer = number_of(answer_of(function, tokens, dim, ratio))
        exact = _useful_order(tokens, dim, ratio)
        mistakes: Mistakes = [
            (0 if exact == -1 else math.nan, "not even order 0 pays there: return -1."),
            (_useful_order(tokens, dim, 1.0), "the rates do not come into your answer."),
            (_useful_order(tokens, dim, 1 / ratio), "the ratio stands the wrong way round."),
            (exact + 1, f"order {exact + 1} is slower there: stop before it."),
            (-1, "order 0 pays there already: begin with it."),
        ]
        otherwise = (
            f"for n = {tokens:,}, d = {dim} and a ratio of {ratio:g} order {answer:g} is not the "
            "largest useful one. Raise the order as long as its crossover in time stays below n."
        )
        judge(answer, exact, mistakes, otherwise)
    return "that order is still faster than softmax, and the next one is not."


def _useful_order(tokens: int, dim: int, ratio: float) -> int:
    order = -1
    while crossover_tokens(dim, order + 1) * ratio < tokens:
        order += 1
    return order
