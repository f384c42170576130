"""What tests of the fused kernels share: tokens, how far numbers are apart, and both forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fastattn_lite import Expansion
from fastattn_lite.kernels import backward, forward, states

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SINGLE, HALF = torch.float32, torch.float16
FLOOR = {SINGLE: 1e-6, HALF: 1e-3, torch.bfloat16: 8e-3}
"""About one unit in the last place of each type, eight in float32: summation orders differ."""
FAR = 2**28
"""So far apart lie two features of one token: the ninth begins behind 2^31 numbers."""
BOTH_FORMS = pytest.mark.usefixtures("form")


def tokens(*shapes: tuple[int, ...], dtype: torch.dtype = SINGLE, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, generator=generator) for shape in shapes]
    return [x.to(DEVICE, dtype) for x in made]


def far_apart(count: int, n: int) -> list[Tensor]:
    """Return tensors (1, n, 9) in one memory, features FAR numbers apart; only these are filled."""
    numbers = torch.empty(8 * FAR + count * n, dtype=HALF, device=DEVICE)
    made = [numbers.as_strided((1, n, 9), (0, 1, FAR), i * n) for i in range(count)]
    for x, given in zip(made, tokens(*[(1, n, 9)] * count, dtype=HALF), strict=True):
        x.copy_(given)
    return made


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


def plain(
    query: Tensor, key: Tensor, value: Tensor, expansion: Expansion, is_causal: bool
) -> Tensor:
    """Return the same formula in the plain products of the inputs' own type."""
    scores = query @ key.mT * query.shape[-1] ** -0.5
    coefficients = enumerate(expansion.coefficients)
    terms: list[Tensor] = [a * scores**degree for degree, a in coefficients]
    weights = sum(terms[1:], terms[0])
    weights = weights.tril() if is_causal else weights
    return weights @ value / weights.sum(-1, keepdim=True)


def take(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Take every problem by its moments, or every one by its scores, whatever is faster."""

    def takes_pairs(*_: object) -> bool:
        return form == "pairs"

    for module in (forward, backward):
        monkeypatch.setattr(module, "takes_pairs", takes_pairs)


def shorten_chunks(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Take the shortest chunks that the kernels can take under a mask: several in few tokens."""
    short = states.Chunks(states.TOKEN_TILE, states.cdiv(n, states.TOKEN_TILE))
    for module in (forward, backward):
        monkeypatch.setattr(module, "cut_causal", lambda *_: short)


def poison_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill every tensor that is made without values with NaN: what is not written shows."""
    make = {name: getattr(torch, name) for name in ("empty", "empty_like")}
    for name, function in make.items():
        monkeypatch.setattr(torch, name, poisoned(function))


def poisoned(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def made(*args: object, **options: object) -> Tensor:
        new = function(*args, **options)
        return new.fill_(float("nan")) if new.is_floating_point() else new

    return made
