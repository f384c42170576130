"""Cost models: figures worked out by hand, counts of real products, and honest measurements."""

from __future__ import annotations

import itertools
import math

import pytest

from fastattn_lite.complexity import (
    Timing,
    cache_crossover_tokens,
    cache_numbers,
    crossover_tokens,
    direct_flops,
    direct_memory,
    direct_seconds,
    fast_flops,
    fast_memory,
    fast_seconds,
    measure,
    moment_numbers,
    peak_memory,
    stream_bytes,
    time_crossover_tokens,
)
from fastattn_lite.factorization import number_of_features

MIB = 2**20


@pytest.mark.equation("eq-cost")
def test_flops_by_hand():
    assert direct_flops(3, 4) == 2 * 9 * 8
    assert direct_flops(3, 4, 5) == 2 * 9 * 9
    assert direct_flops(3, 4, 5, is_causal=True) == 9 * 9
    assert fast_flops(3, 4, 2) == 4 * 3 * 15 * 5
    assert fast_flops(3, 4, 2, 7) == 4 * 3 * 15 * 8


@pytest.mark.equation("eq-crossover")
@pytest.mark.parametrize(("dim", "tokens"), [(32, 579), (64, 2179), (128, 8451)])
def test_crossover_of_order_two(dim, tokens):
    exact = crossover_tokens(dim, 2)
    assert math.ceil(exact) == tokens
    assert exact == pytest.approx((dim + 2) * (dim + 1) / 2 * (dim + 1) / dim)
    assert crossover_tokens(dim, 2, is_causal=True) == 2 * exact


@pytest.mark.equation("eq-crossover", "eq-cost")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(
    "dims", list(itertools.product([1, 5, 64], [None, 1, 3, 128], [0, 1, 2, 3]))
)
def test_the_forms_cross_where_the_formula_says(dims, is_causal):
    dim, value_dim, order = dims
    first = math.ceil(crossover_tokens(dim, order, value_dim, is_causal=is_causal))
    fast, direct = (
        [fast_flops(n, dim, order, value_dim) for n in (first - 1, first)],
        [direct_flops(n, dim, value_dim, is_causal=is_causal) for n in (first - 1, first)],
    )
    assert fast[1] <= direct[1]
    assert first == 1 or fast[0] > direct[0]


@pytest.mark.equation("eq-memory")
@pytest.mark.equation("eq-cache-crossover")
def test_memory_of_the_two_states():
    assert moment_numbers(64, 2) == 2145 * 65
    assert moment_numbers(64, 2, 10) == 2145 * 11
    assert cache_numbers(100, 64, 10) == 7400
    assert math.ceil(cache_crossover_tokens(64, 2)) == 1090
    assert math.ceil(cache_crossover_tokens(64, 2, cache_bytes=2)) == 2179


@pytest.mark.equation("eq-stream-bytes")
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("latest", [1, 5, 64])
@pytest.mark.parametrize("read", [2, 4])
def test_bytes_of_a_stream_are_those_of_its_tokens_one_by_one(latest, read, order):
    dim, value_dim, moved, waiting = 6, 3, 0, latest
    rows, token = number_of_features(dim, order), 2 * (dim + value_dim)
    low = min(rows, 1 + dim)
    for _ in range(latest):
        if waiting == latest:
            moved += 2 * 4 * rows * (value_dim + 1) + waiting * token
            waiting = 0
        moved += (4 * low + read * (rows - low)) * (value_dim + 1)
        moved += (waiting + 1) * token
        waiting += 1
    found = stream_bytes(dim, order, value_dim, latest=latest, read_bytes=read)
    assert found == pytest.approx(moved / latest)


def test_bytes_of_a_stream_at_the_size_of_the_book():
    assert round(stream_bytes(64, 2)) == 313_304
    with pytest.raises(ValueError, match="latest: expected"):
        stream_bytes(64, 2, latest=0)


@pytest.mark.equation("eq-time-model")
def test_times_are_a_fixed_time_and_flops_at_a_rate():
    assert direct_seconds(3, 4, rate=1) == direct_flops(3, 4) == 144
    assert direct_seconds(3, 4, 5, rate=2, fixed=0.5, is_causal=True) == 0.5 + 81 / 2
    assert fast_seconds(3, 4, 2, rate=1) == fast_flops(3, 4, 2)
    assert fast_seconds(3, 4, 2, 7, rate=4, fixed=1) == 1 + 4 * 3 * 15 * 8 / 4


@pytest.mark.equation("eq-time-crossover")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("fixed", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("rates", [(1e9, 1e9), (4e9, 1e9), (2e12, 7e12)])
def test_both_forms_take_the_same_time_at_the_crossover(rates, fixed, is_causal):
    direct, fast = rates
    options = {"direct_rate": direct, "fast_rate": fast, "is_causal": is_causal}
    n = time_crossover_tokens(16, 2, fixed=fixed, **options)
    slow = direct_flops(1, 16, is_causal=is_causal) * n**2 / direct
    assert slow == pytest.approx(fixed + fast_flops(1, 16, 2) * n / fast)
    if fixed == 0:
        assert n == pytest.approx(crossover_tokens(16, 2, is_causal=is_causal) * direct / fast)
    else:
        assert n > time_crossover_tokens(16, 2, **options)


@pytest.mark.equation("eq-working-memory")
def test_working_memory_by_hand():
    assert direct_memory(1000) == 4e6
    assert direct_memory(10, number_bytes=8) == 800
    assert fast_memory(10, 4, 2) == 4 * (10 * 15 + 15 * 5)
    assert fast_memory(1, 64, 2, 10, number_bytes=8) == 8 * 2145 * 12


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: direct_seconds(3, 4, rate=0), ValueError, "rate: expected a finite number above"),
        (lambda: fast_seconds(3, 4, 2, rate=1, fixed=-1), ValueError, "fixed: expected at least 0"),
        (
            lambda: time_crossover_tokens(4, 2, direct_rate=1, fast_rate=0),
            ValueError,
            "fast_rate: expected",
        ),
        (
            lambda: time_crossover_tokens(4, 2, direct_rate="x", fast_rate=1),
            TypeError,
            "direct_rate: expected",
        ),
        (lambda: direct_memory(-1), ValueError, "tokens: expected at least 0"),
        (lambda: fast_memory(0, 4, 2), ValueError, "chunk_size: expected at least 1"),
        (lambda: direct_flops(-1, 4), ValueError, "tokens: expected at least 0, got -1"),
        (lambda: direct_flops(3.5, 4), TypeError, "tokens: expected a whole number, got 3.5"),
        (lambda: fast_flops(3, 0, 2), ValueError, "dim: expected at least 1, got 0"),
        (lambda: fast_flops(3, 4, -2), ValueError, "order: expected at least 0, got -2"),
        (lambda: crossover_tokens(4, 2, 0), ValueError, "value_dim: expected at least 1, got 0"),
        (lambda: cache_crossover_tokens(4, 2, cache_bytes=0), ValueError, "cache_bytes: expected"),
        (lambda: measure(list, repeats=0), ValueError, "repeats: expected at least 1, got 0"),
    ],
)
def test_a_bad_argument_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_measure_calls_in_turn_and_leaves_the_warm_up_out():
    calls: list[str] = []
    first, second = measure(lambda: calls.append("a"), lambda: calls.append("b"), repeats=3)
    assert calls == list("ab" * 4)
    assert len(first.seconds) == len(second.seconds) == 3


def test_least_median_and_spread():
    timing = Timing((4.0, 1.0, 2.0))
    assert timing.least == 1.0
    assert timing.median == 2.0
    assert timing.spread == 1.5


def test_peak_memory_sees_what_is_allocated_and_freed_again():
    setup = "import numpy as np; np.ones(2**20).sum()"
    small = peak_memory(setup, "x = 1")
    large = peak_memory(setup, "x = np.ones(8 * 2**20).sum()")
    assert 60 * MIB < large < small + 80 * MIB
    assert small < 16 * MIB


def test_peak_memory_passes_the_error_on():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        peak_memory("", "1 / 0")
