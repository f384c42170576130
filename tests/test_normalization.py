"""The score radius: what each convention promises, and the leak that is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from arrays import LIBRARIES, draw, worst

from fastattn_lite import (
    check_scores,
    fast_attention,
    kernel_attention,
    minimax,
    normalize,
    softmax_attention,
    taylor,
)

BOUNDED = ["unit", "center+unit", "max"]
OVER_ALL_TOKENS = ["center", "center+unit", "max"]


@pytest.mark.equation("eq-unit-radius")
@pytest.mark.parametrize("normalization", BOUNDED)
@pytest.mark.parametrize("name", LIBRARIES)
def test_the_bounded_conventions_keep_every_score_within_the_scale(normalization, name):
    query, key, _ = draw(queries=40, keys=50, dim=3, lead=(2,))
    query, key = normalize(*map(LIBRARIES[name], (5 * query, 7 * key)), normalization)
    scores = np.asarray(query) @ np.swapaxes(np.asarray(key), -1, -2)
    assert np.max(np.abs(scores)) <= 1 + 1e-14
    assert np.max(np.abs(scores)) > 0.5, "the scores fill the radius"


def test_unit_is_length_one_for_any_length_and_zero_stays_zero():
    query = np.array([[3.0, 4.0], [0.0, 0.0], [1e-200, 0.0], [1e200, 1e200]])
    mapped, _ = normalize(query, query, "unit")
    assert worst(mapped, [[0.6, 0.8], [0, 0], [1, 0], [0.5**0.5, 0.5**0.5]]) < 1e-15


def test_centering_the_keys_changes_no_softmax_output():
    query, key, value = draw()
    centered = normalize(query, key, "center")[1]
    assert (
        worst(softmax_attention(query, centered, value), softmax_attention(query, key, value))
        < 1e-13
    )
    assert worst(centered.mean(axis=0), np.zeros(3)) < 1e-15


def test_the_mean_can_enlarge_the_radius():
    key = np.array([[1.0]] * 9 + [[-1.0]])
    assert np.max(np.abs(normalize(key, key, "center")[1])) == pytest.approx(1.8)


def test_max_is_the_largest_norm_of_each_head():
    query, key, _ = draw(lead=(2,))
    mapped, _ = normalize(query, key, "max")
    norms = np.linalg.norm(query, axis=-1)
    assert worst(mapped, query / norms.max(axis=-1)[:, None, None]) < 1e-15


@pytest.mark.parametrize("normalization", BOUNDED)
def test_a_zero_token_has_finite_gradients(normalization):
    query, key, value = (torch.from_numpy(x) for x in draw())
    query[3], key[4] = 0.0, 0.0
    inputs = [x.requires_grad_() for x in (query, key, value)]
    fast_attention(*inputs, normalization=normalization).square().sum().backward()
    assert all(bool(torch.isfinite(x.grad).all()) for x in inputs)


def test_a_statistic_of_what_is_not_a_number_is_none():
    query, key, _ = draw()
    query[3, 0] = np.nan
    assert np.all(np.isnan(normalize(query, key, "max")[0]))


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_max_is_safe_for_any_length(size):
    query, key, _ = draw(lead=(2,))
    expected = normalize(query, key, "max")
    assert worst(normalize(size * query, size * key, "max"), expected) < 1e-14


@pytest.mark.parametrize("normalization", ["unit", "center", "center+unit", "max"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_fast_attention_applies_the_convention_and_its_scale(normalization, name):
    query, key, value = draw()
    mapped = normalize(query, key, normalization)
    scale = 3**-0.5 if normalization == "center" else 1.0
    expected = kernel_attention(*mapped, value, expansion=taylor(2), scale=scale)
    inputs = map(LIBRARIES[name], (query, key, value))
    assert worst(fast_attention(*inputs, normalization=normalization), expected) < 1e-12


@pytest.mark.parametrize("normalization", OVER_ALL_TOKENS)
def test_a_statistic_over_all_tokens_is_refused_where_it_would_leak(normalization):
    query, key, value = draw()
    with pytest.raises(ValueError, match=f"normalization: '.*{normalization[:6]}.* all tokens"):
        fast_attention(query, key, value, is_causal=True, normalization=normalization)
    with pytest.raises(ValueError, match="normalization"):
        normalize(query, key, normalization, is_causal=True)
    options = {"normalization": normalization, "scale": 0.5}
    _, state = fast_attention(query, key, value, return_state=True, **options)
    with pytest.raises(ValueError, match=r"normalization: .* all tokens"):
        fast_attention(query, key, value, initial_state=state, **options)


@pytest.mark.parametrize("normalization", OVER_ALL_TOKENS)
def test_the_refused_conventions_do_leak(normalization):
    query, key, value = draw()
    changed = key.copy()
    changed[-1] *= 5
    outputs = [
        kernel_attention(
            *normalize(query, k, normalization), value, expansion=taylor(2), is_causal=True
        )
        for k in (key, changed)
    ]
    assert np.any(np.abs(outputs[0][1:-1] - outputs[1][1:-1]) > 1e-6)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("name", LIBRARIES)
def test_check_scores_reports_the_range_that_occurs(is_causal, name):
    query, key, _ = draw(queries=600, keys=600, lead=(2,))
    scores = query @ np.swapaxes(key, -1, -2) * 0.7
    seen = scores[:, np.tri(600, dtype=bool)] if is_causal else scores
    inputs = map(LIBRARIES[name], (query, key))
    report = check_scores(*inputs, expansion=taylor(2), scale=0.7, is_causal=is_causal)
    assert (report.smallest, report.largest) == pytest.approx((seen.min(), seen.max()))
    assert not report.inside
    assert "NOT inside [-1, 1]" in str(report)


@pytest.mark.parametrize("later", [1, 255, 256, 400])
def test_check_scores_looks_at_no_later_token(later):
    query, key = np.ones((600, 1)), np.zeros((600, 1))
    key[later], query[later:] = 5.0, 0.0
    report = check_scores(query, key, expansion=taylor(2), is_causal=True)
    assert (report.smallest, report.largest) == (0.0, 0.0)


def test_check_scores_says_when_the_bound_holds():
    query, key, _ = draw()
    report = check_scores(query, key, expansion=minimax(2), normalization="unit")
    assert report.inside
    assert -1 <= report.smallest <= report.largest <= 1


def test_check_scores_passes_on_what_is_not_a_number():
    query, key, _ = draw()
    query[3, 0] = np.nan
    report = check_scores(query, key, expansion=minimax(2))
    assert np.isnan(report.largest)
    assert not report.inside


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda q, k: normalize(q, k, "layer"), "normalization: expected one of .* got 'layer'"),
        (lambda q, k: normalize(q, k[:, :2]), r"key: expected the dimension of query \(3\), got 2"),
        (lambda q, k: check_scores(q[:0], k, expansion=taylor(2)), "at least one query"),
        (lambda q, k: check_scores(q[:5], k, expansion=taylor(2), is_causal=True), "is_causal"),
        (lambda q, k: check_scores(q, k, expansion=taylor(2), scale=np.inf), "scale"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    query, key, _ = draw()
    with pytest.raises(ValueError, match=words):
        call(query, key)


def test_half_precision_norms_do_not_overflow():
    query = torch.full((2, 64), 6e4, dtype=torch.float16)
    mapped, _ = normalize(query, query, "unit")
    assert mapped.dtype == torch.float16
    assert worst(mapped.double(), np.full((2, 64), 0.125)) < 1e-3
