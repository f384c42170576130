"""AttentionMatrix in Python: numbers against the package, tokens, words and stills."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import traitlets

from fastattn_lite import attention_weights, fast_attention, minimax, row_entropy, taylor
from fastattn_lite.figures import AttentionMatrix
from fastattn_lite.sentences import PASSAGE, content_words, word_model


def arrays(figure: AttentionMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Return the queries and keys that the figure carries."""
    return np.array(figure.tokens["query"]), np.array(figure.tokens["key"])


def test_the_default_tokens_are_those_of_the_model() -> None:
    figure = AttentionMatrix()
    words = [word for sentence in PASSAGE for word in content_words(sentence)]
    assert figure.tokens["words"] == words
    for found, exact in zip(arrays(figure), word_model().tokens(words), strict=True):
        np.testing.assert_allclose(found, exact, rtol=0, atol=5.1e-4)
        assert np.all(found == found.round(3))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("order", "family"), [(0, "taylor"), (2, "minimax"), (4, "taylor")])
def test_both_matrices_are_those_of_the_package(order: int, family: str, is_causal: bool) -> None:
    figure = AttentionMatrix(order=order, family=family, temperature=2, is_causal=is_causal)
    (query, key), found = arrays(figure), figure.found()
    options: dict[str, Any] = {"scale": 0.5, "is_causal": is_causal}
    exact = attention_weights(query, key, **options)
    np.testing.assert_allclose(found.exact.weights, exact, rtol=1e-14)
    scores = query @ key.T / 2
    seen = scores[np.tril_indices(24)] if is_causal else scores
    assert (found.low, found.high) == (seen.min(), seen.max())
    radius = np.abs(seen).max()
    f = minimax(order, radius=radius) if family == "minimax" else taylor(order, radius=radius)
    fast = fast_attention(query, key, np.eye(24), expansion=f, **options)
    np.testing.assert_allclose(found.fast.weights, fast, atol=1e-14)
    assert found.moved <= f.output_error_bound()
    assert found.fast.rank == (24 if is_causal else min(24, figure.features()))
    assert found.exact.entropy == row_entropy(exact).mean()


def test_a_higher_temperature_makes_rows_wider_and_the_matrices_alike() -> None:
    found = [AttentionMatrix(temperature=t).found() for t in (0.25, 0.5, 1, 2, 4, 16)]
    assert np.all(np.diff([one.exact.entropy for one in found]) > 0)
    assert np.all(np.diff([one.moved for one in found]) < 0)


def test_negative_weights_are_counted_and_named() -> None:
    figure = AttentionMatrix(order=1, temperature=0.25)
    found = figure.found()
    assert found.negative == np.sum(found.fast.weights < 0) > 0
    assert math.isinf(found.fast.ratio)
    assert math.isnan(found.fast.entropy)
    assert f"Negative weights: {found.negative}." in figure.summary()


def test_own_tokens() -> None:
    query, key = np.random.default_rng(0).normal(size=(2, 6, 3))
    figure = AttentionMatrix(query=query, key=key, order=1, temperature=4)
    assert figure.tokens["words"] == ["1", "2", "3", "4", "5", "6"]
    assert (figure.features(), figure.found().fast.rank) == (4, 4)
    figure.look_at(key, query, list("abcdef"))
    assert figure.tokens["words"] == list("abcdef")
    np.testing.assert_array_equal(arrays(figure)[0], key)
    assert AttentionMatrix(key=key).tokens["query"] == key.tolist()
    assert "6 tokens" in figure.summary()


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({}, "expected words, query and key"),
        (3, "expected words, query and key"),
        ({"words": ["a"], "query": [[1.0]], "key": [[1.0]]}, "2 to 64 words"),
        ({"words": ["a", "b"], "query": [[1.0]], "key": [[1.0]]}, "one row for each word"),
        ({"words": ["a", "b"], "query": [1.0, 2], "key": [1.0, 2]}, "tables of the same shape"),
        ({"words": ["a", "b"], "query": [[1.0], [2]], "key": [[1.0, 1], [2, 2]]}, "same shape"),
        ({"words": ["a", "b"], "query": [[1.0], [math.nan]], "key": [[1.0], [2]]}, "finite"),
        ({"words": ["a"] * 65, "query": [[1.0]] * 65, "key": [[1.0]] * 65}, "2 to 64 words"),
    ],
)
def test_tokens_that_do_not_fit_are_refused_and_change_nothing(tokens: Any, message: str) -> None:
    figure = AttentionMatrix()
    before = figure.tokens
    with pytest.raises(traitlets.TraitError, match=message):
        figure.tokens = tokens
    assert figure.tokens == before


@pytest.mark.parametrize("wrong", [{"order": 7}, {"temperature": 0.1}, {"family": "best"}])
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(traitlets.TraitError, match=next(iter(wrong))):
        AttentionMatrix(**wrong)


@pytest.mark.parametrize(
    "figure",
    [
        AttentionMatrix(),
        AttentionMatrix(order=1, temperature=0.25, family="chebyshev", token=63),
        AttentionMatrix(query=np.eye(3), words=["a", "b", "c"], is_causal=True),
    ],
)
def test_still_html_and_the_line_of_python(figure: AttentionMatrix) -> None:
    maps = figure.still().axes
    assert len(maps) == 3
    for axes, title in zip(maps, ("exp", "order", "minus"), strict=True):
        assert title in axes.get_title()
        assert [tick.get_text() for tick in axes.get_xticklabels()] == figure.tokens["words"]
    found = figure.found()
    shown = [np.array(axes.images[0].get_array()) for axes in maps]
    np.testing.assert_array_equal(shown[2], found.fast.weights - found.exact.weights)
    page = figure._repr_html_()
    assert json.dumps(figure.tokens["words"][0]).strip('"') in page
    assert len(page) < 12_000
    assert eval(repr(figure), {"AttentionMatrix": AttentionMatrix}).state() == figure.state()
