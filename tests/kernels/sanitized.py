"""Every kernel once, at sizes that are small enough for a tool that watches each memory access."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import torch

from fastattn_lite import ExpansionWarning, fast_attention
from fastattn_lite.kernels import settings

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = [(1, 1, 24), (2, 63, 24), (1, 200, 24)]
"""Heads, tokens and dimension; values have 3 numbers more."""


def calls(order: int, *, is_causal: bool, sizes: Sequence[tuple[int, int, int]] = SIZES) -> None:
    """Attend to tokens of every size, with gradients, and then token by token."""
    for heads, tokens, dim in sizes:
        shapes = (heads, tokens, dim), (heads, tokens, dim), (heads, tokens, dim + 3)
        given = [torch.randn(x, device=DEVICE, dtype=torch.float16) for x in shapes]
        recorded = [x.requires_grad_() for x in given]
        options = {"order": order, "backend": "triton"}
        output = fast_attention(*recorded, is_causal=is_causal, **options)
        assert output.isfinite().all()
        output.sum().backward()
        state, last = None, [x.detach()[:, -1:] for x in given]
        for _ in range(2):
            with torch.no_grad():
                _, state = fast_attention(*last, initial_state=state, return_state=True, **options)
        assert state is not None
        assert state.sums.isfinite().all()  # adds both tokens to the moments


def main(order: str) -> None:
    """Take both forms: the scores themselves, and the moments."""
    warnings.simplefilter("ignore", ExpansionWarning)
    torch.manual_seed(0)
    for most in (settings.MOST_PAIRS, -1):
        settings.MOST_PAIRS = most
        for is_causal in (False, True):
            calls(int(order), is_causal=is_causal)


if __name__ == "__main__":
    main(*sys.argv[1:])
