"""How large the tiles are, and which form is faster: found by measuring, see gpu_evaluation."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fastattn_lite.factorization import number_of_features


@dataclass(frozen=True)
class Settings:
    """Tiles of tokens, warps and stages of the software pipeline.

    `lines` are the sums (row, column) that a program of the accumulation holds; `joined` is how
    many rows one product of the evaluation takes, `chunk_keys` how many keys of its own chunk.
    Registers are the most that a thread may have, so that more programs find room.
    """

    moment_tokens: int = 64
    lines: int = 256
    moment_stages: int = 3
    moment_warps: int = 4
    moment_registers: int | None = None
    tokens: int = 128
    joined: int = 2
    stages: int = 2
    warps: int = 4
    registers: int | None = None
    chunk_keys: int = 64
    pair_tokens: int = 128
    pair_keys: int = 64
    pair_warps: int = 4
    pair_stages: int = 3


ROOMY = 128 * 1024
"""Bytes of shared memory that let a program hold three stages of wide tiles."""
FEW_PRODUCTS = 2**33
"""So many products q_ic k_jc of all heads take less time than to start the kernels of moments."""
FULL_PAIRS, CAUSAL_PAIRS = (700, 1.2), (1_500, 2.6)
"""Up to so many keys, and so many times R more, the scores are faster than the moments."""
MOST_PAIRS = 16_384
"""Beyond so many keys the moments are taken at any R: their time is linear."""
BACKWARD_SHARE = 0.75
"""The backward pass takes its moments from this part of so many keys on, up to order 2."""


def settings_for(x: torch.Tensor, order: int, *widths: int) -> Settings:
    """Return the settings for a type, an order, padded widths and a GPU."""
    return settings_of(x.dtype, x.device, order, max(widths))


@functools.lru_cache(maxsize=64)
def settings_of(dtype: torch.dtype, device: torch.device, order: int, width: int) -> Settings:
    """Return the settings for a type, a GPU, an order and the larger of both widths.

    Larger numbers take smaller tiles. At order 1 and for narrow heads the scores of a chunk are
    most of the work, and more programs with fewer keys at once hide more of their waiting.
    """
    is_roomy = shared_memory(device) >= ROOMY
    if dtype == torch.float32:
        tokens, pair_stages = (32, 1) if width > 64 else (64, 3)
        return Settings(
            moment_tokens=32, lines=64, moment_stages=2, tokens=tokens, joined=1,
            stages=2 if is_roomy else 1, warps=8, chunk_keys=32, pair_tokens=64, pair_keys=32,
            pair_warps=8, pair_stages=pair_stages,
        )  # fmt: skip
    if width > 64:
        stages, joined = (3, 2) if is_roomy else (2, 1)
        return Settings(
            lines=128, moment_stages=2, joined=joined, warps=8, pair_warps=8, pair_stages=stages
        )  # fmt: skip
    if width <= 32:
        is_known = order < 3 and limits_registers(device)
        few, some = (96, 128) if is_known else (None, None)
        return Settings(
            lines=128, moment_stages=4, moment_registers=few, stages=3, registers=some,
            chunk_keys=32,
        )  # fmt: skip
    return Settings(chunk_keys=32 if order == 1 else 64)


def limits_registers(device: torch.device) -> bool:
    """Say whether a limit leaves enough registers: on capability 8 sums go to memory with it."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (9, 0)


def shared_memory(device: torch.device) -> int:
    """Return the bytes of shared memory that a program may take."""
    if device.type != "cuda":
        return ROOMY
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin


def takes_pairs(
    queries: Sequence[int], keys: int, order: int, is_causal: bool, is_backward: bool = False
) -> bool:
    """Say whether the scores of queries (h, n_q, d) with so many keys are faster than the moments.

    Both give the same, but for the rounding.
    """
    least, times = CAUSAL_PAIRS if is_causal else FULL_PAIRS
    share = BACKWARD_SHARE if is_backward and order < 3 else 1
    most = share * min(MOST_PAIRS, least + times * number_of_features(queries[2], order))
    few = min(MOST_PAIRS, FEW_PRODUCTS // math.prod(queries))
    return keys <= max(most, few)
