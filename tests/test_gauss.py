"""The Gauss transforms against the direct sum, their bounds, the clusters, and the bridge."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastattn_lite import (
    kernel_attention,
    minimax,
    multi_indices,
    softmax_attention,
    taylor,
)
from fastattn_lite.clusters import cluster_radius, farthest_points
from fastattn_lite.gauss import (
    clustered_attention,
    fast_gauss_transform,
    gauss_transform,
    hermite_bound,
    hermite_functions,
    improved_fast_gauss_transform,
    improved_gauss_bound,
    order_and_cutoff,
    worst_distance,
)

SEEDS = st.integers(0, 2**32 - 1)
H = 0.7
FAST = (fast_gauss_transform, improved_fast_gauss_transform)


def draw(seed=0, *, dim=2, targets=23, sources=31):
    """Return targets, sources in a smaller cube, and charges of both signs."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(-2, 2, (targets, dim))
    return target, rng.uniform(-0.6, 0.6, (sources, dim)), rng.normal(size=sources)


def error_of(transform, places, centers, order, **options):
    """Return the largest error, as a share of the charges' sizes."""
    fast = transform(*places, bandwidth=H, centers=centers, order=order, **options)
    direct = gauss_transform(*places, bandwidth=H)
    return float(np.abs(fast - direct).max() / np.abs(places[2]).sum())


@pytest.mark.equation("eq-gauss-transform")
def test_direct_transform_is_the_double_loop():
    target, source, charge = draw()
    expected = [
        sum(
            c * math.exp(-(math.dist(y, z) ** 2) / H**2)
            for z, c in zip(source, charge, strict=True)
        )
        for y in target
    ]
    np.testing.assert_allclose(gauss_transform(*draw(), bandwidth=H), expected, rtol=1e-12)


@pytest.mark.equation("eq-hermite")
def test_hermite_functions_are_derivatives_of_the_gauss_kernel():
    t = np.array([-1.3, 0.0, 0.4, 2.1])
    values = hermite_functions(t, 7)
    for degree, value in itertools.product(range(8), range(4)):
        exact = mpmath.diff(lambda x: mpmath.exp(-(x**2)), t[value], degree) * (-1) ** degree
        assert values[value, degree] == pytest.approx(float(exact), rel=1e-10, abs=1e-10)


@pytest.mark.equation("eq-hermite", "eq-improved-gauss")
@pytest.mark.parametrize("transform", FAST)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_high_order_is_the_direct_transform(transform, dim):
    places = draw(dim=dim)
    centers = farthest_points(places[1], 9)
    assert (
        error_of(transform, places, centers, 60 if dim < 3 else 20) < (1e-14, 1e-14, 1e-8)[dim - 1]
    )


@pytest.mark.equation("eq-improved-gauss")
def test_one_kernel_is_its_sum_over_multi_indices():
    y, z, c = np.random.default_rng(3).uniform(-1, 1, (3, 3))
    order, h = 4, 1.3
    s, t = (z - c) / h, (y - c) / h
    total = sum(
        2.0 ** sum(a) / math.prod(map(math.factorial, a)) * np.prod(t**a) * np.prod(s**a)
        for a in multi_indices(3, order)
    )
    expected = math.exp(-(s @ s) - t @ t) * total
    found = improved_fast_gauss_transform(
        y[None], z[None], np.ones(1), bandwidth=h, centers=c[None], order=order
    )
    assert found[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.equation("eq-hermite")
def test_one_kernel_is_its_sum_over_a_grid_of_indices():
    y, z, c = np.random.default_rng(4).uniform(-1, 1, (3, 2))
    h, order = 1.1, 3
    s, t = (z - c) / h, hermite_functions((y - c) / h, order)
    grid = itertools.product(range(order + 1), repeat=2)
    expected = sum(
        np.prod(s**a) / math.prod(map(math.factorial, a)) * t[0, a[0]] * t[1, a[1]] for a in grid
    )
    found = fast_gauss_transform(
        y[None], z[None], np.ones(1), bandwidth=h, centers=c[None], order=order
    )
    assert found[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("transform", FAST)
def test_a_wide_kernel_counts_the_sources(transform):
    target, source, _ = draw()
    options = {"bandwidth": 1e9, "centers": farthest_points(source, 3), "order": 0}
    counted = transform(target, source, np.ones(31), **options)
    np.testing.assert_allclose(counted, 31, rtol=1e-13)


@pytest.mark.equation("eq-hermite-bound")
@settings(max_examples=40)
@given(SEEDS, st.integers(0, 9), st.integers(1, 3), st.integers(1, 5))
def test_hermite_error_stays_under_its_bound(seed, order, dim, count):
    places = draw(seed, dim=dim, targets=5, sources=7)
    centers = farthest_points(places[1], count)
    to_centers = np.abs(places[1][:, None] - centers) / H
    nearest = np.argmin(np.sum(to_centers**2, axis=-1), axis=1)
    radius = float(np.max(to_centers[np.arange(7), nearest]))
    bound = hermite_bound(order, radius=radius, dim=dim)
    assert error_of(fast_gauss_transform, places, centers, order) <= bound + 1e-14


@pytest.mark.equation("eq-hermite-bound")
@pytest.mark.parametrize("order", [1, 3, 7])
def test_hermite_bound_is_nearly_reached(order):
    """For odd orders the derivative of degree p + 1 is largest at 0, where the bound takes it."""
    radius, zero = 0.05, np.zeros((1, 1))
    found = fast_gauss_transform(
        zero, zero + radius, np.ones(1), bandwidth=1.0, centers=zero, order=order
    )
    with mpmath.workdps(40):
        r = mpmath.mpf(radius)
        kept = (order + 1) // 2
        series = mpmath.fsum((-1) ** k * r ** (2 * k) / mpmath.factorial(k) for k in range(kept))
        wrong = float(abs(mpmath.exp(-(r**2)) - series))
    assert found[0] == pytest.approx(float(series), rel=1e-13)
    bound = hermite_bound(order, radius=radius, dim=1)
    assert 0.99 * bound < wrong < bound


@pytest.mark.equation("eq-improved-gauss-bound")
@settings(max_examples=40)
@given(SEEDS, st.integers(0, 9), st.integers(1, 4), st.integers(1, 5))
def test_improved_error_stays_under_its_bound(seed, order, dim, count):
    places = draw(seed, dim=dim, targets=5, sources=7)
    centers = farthest_points(places[1], count)
    radius = cluster_radius(places[1], centers) / H
    bound = improved_gauss_bound(order, radius=radius)
    assert error_of(improved_fast_gauss_transform, places, centers, order) <= bound + 1e-14


@pytest.mark.equation("eq-improved-gauss-bound")
@settings(max_examples=40)
@given(st.integers(0, 12), st.floats(0.01, 3), st.floats(0, 6), st.floats(0, 1))
@example(order=0, radius=3.0, distance=0.5, share=0.3)
def test_the_bound_covers_every_source_and_target(order, radius, distance, share):
    at_edge = improved_gauss_bound(order, radius=radius, distance=distance)
    inside = improved_gauss_bound(order, radius=share * radius, distance=distance)
    assert inside <= at_edge * (1 + 1e-12)
    assert at_edge <= improved_gauss_bound(order, radius=radius) * (1 + 1e-12)
    s, t = share * radius, distance
    tail = mpmath.nsum(lambda k: mpmath.mpf(2 * s * t) ** k / mpmath.factorial(k), [order + 1, 200])
    assert float(tail * mpmath.exp(-(s**2) - t**2)) <= at_edge * (1 + 1e-12) + 1e-300


@pytest.mark.equation("eq-improved-gauss-bound")
def test_the_worst_distance_is_the_highest_point_of_a_fine_grid():
    grid = np.linspace(0.7, 6, 20_000)
    for order in (0, 3, 9):
        heights = (order + 1) * np.log(2 * 0.7 * grid) - (grid - 0.7) ** 2
        assert grid[np.argmax(heights)] == pytest.approx(worst_distance(order, 0.7), abs=1e-3)


@pytest.mark.parametrize("transform", FAST)
@pytest.mark.parametrize("dim", [1, 2])
def test_the_error_falls_with_the_order_and_with_the_number_of_centers(transform, dim):
    places = draw(dim=dim)
    few, many = (farthest_points(places[1], count) for count in (2, 12))
    by_order = [error_of(transform, places, few, order) for order in (0, 4, 8, 16, 24)]
    assert np.all(np.diff(by_order) < 0)
    assert by_order[-1] < 1e-6 * by_order[0]
    assert error_of(transform, places, many, 4) < 0.05 * by_order[1]


@pytest.mark.equation("eq-order-and-cutoff")
@settings(max_examples=40)
@given(SEEDS, st.sampled_from([1e-2, 1e-5, 1e-9]), st.integers(1, 2), st.integers(1, 6))
def test_the_chosen_order_meets_the_tolerance_far_and_near(seed, tolerance, dim, count):
    target, source, charge = draw(seed, dim=dim)
    places = (3 * target, source, charge)
    centers = farthest_points(source, 3 + count)
    order, cutoff = order_and_cutoff(tolerance, radius=cluster_radius(source, centers) / H)
    error = error_of(improved_fast_gauss_transform, places, centers, order, cutoff=cutoff)
    assert error <= tolerance


@pytest.mark.equation("eq-order-and-cutoff")
def test_no_smaller_order_has_the_guarantee():
    for tolerance, radius in ((1e-3, 0.5), (1e-6, 1.0), (1e-9, 0.2)):
        order, cutoff = order_and_cutoff(tolerance, radius=radius)
        assert math.exp(-(cutoff**2)) == pytest.approx(tolerance, rel=1e-9)
        at = np.linspace(0, radius + cutoff, 400)
        bounds = [
            max(improved_gauss_bound(p, radius=radius, distance=float(t)) for t in at)
            for p in (order - 1, order)
        ]
        assert bounds[1] <= tolerance < bounds[0]


@pytest.mark.parametrize("transform", FAST)
def test_beyond_the_cutoff_nothing_is_added(transform):
    source, target = np.zeros((1, 2)), np.array([[3.0, 0.0], [1.0, 0.0]])
    found = transform(
        target, source, np.ones(1), bandwidth=1.0, centers=source, order=8, cutoff=2.0
    )
    assert found[0] == 0.0
    assert found[1] == pytest.approx(math.exp(-1), rel=1e-12)


@pytest.mark.parametrize("transform", FAST)
def test_far_targets_and_centers_without_sources_do_no_harm(transform):
    target, source, charge = draw()
    target[0], centers = 1e6, np.concatenate([farthest_points(source, 4), [[50.0, 50.0]]])
    found = transform(target, source, charge, bandwidth=H, centers=centers, order=20)
    np.testing.assert_allclose(
        found, gauss_transform(target, source, charge, bandwidth=H), atol=1e-10
    )
    empty = transform(target, source[:0], charge[:0], bandwidth=H, centers=centers, order=2)
    np.testing.assert_array_equal(empty, np.zeros(23))


@pytest.mark.parametrize("transform", [gauss_transform, *FAST])
def test_several_charges_at_once_and_float32(transform):
    target, source, charge = draw()
    options = {} if transform is gauss_transform else {"centers": source[:3], "order": 5}
    both = np.column_stack([charge, charge**2])
    found = transform(target, source, both, bandwidth=H, **options)
    alone = [transform(target, source, c, bandwidth=H, **options) for c in both.T]
    np.testing.assert_allclose(found, np.stack(alone, axis=1), rtol=1e-12, atol=1e-14)
    narrow = transform(target.astype(np.float32), source, charge, bandwidth=H, **options)
    assert narrow.dtype == np.float64


@pytest.mark.equation("eq-farthest-point")
def test_farthest_points_are_chosen_as_said():
    source = np.array([[0.0], [1.0], [5.0], [2.4]])
    np.testing.assert_array_equal(farthest_points(source, 3), [[0.0], [5.0], [2.4]])
    assert cluster_radius(source, farthest_points(source, 2)) == 2.4
    assert cluster_radius(source, source) == 0


@pytest.mark.equation("eq-farthest-point")
@settings(max_examples=40)
@given(SEEDS, st.integers(1, 4))
def test_the_radius_is_at_most_twice_the_best_for_centers_among_the_sources(seed, count):
    source = draw(seed, sources=9)[1]
    radius = cluster_radius(source, farthest_points(source, count))
    choices = itertools.combinations(range(9), count)
    best = min(cluster_radius(source, source[list(choice)]) for choice in choices)
    assert best - 1e-15 <= radius <= 2 * best + 1e-15


def test_repeated_sources_are_no_obstacle():
    source = np.zeros((5, 2))
    assert cluster_radius(source, farthest_points(source, 5)) == 0


@pytest.mark.equation("eq-improved-gauss")
@pytest.mark.parametrize("order", range(5))
def test_one_cluster_at_the_origin_is_fast_attention(order):
    """With h^2 = 2 and charges exp(|k|^2/2) [v, 1]; the query's factor cancels."""
    rng = np.random.default_rng(5)
    query, key = rng.uniform(-0.6, 0.6, (2, 11, 3))
    value = rng.normal(size=(11, 2))
    charge = np.exp(np.sum(key**2, axis=1) / 2)[:, None] * np.column_stack([value, np.ones(11)])
    origin = np.zeros((1, 3))
    sums = improved_fast_gauss_transform(
        query, key, charge, bandwidth=math.sqrt(2), centers=origin, order=order
    )
    fast = kernel_attention(query, key, value, expansion=taylor(order), scale=1.0)
    np.testing.assert_allclose(sums[:, :-1] / sums[:, -1:], fast, rtol=1e-12, atol=1e-13)


def tokens(seed=0, *, dim=3, spread=0.5):
    rng = np.random.default_rng(seed)
    query, key = spread * rng.normal(size=(2, 17, dim))
    return query, key[:13], rng.normal(size=(13, 2))


@pytest.mark.equation("eq-clustered-attention")
@pytest.mark.parametrize("scale", [None, 1.0, 0.3])
def test_one_center_at_the_origin_is_fast_attention_for_any_coefficients(scale):
    query, key, value = tokens()
    for expansion in (taylor(3), minimax(2)):
        found = clustered_attention(
            query, key, value, centers=np.zeros((1, 3)), expansion=expansion, scale=scale
        )
        fast = kernel_attention(query, key, value, expansion=expansion, scale=scale)
        np.testing.assert_allclose(found, fast, rtol=1e-11, atol=1e-13)


@pytest.mark.equation("eq-clustered-attention")
@settings(max_examples=40)
@given(SEEDS, st.integers(0, 3), st.integers(1, 13))
def test_clustered_attention_is_its_direct_sum(seed, order, count):
    query, key, value = tokens(seed)
    centers = farthest_points(key, count)
    near = np.argmin(np.linalg.norm(key[:, None] - centers, axis=-1), axis=1)
    inner = np.einsum("id,jd->ij", query, key - centers[near])
    kernel = np.exp(query @ centers[near].T) * taylor(2 * order)(inner)
    expected = kernel @ value / kernel.sum(axis=1, keepdims=True)
    options = {"centers": centers, "expansion": taylor(2 * order), "scale": 1.0}
    found = clustered_attention(query, key, value, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.equation("eq-clustered-attention")
@settings(max_examples=40)
@given(SEEDS, st.integers(1, 13))
def test_the_error_is_bounded_by_the_radius_of_the_clusters(seed, count):
    query, key, value = tokens(seed)
    centers = farthest_points(key, count)
    longest = float(np.linalg.norm(query, axis=1).max())
    radius = max(longest * cluster_radius(key, centers), 1e-9)
    expansion = minimax(4, radius=radius)
    options = {"centers": centers, "expansion": expansion, "scale": 1.0}
    found = clustered_attention(query, key, value, **options)
    exact = softmax_attention(query, key, value, scale=1.0)
    spread = np.linalg.norm(value[:, None] - value, axis=-1).max()
    error = np.linalg.norm(found - exact, axis=1).max()
    assert error <= spread * expansion.output_error_bound() + 1e-12


def test_a_center_on_every_key_is_softmax_and_large_scores_do_not_overflow():
    query, key, value = tokens(spread=30.0)
    options = {"centers": key, "expansion": taylor(0), "scale": 1.0}
    found = clustered_attention(query, key, value, **options)
    exact = softmax_attention(query, key, value, scale=1.0)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-11)


Y, Z, RHO = draw()
GOOD = {"bandwidth": H, "centers": Z[:2], "order": 2}
HOLE = np.where(np.eye(31, 2) > 0, np.nan, Z)
Q, K, V = tokens()
CALLS = [
    (lambda f: f(Y, Z, RHO[:4], **GOOD), ValueError, r"charge: .* of the 31 sources, .*\(4,\)"),
    (lambda f: f(Y, Z, RHO[None, None], **GOOD), ValueError, "charge: expected the shape"),
    (lambda f: f(Y[:, :1], Z, RHO, **GOOD), ValueError, r"source: .* dimension of target \(1\)"),
    (lambda f: f(Y[:, :0], Z[:, :0], RHO, **GOOD), ValueError, "target: expected at least one co"),
    (
        lambda f: f(Y[0], Z, RHO, **GOOD),
        ValueError,
        r"target: .* shape \(points, dim\), got \(2,\)",
    ),
    (lambda f: f(Y, HOLE, RHO, **GOOD), ValueError, "source: expected finite numbers"),
    (lambda f: f(Y * np.inf, Z, RHO, **GOOD), ValueError, "target: expected finite numbers"),
    (lambda f: f(Y, Z, RHO + np.inf, **GOOD), ValueError, "charge: expected finite numbers"),
    (lambda f: f(Y.astype(int), Z, RHO, **GOOD), TypeError, "target: expected real .* int64"),
    (lambda f: f(Y, Z + 0j, RHO, **GOOD), TypeError, "source: .* complex128"),
    (lambda f: f(Y, Z, RHO.tolist(), **GOOD), TypeError, "charge: expected an array .* got list"),
    (lambda f: f(*map(torch.from_numpy, (Y, Z)), RHO, **GOOD), TypeError, "NumPy array, got Tens"),
    (lambda f: f(Y, Z, RHO, **GOOD | {"bandwidth": 0}), ValueError, "bandwidth: .* above 0, got 0"),
    (lambda f: f(Y, Z, RHO, **GOOD | {"bandwidth": -1}), ValueError, "bandwidth: .* above 0"),
    (lambda f: f(Y, Z, RHO, **GOOD | {"bandwidth": math.nan}), ValueError, "bandwidth: .* got nan"),
    (lambda f: f(Y, Z, RHO, **GOOD | {"bandwidth": "1"}), TypeError, "bandwidth: .* real number"),
    (lambda f: f(Y, Z, RHO, **GOOD | {"bandwidth": 1e-308}), ValueError, "bandwidth: .* too small"),
]
OF_FAST = [
    ({"order": -1}, ValueError, "order: expected at least 0, got -1"),
    ({"order": 2.0}, TypeError, "order: expected a whole number"),
    ({"order": 61}, ValueError, "order: expected at most 60, got 61"),
    ({"cutoff": 0}, ValueError, "cutoff: .* above 0"),
    ({"centers": Z[:0]}, ValueError, "centers: expected at least one, got none"),
    ({"centers": Z[:2, :1]}, ValueError, r"centers: .* dimension of source \(2\), got 1"),
    ({"centers": HOLE[:2]}, ValueError, "centers: expected finite numbers"),
]
OTHERS = [
    (lambda: farthest_points(Z, 0), ValueError, "count: expected at least 1, got 0"),
    (lambda: farthest_points(Z, 32), ValueError, "count: expected at most the 31 sources, got 32"),
    (lambda: farthest_points(Z, 2.0), TypeError, "count: expected a whole number"),
    (lambda: order_and_cutoff(0.0, radius=1), ValueError, "tolerance: .* above 0"),
    (lambda: order_and_cutoff(1.0, radius=1), ValueError, "tolerance: .* below 1"),
    (lambda: order_and_cutoff(1e-9, radius=4), ValueError, "order up to 60 .* more centers"),
    (lambda: order_and_cutoff(0.1, radius=-1), ValueError, "radius: expected at least 0"),
    (lambda: order_and_cutoff(0.1, radius=math.inf), ValueError, "radius: .* finite"),
    (lambda: improved_gauss_bound(1, radius=1, distance=-1), ValueError, "distance: .* got -1"),
    (lambda: hermite_bound(1, radius=1, dim=0), ValueError, "dim: expected at least 1"),
    (
        lambda: clustered_attention(Q, K, V, centers=K[:, :1], expansion=taylor(1)),
        ValueError,
        r"centers: .* dimension of query \(3\)",
    ),
    (
        lambda: clustered_attention(Q, K, V[:4], centers=K, expansion=taylor(1)),
        ValueError,
        "value: expected one value",
    ),
    (
        lambda: clustered_attention(Q, K, V, centers=K, expansion=2),
        TypeError,
        "expansion: expected an Expansion",
    ),
    (
        lambda: clustered_attention(Q[None], K, V, centers=K, expansion=taylor(1)),
        ValueError,
        r"query: expected the shape \(points, dim\)",
    ),
    (
        lambda: clustered_attention(Q, K, V, centers=K, expansion=taylor(1), scale=math.nan),
        ValueError,
        "scale: expected a finite",
    ),
    (
        lambda: clustered_attention(Q, K[:0], V[:0], centers=K, expansion=taylor(1)),
        ValueError,
        "key: expected at least one key",
    ),
]


def only_direct(target, source, charge, *, bandwidth, centers, order):
    del centers, order
    return gauss_transform(target, source, charge, bandwidth=bandwidth)


@pytest.mark.parametrize("transform", [only_direct, *FAST])
@pytest.mark.parametrize(("call", "error", "words"), CALLS)
def test_bad_input_names_the_argument(transform, call, error, words):
    with pytest.raises(error, match=words):
        call(transform)


@pytest.mark.parametrize("transform", FAST)
def test_terms_that_fill_the_memory_are_refused(transform):
    many = np.zeros((3, 60))
    with pytest.raises(ValueError, match=r"order: .* would need .* GiB"):
        transform(many, many, np.ones(3), bandwidth=H, centers=many, order=60)


@pytest.mark.parametrize("transform", FAST)
@pytest.mark.parametrize(("changes", "error", "words"), OF_FAST)
def test_bad_options_of_the_fast_transforms(transform, changes, error, words):
    with pytest.raises(error, match=words):
        transform(Y, Z, RHO, **GOOD | changes)


@pytest.mark.parametrize(("call", "error", "words"), OTHERS)
def test_other_bad_input_names_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
