"""The small word model: counts, their logarithms, and what few dimensions keep of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastattn_lite.sentences import (
    PASSAGE,
    SENTENCES,
    SMALL_WORDS,
    association,
    content_words,
    word_model,
)


@pytest.mark.equation("eq-association")
def test_association_of_two_sentences_by_hand():
    words, table = association(("the bee flies", "a bee guards the hive"))
    assert words == ("bee", "flies", "guards", "hive")
    count = np.full((4, 4), 0.5)
    for a, b in [(0, 1), (0, 2), (0, 3), (2, 3)]:
        count[a, b] += 1
        count[b, a] += 1
    chance = np.outer(count.sum(axis=1), count.sum(axis=0)) / count.sum()
    np.testing.assert_allclose(table, np.log(count / chance), rtol=1e-13, atol=1e-14)


@pytest.mark.equation("eq-association")
def test_a_word_that_stands_twice_in_a_sentence_counts_twice():
    words, table = association(("bee bee hive",))
    assert words == ("bee", "hive")
    # bee with itself 2 + 1/2, bee with hive 2 + 1/2, hive with itself 1/2: 8 in all.
    assert table[1, 1] == pytest.approx(math.log(0.5 * 8 / (3 * 3)))


@pytest.mark.equation("eq-word-scores")
@pytest.mark.parametrize("dim", [1, 4, 20])
def test_scores_are_the_nearest_table_of_their_rank(dim):
    words, table = association()
    model = word_model(dim)
    sizes = np.linalg.svd(table, compute_uv=False)
    scores = model.query @ model.key.T
    assert model.words == words
    assert model.query.shape == model.key.shape == (len(words), dim)
    assert np.linalg.norm(table - scores) == pytest.approx(np.linalg.norm(sizes[dim:]), rel=1e-10)
    np.testing.assert_allclose(np.linalg.norm(model.query, axis=0) ** 2, sizes[:dim], rtol=1e-10)


def test_signs_do_not_depend_on_the_library():
    query = word_model(6).query
    assert np.all(query[np.argmax(np.abs(query), axis=0), np.arange(6)] > 0)


def test_words_find_the_words_of_their_own_scene():
    scenes = [content_words(sentence) for sentence in PASSAGE]
    query, key = word_model().tokens([word for scene in scenes for word in scene])
    means = (query @ key.T).reshape(4, 6, 4, 6).mean(axis=(1, 3))
    assert np.all(np.diag(means) > 0.2)
    assert np.all(means[~np.eye(4, dtype=bool)] < 0.1)


def test_the_passage_has_24_words_that_the_model_tells_apart():
    words = [word for sentence in PASSAGE for word in content_words(sentence)]
    query, key = word_model().tokens(words)
    assert len(set(words)) == 24
    for x in (query, key):
        assert min(np.linalg.norm(x[i] - x[j]) for i in range(24) for j in range(i)) > 0.01


def test_small_words_are_left_out_and_all_of_them_occur():
    everything = {word for sentence in SENTENCES for word in sentence.split()}
    assert everything >= SMALL_WORDS
    assert not set(word_model().words) & SMALL_WORDS
    assert len(set(SENTENCES)) == len(SENTENCES) == 40


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="got 'dragon'"):
        word_model().tokens(["bee", "dragon"])
    with pytest.raises(ValueError, match="dim: expected at most"):
        word_model(1000)
    with pytest.raises(ValueError, match="dim"):
        word_model(0)
