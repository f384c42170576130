"""MonomialBasis in Python: the terms against the package, the words, the stills."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import traitlets

from fastattn_lite import feature_weights, monomial_features
from fastattn_lite.figures import MonomialBasis

SIZES = list(itertools.product((1, 3, 4), (0, 2, 4)))


@pytest.mark.parametrize("coefficients", ["taylor", "ones", "alternating"])
@pytest.mark.parametrize("basis", ["minimal", "full"])
@pytest.mark.parametrize(("dim", "order"), SIZES)
def test_both_bases_add_up_to_the_polynomial(
    dim: int, order: int, coefficients: str, basis: str
) -> None:
    figure = MonomialBasis(dim=dim, order=order, coefficients=coefficients, basis=basis, seed=5)
    terms = figure.terms()
    assert len(terms) == figure.counts()[basis == "full"]
    assert terms[-1].total == pytest.approx(figure.value(), rel=1e-12, abs=1e-12)
    assert terms[-1].total == pytest.approx(sum(term.product for term in terms), abs=1e-12)


@pytest.mark.parametrize(("dim", "order"), SIZES)
def test_the_minimal_terms_are_those_of_the_package(dim: int, order: int) -> None:
    figure = MonomialBasis(dim=dim, order=order, coefficients="alternating", seed=2)
    query, key = (monomial_features(np.array([x]), order)[0].tolist() for x in figure.vectors())
    terms = figure.terms()
    assert [term.query for term in terms] == query
    assert [term.key for term in terms] == key
    assert [term.weight for term in terms] == feature_weights(figure.expansion(), dim).tolist()


def test_names_are_monomials_or_ordered_products() -> None:
    assert [t.name for t in MonomialBasis().terms()] == ["1", "x₁", "x₂", "x₁²", "x₁x₂", "x₂²"]
    full = MonomialBasis(basis="full").terms()
    assert [t.name for t in full] == ["1", "x₁", "x₂", "x₁²", "x₁x₂", "x₂x₁", "x₂²"]


def test_a_term_that_is_not_there_means_the_last() -> None:
    assert "Term 6 of 6 is x₂²" in MonomialBasis(term=341).summary()
    assert "Term 1 of 1 is 1 with" in MonomialBasis(order=0).summary()


@pytest.mark.parametrize("figure", [MonomialBasis(), MonomialBasis(dim=4, order=4, basis="full")])
def test_still_and_html(figure: Any) -> None:
    running, counts = figure.still().axes
    assert running.get_xlabel()
    assert counts.get_ylabel()
    assert figure.summary() in figure._repr_html_()
    assert eval(repr(figure), {"MonomialBasis": MonomialBasis}).state() == figure.state()


@pytest.mark.parametrize(("name", "value"), [("dim", 5), ("order", -1), ("basis", "half")])
def test_values_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(traitlets.TraitError, match=name):
        MonomialBasis(**{name: value})
