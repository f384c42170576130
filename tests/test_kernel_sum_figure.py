"""KernelSum in Python: weights, outputs, words and stills."""

from __future__ import annotations

import numpy as np
import pytest
import traitlets
from matplotlib.colors import to_hex

from fastattn_lite import kernel_attention, softmax_attention, taylor
from fastattn_lite.figures import KernelSum
from fastattn_lite.figures.style import color


def test_the_outputs_are_those_of_the_oracle() -> None:
    figure = KernelSum(query_x=1.3, query_y=-0.4, order=3, tokens=7, seed=2)
    found, query = figure.sums(), np.array([[1.3, -0.4]])
    softmax = softmax_attention(query, found.key, found.key, scale=1.0)[0]
    np.testing.assert_allclose(found.exact_output, softmax, rtol=1e-13)
    fast = kernel_attention(query, found.key, found.key, expansion=taylor(3), scale=1.0)[0]
    np.testing.assert_allclose(found.fast_output, fast, rtol=1e-13)
    assert found.apart == pytest.approx(np.linalg.norm(softmax - fast))


def test_a_query_at_the_origin_sees_all_keys_alike() -> None:
    found = KernelSum(query_x=0, query_y=0, tokens=5).sums()
    np.testing.assert_allclose(found.exact, 0.2, rtol=1e-15)
    np.testing.assert_allclose(found.fast, 0.2, rtol=1e-15)
    np.testing.assert_allclose(found.exact_output, found.key.mean(axis=0), rtol=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_only_odd_orders_give_negative_weights_and_the_words_say_so(seed: int) -> None:
    for order in range(7):
        figure = KernelSum(query_x=-2.5, query_y=2, order=order, tokens=24, seed=seed)
        assert (figure.sums().negative > 0) == (order % 2 == 1)
        assert ("Negative weights" in figure.summary()) == (order % 2 == 1)


def test_the_polynomial_comes_nearer_with_the_order() -> None:
    apart = [KernelSum(order=order, query_x=0.5, query_y=0.5).sums().apart for order in range(7)]
    assert np.all(np.diff(apart) < 0)


@pytest.mark.parametrize("figure", [KernelSum(), KernelSum(order=1, query_x=-3, query_y=3)])
def test_still_and_html(figure: KernelSum) -> None:
    plane, curve = figure.still().axes
    for axes in (plane, curve):
        assert axes.get_xlabel()
        assert axes.get_ylabel()
    rings = plane.collections[1].get_edgecolor()
    assert len(rings) == figure.tokens
    warned = sum(to_hex(ring) == color("warning") for ring in rings)
    assert warned == figure.sums().negative
    assert figure.summary() in figure._repr_html_()
    assert eval(repr(figure), {"KernelSum": KernelSum}).state() == figure.state()


@pytest.mark.parametrize("wrong", [{"tokens": 2}, {"query_x": 3.5}, {"order": 7}, {"seed": -1}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(traitlets.TraitError, match=next(iter(wrong))):
        KernelSum(**wrong)
