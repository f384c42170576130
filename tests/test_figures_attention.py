"""ErrorVersusOrder and CausalLeak in Python: numbers, words, stills, and the reader's own data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traitlets

from fastattn_lite import taylor
from fastattn_lite.figures import CausalLeak, ErrorVersusOrder
from fastattn_lite.normalization import NORMALIZATIONS


@pytest.mark.equation("eq-output-bound")
@pytest.mark.parametrize("normalization", ["unit", "center+unit", "max"])
@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_measured_errors_stay_below_the_bounds(normalization: str, radius: float) -> None:
    found = ErrorVersusOrder(radius=radius, normalization=normalization).measurement()
    assert found.inside
    for family, errors in found.errors.items():
        assert len(errors) == 11
        assert np.all(np.array(errors) <= np.array(found.bounds[family]) + 1e-14), family


def test_outside_the_radius_the_bound_is_exceeded_and_the_words_say_so() -> None:
    figure = ErrorVersusOrder(radius=0.5, normalization="none")
    found = figure.measurement()
    assert not found.inside
    assert found.errors["minimax"][2] > found.bounds["minimax"][2]
    assert "not promised" in figure.summary()
    assert "the bounds hold" in ErrorVersusOrder().summary()


def test_own_data_replace_the_random_tokens() -> None:
    random = np.random.default_rng(0)
    query, key, value = (random.normal(size=shape) for shape in ((5, 3), (7, 3), (7, 2)))
    figure = ErrorVersusOrder()
    figure.set_data(query, key, value)
    assert "7 tokens of dimension 3" in figure.summary()
    assert figure.state()["data"]["key"] == key.tolist()
    own = figure.measurement()
    figure.seed = 5
    assert figure.measurement() == own
    figure.clear_data()
    assert "data" not in figure.state()
    assert "64 tokens of dimension 8" in figure.summary()


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("query", np.zeros(3), "query: expected a matrix"),
        ("key", np.full((4, 3), np.nan), "key: expected a matrix of finite numbers"),
        ("value", np.ones((5, 2)), "expected shapes"),
        ("query", np.ones((4, 2)), "expected shapes"),
        ("value", np.ones((4, 2)), "two different rows"),
        ("query", np.ones((40_000, 3)), "pass a part of your tokens"),
    ],
)
def test_bad_data_are_refused(name: str, entry: Any, message: str) -> None:
    data = {"query": np.ones((2, 3)), "key": np.ones((4, 3)), "value": np.arange(8.0).reshape(4, 2)}
    figure = ErrorVersusOrder()
    with pytest.raises(ValueError, match=message):
        figure.set_data(**{**data, name: entry})
    assert figure.data is None


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_only_statistics_over_all_tokens_leak(normalization: str) -> None:
    figure = CausalLeak(position=12, change=1.0, normalization=normalization)
    leaked = figure.leak().leaked
    assert leaked == (0 if normalization in ("none", "unit") else 11)
    assert f"Past outputs moved: {leaked} of 12." in figure.summary()


def test_nothing_moves_without_a_change_and_nothing_lies_before_the_first_token() -> None:
    assert np.all(CausalLeak(change=0.0).leak().movement == 0)
    assert CausalLeak(position=0).leak().leaked == 0


def test_the_denominator_of_the_leak_is_never_zero() -> None:
    """Order 2 is positive everywhere, so the scores of "none" and "center" may be of any size."""
    assert taylor(2).is_positive(np.inf)


@pytest.mark.parametrize("figure", [ErrorVersusOrder(), ErrorVersusOrder(radius=8), CausalLeak()])
def test_still_and_html(figure: Any) -> None:
    axes = figure.still().axes[0]
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert axes.get_yscale() == "log"
    assert figure.summary() in figure._repr_html_().replace("&#x27;", "'")
    assert eval(repr(figure), {type(figure).__name__: type(figure)}).state() == figure.state()


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(traitlets.TraitError, match="radius"):
        ErrorVersusOrder(radius=9)
    with pytest.raises(traitlets.TraitError, match="position"):
        CausalLeak(position=16)
