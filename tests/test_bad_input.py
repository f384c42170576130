"""Bad input to attention gets an error that names the argument, what came, what was expected."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from arrays import draw

import fastattn_lite.attention
from fastattn_lite import (
    Expansion,
    ExpansionWarning,
    Moments,
    attention_weights,
    fast_attention,
    kernel_attention,
    minimax,
    softmax_attention,
    taylor,
)
from fastattn_lite.complexity import crossover_tokens, direct_flops
from fastattn_lite.normalization import normalize

Q, K, V = draw()
STATE = Moments.accumulate(K, V, order=2)
CALLS = [
    (lambda: fast_attention(Q[0], K, V), ValueError, r"query: expected the shape .* got \(3,\)"),
    (lambda: fast_attention(Q, K, V[0]), ValueError, r"value: expected the shape"),
    (
        lambda: fast_attention(Q, K[:, :2], V),
        ValueError,
        r"key: .* dimension of query \(3\), got 2",
    ),
    (lambda: fast_attention(Q[:, :0], K[:, :0], V), ValueError, "query: expected a dimension"),
    (lambda: fast_attention(Q, K, V[:4]), ValueError, r"value: .* of the 11 keys, got .*\(4, 2\)"),
    (lambda: fast_attention(Q, K[:0], V[:0]), ValueError, "key: expected at least one key"),
    (lambda: fast_attention(Q[:4], K, V, is_causal=True), ValueError, "is_causal: .* 4 queries"),
    (lambda: fast_attention(Q, K, V, is_causal="no"), TypeError, "is_causal: .* False, got 'no'"),
    (lambda: fast_attention(Q, K, V, is_causal=1), TypeError, "is_causal: expected True or False"),
    (lambda: softmax_attention(Q, K, V, is_causal=None), TypeError, "is_causal: .* got None"),
    (lambda: attention_weights(Q, K, is_causal="no"), TypeError, "is_causal: expected True"),
    (lambda: normalize(Q, K, is_causal="no"), TypeError, "is_causal: expected True or False"),
    (lambda: direct_flops(4, 4, is_causal="no"), TypeError, "is_causal: expected True or False"),
    (lambda: crossover_tokens(4, 2, is_causal=0), TypeError, "is_causal: expected True or False"),
    (lambda: fast_attention(Q[None].repeat(2, 0), K[None].repeat(3, 0), V), ValueError, "leading"),
    (lambda: fast_attention(Q.astype(int), K, V), TypeError, "query: expected real .* int64"),
    (lambda: fast_attention(Q, K, V.astype(complex)), TypeError, "value: .* complex128"),
    (lambda: fast_attention(Q.tolist(), K, V), TypeError, "query: expected an array .* got list"),
    (lambda: fast_attention(Q, torch.from_numpy(K), V), TypeError, "key: .* library of query"),
    (lambda: fast_attention(Q, K, V, order=-1), ValueError, "order: expected at least 0, got -1"),
    (lambda: fast_attention(Q, K, V, order=2.0), TypeError, "order: expected a whole number"),
    (lambda: fast_attention(Q, K, V, order=True), TypeError, "order: expected a whole number"),
    (lambda: fast_attention(Q, K, V, order=3000), ValueError, "order: .* would need .* GiB"),
    (lambda: fast_attention(Q, K, V, scale=math.nan), ValueError, "scale: expected a finite"),
    (lambda: fast_attention(Q, K, V, scale="big"), TypeError, "scale: expected a real number"),
    (lambda: fast_attention(Q, K, V, scale="0.5"), TypeError, "scale: expected a real .* '0.5'"),
    (lambda: fast_attention(Q, K, V, scale=True), TypeError, "scale: expected a real .* True"),
    (lambda: fast_attention(Q, K, V, scale=10**400), ValueError, "scale: expected a finite"),
    (
        lambda: fast_attention(Q.view(np.matrix), K, V),
        TypeError,
        "query: expected a plain .* matrix",
    ),
    (
        lambda: fast_attention(Q, np.ma.masked_invalid(K), V),
        TypeError,
        "key: expected a plain array, got Masked",
    ),
    (lambda: fast_attention(Q, K, V, chunk_size=0), ValueError, "chunk_size: expected at least 1"),
    (lambda: fast_attention(Q, K, V, chunk_size=2.5), TypeError, "chunk_size: expected a whole"),
    (lambda: fast_attention(Q, K, V, backend="cuda"), ValueError, "backend: expected one of"),
    (lambda: fast_attention(Q, K, V, normalization="l2"), ValueError, "normalization: expected"),
    (lambda: fast_attention(Q, K, V, expansion=[1, 1]), TypeError, "expansion: expected an Exp"),
    (lambda: fast_attention(Q, K, V, initial_state=STATE), ValueError, "scale 1"),
    (
        lambda: fast_attention(Q, K, V, scale=1.0, order=4, initial_state=STATE),
        ValueError,
        "order 4",
    ),
    (
        lambda: fast_attention(Q, K, V, initial_state=V),
        TypeError,
        "initial_state: expected Moments",
    ),
    (lambda: kernel_attention(Q, K, V, expansion=None), TypeError, "expansion: expected an Expans"),
    (lambda: softmax_attention(Q, K, V[:4]), ValueError, "value: expected one value"),
    (lambda: softmax_attention(Q, K[:0], V[:0]), ValueError, "key: expected at least one key"),
    (
        lambda: attention_weights(Q[:4], K, is_causal=True),
        ValueError,
        "is_causal: expected as many",
    ),
    (lambda: attention_weights(Q, K, scale=math.inf), ValueError, "scale: expected a finite"),
]


@pytest.mark.parametrize(("call", "error", "words"), CALLS)
def test_bad_input_names_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.fixture
def _warnings_start_anew():
    fastattn_lite.attention._warn_once.cache_clear()
    yield
    fastattn_lite.attention._warn_once.cache_clear()


@pytest.mark.usefixtures("_warnings_start_anew")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": 1}, "taylor of order 1 is not positive on its own radius 1"),
        ({"order": 3}, 'for any score.*normalization="unit"'),
        ({"expansion": minimax(1)}, "minimax of order 1 is not positive for any score"),
        ({"expansion": taylor(3), "normalization": "unit", "scale": 4.0}, "for scores up to 4"),
        ({"expansion": Expansion((1.0, 2.0))}, "custom of order 1 .* own radius"),
    ],
)
def test_an_expansion_that_can_be_negative_warns_once_with_the_remedy(options, words):
    with pytest.warns(ExpansionWarning, match=words) as caught:
        fast_attention(Q, K, V, **options)
    fast_attention(Q, K, V, **options)
    assert len(caught) == 1
    assert "minimax" in str(caught[0].message) or "Use" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.usefixtures("_warnings_start_anew")
@pytest.mark.parametrize(
    "options",
    [
        {"order": 2},
        {"order": 4, "is_causal": True},
        {"order": 3, "normalization": "unit"},
        {"expansion": minimax(1), "normalization": "unit"},
        {"expansion": minimax(3, radius=4), "normalization": "max", "scale": 4.0},
    ],
)
def test_a_safe_expansion_does_not_warn(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast_attention(Q, K, V, **options)
