"""What the figures about attention compute, in Python: the twins of js/maths/{measured,leak}.js."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastattn_lite.expansion import FAMILIES, Expansion, taylor
from fastattn_lite.figures.random import RandomNumbers
from fastattn_lite.normalization import default_scale, normalize
from fastattn_lite.reference import attention_weights, kernel_attention, softmax_attention

Floats = npt.NDArray[np.float64]
ORDERS = range(11)
"""The orders that `ErrorVersusOrder` compares."""
VALUE_DIM = 8
"""The dimension of its random values."""
LEAK_TOKENS = 16
LEAK_DIM = 4
MOVED = 1e-12
"""What counts as moved: more than the round-off of the sums."""


@dataclass(frozen=True)
class Measurement:
    """Attention errors as shares of diam(V), by family and order, with the scores that occur."""

    errors: dict[str, list[float]]
    bounds: dict[str, list[float]]
    smallest: float
    largest: float
    radius: float

    @property
    def inside(self) -> bool:
        """Whether every score lies in [-radius, radius], so that the bounds hold."""
        return max(-self.smallest, self.largest) <= self.radius


def random_tokens(seed: int, tokens: int, dim: int) -> tuple[Floats, Floats, Floats]:
    """Return queries, keys and values as the figure draws them from its seed."""
    random = RandomNumbers(seed)
    query, key = random.normals(tokens, dim), random.normals(tokens, dim)
    return query, key, random.normals(tokens, VALUE_DIM)


def measure(
    query: Floats, key: Floats, value: Floats, *, normalization: str, radius: float
) -> Measurement:
    """Compare attention with every expansion to softmax attention, on the same scores."""
    scale = default_scale(normalization, query.shape[-1])
    query, key = normalize(query, key, normalization)
    softmax, scores = softmax_attention(query, key, value, scale=scale), scale * query @ key.T
    width = diameter(value)

    def error(expansion: Expansion) -> float:
        output = kernel_attention(query, key, value, expansion=expansion, scale=scale)
        return float(np.max(np.linalg.norm(output - softmax, axis=-1))) / width

    made = {name: [make(p, radius=radius) for p in ORDERS] for name, make in FAMILIES.items()}
    return Measurement(
        {name: [error(expansion) for expansion in made[name]] for name in made},
        {name: [each.output_error_bound() for each in made[name]] for name in made},
        float(scores.min()),
        float(scores.max()),
        radius,
    )


def diameter(value: Floats) -> float:
    """Return diam(V), the largest distance between two values."""
    return float(max(np.max(np.linalg.norm(value - row, axis=-1)) for row in value))


@dataclass(frozen=True)
class Leak:
    """Causal outputs before and after one token was changed."""

    before: Floats
    after: Floats
    position: int

    @property
    def movement(self) -> Floats:
        """How far each output moved."""
        return np.abs(self.after - self.before)

    @property
    def leaked(self) -> int:
        """How many outputs before the changed token moved; 0 if no future leaks."""
        return int(np.sum(self.movement[: self.position] > MOVED))


def leak(*, seed: int, position: int, change: float, normalization: str) -> Leak:
    """Change one token and compute causal attention of order 2 before and after."""
    random = RandomNumbers(seed)
    rows = random.normals(LEAK_TOKENS, 2 * LEAK_DIM + 1)
    changed = rows.copy()
    changed[position] += change * random.normals(1, rows.shape[1])[0]
    before, after = (_causal_outputs(each, normalization) for each in (rows, changed))
    return Leak(before, after, position)


def _causal_outputs(rows: Floats, normalization: str) -> Floats:
    """Return the scalar outputs of causal attention; a leaky normalisation is what we show."""
    query, key, value = np.split(rows, [LEAK_DIM, 2 * LEAK_DIM], axis=1)
    query, key = normalize(query, key, normalization)
    scale = default_scale(normalization, LEAK_DIM)
    weights = attention_weights(query, key, expansion=taylor(2), is_causal=True, scale=scale)
    return (weights @ value)[:, 0]
