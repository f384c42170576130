"""Tokens of a stream in chunks, their moments, and the merges that make one sum of them.

The scripts compute the same in js/maths/merging.js.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastattn_lite.figures.random import RandomNumbers
from fastattn_lite.moments import Moments

STREAM_TOKENS = 24
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Node:
    """The moments of some tokens: where they stand, what they sum to, of which nodes they come."""

    place: float
    level: int
    chain: int
    moments: Moments
    children: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many tokens are summed: the moment of the constant feature and the value 1."""
        return round(float(self.moments.sums[0, 1]))

    @property
    def total(self) -> float:
        """The sum of the values: the moment of the constant feature."""
        return float(self.moments.sums[0, 0])


@dataclass(frozen=True)
class Merging:
    """Chunks first, then one node for each merge; the last node holds all tokens."""

    edges: list[int]
    nodes: list[Node]
    whole: Moments

    @property
    def difference(self) -> float:
        """How far the merged moments are from those of one pass over all tokens."""
        return float(np.max(np.abs(self.nodes[-1].moments.sums - self.whole.sums)))


def merge_tokens(*, devices: int, arrived: int, merge: str, seed: int) -> Merging:
    """Give the tokens to the devices in turn, and merge the moments of those that arrived."""
    random = RandomNumbers(seed)
    key, value = np.split(random.normals(STREAM_TOKENS, 2), 2, axis=1)
    edges = [device * STREAM_TOKENS // devices for device in range(devices + 1)]
    nodes = [
        Node((first + last - 1) / 2, 0, 0, _moments(key, value, first, min(last, arrived)))
        for first, last in zip(edges, edges[1:], strict=False)
    ]
    pairs = {"sequence": _in_sequence, "tree": _as_a_tree, "shuffled": _shuffled}
    for step, pair in enumerate(pairs[merge](devices, random), start=1):
        left, right = (nodes[child] for child in pair)
        level = 1 + max(left.level, right.level) if merge == "tree" else step
        chain = 1 + max(left.chain, right.chain)
        place = (left.place + right.place) / 2
        nodes.append(Node(place, level, chain, left.moments + right.moments, pair))
    return Merging(edges, nodes, _moments(key, value, 0, arrived))


def _moments(key: Floats, value: Floats, start: int, stop: int) -> Moments:
    part = slice(start, max(start, stop))
    return Moments.accumulate(key[part], value[part], order=1)


def _in_sequence(count: int, random: RandomNumbers) -> list[tuple[int, int]]:
    """Each next chunk is added to what there is."""
    del random
    return [(0 if i == 1 else count + i - 2, i) for i in range(1, count)]


def _as_a_tree(count: int, random: RandomNumbers) -> list[tuple[int, int]]:
    """Neighbours first, then neighbouring pairs, and so on."""
    del random
    row, pairs = list(range(count)), list[tuple[int, int]]()
    while len(row) > 1:
        above = list[int]()
        for i in range(0, len(row) - 1, 2):
            pairs.append((row[i], row[i + 1]))
            above.append(count + len(pairs) - 1)
        row = above + row[len(row) // 2 * 2 :]
    return pairs


def _shuffled(count: int, random: RandomNumbers) -> list[tuple[int, int]]:
    """Any two of what there is, drawn at random."""
    pool, pairs = list(range(count)), list[tuple[int, int]]()
    while len(pool) > 1:
        left, right = (pool.pop(int(random.uniform() * len(pool))) for _ in range(2))
        pairs.append((left, right))
        pool.append(count + len(pairs) - 1)
    return pairs
