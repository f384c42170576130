"""The figure AttentionMatrix: the full matrix under exp and under a polynomial, on real words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import traitlets
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Picture

from fastattn_lite.expansion import FAMILIES, Expansion
from fastattn_lite.factorization import number_of_features
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.parameters import parameter
from fastattn_lite.figures.style import color
from fastattn_lite.figures.words import format_number, format_percent, say
from fastattn_lite.matrix import attention_distance, ratio_limit, row_entropy
from fastattn_lite.reference import attention_weights
from fastattn_lite.sentences import PASSAGE, content_words, word_model

NAME = "AttentionMatrix"
MOST_TOKENS = 64
RADII = 0.05, 20.0
"""The least and the largest radius that an expansion is made for."""
DECIMALS = 3
"""Of the queries and keys that a page carries."""
Floats = npt.NDArray[np.float64]


@cache
def _passage() -> dict[str, Any]:
    """Return the words of the chapter's four sentences with their queries and keys."""
    words = [word for sentence in PASSAGE for word in content_words(sentence)]
    query, key = (x.round(DECIMALS) + 0.0 for x in word_model().tokens(words))
    return {"words": words, "query": query.tolist(), "key": key.tolist()}


class Tokens(traitlets.TraitType[Any, Any]):
    """A synced trait: a dictionary of `words`, `query` and `key`, one row for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.tag(sync=True, parameter=True)

    def make_dynamic_default(self) -> dict[str, Any]:
        """Return the passage of the chapter."""
        return _passage()

    def validate(self, obj: Any, value: Any) -> dict[str, Any]:
        """Return plain lists, or say what was expected."""
        del obj
        try:
            words = [str(word) for word in value["words"]]
            query, key = (np.asarray(value[name], dtype=np.float64) for name in ("query", "key"))
        except (TypeError, ValueError, KeyError, IndexError):
            words, query, key = [], np.zeros(0), np.zeros(0)
        fits = query.ndim == 2 and query.shape == key.shape and query.shape[-1] > 0
        if not (fits and 2 <= len(words) == len(query) <= MOST_TOKENS):
            raise traitlets.TraitError(say(NAME, "expected_tokens", most=MOST_TOKENS))
        if not (np.all(np.isfinite(query)) and np.all(np.isfinite(key))):
            raise traitlets.TraitError(say(NAME, "expected_finite"))
        return {"words": words, "query": query.tolist(), "key": key.tolist()}


@dataclass(frozen=True)
class Side:
    """One of the two matrices and what describes it."""

    weights: Floats
    ratio: float

    @property
    def rank(self) -> float:
        """The rank, by numpy's rule: singular values above n eps times the largest."""
        finite = bool(np.all(np.isfinite(self.weights)))
        return float(np.linalg.matrix_rank(self.weights)) if finite else math.nan

    @property
    def entropy(self) -> float:
        """The mean entropy of the rows, in nats."""
        return float(np.mean(row_entropy(self.weights)))

    @property
    def distance(self) -> float:
        """The mean distance of the rows, in tokens."""
        return float(np.mean(attention_distance(self.weights)))


@dataclass(frozen=True)
class Matrices:
    """The attention matrix under exp and under f, of the same scores."""

    expansion: Expansion
    low: float
    high: float
    exact: Side
    fast: Side

    @property
    def moved(self) -> float:
        """The largest share of a row's weight that f puts in another place."""
        apart = np.abs(self.fast.weights - self.exact.weights)
        return float(np.max(0.5 * np.sum(apart, axis=1)))

    @property
    def negative(self) -> int:
        """How many weights are negative under f."""
        return int(np.sum(self.fast.weights < 0))


def matrices(
    query: Floats,
    key: Floats,
    *,
    order: int,
    family: str,
    temperature: float,
    is_causal: bool,
) -> Matrices:
    """Return both matrices; the radius of the expansion is that of the scores that occur."""
    scores = query @ key.T / temperature
    seen = scores[np.tril_indices(len(scores))] if is_causal else scores
    low, high = float(seen.min()), float(seen.max())
    radius = min(max(-low, high, RADII[0]), RADII[1])
    expansion = FAMILIES[family](order, radius=radius)

    def side(f: Expansion | None) -> Side:
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = attention_weights(
                query, key, expansion=f, is_causal=is_causal, scale=1 / temperature
            )
        return Side(weights, ratio_limit(f, low, high))

    return Matrices(expansion, low, high, side(None), side(expansion))


class AttentionMatrix(Figure):
    """The full attention matrix of a text under exp and under a polynomial, and their difference.

    Traits: `order` 0 to 6; `family` "taylor", "chebyshev" or "minimax", made for the largest score
    that occurs; `temperature` 0.25 to 16, by which q . k is divided; `is_causal`; `token`, the row
    that is looked at, from 0 (the last one if there are fewer). Your own tokens, at most 64:
    `AttentionMatrix(query=..., key=..., words=[...])`, or `figure.look_at(query, key, words)`.
    Chapter: full_attention_matrix.
    """

    order = parameter(NAME, "order")
    family = parameter(NAME, "family")
    temperature = parameter(NAME, "temperature")
    is_causal = parameter(NAME, "is_causal")
    token = parameter(NAME, "token")
    tokens: Any = Tokens()

    def __init__(
        self, *, query: Any = None, key: Any = None, words: Any = None, **settings: Any
    ) -> None:
        if query is not None or key is not None:
            settings["tokens"] = _tokens(query, key, words)
        super().__init__(**settings)

    def look_at(self, query: Any, key: Any, words: Any = None) -> None:
        """Show other tokens: query and key (n, d), and n words (numbers where there are none)."""
        self.tokens = _tokens(query, key, words)

    def found(self) -> Matrices:
        """Return the numbers that the figure shows."""
        query, key = np.array(self.tokens["query"]), np.array(self.tokens["key"])
        settings = {name: value for name, value in self.state().items() if name in _SETTINGS}
        return matrices(query, key, **settings)

    def features(self) -> int:
        """Return R, the number of features."""
        return number_of_features(len(self.tokens["query"][0]), self.order)

    def summary(self) -> str:
        """Return in words what the figure shows now."""
        found, words = self.found(), self.tokens["words"]
        row = min(self.token, len(words) - 1)
        first = int(np.argmax(found.exact.weights[row]))
        text = say(
            NAME,
            "summary",
            tokens=len(words),
            mask=say(NAME, f"mask_{str(self.is_causal).lower()}"),
            low=format_number(found.low),
            high=format_number(found.high),
            family=say(NAME, f"family.{self.family}"),
            order=self.order,
            features=format_number(self.features()),
            exact_rank=format_number(found.exact.rank),
            rank=format_number(found.fast.rank),
            moved=format_percent(found.moved),
            word=words[row],
            first=words[first],
            exact=format_number(found.exact.weights[row, first]),
            fast=format_number(found.fast.weights[row, first]),
        )
        negative = format_number(found.negative)
        return (
            f"{text} {say(NAME, 'summary_negative', negative=negative)}" if found.negative else text
        )

    def __repr__(self) -> str:
        """Return the line of Python that makes this figure; the passage is not written out."""
        shown = {name: value for name, value in self.state().items() if value != _passage()}
        return f"{NAME}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _draw(self, picture: Picture) -> None:
        """Draw the two matrices and their difference."""
        found, words = self.found(), self.tokens["words"]
        picture.set_size_inches(8, 3.3)
        axes = picture.subplots(1, 3, sharey=True)
        most = max(np.max(found.exact.weights), np.nanmax(found.fast.weights))
        _draw_map(axes[0], found.exact.weights, (0, most), ("surface", "exact"))
        _draw_map(axes[1], found.fast.weights, (0, most), ("surface", self.family))
        difference = found.fast.weights - found.exact.weights
        apart = float(np.nanmax(np.abs(difference))) or 1.0
        _draw_map(axes[2], difference, (-apart, apart), ("minimax", "surface", "taylor"))
        label = say(NAME, f"family.{self.family}")
        for one, title in zip(axes, _titles(label, self.order), strict=True):
            one.set_title(title, fontsize=9)
            one.set_xticks(range(len(words)), words, rotation=90, fontsize=6)
        axes[0].set_yticks(range(len(words)), words, fontsize=6)


_SETTINGS = ("order", "family", "temperature", "is_causal")


def _tokens(query: Any, key: Any, words: Any) -> dict[str, Any]:
    query = key if query is None else query
    key = query if key is None else key
    words = [str(place) for place in range(1, len(query) + 1)] if words is None else list(words)
    return {"words": words, "query": query, "key": key}


def _titles(family: str, order: int) -> list[str]:
    fast = say(NAME, "map_fast", family=family, order=order)
    return [say(NAME, "map_exact"), fast, say(NAME, "map_difference")]


def _draw_map(
    axes: Axes, table: Floats, limits: tuple[float, float], colors: tuple[str, ...]
) -> None:
    shades = LinearSegmentedColormap.from_list("shades", [color(name) for name in colors])
    axes.imshow(table, cmap=shades, vmin=limits[0], vmax=limits[1])
    axes.grid(visible=False)
