"""Forty sentences, and a small model that turns their words into queries and keys.

Words that often stand in one sentence belong together. The model counts pairs, takes the logarithm
of how much more often than by chance each pair occurs, and keeps the few largest parts of that
table: q_i . k_j is close to it. So exp(q_i . k_j) has a meaning: it says how many times more often
than by chance the words i and j share a sentence. The sentences were written for this book.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastattn_lite._arrays import check_count

Floats = npt.NDArray[np.float64]
SENTENCES = tuple(
    """
the cook fills the kettle with cold water and sets it on the stove
the water in the kettle boils and steam rises over the stove
she pours boiling water over the tea and waits until the cup is warm
the child drinks warm milk from a cup and eats bread with butter
the cook cuts the bread and puts butter and honey on the table
a pot of soup stands on the stove and steam fills the kitchen
he stirs the soup with a spoon and adds salt and pepper
the baker mixes flour and water and bakes bread in a hot oven
cold milk and hot tea stand on the table beside the bread
the cup falls from the table and the tea runs over the floor
the sailor pulls the rope and the wind fills the sail
a strong wind drives the boat over the waves to the harbour
the boat lies in the harbour and the waves beat against its hull
at night the lighthouse shows the sailor the way to the harbour
the captain reads the map and turns the boat into the wind
the sun rises from the sea and the waves grow in the strong wind
the fisher throws his net into the sea and waits for fish
gulls follow the boat because the fisher throws small fish into the water
the crew ties the boat to the harbour wall with a strong rope
when the wind drops the sail hangs loose and the sea is calm
the gardener digs the soil and plants a row of beans
rain and sun help the seeds grow in the soft soil
the bee flies from flower to flower and carries pollen to its hive
in spring the apple tree carries white flowers and the bees come
the gardener cuts the grass and waters the young tree
birds build a nest in the apple tree and feed their young
a worm moves through the soil and the bird pulls it out
the sun dries the grass and the gardener waters the beans
honey comes from the hive and the bees guard it
in autumn apples fall from the tree into the long grass
the teacher writes a number on the board and the pupils read it
a pupil counts the apples and writes the sum in her book
the pupils open their books and read the first page
the teacher asks a question and one pupil knows the answer
she reads the question twice and writes the answer on the page
the bell rings and the pupils close their books
the class learns to add and to multiply small numbers
he draws a circle on the board and asks for its area
the sum of two odd numbers is an even number
at noon the bell rings and the teacher closes the book
""".strip().splitlines()
)
PASSAGE = (SENTENCES[1], SENTENCES[11], SENTENCES[27], SENTENCES[30])
"""Four sentences with 24 different content words, one from each of the four scenes."""
SMALL_WORDS = frozenset(
    """
a an and at because for from he her his in into is it its of on one out over she the
their to two until when with
""".strip().split()
)
"""Words that stand beside everything; the model leaves them out."""
SMOOTHING = 0.5
"""Added to every count, so that a pair that never occurs has a logarithm too."""


@dataclass(frozen=True)
class WordModel:
    """Queries and keys of words: row i of `query` and of `key` belongs to words[i]."""

    words: tuple[str, ...]
    query: Floats
    key: Floats

    def tokens(self, words: list[str]) -> tuple[Floats, Floats]:
        """Return the queries and the keys of a text, one row for each word of it.

        Shapes: (n, d) and (n, d). Raises `ValueError` for a word that the model does not know.
        """
        place = {word: row for row, word in enumerate(self.words)}
        unknown = [word for word in words if word not in place]
        if unknown:
            raise ValueError(f"words: expected words of the sentences, got {unknown[0]!r}")
        rows = [place[word] for word in words]
        return self.query[rows], self.key[rows]


def content_words(sentence: str) -> list[str]:
    """Return the words of a sentence without the small ones, in their order."""
    return [word for word in sentence.split() if word not in SMALL_WORDS]


def association(sentences: tuple[str, ...] = SENTENCES) -> tuple[tuple[str, ...], Floats]:
    """Return the different words, and for every pair how much more often than by chance it occurs.

    Formula: Lambda_ij = log(C_ij C / (C_i C_j)), where C_ij is 1/2 plus the number of times that i
    and j stand in one sentence, C_i the sum of C_ij over j, and C the sum of all.
    Shapes: m words and (m, m). Cost: m^2 logarithms.
    Equation: eq-association (chapter full_attention_matrix).
    Source: Church and Hanks 1990.
    """
    texts = [content_words(sentence) for sentence in sentences]
    words = tuple(sorted({word for text in texts for word in text}))
    place = {word: row for row, word in enumerate(words)}
    count = np.full((len(words), len(words)), SMOOTHING)
    for text in texts:
        rows = np.array([place[word] for word in text], dtype=np.int64)
        apart = ~np.eye(len(rows), dtype=bool)
        np.add.at(count, np.ix_(rows, rows), apart * 1.0)
    total = count.sum()
    return words, np.log(count * total / (count.sum(axis=1, keepdims=True) * count.sum(axis=0)))


@functools.lru_cache(maxsize=8)
def word_model(dim: int = 4) -> WordModel:
    """Return the model of the sentences: q_i . k_j is Lambda_ij up to what `dim` numbers can hold.

    Formula: q_i . k_j = sum_{r<=d} sigma_r X_ir Y_jr, the d largest parts of the singular value
    decomposition of Lambda; sqrt(sigma_r) goes to each side.
    Raises `ValueError` for dim < 1 or more than there are words.
    Equation: eq-word-scores (chapter full_attention_matrix).
    Source: Eckart and Young 1936; Levy and Goldberg 2014.
    """
    dim = check_count("dim", dim, least=1)
    words, table = association()
    if dim > len(words):
        raise ValueError(f"dim: expected at most {len(words)}, the number of words, got {dim}")
    left, sizes, right = np.linalg.svd(table)
    left, right = left[:, :dim], right[:dim].T
    # A part keeps its value if both sides change sign: the largest entry on the left is positive.
    sign = np.sign(left[np.argmax(np.abs(left), axis=0), np.arange(dim)])
    root = sign * np.sqrt(sizes[:dim])
    return WordModel(words, root * left, root * right)
