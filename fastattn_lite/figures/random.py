"""Random numbers that the figures' scripts repeat: the same seed, the same tokens."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

WORD = 0xFFFFFFFF


class RandomNumbers:
    """The generator mulberry32 with Box and Muller's normals, as in js/maths/random.js.

    Its quality is enough for pictures, not for statistics. Source: mulberry32 is Tommy Ettinger's,
    in the public domain.
    """

    def __init__(self, seed: int) -> None:
        self._state = seed & WORD

    def uniform(self) -> float:
        """Return the next number in [0, 1), a multiple of 2^-32."""
        self._state = (self._state + 0x6D2B79F5) & WORD
        mixed = (self._state ^ (self._state >> 15)) * (self._state | 1) & WORD
        mixed ^= mixed + (mixed ^ (mixed >> 7)) * (mixed | 61) & WORD
        return (mixed ^ (mixed >> 14)) / 2**32

    def normal(self) -> float:
        """Return the next standard normal number, from two uniform ones."""
        length = math.sqrt(-2 * math.log(1 - self.uniform()))
        return length * math.cos(2 * math.pi * self.uniform())

    def normals(self, rows: int, columns: int) -> npt.NDArray[np.float64]:
        """Return a matrix of standard normal numbers, filled row by row."""
        return np.array([[self.normal() for _ in range(columns)] for _ in range(rows)])
