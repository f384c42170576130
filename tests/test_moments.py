"""Step 3: moments are sums over tokens, so every way to split the tokens gives the same."""

from __future__ import annotations

import functools
import operator
import tracemalloc

import numpy as np
import pytest
import torch
from arrays import LIBRARIES, draw, worst
from hypothesis import given
from hypothesis import strategies as st

from fastattn_lite import (
    Expansion,
    Moments,
    kernel_attention,
    minimax,
    multi_indices,
    taylor,
)
from fastattn_lite.moments import FEATURES_AT_ONCE


@pytest.mark.equation("eq-moments")
@pytest.mark.parametrize("name", LIBRARIES)
def test_moments_are_the_sums_of_their_definition(name):
    _, key, value = draw(keys=7)
    moments = Moments.accumulate(*map(LIBRARIES[name], (key, value)), order=3)
    extended = np.concatenate([value, np.ones((7, 1))], axis=1)
    expected = [np.prod(key**a, axis=1) @ extended for a in multi_indices(3, 3)]
    assert worst(moments.sums, np.stack(expected)) < 1e-13


@pytest.mark.equation("eq-evaluate")
@pytest.mark.parametrize("expansion", [taylor(3), minimax(2, radius=2), Expansion((1, -2, 0.5))])
def test_evaluating_the_moments_gives_the_direct_sum(expansion):
    query, key, value = draw(queries=5, lead=(2,))
    moments = Moments.accumulate(key, value, order=3)
    expected = kernel_attention(query, key, value, expansion=expansion, scale=1.0)
    for chunk_size in (None, 1, 2, 99):
        result = moments.evaluate(query, expansion, chunk_size=chunk_size)
        assert worst(result, expected) < 1e-9


@given(
    cuts=st.lists(st.integers(0, 23), max_size=5).map(sorted),
    order=st.integers(0, 3),
    shuffle=st.randoms(use_true_random=False),
)
def test_any_split_added_in_any_order_is_the_whole(cuts, order, shuffle):
    _, key, value = draw(keys=23)
    edges = [0, *cuts, 23]
    parts = [
        Moments.accumulate(key[a:b], value[a:b], order=order)
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    shuffle.shuffle(parts)
    whole = Moments.accumulate(key, value, order=order)
    assert worst(functools.reduce(operator.add, parts).sums, whole.sums) < 1e-12


@pytest.mark.parametrize("chunk_size", [1, 2, 7, 23, 1000])
def test_chunks_and_updates_give_the_same(chunk_size):
    _, key, value = draw(keys=23, lead=(2, 1))
    whole = Moments.accumulate(key, value, order=2)
    chunked = Moments.accumulate(key, value, order=2, chunk_size=chunk_size)
    assert worst(chunked.sums, whole.sums) < 1e-12
    stream = Moments.empty(key, value, order=2)
    for token in range(23):
        stream = stream.update(key[..., token : token + 1, :], value[..., token : token + 1, :])
    assert worst(stream.sums, whole.sums) < 1e-12


def test_no_token_is_the_neutral_element():
    _, key, value = draw()
    moments = Moments.accumulate(key, value, order=2)
    nothing = Moments.accumulate(key[:0], value[:0], order=2)
    assert np.all(nothing.sums == 0)
    assert np.all((moments + nothing).sums == moments.sums)


def test_moments_never_change_once_made():
    _, key, value = draw()
    moments = Moments.accumulate(key, value, order=2)
    before = moments.sums.copy()
    moments.update(key, value)
    _ = moments + moments
    moments.evaluate(key, taylor(2))
    assert np.array_equal(moments.sums, before)


def test_the_memory_beyond_the_result_is_bounded():
    key = np.ones((512, 2048, 8), dtype=np.float32)
    assert Moments.accumulate(key[:, :1], key[:, :1], order=2).sums.nbytes < 2**20
    tracemalloc.start()
    try:
        Moments.accumulate(key, key, order=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * 4 * FEATURES_AT_ONCE, "variables, values, a part, and their copies"


def test_half_precision_is_summed_in_float32():
    key = torch.full((4096, 1), 1.0, dtype=torch.bfloat16)
    moments = Moments.accumulate(key, key, order=1)
    assert moments.sums.dtype == torch.float32
    assert float(moments.sums[0, -1]) == 4096, "a bfloat16 counter would stop at 256"


def test_batch_and_heads_broadcast():
    _, key, value = draw(lead=(2, 3))
    shared = Moments.accumulate(key[:, :1], value, order=2)
    repeated = Moments.accumulate(np.repeat(key[:, :1], 3, axis=1), value, order=2)
    assert worst(shared.sums, repeated.sums) < 1e-13


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m + m.update(np.ones((2, 4)), np.ones((2, 2))), ValueError, "dimension 4"),
        (lambda m: m.update(np.ones((2, 3)), np.ones((2, 5))), ValueError, r"shape \(20, 6\)"),
        (lambda m: m.update(np.ones((2, 3)), np.ones((4, 2))), ValueError, "each of the 2 keys"),
        (lambda m: m + Moments(m.sums, 2, 3), ValueError, "expected moments of order 3"),
        (lambda m: m + Moments(m.sums, 3, 3, ("unit", 1.0)), ValueError, "normalization 'none'"),
        (lambda m: m + Moments(torch.from_numpy(m.sums), 3, 3), TypeError, "array library"),
        (lambda m: m.evaluate(np.ones((2, 3)), taylor(4)), ValueError, "order of at most 3"),
        (lambda m: m.evaluate(np.ones((2, 4)), taylor(2)), ValueError, "query: expected the dim"),
        (lambda m: m.evaluate(np.ones((2, 3)), taylor(2), chunk_size=0), ValueError, "chunk_size"),
        (lambda m: Moments.empty(m.sums, m.sums, order=-1), ValueError, "order: expected at least"),
        (lambda _: Moments.empty(np.ones((1, 999)), np.ones((1, 999)), order=9), ValueError, "GiB"),
    ],
)
def test_bad_input_names_the_argument(call, error, words):
    _, key, value = draw()
    with pytest.raises(error, match=words):
        call(Moments.accumulate(key, value, order=3))
