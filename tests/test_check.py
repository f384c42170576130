"""Every exercise check against the right answer and against wrong ones, each with its own hint."""

# ruff: noqa: ARG001, ARG005 - a wrong answer may well ignore its inputs

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from fastattn_lite import (
    Expansion,
    chebyshev,
    kernel_attention,
    minimax,
    monomial_features,
    number_of_features,
    order_for,
    softmax_attention,
    taylor,
)
from fastattn_lite.check import (
    CheckResult,
    check_best_cells,
    check_best_shift,
    check_cache_crossover,
    check_chunked_outputs,
    check_compensated_sum,
    check_crossover,
    check_equal,
    check_farthest,
    check_features_needed,
    check_fitted_expansion,
    check_intensity,
    check_keys_in_chunks,
    check_largest_order,
    check_monomials,
    check_moved_moments,
    check_multiplicity,
    check_order_for_full_rank,
    check_order_one_attention,
    check_rescaled,
    check_ridge_tokens,
    check_row_states,
    check_rows_of_matrix,
    check_saving,
    check_score_gradient,
    check_sharpest_weight,
    check_slope_interval,
    check_stable_weights,
    check_time_crossover,
    check_tokens_that_fit,
    check_truncated_exp,
    check_useful_order,
    check_value_gradient,
    check_weight_distance,
    check_window_attention,
    show_source,
)


def crossover(dim, order):
    return math.comb(dim + order, order) * (dim + 1) / dim


def order_one_attention(query, key, value):
    ones = np.ones((len(value), 1))
    extended = np.concatenate([value, ones], axis=1)
    sums = extended.sum(axis=0) + query @ (key.T @ extended)
    return sums[:, :-1] / sums[:, -1:]


def multiplicity(powers):
    return math.factorial(sum(powers)) // math.prod(map(math.factorial, powers))


def monomials(x, order):
    block, listed = [(len(x), 1.0)], [1.0]
    for _ in range(order):
        block = [(i, x[i] * rest) for i in range(len(x)) for first, rest in block if first >= i]
        listed += [product for _, product in block]
    return listed


def ordered_products(x, order):
    degrees = range(order + 1)
    return [math.prod(c) for degree in degrees for c in itertools.product(x, repeat=degree)]


def monomials_from_scratch(x, order):
    degrees, choose = range(order + 1), itertools.combinations_with_replacement
    return [math.prod(chosen) for degree in degrees for chosen in choose(x, degree)]


def rescaled(coefficients, factor):
    return [a / factor ** (2 * degree) for degree, a in enumerate(coefficients)]


def largest_order(dim, tokens, gibibytes, count=number_of_features, size=4):
    order = 0
    while size * tokens * count(dim, order + 1) <= gibibytes * 2**30:
        order += 1
    return order


def score_gradient(scores, value, upstream, slope=lambda s: 1 + s, divides=True, moves=True):
    kernel = 1 + scores + scores**2 / 2
    normalizer = kernel.sum(axis=1, keepdims=True)
    inner = np.sum(upstream * (kernel @ value / normalizer), axis=1, keepdims=True)
    toward = upstream @ value.T - (inner if moves else 0)
    return slope(scores) * toward / (normalizer if divides else 1)


def value_gradient(query, key, upstream):
    rows = upstream / (len(key) + query @ key.sum(axis=0))[:, None]
    return rows.sum(axis=0) + key @ (query.T @ rows)


def direct_value_gradient(query, key, upstream):
    kernel = 1 + query @ key.T
    return kernel.T @ (upstream / kernel.sum(1)[:, None])


def saving(dim, order):
    return 2 * math.comb(dim + order, order) / (4 * dim + 1)


def truncated_exp(x, order):
    return sum(x**power / math.factorial(power) for power in range(order + 1)) + 0 * x


def weights(kernel):
    return kernel / kernel.sum()


def weight_gap(scores, expansion):
    return weights(expansion(scores)) - weights(np.exp(scores))


def weight_distance(scores, expansion):
    return np.abs(weight_gap(scores, expansion)).sum() / 2


def best_shift(keys):
    return (np.max(keys) + np.min(keys)) / 2


def fitted_expansion(scores, tolerance):
    radius = float(np.max(np.abs(scores)))
    return minimax(order_for(tolerance, radius=radius), radius=radius)


def features_needed(radius, tolerance, dim):
    return [
        number_of_features(dim, order_for(tolerance, radius=radius, family=family))
        for family in ("taylor", "minimax")
    ]


def moved_moments(moments, shift, choose=math.comb):
    return [
        sum(choose(p, m) * shift ** (p - m) * moments[m] for m in range(p + 1))
        for p in range(len(moments))
    ]


def farthest(points, count, measure=np.min):
    chosen = [0]
    while len(chosen) < count:
        distance = np.linalg.norm(points[:, None] - points[chosen], axis=-1)
        distance = measure(distance, axis=1)
        distance[chosen] = -1
        chosen.append(int(np.argmax(distance)))
    return chosen


def from_the_first(points, count):
    order = np.argsort(-np.linalg.norm(points - points[0], axis=1))
    return [0, *order[: count - 1]]


def from_the_last(points, count):
    chosen = [0]
    while len(chosen) < count:
        distance = np.linalg.norm(points - points[chosen[-1]], axis=1)
        distance[chosen] = -1
        chosen.append(int(np.argmax(distance)))
    return chosen


def best_cells(n, order):
    return math.sqrt(3 * n / (order + 1))


def chunked_outputs(query, key, value, chunk_size, mask=lambda s: np.tril(1 + s)):
    extended = np.concatenate([value, np.ones((len(value), 1))], axis=1)
    count, moments, rows = np.zeros(extended.shape[1]), np.zeros((key.shape[1], 1)), []
    for start in range(0, len(key), chunk_size):
        part = slice(start, start + chunk_size)
        own = mask(query[part] @ key[part].T) @ extended[part]
        sums = own + count + query[part] @ moments
        rows.append(sums[:, :-1] / sums[:, -1:])
        count = count + extended[part].sum(axis=0)
        moments = moments + key[part].T @ extended[part]
    return np.concatenate(rows)


def causal_mean(query, key, value, mask):
    weights = (1 + query @ key.T) * mask(len(key))
    return weights @ value / weights.sum(axis=1, keepdims=True)


def compensated_sum(numbers, sign=1):
    total = correction = np.float32(0)
    for number in numbers:
        addend = number - correction
        raised = total + addend
        correction = sign * ((raised - total) - addend)
        total = raised
    return total


def cache_crossover(dim, order, cache_bytes, moment_bytes):
    return math.comb(dim + order, order) * (dim + 1) * moment_bytes / (2 * dim * cache_bytes)


def stable_weights(scores):
    kernel = np.exp(scores - scores.max(1)[:, None])
    return kernel / kernel.sum(1)[:, None]


def raw_weights(scores):
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def in_chunks(query, key, value, size):
    """Sum over chunks of keys, with a running maximum."""
    with_one = np.column_stack([value, np.ones(len(value))])
    top, sums = np.full((len(query), 1), -np.inf), 0.0
    for c in range(0, len(key), size):
        scores = query @ key[c : c + size].T / math.sqrt(query.shape[1])
        new = np.maximum(top, scores.max(1, keepdims=True))
        sums = sums * np.exp(top - new) + np.exp(scores - new) @ with_one[c : c + size]
        top = new
    return sums[:, :-1] / sums[:, -1:]


def in_chunks_without_shift(query, key, value, size):
    above, below = 0.0, 0.0
    for c in range(0, len(key), size):
        kernel = np.exp(query @ key[c : c + size].T / math.sqrt(query.shape[1]))
        above, below = above + kernel @ value[c : c + size], below + kernel.sum(1)
    return above / below[:, None]


def in_chunks_each_with_its_own_shift(query, key, value, size):
    above, below = 0.0, 0.0
    for c in range(0, len(key), size):
        scores = query @ key[c : c + size].T / math.sqrt(query.shape[1])
        kernel = np.exp(scores - scores.max(1, keepdims=True))
        above, below = above + kernel @ value[c : c + size], below + kernel.sum(1)
    return above / below[:, None]


def chunk_outputs(query, key, value, size):
    parts = (slice(c, c + size) for c in range(0, len(key), size))
    return [softmax_attention(query, key[part], value[part]) for part in parts]


def without_the_rest(query, key, value, size):
    whole = max(len(key) // size * size, 1)
    return softmax_attention(query, key[:whole], value[:whole])


def window_weights(query, key, reach, excluded=-np.inf):
    place = np.arange(len(key))
    scores = query @ key.T / math.sqrt(query.shape[1])
    return np.where(np.abs(place[:, None] - place) <= reach, scores, excluded)


def window_attention(query, key, value, reach):
    return raw_weights(window_weights(query, key, reach)) @ value


def window_by_slices(query, key, value, reach, start=0, end=1):
    """Visit the slice of every token; it may begin too early or end too late."""
    rows = []
    for i in range(len(query)):
        seen = slice(max(start, i - reach), i + reach + end)
        kernel = np.exp(key[seen] @ query[i] / math.sqrt(query.shape[1]))
        rows.append(kernel @ value[seen] / kernel.sum())
    return rows


def window_over_all(query, key, value, reach):
    total = np.exp(window_weights(query, key, len(key))).sum(1, keepdims=True)
    return np.exp(window_weights(query, key, reach)) / total @ value


def tokens_that_fit(memory, heads, number_bytes):
    return math.isqrt(memory // (heads * number_bytes))


def rows_of_matrix(query, key, order, rows):
    kernel = taylor(order)(query[rows] @ key.T)
    return kernel / kernel.sum(axis=1, keepdims=True)


def whole_matrix(query, key, order):
    return rows_of_matrix(query, key, order, np.arange(len(query)))


def whole_in_torch(query, key, order):
    return shares(taylor(order)(torch.tensor(query) @ torch.tensor(key).T))


def shares(kernel):
    return kernel / kernel.sum(1)[:, None]


def order_for_full_rank(tokens, dim):
    return next(order for order in itertools.count() if math.comb(dim + order, order) >= tokens)


def order_of_the_full_basis(tokens, dim):
    orders = itertools.count()
    return next(p for p in orders if sum(dim**degree for degree in range(p + 1)) >= tokens)


def sharpest_weight(tokens, radius, order, *, others=1, least=None, points=100_001):
    values = taylor(order)(np.linspace(-radius, radius, points))
    ratio = values.max() / (values.min() if least is None else least(radius, order))
    return ratio / (ratio + tokens - others)


def slope_interval(n, y, quantile=0.975, law=stats.t.ppf, used=2, log=np.log, factor=1.0):
    x, y = log(n), log(y)
    slope, constant = np.polyfit(x, y, 1)
    rest = np.sum((y - slope * x - constant) ** 2) / (len(x) - used)
    error = math.sqrt(rest / np.sum((x - x.mean()) ** 2))
    reach = law(quantile, len(x) - 2) * error * factor
    return [slope, slope - reach, slope + reach]


def time_crossover(d, p, direct, fast, fixed):
    start = math.comb(d + p, p) * (d + 1) / d * direct / fast
    return start / 2 + math.sqrt(start**2 / 4 + fixed * direct / (4 * d))


def one_freer(quantile, freedom):
    return stats.t.ppf(quantile, freedom + 1)


def no_ones(n, k):
    """Return the number of features less what the column of ones adds to the moments."""
    d = n - k
    return math.comb(n, k) * d / (d + 1)


def useful_order(n, d, ratio, count=math.comb):
    order = -1
    while count(d + order + 1, order + 1) * (d + 1) / d * ratio < n:
        order += 1
    return order


def intensity(
    tokens, dim, order, size, is_stored, *, passes=2, moment=4, lists=2, column=1, ones=1
):
    features = math.comb(dim + order, order)
    flops = 2 * tokens * features * (dim + column)
    traffic = size * tokens * dim * lists + moment * features * (dim + ones)
    return flops / (traffic + is_stored * passes * size * tokens * features)


def row_states(key, value, block):
    states = np.zeros((key.shape[1] + 1, key.shape[1], value.shape[1]))
    for start in range(0, len(key), block):
        k, v = key[start : start + block], value[start : start + block]
        states[0] += k.T @ v
        for row in range(key.shape[1]):
            states[row + 1] += (k * k[:, [row]]).T @ v
    return states


def all_products(key, value, block):
    pairs = (key[:, :, None] * key[:, None, :]).reshape(len(key), -1)
    squares = (pairs.T @ value).reshape(key.shape[1], key.shape[1], -1)
    return np.concatenate([(key.T @ value)[None], squares])


def ridge_tokens(dim, order, size, ridge, *, moment=4, lists=2, steps=1, ones=1):
    moments = math.comb(dim + order, order) * (dim + ones)
    return moment * moments * ridge / (2 * steps * moments - lists * dim * size * ridge)


RIGHT = {
    check_rows_of_matrix: rows_of_matrix,
    check_order_for_full_rank: order_for_full_rank,
    check_sharpest_weight: sharpest_weight,
    check_moved_moments: moved_moments,
    check_farthest: farthest,
    check_best_cells: best_cells,
    check_slope_interval: slope_interval,
    check_time_crossover: time_crossover,
    check_useful_order: useful_order,
    check_intensity: intensity,
    check_row_states: row_states,
    check_ridge_tokens: ridge_tokens,
    check_cache_crossover: cache_crossover,
    check_chunked_outputs: chunked_outputs,
    check_compensated_sum: compensated_sum,
    check_stable_weights: stable_weights,
    check_keys_in_chunks: in_chunks,
    check_window_attention: window_attention,
    check_tokens_that_fit: tokens_that_fit,
    check_crossover: crossover,
    check_order_one_attention: order_one_attention,
    check_multiplicity: multiplicity,
    check_monomials: monomials,
    check_rescaled: rescaled,
    check_largest_order: largest_order,
    check_score_gradient: score_gradient,
    check_value_gradient: value_gradient,
    check_saving: saving,
    check_truncated_exp: truncated_exp,
    check_weight_distance: weight_distance,
    check_best_shift: best_shift,
    check_fitted_expansion: fitted_expansion,
    check_features_needed: features_needed,
}


def full_scores(query, key, value):
    return kernel_attention(query, key, value, expansion=taylor(1), scale=1.0)


def fitted(make=minimax, *, radius=None, order=None, more=0):
    """Return an answer to the fitting exercise that goes wrong in one respect."""

    def answer(scores, tolerance):
        reach = float(np.max(np.abs(scores))) if radius is None else float(radius(scores))
        least = order_for(tolerance, radius=reach, family=make.__name__)
        return make(least + more if order is None else order, radius=reach)

    return answer


def same_chunk(size):
    return lambda n: np.arange(n)[:, None] // size == np.arange(n) // size


WRONG = [
    (check_rows_of_matrix, lambda q, k, p, r: taylor(p)(q[r] @ k.T), "denominator"),
    (
        check_rows_of_matrix,
        lambda q, k, p, r: raw_weights(q[r] @ k.T),
        "this is softmax",
    ),
    (check_rows_of_matrix, lambda q, k, p, r: whole_matrix(q, k, p).T[r], "columns"),
    (
        check_rows_of_matrix,
        lambda q, k, p, r: rows_of_matrix(q / math.sqrt(q.shape[1]), k, p, r),
        "not 1/sqrt(d)",
    ),
    (
        check_rows_of_matrix,
        lambda q, k, p, r: taylor(p)(q[r] @ k.T) / taylor(p)(q[r] @ k.T).sum(axis=0),
        "over the rows that were asked for",
    ),
    (check_rows_of_matrix, lambda q, k, p, r: whole_matrix(q, k, p)[r], "n x n numbers"),
    (check_rows_of_matrix, lambda q, k, p, r: whole_matrix(q, k, p + 1)[r], "over its sum"),
    (check_rows_of_matrix, lambda q, k, p, r: whole_matrix(q, k, p), "shape"),
    (check_rows_of_matrix, lambda q, k, p, r: whole_in_torch(q, k, p)[r], "n x n numbers"),
    (check_rows_of_matrix, lambda q, k, p, r: rows_of_matrix(k, q, p, r), "exchanged"),
    (
        check_rows_of_matrix,
        lambda q, k, p, r: shares(monomial_features(q[r], p) @ monomial_features(k, p).T),
        "has a weight",
    ),
    (check_order_for_full_rank, lambda n, d: math.comb(d + 3, 3), "give the order"),
    (check_order_for_full_rank, lambda n, d: order_for_full_rank(n, d) - 1, "fewer features"),
    (check_order_for_full_rank, lambda n, d: order_for_full_rank(n + 1, d), "smaller order"),
    (check_order_for_full_rank, lambda n, d: max(1, order_for_full_rank(n, d)), "order 0 counts"),
    (check_order_for_full_rank, order_of_the_full_basis, "each monomial once"),
    (check_order_for_full_rank, lambda n, d: math.log(n, d + 1), "the smallest order"),
    (
        check_sharpest_weight,
        lambda n, b, p: sharpest_weight(n, b, p, least=lambda b, p: taylor(p)(-b)),
        "turn up again",
    ),
    (check_sharpest_weight, lambda n, b, p: 1 / (1 + (n - 1) * math.exp(-2 * b)), "not of f"),
    (check_sharpest_weight, lambda n, b, p: sharpest_weight(n, b, p, others=0), "how many others"),
    (check_sharpest_weight, lambda n, b, p: 10.0, "share of the row"),
    (check_sharpest_weight, lambda n, b, p: 1 / (1 + (n - 1) * 10), "the smallest weight"),
    (check_sharpest_weight, lambda n, b, p: sharpest_weight(n, b, p, points=101), "finer grid"),
    (check_sharpest_weight, lambda n, b, p: 0.5, "the weight is another"),
    (check_moved_moments, lambda m, s: moved_moments(m, -s), "wrong sign"),
    (check_moved_moments, lambda m, s: moved_moments(m, s, lambda p, m: 1), "binomial"),
    (check_moved_moments, lambda m, s: m, "about the old centre"),
    (
        check_moved_moments,
        lambda m, s: m + s ** np.arange(len(m)) * m[0] * (np.arange(len(m)) > 0),
        "first and the last term",
    ),
    (check_moved_moments, lambda m, s: 2 * m, "Write out l = 1"),
    (check_moved_moments, lambda m, s: [*moved_moments(m, s)[:-1], 0, 0], "shape"),
    (check_farthest, from_the_first, "first centre alone"),
    (check_farthest, lambda x, c: farthest(x, c, np.sum), "add up the distances"),
    (check_farthest, from_the_last, "last centre alone"),
    (check_farthest, lambda x, c: sorted(farthest(x, c)), "another row is"),
    (check_farthest, lambda x, c: list(range(c)), "farthest from its nearest"),
    (check_farthest, lambda x, c: [0] * c, "chosen twice"),
    (check_farthest, lambda x, c: farthest(x, c)[::-1], "first row is not row 0"),
    (check_farthest, lambda x, c: x[farthest(x, c)], "shape"),
    (check_farthest, lambda x, c: np.array(farthest(x, c)) + 0.5, "whole and from 0"),
    (check_best_cells, lambda n, p: math.sqrt(3 * n / max(p, 0.5)), "p + 1 moments"),
    (check_best_cells, lambda n, p: math.sqrt(n / (p + 1)), "three cells"),
    (check_best_cells, lambda n, p: math.sqrt(n), "balances nothing"),
    (check_best_cells, lambda n, p: 3 * n / (p + 1), "take the root"),
    (check_best_cells, lambda n, p: 2 * n * math.sqrt(3 * n * (p + 1)), "number of operations"),
    (check_best_cells, lambda n, p: 1 / best_cells(n, p), "inverse"),
    (check_best_cells, lambda n, p: 7, "takes fewer"),
    (check_slope_interval, lambda n, y: slope_interval(n, y, log=np.asarray), "logarithms"),
    (check_slope_interval, lambda n, y: np.array(slope_interval(n, y))[[0, 2, 1]], "lower end"),
    (
        check_slope_interval,
        lambda n, y: slope_interval(n, y, law=lambda q, m: stats.norm.ppf(q)),
        "normal law",
    ),
    (check_slope_interval, lambda n, y: slope_interval(n, y, 0.95), "each tail"),
    (check_slope_interval, lambda n, y: slope_interval(n, y, used=0), "H - 2"),
    (
        check_slope_interval,
        lambda n, y: slope_interval(n, y, law=lambda q, m: 1.0),
        "standard error",
    ),
    (check_slope_interval, lambda n, y: slope_interval(n, y, factor=2), "the interval is not"),
    (check_slope_interval, lambda n, y: slope_interval(y, n), "step by step"),
    (check_slope_interval, lambda n, y: slope_interval(n, y)[:2], "shape"),
    (check_time_crossover, lambda d, p, a, b, t: time_crossover(d, p, b, a, t), "wrong way round"),
    (check_time_crossover, lambda d, p, a, b, t: time_crossover(d, p, b, a, 0), "wrong way round"),
    (check_time_crossover, lambda d, p, a, b, t: crossover(d, p), "counts are equal"),
    (check_time_crossover, lambda d, p, a, b, t: time_crossover(d, p, a, b, 0), "is missing"),
    (
        check_time_crossover,
        lambda d, p, a, b, t: time_crossover(d, p, a, b, 0) + t * a / (4 * d),
        "as if the equation were linear",
    ),
    (
        check_time_crossover,
        lambda d, p, a, b, t: 2 * time_crossover(d, p, a, b, t),
        "twice too large",
    ),
    (check_time_crossover, lambda d, p, a, b, t: 17.0, "solve for n"),
    (check_useful_order, lambda n, d, r: useful_order(n, d, r) + 1, "is slower there"),
    (check_useful_order, lambda n, d, r: useful_order(n, d, 1), "do not come into"),
    (check_useful_order, lambda n, d, r: useful_order(n, d, 1 / r), "wrong way round"),
    (check_useful_order, lambda n, d, r: 0, "Raise the order"),
    (check_useful_order, lambda n, d, r: useful_order(n, d, r, no_ones), "is slower there"),
    (check_useful_order, lambda n, d, r: max(0, useful_order(n, d, r)), "return -1"),
    (check_useful_order, lambda n, d, r: useful_order(n, d, r) or -1, "begin with it"),
    (check_useful_order, lambda n, d, r: min(3, useful_order(n, d, r)), "Raise the order"),
    (check_slope_interval, lambda n, y: slope_interval(n, y, law=lambda q, m: 1.96), "normal law"),
    (check_slope_interval, lambda n, y: slope_interval(n, y, used=1), "H - 2"),
    (check_slope_interval, lambda n, y: slope_interval(n, y, law=one_freer), "degrees of freedom"),
    (
        check_time_crossover,
        lambda d, p, a, b, t: time_crossover(d, p, a, b * (d + 1) / d, t),
        "the ones",
    ),
    (check_intensity, lambda *case: intensity(*case, column=0, ones=0), "the ones"),
    (check_ridge_tokens, lambda *case: ridge_tokens(*case, ones=0), "the ones"),
    (check_ridge_tokens, lambda *case: ridge_tokens(*case, steps=0.5), "two flops"),
    (check_ridge_tokens, lambda *case: math.ceil(ridge_tokens(*case)), "do not round"),
    (check_intensity, lambda *case: intensity(*case, passes=1), "read again"),
    (check_intensity, lambda *case: intensity(*case, moment=0), "bytes of the moments"),
    (check_intensity, lambda *case: intensity(*case, moment=case[3]), "float32"),
    (check_intensity, lambda *case: intensity(*case, lists=1), "two lists"),
    (check_intensity, lambda *case: intensity(*case) / 2, "two flops"),
    (check_intensity, lambda *case: intensity(*case) * 2, "both steps"),
    (check_intensity, lambda *case: intensity(*case, column=0), "the ones"),
    (check_intensity, lambda *case: 1 / intensity(*case), "other way round"),
    (check_intensity, lambda *case: 63.0, "flops and the bytes apart"),
    (check_row_states, lambda k, v, b: np.roll(row_states(k, v, b), -1, axis=0), "stands last"),
    (
        check_row_states,
        lambda k, v, b: np.concatenate([row_states(k, v, b)[:1], row_states(k, v, b)[1:] / 2]),
        "factor 1/2",
    ),
    (
        check_row_states,
        lambda k, v, b: row_states(k[: len(k) // b * b], v[: len(v) // b * b], b),
        "last block",
    ),
    (
        check_row_states,
        lambda k, v, b: np.concatenate([0 * row_states(k, v, b)[:1], row_states(k, v, b)[1:]]),
        "row 0 is empty",
    ),
    (check_row_states, all_products, "n x d^2"),
    (check_row_states, lambda k, v, b: row_states(k, v, b) + 1, "are not the sums"),
    (check_ridge_tokens, lambda *case: ridge_tokens(*case, lists=0), "must be read"),
    (check_ridge_tokens, lambda *case: ridge_tokens(*case, moment=case[2]), "float32"),
    (check_ridge_tokens, lambda *case: ridge_tokens(*case, lists=1), "key and the value"),
    (check_ridge_tokens, lambda *case: ridge_tokens(*case, steps=2), "are both"),
    (check_ridge_tokens, lambda *case: 17.0, "is not the ridge"),
    (check_cache_crossover, lambda d, p, c, m: cache_crossover(d, p, m, c), "wrong way round"),
    (check_cache_crossover, lambda d, p, c, m: cache_crossover(d, p, 1, 1), "not their bytes"),
    (check_cache_crossover, lambda d, p, c, m: math.comb(d + p, p) * m / (2 * c), "of ones"),
    (check_cache_crossover, lambda d, p, c, m: 2 * cache_crossover(d, p, c, m), "and the values"),
    (check_cache_crossover, lambda d, p, c, m: math.comb(d + p, p), "number of features"),
    (check_cache_crossover, lambda d, p, c, m: 17.0, "Write each size"),
    (check_chunked_outputs, lambda q, k, v, c: full_scores(q, k, v), "the future takes part"),
    (
        check_chunked_outputs,
        lambda q, k, v, c: causal_mean(
            q, k, v, lambda n: np.tri(n).astype(bool) | same_chunk(c)(n)
        ),
        "within a chunk",
    ),
    (
        check_chunked_outputs,
        lambda q, k, v, c: causal_mean(q, k, v, lambda n: np.tri(n) * same_chunk(c)(n)),
        "earlier chunks are missing",
    ),
    (
        check_chunked_outputs,
        lambda q, k, v, c: causal_mean(q, k, v, lambda n: np.tri(n) + same_chunk(c)(n)),
        "counts twice",
    ),
    (
        check_chunked_outputs,
        lambda q, k, v, c: chunked_outputs(q, k, v, c, mask=lambda s: 1 + np.tril(s)),
        "the whole of 1 + s",
    ),
    (check_chunked_outputs, lambda q, k, v, c: np.tril(1 + q @ k.T) @ v, "denominator"),
    (check_chunked_outputs, lambda q, k, v, c: causal_mean(q, k, v, np.tri), "n x n"),
    (check_chunked_outputs, lambda q, k, v, c: v, "chunks of 4"),
    (
        check_chunked_outputs,
        lambda q, k, v, c: chunked_outputs(q, k, v, c)[: len(q) // c * c],
        "shape",
    ),
    (check_compensated_sum, lambda x: np.cumsum(x)[-1], "lost digits"),
    (check_compensated_sum, lambda x: np.sum(x), "in pairs"),
    (check_compensated_sum, lambda x: float(np.sum(x, dtype=np.float64)), "stay in float32"),
    (check_compensated_sum, lambda x: compensated_sum(x, sign=-1), "sign of the correction"),
    (check_stable_weights, lambda s: stable_weights(s.T).T, "columns sum to 1"),
    (check_stable_weights, lambda s: np.exp(s) / np.exp(s).sum(), "each row should"),
    (check_stable_weights, np.exp, "these are the kernel values"),
    (check_stable_weights, lambda s: np.exp(s - s.max(1)[:, None]), "shifted kernel"),
    (check_stable_weights, lambda s: np.log(stable_weights(s)), "logarithms"),
    (check_stable_weights, lambda s: 0 * s, "in proportion"),
    (check_stable_weights, raw_weights, "overflow"),
    (check_stable_weights, lambda s: raw_weights(s - s.max()), "of its own"),
    (
        check_stable_weights,
        lambda s: raw_weights(s - np.maximum(s.max(1, keepdims=True), 0)),
        "of its own",
    ),
    (check_stable_weights, lambda s: raw_weights(s - s.mean(1, keepdims=True)), "at most 0"),
    (check_keys_in_chunks, lambda q, k, v, c: np.mean(chunk_outputs(q, k, v, c), 0), "average"),
    (check_keys_in_chunks, lambda q, k, v, c: np.sum(chunk_outputs(q, k, v, c), 0), "divide once"),
    (check_keys_in_chunks, lambda q, k, v, c: chunk_outputs(q, k, v, c)[-1], "last chunk is left"),
    (check_keys_in_chunks, without_the_rest, "shorter"),
    (
        check_keys_in_chunks,
        lambda q, k, v, c: in_chunks(q * math.sqrt(3), k, v, c),
        "scale is missing",
    ),
    (check_keys_in_chunks, in_chunks_without_shift, "overflow"),
    (check_keys_in_chunks, in_chunks_each_with_its_own_shift, "shifts that differ"),
    (check_keys_in_chunks, lambda q, k, v, c: softmax_attention(q, k, v), "n x n"),
    (check_keys_in_chunks, lambda q, k, v, c: v, "not those of"),
    (check_window_attention, window_over_all, "sum over all keys"),
    (
        check_window_attention,
        lambda q, k, v, r: (
            np.tril(np.exp(window_weights(q, k, r)))
            @ v
            / np.tril(np.exp(window_weights(q, k, r))).sum(1, keepdims=True)
        ),
        "after the token",
    ),
    (
        check_window_attention,
        lambda q, k, v, r: window_attention(q, k, v, max(r - 1, 0)),
        "too narrow",
    ),
    (
        check_window_attention,
        lambda q, k, v, r: raw_weights(window_weights(q, k, r, 0.0)) @ v,
        "no exclusion",
    ),
    (check_window_attention, lambda q, k, v, r: softmax_attention(q, k, v), "still sees"),
    (
        check_window_attention,
        lambda q, k, v, r: np.exp(window_weights(q, k, r)) @ v,
        "denominator",
    ),
    (check_window_attention, lambda q, k, v, r: v + 1, "means over the keys"),
    (
        check_window_attention,
        lambda q, k, v, r: window_by_slices(q, k, v, r, end=0),
        "leaves out its end",
    ),
    (
        check_window_attention,
        lambda q, k, v, r: window_by_slices(q, k, v, r, start=-9),
        "is a slice empty",
    ),
    (
        check_window_attention,
        lambda q, k, v, r: window_attention(q * math.sqrt(3), k, v, r),
        "scale is missing",
    ),
    (check_tokens_that_fit, lambda m, h, b: m / (h * b), "pairs fit"),
    (check_tokens_that_fit, lambda m, h, b: math.sqrt(m / b), "every head"),
    (check_tokens_that_fit, lambda m, h, b: math.sqrt(m / h), "number_bytes bytes"),
    (check_tokens_that_fit, lambda m, h, b: math.sqrt(8 * m / (h * b)), "not bits"),
    (check_tokens_that_fit, lambda m, h, b: math.sqrt(m / (h * b)) / 2, "more than one matrix"),
    (check_tokens_that_fit, lambda m, h, b: tokens_that_fit(m, h, b) + 1, "round down"),
    (check_tokens_that_fit, lambda m, h, b: math.sqrt(m / (h * b)), "round down"),
    (check_tokens_that_fit, lambda m, h, b: 7, "just fill"),
    (check_crossover, lambda d, p: sum(d**i for i in range(p + 1)) * (d + 1) / d, "x_1 x_2"),
    (check_crossover, lambda d, p: math.comb(d + p, p), "column of ones"),
    (check_crossover, lambda d, p: 2 * crossover(d, p), "causal"),
    (check_crossover, lambda d, p: crossover(d, p) / 2, "two passes"),
    (check_crossover, lambda d, p: 2179, "dim = 32"),
    (check_crossover, lambda d, p: d, "Write each cost"),
    (check_order_one_attention, lambda q, k, v: softmax_attention(q, k, v, scale=1.0), "softmax"),
    (check_order_one_attention, lambda q, k, v: (1 + q @ k.T) @ v, "denominator"),
    (
        check_order_one_attention,
        lambda q, k, v: full_scores(q / math.sqrt(q.shape[1]), k, v),
        "no factor 1/sqrt(d)",
    ),
    (
        check_order_one_attention,
        lambda q, k, v: (q @ k.T) @ v / (q @ k.T).sum(1, keepdims=True),
        "degree 0",
    ),
    (check_order_one_attention, full_scores, "n x n"),
    (check_order_one_attention, lambda q, k, v: v, "weights 1 +"),
    (check_order_one_attention, lambda q, k, v: order_one_attention(q, k, v).T, "shape"),
    (check_multiplicity, lambda a: math.factorial(sum(a)), "also of equal ones"),
    (check_multiplicity, lambda a: math.prod(map(math.factorial, a)), "too little"),
    (check_multiplicity, lambda a: 1 / math.prod(map(math.factorial, a)), "for Taylor"),
    (check_multiplicity, lambda a: len(a) ** sum(a), "d^l"),
    (check_multiplicity, lambda a: 2 * len(a) - 2, "by hand"),
    (check_monomials, ordered_products, "every ordered product"),
    (check_monomials, lambda x, p: monomials(x, p)[1:], "constant 1"),
    (check_monomials, lambda x, p: sorted(monomials(x, p)), "not in graded-lexicographic"),
    (check_monomials, monomials_from_scratch, "Start from the degree below"),
    (check_monomials, lambda x, p: [2 * m for m in monomials(x, p)], "are wrong"),
    (check_monomials, lambda x, p: monomials(x, p + 1), "shape"),
    (check_rescaled, lambda a, c: [b / c**i for i, b in enumerate(a)], "square of the factor"),
    (check_rescaled, lambda a, c: [b * c ** (2 * i) for i, b in enumerate(a)], "wrong way round"),
    (check_rescaled, lambda a, c: [b / c**2 for b in a], "l factors q and l factors k"),
    (check_rescaled, lambda a, c: a, "old coefficients"),
    (check_rescaled, lambda a, c: [1.0] * len(a), "degree 1 alone"),
    (check_largest_order, lambda *inputs: largest_order(*inputs) + 1, "does not fit"),
    (
        check_largest_order,
        lambda *inputs: largest_order(*inputs, lambda d, p: sum(d**i for i in range(p + 1))),
        "every ordered product",
    ),
    (check_largest_order, lambda *inputs: largest_order(*inputs, size=1), "four bytes"),
    (check_largest_order, lambda d, n, g: largest_order(d, 1, g), "many tokens"),
    (check_largest_order, lambda d, n, g: largest_order(d, n, g * 1e9 / 2**30), "not 10^9"),
    (check_largest_order, lambda *inputs: 0, "not the largest"),
    (check_largest_order, lambda *inputs: 40, "needs more than there is"),
    (check_score_gradient, lambda *x: score_gradient(*x, moves=False), "where is o_i"),
    (check_score_gradient, lambda *x: score_gradient(*x, divides=False), "G_i is missing"),
    (
        check_score_gradient,
        lambda *x: score_gradient(*x, slope=lambda s: 1 + s + s**2 / 2),
        "its derivative belongs",
    ),
    (check_score_gradient, lambda *x: -score_gradient(*x), "sign is wrong"),
    (check_score_gradient, lambda s, v, g: s, "difference quotient"),
    (check_value_gradient, lambda q, k, g: (1 + k @ q.T) @ g, "denominators are missing"),
    (check_value_gradient, lambda q, k, g: value_gradient(q, k, g) - g.mean(), "Value j collects"),
    (
        check_value_gradient,
        lambda q, k, g: (1 + q @ k.T) @ (g / (1 + q @ k.T).sum(1, keepdims=True)),
        "wrong way round",
    ),
    (
        check_value_gradient,
        lambda q, k, g: (k @ q.T) @ (g / (1 + q @ k.T).sum(1, keepdims=True)),
        "feature 1",
    ),
    (
        check_value_gradient,
        lambda q, k, g: (1 + k @ q.T) @ g / (1 + k @ q.T).sum(1, keepdims=True),
        "its own denominator",
    ),
    (check_value_gradient, direct_value_gradient, "n x n"),
    (
        check_value_gradient,
        lambda *tokens: direct_value_gradient(*map(torch.tensor, tokens)),
        "n x n",
    ),
    (check_saving, lambda d, p: saving(d, p) / 2, "both have features"),
    (check_saving, lambda d, p: saving(d, p) * (4 * d + 1) / (4 * d), "one a token"),
    (check_saving, lambda d, p: saving(d, p) * (4 * d + 1) / (3 * d), "outputs and the denomin"),
    (check_saving, lambda d, p: saving(d, p) * (4 * d + 1) / (3 * d + 1), "outputs are kept"),
    (check_saving, lambda d, p: 1 / saving(d, p), "other way round"),
    (
        check_saving,
        lambda d, p: saving(d, p) * sum(d**degree for degree in range(p + 1)) / math.comb(d + p, p),
        "each monomial once",
    ),
    (check_saving, lambda d, p: d, "Count the numbers"),
    (check_truncated_exp, lambda x, p: np.exp(x), "exp itself"),
    (check_truncated_exp, lambda x, p: truncated_exp(x, p - 1), "early"),
    (check_truncated_exp, lambda x, p: truncated_exp(x, p + 1), "too far"),
    (check_truncated_exp, lambda x, p: sum(x**i for i in range(p + 1)), "x^l alone"),
    (check_truncated_exp, lambda x, p: truncated_exp(x, p) - 1, "first term"),
    (check_truncated_exp, lambda x, p: 1 + x + x**2 / 2, "early"),
    (check_truncated_exp, lambda x, p: truncated_exp(x, p)[:3], "shape"),
    (check_weight_distance, lambda s, f: np.abs(f(s) - np.exp(s)).sum() / 2, "kernels"),
    (check_weight_distance, lambda s, f: np.abs(weight_gap(s, f)).sum(), "twice"),
    (check_weight_distance, lambda s, f: weight_gap(s, f).sum() / 2, "cancel"),
    (check_weight_distance, lambda s, f: np.abs(weight_gap(s, f)).max(), "largest"),
    (check_weight_distance, lambda s, f: np.linalg.norm(weight_gap(s, f)), "Euclidean"),
    (check_weight_distance, lambda s, f: weight_distance(s, taylor(2)), "half the sum"),
    (check_best_shift, np.mean, "crowd"),
    (check_best_shift, np.median, "middle"),
    (check_best_shift, lambda k: -best_shift(k), "sign"),
    (check_best_shift, lambda k: np.ptp(k) / 2, "radius that remains"),
    (check_best_shift, lambda k: 0.0, "smaller radius"),
    (check_best_shift, lambda k: 3.75, "another c"),
    (check_fitted_expansion, fitted(radius=np.max), "Mind the negative"),
    (check_fitted_expansion, fitted(radius=lambda s: 4.0), "Fit the radius"),
    (check_fitted_expansion, fitted(order=1), "raise the order"),
    (check_fitted_expansion, fitted(make=taylor), "other coefficients"),
    (check_fitted_expansion, fitted(make=chebyshev), "chebyshev of order"),
    (check_fitted_expansion, fitted(more=1), "smaller order"),
    (check_fitted_expansion, lambda s, t: 3, "got a value of type int"),
    (check_features_needed, lambda b, t, d: features_needed(b, t, d)[::-1], "in this order"),
    (
        check_features_needed,
        lambda b, t, d: [order_for(t, radius=b, family=f) for f in ("taylor", "minimax")],
        "these are the orders",
    ),
    (
        check_features_needed,
        lambda b, t, d: [d ** order_for(t, radius=b, family=f) for f in ("taylor", "minimax")],
        "powers of d",
    ),
    (
        check_features_needed,
        lambda b, t, d: [number_of_features(d, p) for p in (13, 8)],
        "error of exp",
    ),
    (check_features_needed, lambda b, t, d: [1, 1], "smallest orders"),
]


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_a_right_answer_passes(check):
    result = check(RIGHT[check])
    assert result, result.hint
    assert repr(result).startswith("correct: ")


@pytest.mark.parametrize(("check", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_the_hint_that_helps(check, answer, hint):
    result = check(answer)
    assert not result
    assert isinstance(result, CheckResult)
    assert repr(result).startswith("not yet: ")
    assert hint in result.hint


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_the_listed_wrong_answers_get_at_least_three_different_hints(check):
    hints = {check_(answer).hint for check_, answer, _ in WRONG if check_ is check}
    assert len(hints) >= 3


def leave_the_session(*inputs):
    raise SystemExit


def recurse(*inputs):
    return recurse(*inputs)


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (None, "expected a function, got nothing"),
        (3.0, "expected a function, got a value of type float"),
        (lambda *inputs: None, "return"),
        (lambda *inputs: ..., "blank"),
        (lambda *inputs: "a word", "expected"),
        (lambda *inputs: np.ones((2, 3, 4)), "expected"),
        (lambda *inputs: {}, "expected"),
        (lambda: 1, "raised TypeError"),
        (lambda *inputs: 1 / 0, "raised ZeroDivisionError"),
        (leave_the_session, "raised SystemExit"),
        (recurse, "raised RecursionError"),
    ],
)
def test_a_broken_answer_never_raises(check, answer, hint):
    result = check(answer)
    assert not result
    assert hint in result.hint


WITH_ARRAYS = [
    check_moved_moments,
    check_rows_of_matrix,
    check_score_gradient,
    check_value_gradient,
    check_order_one_attention,
    check_stable_weights,
    check_window_attention,
    check_keys_in_chunks,
    check_truncated_exp,
    check_chunked_outputs,
]


@pytest.mark.parametrize("check", WITH_ARRAYS)
@pytest.mark.parametrize("form", [list, torch.tensor], ids=["list", "tensor"])
def test_a_right_answer_may_be_a_list_or_a_tensor(check, form):
    assert check(lambda *inputs: form(np.asarray(RIGHT[check](*inputs))))


@pytest.mark.parametrize("check", WITH_ARRAYS)
def test_a_tensor_that_records_gradients_is_an_answer_too(check):
    def answer(*inputs):
        return torch.tensor(np.asarray(RIGHT[check](*inputs)), requires_grad=True)

    assert check(answer)


@pytest.mark.parametrize("check", WITH_ARRAYS)
def test_a_right_answer_in_32_bits_is_told_so(check):
    hint = check(lambda *inputs: np.asarray(RIGHT[check](*inputs), dtype=np.float32)).hint
    assert "64 bits" in hint


def test_a_right_answer_may_be_found_by_other_means():
    """A search for the least work, rows in torch, gradients from torch's own notes."""

    def searched_cells(n, order):
        work = lambda cells: n * cells * (order + 1) + 3 * n**2 / cells  # noqa: E731
        return optimize.minimize_scalar(work, bounds=(1e-3, n), options={"xatol": 1e-9}).x

    def rows_in_torch(query, key, order, rows):
        return shares(taylor(order)(torch.tensor(query)[rows] @ torch.tensor(key).T))

    def noted_value_gradient(query, key, upstream):
        tokens = [torch.tensor(x) for x in (query, key, np.zeros(upstream.shape))]
        value = tokens[2].requires_grad_()
        outputs = order_one_attention_in_torch(*tokens[:2], value)
        return torch.autograd.grad(outputs, value, torch.tensor(upstream))[0]

    assert check_best_cells(searched_cells)
    assert check_rows_of_matrix(rows_in_torch)
    assert check_value_gradient(noted_value_gradient)


def order_one_attention_in_torch(query, key, value):
    extended = torch.cat([value, torch.ones(len(value), 1, dtype=value.dtype)], dim=1)
    sums = extended.sum(dim=0) + query @ (key.T @ extended)
    return sums[:, :-1] / sums[:, -1:]


def test_a_compensated_sum_may_be_a_torch_number():
    assert check_compensated_sum(lambda x: torch.tensor(compensated_sum(x)))


@pytest.mark.parametrize("whole", [math.ceil, math.floor, round])
def test_a_number_of_tokens_in_time_may_be_rounded(whole):
    verdict = check_time_crossover(lambda *case: whole(time_crossover(*case)))
    assert verdict, verdict


@pytest.mark.parametrize("check", [check_crossover, check_best_shift, check_weight_distance])
def test_nan_is_no_answer(check):
    assert "not a number" in check(lambda *inputs: math.nan).hint


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_an_answer_may_overwrite_its_inputs(check):
    def answer(*inputs):
        result = RIGHT[check](*inputs)
        for item in inputs:
            if isinstance(item, np.ndarray):
                item[...] = math.nan
        return result

    assert check(answer)


def test_multiplying_an_expansion_by_a_constant_keeps_the_distance():
    scores = np.linspace(-1, 1, 5)
    thrice = Expansion(tuple(3 * a for a in taylor(2).coefficients))
    assert weight_distance(scores, thrice) == pytest.approx(weight_distance(scores, taylor(2)))


def test_check_equal_prints_its_verdict(capsys):
    check_equal(np.arange(3.0), [0, 1, 2])
    check_equal(1.0, 1.0 + 1e-7, tolerance=1e-6)
    assert capsys.readouterr().out == "difference < 1e-12: True\ndifference < 1e-06: True\n"


@pytest.mark.parametrize("new", [[0.0, 1.0, 2.1], [0.0, 1.0, math.nan]])
def test_check_equal_fails_where_the_forms_differ(new):
    with pytest.raises(AssertionError, match="differ by"):
        check_equal(np.arange(3.0), new)


def test_check_equal_fails_for_different_shapes():
    with pytest.raises(AssertionError, match="shapes differ"):
        check_equal(np.zeros(3), np.zeros((3, 1)))


def test_show_source_prints_the_text_without_the_docstring(capsys):
    show_source(Expansion.output_error_bound)
    text = capsys.readouterr().out
    assert text.startswith("def output_error_bound(self) -> float:\n    return ")
    assert '"""' not in text
