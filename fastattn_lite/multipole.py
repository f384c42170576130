"""Near and far on a line: a cluster of sources seen from far away is a few numbers.

A source z near the centre c, a target y beyond it: 1/(y - z) is a geometric series in
(z - c)/(y - c). Cut after the power p, its sums over the sources do not depend on the target.
This is the multipole method in its smallest form; its error has a bound that one line proves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastattn_lite._arrays import check_count, check_points, check_real

Floats = npt.NDArray[np.float64]


def inverse_distance_sum(target: Any, source: Any, charge: Any) -> Floats:
    """Return the potential at every target, by the direct sum over all pairs.

    Formula: psi_i = sum_j rho_j / |y_i - z_j|, for places on a line.
    Shapes: target (m,), source and charge (n,); result (m,). Cost: m n terms.
    Raises `TypeError` for arrays that are not NumPy's or not real and floating, `ValueError` for
    shapes that do not match, for numbers that are not finite, and where a target meets a source.
    Chapter: fast_multipole_ideas.
    """
    places = check_points(1, target=target, source=source, charge=charge)
    y, z, rho = places["target"], places["source"], places["charge"]
    _check_charges(z, rho)
    distance = np.abs(y[:, None] - z)
    if np.any(distance == 0):
        raise ValueError("target: expected places apart from every source, got one on a source")
    return (1 / distance) @ rho


def multipole_moments(source: Any, charge: Any, *, center: float, order: int) -> Floats:
    """Return what is kept of the sources: one number for each power up to `order`.

    Formula: M_l = sum_j rho_j (z_j - c)^l for l = 0, ..., p.
    Shapes: source and charge (n,); result (p + 1,). Cost: n (p + 1) products.
    Raises `TypeError` and `ValueError` as `inverse_distance_sum`, and for order < 0.
    Equation: eq-multipole (chapter fast_multipole_ideas).
    """
    places = check_points(1, source=source, charge=charge)
    _check_charges(places["source"], places["charge"])
    order, center = check_count("order", order, least=0), check_real("center", center)
    return np.vander(places["source"] - center, order + 1, increasing=True).T @ places["charge"]


def multipole_potential(target: Any, moments: Any, *, center: float) -> Floats:
    """Return the potential of the moments at every target.

    Formula: psi = sum_l M_l / ((y - c)^l |y - c|), good where |y - c| is larger than the
    distance of every source from c.
    Shapes: target (m,), moments (p + 1,); result (m,). Cost: m (p + 1) products.
    Raises `TypeError` and `ValueError` as `inverse_distance_sum`, also for a target at c.
    Equation: eq-multipole (chapter fast_multipole_ideas).
    """
    places = check_points(1, target=target, moments=moments)
    offset = places["target"] - check_real("center", center)
    if np.any(offset == 0):
        raise ValueError("target: expected places apart from the center, got one on it")
    return np.polynomial.polynomial.polyval(1 / offset, places["moments"]) / np.abs(offset)


def multipole_bound(order: int, *, radius: float, distance: float) -> float:
    """Return how wrong the expansion can be, for each unit of charge.

    Formula: (1/(D - r)) (r/D)^(p+1), with r the largest |z_j - c| and D = |y - c| > r. The
    potential is wrong by at most this times sum_j |rho_j|, and by as much in the worst case.
    Raises `ValueError` for order < 0, radius < 0 or a distance that is not larger than it.
    Equation: eq-multipole-bound (chapter fast_multipole_ideas).
    """
    order = check_count("order", order, least=0)
    radius, distance = check_real("radius", radius), check_real("distance", distance)
    if radius < 0:
        raise ValueError(f"radius: expected at least 0, got {radius:g}")
    if distance <= radius:
        raise ValueError(f"distance: expected more than the radius {radius:g}, got {distance:g}")
    return (radius / distance) ** (order + 1) / (distance - radius)


def _check_charges(source: Floats, charge: Floats) -> None:
    if charge.shape[0] != source.shape[0]:
        raise ValueError(
            f"charge: expected one for each of the {source.shape[0]} sources, "
            f"got the shape {charge.shape}"
        )
