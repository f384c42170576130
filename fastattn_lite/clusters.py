"""Clusters of points: a few centres, and for every point the nearest one.

Expansions are good near their centre. `farthest_points` spreads the centres over the points, so
that no point is far from all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastattn_lite._arrays import check_count, check_points

Floats = npt.NDArray[np.float64]


def farthest_points(source: Any, count: int) -> Floats:
    """Return `count` of the sources as centres, each farthest from those before it.

    Formula: c_1 = z_1, and c_m is the source whose distance to the nearest of c_1, ..., c_(m-1) is
    largest. The largest distance that remains is at most twice the smallest possible one.
    Shapes: source (n, d) to (count, d). Cost: n count distances.
    Raises `TypeError` and `ValueError` as `gauss_transform`, and `ValueError` for a count below 1
    or above n.
    Equation: eq-farthest-point (chapter fast_multipole_ideas).
    Source: Gonzalez (1985).
    """
    z = check_places(source=source)["source"]
    count = check_count("count", count, least=1)
    if count > len(z):
        raise ValueError(f"count: expected at most the {len(z)} sources, got {count}")
    chosen, nearest = [0], distances(z, z[0])
    for _ in range(1, count):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, distances(z, z[chosen[-1]]))
    return z[chosen]


def cluster_radius(source: Any, centers: Any) -> float:
    """Return the largest distance of a source to its nearest centre.

    Shapes: source (n, d), centers (C, d). Cost: n C distances. Raises as `farthest_points`.
    Equation: eq-farthest-point (chapter fast_multipole_ideas).
    """
    places = check_places(source=source, centers=centers)
    return float(np.max(nearest_centers(places["source"], places["centers"])[1], initial=0.0))


def distances(points: Floats, center: Floats) -> Floats:
    """Return how far every point is from the centre."""
    return np.linalg.norm(points - center, axis=1)


def nearest_centers(points: Floats, centers: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return for each point which centre is nearest, and how far it is."""
    labels = np.zeros(len(points), dtype=np.intp)
    nearest = np.full(len(points), np.inf)
    for m, center in enumerate(centers):
        distance = distances(points, center)
        labels[distance < nearest] = m
        nearest = np.minimum(nearest, distance)
    return labels, nearest


def check_places(**arrays: Any) -> dict[str, Floats]:
    """Return the arrays of points, which must have one dimension d >= 1; some centre must be."""
    places = check_points(2, **arrays)
    first = next(iter(places))
    for name, place in places.items():
        if place.shape[1] != places[first].shape[1]:
            raise ValueError(
                f"{name}: expected the dimension of {first} ({places[first].shape[1]}), "
                f"got {place.shape[1]}"
            )
    if places[first].shape[1] == 0:
        raise ValueError(f"{first}: expected at least one coordinate, got none")
    if "centers" in places and len(places["centers"]) == 0:
        raise ValueError("centers: expected at least one, got none")
    return places
