"""How large the tiles are, and which form is faster: found by measuring, see gpu_evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fastattn_lite.factorization import number_of_features


@dataclass(frozen=True)
class Settings:
    """Tiles of tokens, warps and stages of the software pipeline.

    `lines` are the sums (row, column) that a program of the accumulation holds; `joined` is how
    many rows one product of the evaluation takes.
    """

    moment_tokens: int = 64
    lines: int = 256
    moment_stages: int = 3
    moment_warps: int = 4
    tokens: int = 128
    joined: int = 2
    stages: int = 3
    warps: int = 4
    pair_tokens: int = 128
    pair_keys: int = 64
    pair_warps: int = 4


FULL_PAIRS, CAUSAL_PAIRS = (700, 1.2), (1_500, 2.6)
"""Up to so many keys, and so many times R more, the scores are faster than the moments."""
MOST_PAIRS = 16_384
"""Beyond so many keys the moments are taken at any R: their time is linear."""


def settings_for(dtype: torch.dtype, *widths: int) -> Settings:
    """Return the settings for a type and padded widths: smaller tiles for larger numbers."""
    if dtype == torch.float32:
        return Settings(moment_tokens=32, lines=64, tokens=64, joined=1, pair_tokens=64)
    if max(widths) > 64:
        return Settings(lines=128, stages=2, warps=8, pair_warps=8)
    if max(widths) <= 32:
        return Settings(moment_tokens=128, stages=4)
    return Settings()


def takes_pairs(keys: int, dim: int, order: int, is_causal: bool) -> bool:
    """Say whether the scores of so many keys are faster than the moments; both give the same."""
    least, times = CAUSAL_PAIRS if is_causal else FULL_PAIRS
    return keys <= min(MOST_PAIRS, least + times * number_of_features(dim, order))
