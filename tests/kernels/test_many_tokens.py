"""The fused kernels where a whole matrix of scores would not fit: some rows of it, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastattn_lite import fast_attention, taylor

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = torch.bfloat16 if ON_GPU else torch.float16  # the interpreter has no products of bfloat16
FLOOR = 8e-3


def rows_of_output(rows: Tensor, places: Tensor, key: Tensor, value: Tensor, is_causal: bool):
    """Return o_i of the queries at some places, by their scores with every key."""
    scores = rows @ key.mT * rows.shape[-1] ** -0.5
    weights = taylor(2)(scores)
    if is_causal:
        weights = weights.masked_fill(places[:, None] < torch.arange(len(key), device=DEVICE), 0)
    return weights @ value / weights.sum(-1, keepdim=True)


def row_and_gradient(rows: Tensor, upstream: Tensor, *given):
    """Return o_i and dL/dq_i, which depends on the one query alone."""
    rows = rows.detach().requires_grad_()
    output = rows_of_output(rows, *given)
    return output.detach(), torch.autograd.grad(output, rows, upstream)[0]


def errors(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    pairs = zip(found, exact, strict=True)
    return [float((x.double() - y).norm() / y.norm()) for x, y in pairs]


def check(heads: int, n: int, dim: int, is_causal: bool, head: int = -1) -> None:
    """Compare some rows of one head with the direct sum: twice the plain formula's error."""
    torch.manual_seed(0)
    query, key, value, upstream = (
        torch.randn(heads, n, dim, device=DEVICE, dtype=DTYPE) for _ in range(4)
    )
    query.requires_grad_()
    output = fast_attention(query, key, value, is_causal=is_causal, backend="triton")
    gradient = torch.autograd.grad(output, query, upstream)[0]
    places = torch.tensor([0, 1, n // 3, n // 2, n - 2, n - 1], device=DEVICE)
    found = [output.detach()[head, places], gradient[head, places]]
    given = [x.detach()[head] for x in (query, upstream, key, value)]
    exact, plain = (
        row_and_gradient(
            *(x[places].to(dtype) for x in given[:2]),
            places,
            *(x.to(dtype) for x in given[2:]),
            is_causal,
        )
        for dtype in (torch.float64, DTYPE)
    )
    limits = [2 * error + FLOOR for error in errors(list(plain), list(exact))]
    assert all(e <= limit for e, limit in zip(errors(found, list(exact)), limits, strict=True))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("n", [517, *([1_000_003] if ON_GPU else [])])
def test_rows_of_many_tokens_equal_the_direct_sum(n, is_causal, monkeypatch):
    monkeypatch.setattr("fastattn_lite.kernels.settings.MOST_PAIRS", -1)
    check(2, n, 16 if n < 10_000 else 32, is_causal)


if ON_GPU:

    @pytest.mark.parametrize(
        ("heads", "n", "is_causal"), [(34, 2**20, False), (64, 2**17, True)], ids=["tokens", "sums"]
    )
    def test_more_than_2_31_numbers(heads, n, is_causal):
        """34 * 2^20 * 64 numbers of tokens; 64 * 128 chunks of 266,304 sums: places in 64 bits."""
        check(heads, n, 64, is_causal)
