"""The Gauss transform, direct and fast, and its bridge to attention.

The transform sums exp(-|y - z|^2/h^2) over the sources. The fast form writes each kernel, about
the centre of a cluster, as a Taylor series in the source: Hermite functions of the target, one
coordinate at a time. The improved form splits off two factors and expands only the entangled one,
exp(2 (y - c).(z - c)/h^2), in the monomials of `factorization`. That factor is attention's kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.spatial.distance import cdist

from fastattn_lite._arrays import (
    check_attention_inputs,
    check_count,
    check_memory,
    check_points,
    check_real,
    check_someone_to_attend_to,
)
from fastattn_lite.clusters import check_places, distances, nearest_centers
from fastattn_lite.expansion import HIGHEST_ORDER, Expansion, check_expansion
from fastattn_lite.factorization import feature_weights, monomial_features

Floats = npt.NDArray[np.float64]
FARTHEST = 27.5
"""A Gauss kernel at this many bandwidths is 0 in float64: cutting there changes nothing."""


def gauss_transform(target: Any, source: Any, charge: Any, *, bandwidth: float) -> Floats:
    """Return the Gauss transform at every target, by the direct sum over all pairs.

    Formula: psi_i = sum_j rho_j exp(-|y_i - z_j|^2/h^2), with h = `bandwidth`.
    Shapes: target (m, d), source (n, d), charge (n,) or (n, c); result (m,) or (m, c).
    Cost: m n kernels and as many numbers. Computed in float64.
    Raises `TypeError` for arrays that are not NumPy's or not real and floating; `ValueError` for
    shapes that do not match, numbers that are not finite, no coordinate, and bandwidth <= 0.
    Equation: eq-gauss-transform (chapter fast_multipole_ideas).
    """
    given = _checked(target, source, charge, bandwidth)
    return np.exp(-cdist(given.target, given.source, "sqeuclidean")) @ given.charge


def fast_gauss_transform(
    target: Any,
    source: Any,
    charge: Any,
    *,
    bandwidth: float,
    centers: Any,
    order: int,
    cutoff: float | None = None,
) -> Floats:
    """Return the Gauss transform by Hermite expansions about the centres.

    Formula: exp(-(t-s)^2) = sum_l (s^l/l!) h_l(t), cut after l = p, in every coordinate, with the
    Hermite functions h_l(t) = (-1)^l (d/dt)^l exp(-t^2). Each source belongs to its nearest
    centre. A target farther than `cutoff` bandwidths from a cluster's ball leaves it out; `None`
    cuts where a kernel is 0 in float64.
    Shapes: as `gauss_transform`; centers (C, d). Cost: (n + m C) (p + 1)^d products at most, and
    m (p + 1)^d numbers.
    Raises as `gauss_transform`, and `ValueError` for an order below 0 or above HIGHEST_ORDER,
    cutoff <= 0, no centre, centres of another dimension, or terms that would not fit in memory.
    Equation: eq-hermite (chapter fast_multipole_ideas).
    Source: the fast Gauss transform of Greengard and Strain (1991).
    """
    given, order = _checked(target, source, charge, bandwidth), _checked_order(order)
    terms = (order + 1) ** given.dim
    longest = max(len(given.target), len(given.source))
    check_memory(f"{terms:,} terms", terms * longest, np.finfo(float))
    total = np.zeros((len(given.target), *given.charge.shape[1:]))
    for cluster in _clusters(given, centers, cutoff):
        moments = _taylor_products(cluster.source, order).T @ cluster.charge
        total[cluster.rows] += _hermite_products(cluster.target, order) @ moments
    return total


def improved_fast_gauss_transform(
    target: Any,
    source: Any,
    charge: Any,
    *,
    bandwidth: float,
    centers: Any,
    order: int,
    cutoff: float | None = None,
) -> Floats:
    """Return the Gauss transform by expansions of the entangled factor in monomials.

    Formula: exp(-|y-z|^2) = exp(-|y|^2) exp(-|z|^2) sum_{|a|<=p} (2^|a|/a!) y^a z^a + remainder,
    with y and z counted from a centre, in bandwidths. Each source belongs to its nearest centre.
    A target farther than `cutoff` bandwidths from a cluster's ball leaves it out; `None` cuts where
    a kernel is 0 in float64.
    Shapes: as `gauss_transform`; centers (C, d). Cost: (n + m C) R products at most, and m R
    numbers, with R = C(d+p, p).
    Raises as `fast_gauss_transform`.
    Equation: eq-improved-gauss (chapter fast_multipole_ideas).
    Source: the improved fast Gauss transform of Yang, Duraiswami, Gumerov and Davis (2003).
    """
    given, order = _checked(target, source, charge, bandwidth), _checked_order(order)
    series = Expansion(tuple(2**degree / math.factorial(degree) for degree in range(order + 1)))
    weights = feature_weights(series, given.dim)
    total = np.zeros((len(given.target), *given.charge.shape[1:]))
    for cluster in _clusters(given, centers, cutoff):
        moments = _damped_monomials(cluster.source, order).T @ cluster.charge
        total[cluster.rows] += _damped_monomials(cluster.target, order) * weights @ moments
    return total


def hermite_bound(order: int, *, radius: float, dim: int) -> float:
    """Return how wrong the Hermite expansion of one kernel can be, at any target.

    Formula: (1 + e)^d - 1 with e = r^(p+1)/Gamma((p+3)/2); r is the largest coordinate of a
    source counted from its centre, in bandwidths.
    Raises `ValueError` for order < 0, radius < 0 or dim < 1.
    Equation: eq-hermite-bound (chapter fast_multipole_ideas).
    """
    order, dim = check_count("order", order, least=0), check_count("dim", dim, least=1)
    radius = _checked_radius(radius)
    if radius == 0:
        return 0.0
    logarithm = (order + 1) * math.log(radius) - math.lgamma((order + 3) / 2)
    with np.errstate(over="ignore"):
        return float(np.expm1(dim * np.log1p(np.exp(logarithm))))


def improved_gauss_bound(order: int, *, radius: float, distance: float | None = None) -> float:
    """Return how wrong the expansion of one kernel in monomials can be.

    Formula: (2 s t)^(p+1)/(p+1)! exp(-(t-s)^2) with t = `distance` of the target from the centre
    and s the worst distance of a source up to `radius`, all in bandwidths. `None`: the worst t.
    Raises `ValueError` for order < 0, radius < 0 or distance < 0.
    Equation: eq-improved-gauss-bound (chapter fast_multipole_ideas).
    Source: pointwise bounds as in Raykar, Yang, Duraiswami and Gumerov (2005); the chapter has the
    proof.
    """
    order, radius = check_count("order", order, least=0), _checked_radius(radius)
    t = worst_distance(order, radius) if distance is None else check_real("distance", distance)
    if t < 0:
        raise ValueError(f"distance: expected at least 0, got {t:g}")
    s = min(radius, worst_distance(order, t))
    if s * t == 0:
        return 0.0
    logarithm = (order + 1) * math.log(2 * s * t) - math.lgamma(order + 2) - (t - s) ** 2
    return float(np.exp(min(logarithm, 709.0)))


def worst_distance(order: int, other: float) -> float:
    """Return the distance t at which (2 s t)^(p+1) exp(-(t-s)^2) is largest, for s = `other`.

    Formula: (s + sqrt(s^2 + 2 (p+1)))/2, where the derivative vanishes.
    Equation: eq-improved-gauss-bound (chapter fast_multipole_ideas).
    """
    return (other + math.sqrt(other**2 + 2 * (order + 1))) / 2


def order_and_cutoff(tolerance: float, *, radius: float) -> tuple[int, float]:
    """Return the smallest order, and the cut-off, with which no kernel is wrong by more.

    Formula: cut-off sqrt(log(1/tolerance)); the smallest p whose bound at every distance up to
    radius + cut-off is at most `tolerance`. `radius` is that of the clusters, in bandwidths.
    Raises `ValueError` for a tolerance outside (0, 1), radius < 0, or a tolerance that no order up
    to HIGHEST_ORDER meets.
    Equation: eq-order-and-cutoff (chapter fast_multipole_ideas).
    """
    tolerance, radius = check_real("tolerance", tolerance, positive=True), _checked_radius(radius)
    if tolerance >= 1:
        raise ValueError(f"tolerance: expected a number below 1, got {tolerance:g}")
    cutoff = math.sqrt(-math.log(tolerance))
    for order in range(HIGHEST_ORDER + 1):
        distance = min(radius + cutoff, worst_distance(order, radius))
        if improved_gauss_bound(order, radius=radius, distance=distance) <= tolerance:
            return order, cutoff
    raise ValueError(
        f"tolerance: expected one that an order up to {HIGHEST_ORDER} meets for clusters of radius "
        f"{radius:g} bandwidths, got {tolerance:g}: take more centers"
    )


def clustered_attention(
    query: Any,
    key: Any,
    value: Any,
    *,
    centers: Any,
    expansion: Expansion,
    scale: float | None = None,
) -> Floats:
    """Return attention with the keys of each cluster expanded about the cluster's centre.

    Formula: exp(s q.k) = exp(s q.c) exp(s q.(k - c)), with f for the last exp. The moments of each
    cluster are summed over its keys once; a query takes them with the exact factor exp(s q.c).
    Shapes: query (n_q, d), key (n_k, d), value (n_k, d_v), centers (C, d); result (n_q, d_v).
    Cost: 2 (n_k + C n_q) R (d_v + 1) flops with R = C(d+p, p), in float64.
    Raises `TypeError` and `ValueError` as `kernel_attention`, as `gauss_transform` for what is not
    finite or not NumPy's, and `ValueError` for no centre or centres of another dimension.
    Equation: eq-clustered-attention (chapter fast_multipole_ideas).
    """
    check_attention_inputs(query, key, value, is_causal=False)
    check_someone_to_attend_to(query, key)
    check_expansion(expansion)
    places = check_places(query=query, key=key, centers=centers)
    q, k, c = places["query"], places["key"], places["centers"]
    with_one = np.column_stack([check_points(2, value=value)["value"], np.ones(len(k))])
    root = 1 / math.sqrt(k.shape[1]) if scale is None else check_real("scale", scale)
    shift = root * q @ c.T
    factor = np.exp(shift - np.max(shift, axis=1, keepdims=True))
    features = monomial_features(root * q, expansion.order) * feature_weights(expansion, q.shape[1])
    sums, labels = np.zeros((len(q), with_one.shape[1])), nearest_centers(k, c)[0]
    for m, center in enumerate(c):
        mine = labels == m
        moments = monomial_features(k[mine] - center, expansion.order).T @ with_one[mine]
        sums += factor[:, m, None] * (features @ moments)
    return sums[:, :-1] / sums[:, -1:]


@dataclass(frozen=True)
class _Places:
    """Targets and sources in bandwidths, and the charges."""

    target: Floats
    source: Floats
    charge: Floats
    bandwidth: float

    @property
    def dim(self) -> int:
        return self.source.shape[1]


@dataclass(frozen=True)
class _Cluster:
    """Sources of one centre and the targets in reach, both counted from the centre."""

    source: Floats
    charge: Floats
    target: Floats
    rows: npt.NDArray[np.bool_]


def _checked(target: Any, source: Any, charge: Any, bandwidth: float) -> _Places:
    places = check_places(target=target, source=source)
    axes = 2 if getattr(charge, "ndim", 1) == 2 else 1
    rho = check_points(axes, charge=charge)["charge"]
    h = check_real("bandwidth", bandwidth, positive=True)
    if rho.shape[0] != places["source"].shape[0]:
        raise ValueError(
            f"charge: expected one for each of the {places['source'].shape[0]} sources, "
            f"got the shape {rho.shape}"
        )
    with np.errstate(over="ignore"):
        target, source = places["target"] / h, places["source"] / h
    if not (np.all(np.isfinite(target)) and np.all(np.isfinite(source))):
        raise ValueError(f"bandwidth: expected a number not too small for these points, got {h:g}")
    return _Places(target, source, rho, h)


def _checked_order(order: int) -> int:
    order = check_count("order", order, least=0)
    if order > HIGHEST_ORDER:
        raise ValueError(f"order: expected at most {HIGHEST_ORDER}, got {order}")
    return order


def _checked_radius(radius: float) -> float:
    radius = check_real("radius", radius)
    if radius < 0:
        raise ValueError(f"radius: expected at least 0, got {radius:g}")
    return radius


def _clusters(given: _Places, centers: Any, cutoff: float | None) -> Iterator[_Cluster]:
    """Yield every cluster with the targets within its radius plus the cut-off."""
    places = check_places(source=given.source, centers=centers)
    reach = FARTHEST if cutoff is None else check_real("cutoff", cutoff, positive=True)
    middle = places["centers"] / given.bandwidth
    labels, distance = nearest_centers(given.source, middle)
    for m, center in enumerate(middle):
        mine = labels == m
        limit = np.max(distance[mine], initial=0.0) + reach
        rows = distances(given.target, center) <= limit
        yield _Cluster(
            given.source[mine] - center, given.charge[mine], given.target[rows] - center, rows
        )


def _damped_monomials(offset: Floats, order: int) -> Floats:
    """Return exp(-|x|^2) x^a for all |a| <= order."""
    return np.exp(-np.sum(offset**2, axis=1))[:, None] * monomial_features(offset, order)


def _taylor_products(offset: Floats, order: int) -> Floats:
    """Return the products of s_1^a_1/a_1!, ..., s_d^a_d/a_d! for all powers up to the order."""
    factorial = special.factorial(np.arange(order + 1))
    return reduce(_outer, (np.vander(s, order + 1, increasing=True) / factorial for s in offset.T))


def _hermite_products(offset: Floats, order: int) -> Floats:
    """Return the products of h_a_1(t_1), ..., h_a_d(t_d) for all indices up to the order."""
    return reduce(_outer, (hermite_functions(t, order) for t in offset.T))


def hermite_functions(t: Floats, order: int) -> Floats:
    """Return the Hermite functions h_0, ..., h_p of every number.

    Formula: h_0 = exp(-t^2), h_1 = 2 t h_0, h_(l+1) = 2 t h_l - 2 l h_(l-1).
    Shapes: t (m,) to (m, p + 1). Cost: two products a value.
    Equation: eq-hermite (chapter fast_multipole_ideas).
    """
    values = [np.exp(-(t**2))]
    for degree in range(order):
        below = values[degree - 1] if degree > 0 else np.zeros_like(t)
        values.append(2 * t * values[degree] - 2 * degree * below)
    return np.stack(values, axis=1)


def _outer(left: Floats, right: Floats) -> Floats:
    """Return all products of an entry of the left row and one of the right row."""
    products = left[:, :, None] * right[:, None, :]
    return products.reshape(len(left), left.shape[1] * right.shape[1])
