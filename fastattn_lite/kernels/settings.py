"""How large the tiles are: found by measuring, see the chapter gpu_evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Settings:
    """Tiles of tokens, warps and stages of the software pipeline.

    `lines` are the sums (row, column) that a program of the accumulation holds; `joined` is how
    many rows one product of the evaluation takes.
    """

    moment_tokens: int = 64
    lines: int = 256
    moment_stages: int = 3
    tokens: int = 128
    joined: int = 2
    stages: int = 3
    warps: int = 4


def settings_for(dtype: torch.dtype, *widths: int) -> Settings:
    """Return the settings for a type and padded widths: smaller tiles for larger numbers."""
    if dtype == torch.float32:
        return Settings(moment_tokens=32, lines=64, tokens=64, joined=1)
    if max(widths) > 64:
        return Settings(lines=128, stages=2)
    return Settings()
