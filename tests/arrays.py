"""Small random inputs, every array library they are tried in, and what torch is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

LIBRARIES: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": np.asarray,
    "torch": torch.from_numpy,
    "array_api_strict": array_api_strict.asarray,
}


def draw(
    *, queries: int = 11, keys: int = 11, dim: int = 3, value_dim: int = 2, lead=(), seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return query, key and value with normal entries; all sizes differ unless asked."""
    random = np.random.default_rng(seed)
    shapes = [(queries, dim), (keys, dim), (keys, value_dim)]
    query, key, value = (random.standard_normal((*lead, *shape)) for shape in shapes)
    return query, key, value


def worst(left: Any, right: Any) -> float:
    """Return the largest difference, relative to the larger of 1 and the entry."""
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    assert left.shape == right.shape, (left.shape, right.shape)
    if left.size == 0:
        return 0.0
    assert np.all(np.isfinite(right))
    assert np.all(np.isfinite(left))
    return float(np.max(np.abs(left - right) / np.maximum(1, np.abs(right))))


class Names(TorchDispatchMode):
    """Notes the names of torch's operators."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found.append(str(func))
        return func(*args, **(kwargs or {}))
