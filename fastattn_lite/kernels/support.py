"""What the fused kernels take, and in words why they do not take the rest."""

from __future__ import annotations

import functools
import importlib.util
import os

import torch

from fastattn_lite._arrays import is_compiling, is_watched, records_gradients, stands_for_itself
from fastattn_lite.kernels.rows import LARGEST_ORDER

LARGEST_WIDTH = 128
LARGEST_WIDTH_OF_ORDER_3 = 32
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
OLDEST_CAPABILITY = (8, 0)


def why_not(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, order: int) -> str | None:
    """Return why the kernels do not take this problem where they run, or None where they do.

    It looks at static facts only, so it costs nothing on a GPU.
    """
    tokens = (query, key, value)
    return _why_not_type(*tokens) or _why_not_size(query.shape[-1], value.shape[-1], order)


def why_not_one_token(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *state: torch.Tensor
) -> str | None:
    """Return why, with a state, the kernels do not take these tokens that `why_not` lets pass.

    `state` holds the sums of earlier tokens, if there are any.
    """
    counts = query.shape[-2], key.shape[-2]
    if counts != (1, 1):
        return f"with a state they take one query and one key, got {counts[0]} and {counts[1]}"
    for sums in state:
        if sums.dtype != torch.float32:
            return f"expected a state in float32, got {sums.dtype}"
    if is_compiling():
        return "with a state they have no operator for torch.compile"
    if is_watched() or not all(map(stands_for_itself, (query, key, value, *state))):
        return "with a state they have no operator for what traces, transforms or watches a call"
    if records_gradients(query, key, value, *state):
        return "no gradient passes through their state; expected torch.no_grad()"
    return None


def interpreted() -> bool:
    """Say whether Triton runs its kernels in its interpreter, on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def why_not_device(device: torch.device) -> str | None:
    """Return why the fused kernels cannot run on this device at all, or None where they can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if device.type == "cpu" and interpreted():
        return None
    if device.type != "cuda" or torch.version.hip is not None:
        return f"expected tensors on an NVIDIA GPU, got the device {device}"
    found = capability(device)
    if found < OLDEST_CAPABILITY:
        return (
            f"this GPU has compute capability {found[0]}.{found[1]}, and Triton's matrix products "
            f"need {OLDEST_CAPABILITY[0]}.{OLDEST_CAPABILITY[1]} or later"
        )
    if interpreted():
        return "Triton interprets its kernels here (TRITON_INTERPRET=1), for tensors on the CPU"
    return None


@functools.lru_cache(maxsize=8)
def capability(device: torch.device) -> tuple[int, int]:
    """Return the compute capability of a GPU."""
    return torch.cuda.get_device_capability(device)


def _why_not_type(*tokens: torch.Tensor) -> str | None:
    found = [x.dtype for x in tokens]
    if len(set(found)) > 1 or found[0] not in DTYPES:
        return f"expected one of float16, bfloat16 or float32 for all three, got {found}"
    if interpreted() and found[0] == torch.bfloat16:
        return "Triton's interpreter does not multiply bfloat16"
    return None


def _why_not_size(dim: int, width: int, order: int) -> str | None:
    if not 1 <= order <= LARGEST_ORDER:
        return f"expected an order from 1 to {LARGEST_ORDER}, got {order}"
    if max(dim, width) > LARGEST_WIDTH:
        return f"expected dimensions of at most {LARGEST_WIDTH}, got {dim} and {width}"
    if order == 3 and max(dim, width) > LARGEST_WIDTH_OF_ORDER_3:
        return (
            f"expected dimensions of at most {LARGEST_WIDTH_OF_ORDER_3} at order 3, "
            f"got {dim} and {width}"
        )
    return None
