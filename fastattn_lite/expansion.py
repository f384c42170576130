"""Step 1, truncation: replace exp(x) by a polynomial f(x) = a_0 + a_1 x + ... + a_p x^p.

Attention weights are normalised, so a factor common to all of them cancels. What counts is how
much f(x)/exp(x) *varies* over the scores: osc = max log(f/exp) - min log(f/exp). Any two weight
vectors then differ by at most tanh(osc/4) in total variation. `taylor` is the classical choice of
coefficients, `chebyshev` makes the absolute error small, `minimax` makes osc smallest.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from fastattn_lite._arrays import Array, check_count, check_real

Floats = npt.NDArray[Any]
HIGHEST_ORDER = 60
"""The highest order that `order_for` tries."""
LARGEST_RADIUS = 300.0
"""Not far beyond it exp(2 radius), by which exp varies, is no float64."""
NEGLIGIBLE = 1e-30
"""A trailing term of this relative size is far below round-off and moves no root."""
MOST_EXCHANGES = 40
"""Remez's exchange needs about five; more only where round-off stops it."""


@dataclass(frozen=True)
class Expansion:
    """A polynomial that stands for exp on the scores [-radius, radius].

    Formula: f(x) = sum_{l=0..p} a_l x^l, with `coefficients` = (a_0, ..., a_p) of any sign.
    Scores and `radius` are pure numbers (the exponent of softmax). Calling it costs p products
    a score. Raises `ValueError` for no or non-finite coefficients and for a radius <= 0.
    Chapter: expansion_truncation.
    """

    coefficients: tuple[float, ...]
    radius: float = 1.0
    name: str = "custom"

    def __post_init__(self) -> None:
        coefficients = tuple(check_real("coefficients", a) for a in self.coefficients)
        if not coefficients:
            raise ValueError("coefficients: expected at least one number, got none")
        object.__setattr__(self, "coefficients", coefficients)
        object.__setattr__(self, "radius", _checked_radius(self.radius))

    @property
    def order(self) -> int:
        """The degree p of the polynomial."""
        return len(self.coefficients) - 1

    def __call__(self, x: Array) -> Array:
        """Return f(x), entry by entry, by Horner's rule."""
        if self.order == 0:
            return 0.0 * x + self.coefficients[0]
        result = self.coefficients[-1] * x
        result += self.coefficients[-2]
        for a in reversed(self.coefficients[:-2]):
            result *= x
            result += a
        return result

    def derivative(self) -> Expansion:
        """Return f', an expansion one order lower (of order 0 where f is constant).

        Equation: eq-log-slope (chapter gradients).
        """
        powers = range(1, self.order + 1)
        coefficients = tuple(power * self.coefficients[power] for power in powers) or (0.0,)
        return Expansion(coefficients, self.radius, f"derivative of {self.name}")

    def is_positive(self, radius: float | None = None) -> bool:
        """Say whether f > 0 on [-radius, radius]; `None` is its own radius, `inf` every x."""
        return _is_positive(self, self.radius if radius is None else radius)

    def max_error(self) -> float:
        """Return the largest |f(x) - exp(x)| on [-radius, radius], found on a fine grid.

        Equation: eq-taylor-remainder (chapter expansion_truncation).
        """
        scores = _scan(self)
        return float(np.max(np.abs(self(scores) - np.exp(scores))))

    def log_ratio(self, x: Array) -> Array:
        """Return log(f(x)/exp(x)) for NumPy scores where f > 0."""
        return np.log(self(x)) - x

    def oscillation(self) -> float:
        """Return how much log(f/exp) varies on [-radius, radius]; `inf` unless f > 0 there.

        Formula: osc = max log(f(x)/exp(x)) - min log(f(x)/exp(x)) over |x| <= radius.
        Equation: eq-oscillation (chapter expansion_truncation).
        """
        return _oscillation(self)

    def output_error_bound(self) -> float:
        """Return the largest total-variation distance to the softmax weights, at most 1.

        Formula: tanh(osc/4). The outputs then differ by at most tanh(osc/4) * diam(V), where
        diam(V) is the largest distance between two values.
        Equation: eq-output-bound (chapter expansion_truncation).
        Source: the Birkhoff-Hilbert projective metric; the proof stands in the chapter.
        """
        return math.tanh(self.oscillation() / 4)

    def gradient_bound(self) -> float:
        """Return the most by which an output can move, as its scores move, in units of diam(V).

        Formula: |do_i/ds_ij| <= max |f'(x)/f(x)| / 4 * diam(V) over |x| <= radius, for exp 1/4;
        `inf` unless f > 0 there. The maximum is at an end or where (f'/f)' = 0.
        Equation: eq-gradient-bound (chapter gradients).
        """
        if not self.is_positive():
            return math.inf
        scores = self.radius * np.concatenate([_grid(), _steepest_points(self)])
        return float(np.max(np.abs(self.derivative()(scores) / self(scores)))) / 4


def taylor(order: int, *, radius: float = 1.0) -> Expansion:
    """Return the Taylor polynomial of exp about 0, the expansion of FAST.

    Formula: a_l = 1/l!. Its coefficients do not depend on `radius`; its bounds do.
    Raises `ValueError` for order < 0 or radius <= 0.
    Equation: eq-taylor (chapter expansion_truncation).
    Source: FAST, arXiv 2402.07901 (orders 1 and 2).
    """
    return _taylor(*_checked(order, radius))


@functools.lru_cache(maxsize=64)
def _taylor(order: int, radius: float) -> Expansion:
    coefficients = tuple(1 / math.factorial(power) for power in range(order + 1))
    return Expansion(coefficients, radius, "taylor")


def chebyshev(order: int, *, radius: float = 1.0) -> Expansion:
    """Return the Chebyshev series of exp on [-radius, radius], cut after the given order.

    Formula: exp(x) = I_0(B) + 2 sum_{l>=1} I_l(B) T_l(x/B) with B = radius, T_l the Chebyshev
    polynomials and I_l the modified Bessel functions; the terms up to l = order are kept.
    Raises `ValueError` for order < 0 or radius <= 0.
    Equation: eq-chebyshev (chapter expansion_truncation).
    """
    order, radius = _checked(order, radius)
    series = 2 * special.iv(np.arange(order + 1), radius)
    series[0] /= 2
    return _from_chebyshev(series, radius, "chebyshev")


def minimax(order: int, *, radius: float = 1.0) -> Expansion:
    """Return the polynomial with the smallest oscillation of log(f/exp) on [-radius, radius].

    Formula: minimise e subject to |f(x)/exp(x) - 1| <= e; then osc = log((1+e)/(1-e)). The error
    touches +-e in order + 2 points in turn, which Remez's exchange finds.
    Cost: a few solutions of a linear system of order + 2 unknowns. Raises `ValueError` for
    order < 0 and for a radius that is not in (0, LARGEST_RADIUS].
    Equation: eq-minimax (chapter expansion_truncation).
    """
    order, radius = _checked(order, radius)
    points = np.cos(np.pi * np.arange(order + 2) / (order + 1))
    series, level = _equal_errors(points, radius)
    for _ in range(MOST_EXCHANGES):
        points = _turning_points(series, radius)
        worst = float(np.max(np.abs(_relative_error(series, points, radius))))
        if worst - level <= 1e-10 * level + 1e-15 or len(points) != order + 2:
            break
        series, level = _equal_errors(points, radius)
    return _from_chebyshev(series, radius, "minimax")


def order_for(tolerance: float, *, radius: float = 1.0, family: str = "minimax") -> int:
    """Return the smallest order whose guarantee tanh(osc/4) is at most `tolerance`.

    Formula: min {p : tanh(osc_p/4) <= tolerance} for scores in [-radius, radius].
    Raises `ValueError` for a tolerance outside (0, 1), an unknown family, or a tolerance that no
    order up to HIGHEST_ORDER meets in float64.
    Equation: eq-order-for (chapter expansion_truncation).
    """
    tolerance = check_real("tolerance", tolerance, positive=True)
    if tolerance >= 1:
        raise ValueError(f"tolerance: expected a number below 1, got {tolerance}")
    if family not in FAMILIES:
        raise ValueError(f"family: expected one of {sorted(FAMILIES)}, got {family!r}")
    for order in range(HIGHEST_ORDER + 1):
        if FAMILIES[family](order, radius=radius).output_error_bound() <= tolerance:
            return order
    raise ValueError(
        f"tolerance: expected one that an order up to {HIGHEST_ORDER} meets in float64 for "
        f"radius {radius:g} and family {family!r}, got {tolerance:g}"
    )


FAMILIES = {"taylor": taylor, "chebyshev": chebyshev, "minimax": minimax}
"""The three ways to choose the coefficients, by name."""


def _checked(order: int, radius: float) -> tuple[int, float]:
    return check_count("order", order, least=0), _checked_radius(radius)


def _checked_radius(radius: float) -> float:
    radius = check_real("radius", radius, positive=True)
    if radius > LARGEST_RADIUS:
        raise ValueError(f"radius: expected at most {LARGEST_RADIUS:g}, got {radius:g}")
    return radius


def _equal_errors(points: Floats, radius: float) -> tuple[Floats, float]:
    """Return the Chebyshev series whose relative error is +e, -e, +e, ... there, and |e|."""
    signs = (-1.0) ** np.arange(len(points))
    basis = np.polynomial.chebyshev.chebvander(points, len(points) - 2)
    system = np.column_stack([basis * np.exp(-radius * points)[:, None], signs])
    solution = np.linalg.solve(system, np.ones(len(points)))
    return solution[:-1], abs(float(solution[-1]))


def _relative_error(series: Floats, t: Floats, radius: float) -> Floats:
    return np.polynomial.chebyshev.chebval(t, series) * np.exp(-radius * t) - 1


def _turning_points(series: Floats, radius: float) -> Floats:
    """Return t = x/radius in [-1, 1] where f/exp can be largest or smallest.

    These are the ends and the real roots of f' - f, because (f/exp)' = (f' - f)/exp.
    """
    chebyshev_basis = np.polynomial.chebyshev
    slope = chebyshev_basis.chebder(series) / radius
    roots = _real_roots(chebyshev_basis.chebsub(slope, series))
    return np.concatenate([[-1.0], roots[np.abs(roots) < 1], [1.0]])


def _real_roots(series: Floats) -> Floats:
    """Return the real roots of a Chebyshev series; a nearly real pair counts as real."""
    large = np.flatnonzero(np.abs(series) > NEGLIGIBLE * np.max(np.abs(series), initial=0))
    if len(large) == 0 or large[-1] == 0:
        return np.zeros(0)
    return _nearly_real(np.polynomial.chebyshev.chebroots(series[: large[-1] + 1]))


def _nearly_real(roots: Any) -> Floats:
    return np.sort(roots.real[np.abs(roots.imag) <= 1e-7 * (1 + np.abs(roots))])


def _from_chebyshev(series: Floats, radius: float, name: str) -> Expansion:
    """Rewrite sum_l c_l T_l(x/radius) in powers of x."""
    powers = np.polynomial.chebyshev.cheb2poly(series)
    coefficients = powers / radius ** np.arange(len(powers))
    vanished = [0.0] * (len(series) - len(powers))
    return Expansion((*coefficients.tolist(), *vanished), radius, name)


def _to_chebyshev(expansion: Expansion, radius: float) -> Floats:
    """Rewrite f in the Chebyshev polynomials of t = x/radius."""
    coefficients = np.array(expansion.coefficients)
    return np.polynomial.chebyshev.poly2cheb(coefficients * radius ** np.arange(len(coefficients)))


def _scan(expansion: Expansion) -> Floats:
    """Return the scores at which log(f/exp) is compared: a fine grid and its turning points."""
    turning = _turning_points(_to_chebyshev(expansion, expansion.radius), expansion.radius)
    return expansion.radius * np.concatenate([_grid(), turning])


def _grid() -> Floats:
    """Return many t = x/radius from -1 to 1, the ends included."""
    return np.cos(np.linspace(np.pi, 0, 2049))


def _steepest_points(expansion: Expansion) -> Floats:
    """Return t = x/radius inside (-1, 1) where f'/f can be largest or smallest.

    These are the real roots of f'' f - f'^2, because (f'/f)' = (f'' f - f'^2)/f^2.
    """
    chebyshev_basis = np.polynomial.chebyshev
    f = _to_chebyshev(expansion, expansion.radius)
    slope = chebyshev_basis.chebder(f)
    bend = chebyshev_basis.chebmul(chebyshev_basis.chebder(slope), f)
    roots = _real_roots(chebyshev_basis.chebsub(bend, chebyshev_basis.chebmul(slope, slope)))
    return roots[np.abs(roots) < 1]


@functools.lru_cache(maxsize=512)
def _oscillation(expansion: Expansion) -> float:
    values = expansion(_scan(expansion))
    if not expansion.is_positive() or np.min(values) <= 0:
        return math.inf
    return float(np.ptp(expansion.log_ratio(_scan(expansion))))


@functools.lru_cache(maxsize=512)
def _is_positive(expansion: Expansion, radius: float) -> bool:
    """Compare f with 0 at the ends and wherever f' = 0."""
    if math.isinf(radius):
        return _is_positive_everywhere(expansion)
    slope = np.polynomial.chebyshev.chebder(_to_chebyshev(expansion, radius))
    stationary = _real_roots(slope)
    inside = stationary[np.abs(stationary) < 1]
    return bool(np.min(expansion(radius * np.concatenate([[-1.0, 0.0, 1.0], inside]))) > 0)


def _is_positive_everywhere(expansion: Expansion) -> bool:
    """Compare f with 0 at both infinities, at 0 and wherever f' = 0.

    The roots are found in t = x/c, with c such that the first and the last term are equally large
    at t = 1: in x itself the last coefficient can be below 1e-300.
    """
    a = np.trim_zeros(np.array(expansion.coefficients), "b")
    if len(a) == 0 or a[0] <= 0 or a[-1] < 0 or len(a) % 2 == 0:
        return False
    powers, log_c = np.arange(len(a)), (math.log(a[0]) - math.log(a[-1])) / max(1, len(a) - 1)
    in_t = np.sign(a) * np.exp(np.log(np.abs(np.where(a == 0, 1, a))) + powers * log_c)
    polynomial = np.polynomial.Polynomial(in_t / np.max(np.abs(in_t)))
    stationary = _nearly_real(polynomial.deriv().roots())
    return bool(np.min(polynomial(np.append(stationary, 0.0))) > 0)


def check_expansion(expansion: object) -> None:
    """Raise `TypeError` where a caller passed something else as an expansion."""
    if not isinstance(expansion, Expansion):
        raise TypeError(
            "expansion: expected an Expansion, such as taylor(2) or minimax(2), "
            f"got {type(expansion).__name__}"
        )
