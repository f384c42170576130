"""FarField in Python: errors against the direct sums, bounds, words and stills."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import traitlets

from fastattn_lite.figures import FarField
from fastattn_lite.figures.far_field import HIGHEST, far_field
from fastattn_lite.figures.style import plot_style
from fastattn_lite.gauss import gauss_transform, improved_fast_gauss_transform
from fastattn_lite.multipole import (
    inverse_distance_sum,
    multipole_moments,
    multipole_potential,
)

Y = np.array([-4.9, -2.3, 2.05, 3.0, 4.7])
SETTINGS: list[dict[str, Any]] = [
    {"radius": 1.0, "centers": 1, "seed": 0},
    {"radius": 1.5, "centers": 3, "seed": 7},
    {"radius": 0.25, "centers": 8, "seed": 99},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("order", [0, 1, 4])
def test_errors_of_the_inverse_distance_are_those_of_the_package(settings, order):
    cells = far_field(kernel="inverse", **settings)
    places = np.where(np.abs(Y) < 2 * settings["radius"], 2 * Y, Y)
    expanded = sum(
        multipole_potential(
            places,
            multipole_moments(
                cells.source[cells.center == c],
                cells.charge[cells.center == c],
                center=float(c),
                order=order,
            ),
            center=float(c),
        )
        for c in cells.middles
    )
    direct = inverse_distance_sum(places, cells.source, cells.charge)
    expected = np.abs(expanded - direct) / cells.charge.sum()
    np.testing.assert_allclose(cells.errors(places, order), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("order", [0, 1, 4])
def test_errors_of_the_gauss_kernel_are_those_of_the_package(settings, order):
    cells = far_field(kernel="gauss", **settings)
    places = (np.append(Y, [0.0, 0.3])[:, None], cells.source[:, None], cells.charge)
    options = {"bandwidth": 1.0, "centers": cells.middles[:, None], "order": order}
    expanded = improved_fast_gauss_transform(*places, **options)
    expected = np.abs(expanded - gauss_transform(*places, bandwidth=1.0)) / cells.charge.sum()
    found = cells.errors(places[0][:, 0], order)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("kernel", ["inverse", "gauss"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_no_error_exceeds_its_bound_and_bounds_fall(kernel, settings):
    cells, y = far_field(kernel=kernel, **settings), np.linspace(-5, 5, 101)
    bounds = np.array([cells.bounds(y, order) for order in range(HIGHEST + 1)])
    errors = np.array([cells.errors(y, order) for order in range(HIGHEST + 1)])
    assert np.all(errors <= bounds * (1 + 1e-12) + 1e-300)
    assert np.all(np.isfinite(bounds))
    assert np.any(bounds[0] > 0)
    if kernel == "inverse":
        assert np.all(bounds[1:] <= bounds[:-1] / 2 * (1 + 1e-9))


def test_near_sources_are_added_one_by_one_and_make_no_error():
    figure = FarField(target=0.5)
    assert figure.at_target(3) == (0.0, 0.0)
    assert "one by one: 24; cells expanded: 0, numbers kept of them: 0" in figure.summary()
    assert "one by one: 0;" in FarField(target=0.5, kernel="gauss").summary()


def test_more_centers_lower_the_bound():
    for kernel in ("inverse", "gauss"):
        bounds = [FarField(kernel=kernel, centers=c).at_target(4)[1] for c in (1, 2, 4, 8)]
        assert np.all(np.diff(bounds) < 0)


@pytest.mark.parametrize("figure", [FarField(), FarField(kernel="gauss", centers=5, target=-0.1)])
def test_still_and_html(figure):
    along, orders = figure.still().axes
    assert along.get_xlabel()
    assert along.get_ylabel()
    assert orders.get_xlabel()
    assert figure.summary() in figure._repr_html_()
    assert eval(repr(figure), {"FarField": FarField}).state() == figure.state()


@pytest.mark.parametrize(
    "wrong", [{"order": 13}, {"centers": 0}, {"radius": 2.0}, {"target": 6}, {"kernel": "log"}]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(traitlets.TraitError, match=next(iter(wrong))):
        FarField(**wrong)


def test_the_plot_style_ends_and_leaves_other_settings_alone():
    """A notebook's backend turns `interactive` on at its first picture, and needs it later."""
    before = dict(mpl.rcParams)
    try:
        with plot_style():
            assert mpl.rcParams["axes.grid"]
            mpl.rcParams["interactive"] = True
        assert mpl.rcParams["interactive"]
        assert {**mpl.rcParams, "interactive": before["interactive"]} == before
    finally:
        mpl.rcParams["interactive"] = before["interactive"]
