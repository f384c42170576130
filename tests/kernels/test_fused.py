"""The fused kernels against the direct sum in float64: outputs, gradients, types and refusals."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fused import BOTH_FORMS, DEVICE, FLOOR, HALF, SINGLE, plain, poison_empty, relative, tokens
from torch._subclasses.fake_tensor import FakeTensorMode

from fastattn_lite import (
    Expansion,
    Moments,
    _arrays,
    attention,
    autograd,
    fast_attention,
    kernel_attention,
    minimax,
    taylor,
)
from fastattn_lite.kernels import operator, rows, support

NEGATIVE = Expansion((1.0, -0.5, 0.4))
"""A polynomial with a negative coefficient, positive everywhere."""
LARGE = () if DEVICE == "cuda" else pytest.mark.slow
"""The interpreter takes minutes for these; a GPU takes no time."""
CASES = [
    pytest.param(taylor(2), 1, 1, (16, 16), SINGLE, id="one-token"),
    pytest.param(taylor(2), 2, 7, (16, 24), SINGLE, id="seven"),
    pytest.param(taylor(2), 1, 260, (16, 16), SINGLE, id="several-chunks"),
    pytest.param(taylor(2), 2, 260, (16, 16), HALF, id="half-precision"),
    pytest.param(taylor(1), 2, 150, (32, 16), SINGLE, id="order-1"),
    pytest.param(taylor(3), 1, 20, (5, 8), SINGLE, id="order-3"),
    pytest.param(NEGATIVE, 1, 40, (16, 16), SINGLE, id="negative"),
    pytest.param(minimax(2), 2, 63, (20, 33), SINGLE, id="odd-dimensions", marks=LARGE),
    pytest.param(taylor(2), 2, 130, (64, 64), SINGLE, id="d-64", marks=LARGE),
    pytest.param(taylor(2), 2, 111, (64, 64), HALF, id="d-64-half", marks=LARGE),
    pytest.param(taylor(2), 2, 130, (128, 128), HALF, id="d-128-half", marks=LARGE),
    pytest.param(taylor(3), 2, 111, (32, 32), HALF, id="order-3-half", marks=LARGE),
]
ORDERS_AND_WIDTHS = pytest.mark.parametrize(
    ("order", "width"),
    [
        (order, width)
        for order in (1, 2, 3)
        for width in (16, 32, 64, 128)
        if order < 3 or width <= 32
    ],
)
if DEVICE == "cuda":
    CASES += [
        pytest.param(taylor(2), 2, n, (d, d), torch.bfloat16, id=f"bfloat16-{n}-{d}")
        for n in (1, 63, 5000)
        for d in (16, 32, 64, 128)
    ]


@BOTH_FORMS
@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("expansion", "heads", "n", "dims", "dtype"), CASES)
def test_outputs_and_gradients_equal_the_direct_sum(
    expansion, heads, n, dims, dtype, is_causal, monkeypatch
):
    """Rule for half precision: at most twice the error of the plain formula, plus a floor."""
    shapes = [(heads, n, width) for width in (dims[0], *dims)]
    inputs = tokens(*shapes, dtype=dtype)
    upstream = tokens(shapes[2], dtype=dtype, seed=1)[0]
    poison_empty(monkeypatch)
    given = [x.clone().requires_grad_() for x in inputs]
    output = fast_attention(*given, expansion=expansion, is_causal=is_causal, backend="triton")
    found = [output, *torch.autograd.grad(output, given, upstream)]
    monkeypatch.undo()
    exact = [x.double().requires_grad_() for x in inputs]
    expected = kernel_attention(*exact, expansion=expansion, is_causal=is_causal)
    wanted = [expected, *torch.autograd.grad(expected, exact, upstream.double())]
    own = [x.clone().requires_grad_() for x in inputs]
    simple = plain(*own, expansion, is_causal)
    rough = [simple, *torch.autograd.grad(simple, own, upstream)]
    for ours, theirs, truth in zip(found, rough, wanted, strict=True):
        truth, floor = truth.detach(), FLOOR[dtype]
        assert ours.dtype == dtype
        if truth.norm() > 1e-9:
            assert relative(ours, truth) <= 2 * relative(theirs, truth) + floor
        else:
            assert ours.double().norm() < 10 * floor


@BOTH_FORMS
def test_more_keys_than_queries_and_other_scales():
    query, key, value = tokens((1, 10, 16), (1, 140, 16), (1, 140, 16), dtype=SINGLE)
    for scale in (0.3, -0.2, 0.0):
        found = fast_attention(query, key, value, scale=scale, backend="triton")
        exact = [x.double() for x in (query, key, value)]
        expected = kernel_attention(*exact, expansion=taylor(2), scale=scale)
        assert relative(found, expected) < 1e-6


@BOTH_FORMS
def test_float16_moments_of_many_tokens_do_not_overflow():
    """Sums of k_c k_d v over 1,000 tokens pass 65,504; their means, which are kept, do not."""
    inputs = [16.0 + x for x in tokens(*3 * [(1, 1000, 16)], dtype=HALF)]
    found = fast_attention(*inputs, scale=0.0005, backend="triton")
    expected = kernel_attention(*(x.double() for x in inputs), expansion=taylor(2), scale=0.0005)
    assert relative(found, expected) < 2e-3


@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("order", "last", "beyond"), [(2, 350, (370, 10_000)), (3, 71, (75,))])
def test_float16_overflows_where_the_polynomial_passes_65504(form, order, last, beyond, is_causal):
    """Through the scores, under a mask a chunk's own, f(s) is rounded to float16.

    The moments are means, and go further.
    """
    value = tokens((1, 40, 16), dtype=HALF)[0]
    sees = torch.ones(40, 40, dtype=torch.float64, device=DEVICE)
    sees = sees.tril() if is_causal else sees
    means = sees @ value.double() / sees.sum(-1, keepdim=True)
    for score in (last, *beyond):
        same = torch.full((1, 40, 16), math.sqrt(score / 16), dtype=HALF, device=DEVICE)
        found = fast_attention(
            same, same, value, scale=1.0, expansion=taylor(order), is_causal=is_causal,
            backend="triton",
        )  # fmt: skip
        if score == last or (form == "moments" and not is_causal):
            assert relative(found, means) < 1e-2
        else:
            assert not torch.isfinite(found).any(), "visible, not silently wrong"


@BOTH_FORMS
def test_normalized_tokens_keep_their_type():
    inputs = tokens(*3 * [(1, 50, 16)], dtype=HALF)
    found = fast_attention(*inputs, normalization="unit", backend="triton")
    expected = fast_attention(*(x.double() for x in inputs), normalization="unit")
    assert found.dtype == torch.float16
    assert relative(found, expected) < 2e-3


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"order": 4}, "an order from 1 to 3, got 4"),
        ({"order": 0}, "an order from 1 to 3, got 0"),
        ({"d": 256}, "dimensions of at most 128, got 256 and 16"),
        ({"d": 64, "order": 3}, "at most 32 at order 3, got 64 and 16"),
        ({"dtype": torch.float64}, "float16, bfloat16 or float32"),
        ({"return_state": True}, "with a state they take one query and one key, got 5 and 5"),
    ],
)
def test_what_the_kernels_do_not_take_is_said(changed, reason):
    changed = dict(changed)
    dtype = changed.pop("dtype", torch.float32)
    inputs = tokens(*2 * [(1, 5, changed.pop("d", 16))], (1, 5, 16), dtype=dtype)
    with pytest.raises(ValueError, match=f'backend: "triton" cannot take this: .*{reason}'):
        fast_attention(*inputs, backend="triton", **changed)


def test_numpy_is_refused_by_name():
    inputs = [x.cpu().numpy() for x in tokens(*3 * [(1, 5, 16)], dtype=SINGLE)]
    with pytest.raises(ValueError, match="expected torch tensors, got ndarray"):
        fast_attention(*inputs, backend="triton")


@pytest.mark.parametrize("backend", ["triton", "autograd"])
def test_no_state_is_made_beside_the_kernels(backend, monkeypatch):
    """The operator needs none, and at d = 64 an unused one would take 0.5 MB a head."""
    made = []
    monkeypatch.setattr(Moments, "empty", lambda *_, **__: made.append(1))
    monkeypatch.setattr(autograd, "attention", lambda *_, **__: "output")
    inputs = tokens(*3 * [(1, 5, 16)], dtype=SINGLE)
    assert fast_attention(*inputs, backend=backend) == "output"
    assert made == []
    with pytest.raises(ValueError, match=r"order: the moments of .* would need .* GiB"):
        fast_attention(*inputs, backend="autograd", order=60)


def test_few_tokens_of_many_heads_need_no_memory_for_moments(monkeypatch):
    """4,096 x 32 heads of 128 tokens would have 136 GiB of moments, and are taken by scores."""
    inputs = tokens(*3 * [(2, 5, 16)], dtype=SINGLE)
    expected = fast_attention(*inputs, backend="array")
    monkeypatch.setattr(_arrays, "memory_of", lambda _: ("GPU", 1))
    with pytest.raises(ValueError, match=r"would need .* and this GPU has 0\.0 GiB"):
        fast_attention(*inputs, backend="array")
    assert relative(fast_attention(*inputs, backend="triton"), expected) < 1e-6


def test_tensors_on_a_gpu_may_fill_its_memory(monkeypatch):
    query, *_ = problem_on_a_gpu()
    asked = []

    def properties(device):
        asked.append(device)
        return SimpleNamespace(total_memory=7)

    here = _arrays.memory_of(torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _arrays.memory_of(query) == here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    assert _arrays.memory_of(query) == ("GPU", 7)
    assert asked == [query.device]
    for elsewhere in (None, np.zeros(1), torch.zeros(1)):
        assert _arrays.memory_of(elsewhere) == ("machine", _arrays.physical_memory())


def problem_on_a_gpu():
    """Return tokens that lie on a GPU, which need not be there, and an expansion."""
    with FakeTensorMode():
        there = [torch.empty(2, 5, 16, dtype=HALF, device="cuda") for _ in range(3)]
    return (*there, taylor(2), None)


@pytest.mark.parametrize("interpret", ["0", "1"])
def test_an_old_gpu_gets_a_reason_once(interpret, monkeypatch):
    """The chapter turns the interpreter on there, for its teaching kernel on the CPU."""
    monkeypatch.setenv("TRITON_INTERPRET", interpret)
    monkeypatch.setattr(support, "capability", lambda _device: (7, 5))
    attention._warn_once.cache_clear()
    problem = problem_on_a_gpu()
    with pytest.warns(attention.KernelWarning, match=r"not taken: this GPU has .* 7\.5"):
        assert not attention.takes_kernels("auto", *problem, carries_state=False)
    assert not attention.takes_kernels("auto", *problem, carries_state=False)
    with pytest.raises(ValueError, match=r"backend: .* compute capability 7\.5"):
        attention.takes_kernels("triton", *problem, carries_state=False)


def test_the_interpreter_takes_no_tokens_of_a_gpu(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(support, "capability", lambda _device: (9, 0))
    attention._warn_once.cache_clear()
    with pytest.warns(attention.KernelWarning, match="Triton interprets its kernels"):
        assert not attention.takes_kernels("auto", *problem_on_a_gpu(), carries_state=False)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_a_scale_too_large_for_float64_gives_no_number():
    query, key, value = tokens(*3 * [(1, 5, 16)], dtype=SINGLE)
    found = fast_attention(query, key, value, scale=1e200, backend="triton")
    assert torch.isnan(found).all()


def test_auto_leaves_the_cpu_to_the_portable_path(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(operator, "forward", refuse)
    inputs = [x.cpu() for x in tokens(*3 * [(1, 5, 16)], dtype=SINGLE)]
    assert fast_attention(*inputs).shape == (1, 5, 16)


@ORDERS_AND_WIDTHS
def test_rows_and_weights_spell_out_the_polynomial(order, width):
    """sum_rc a w_rc x^r x_c y^r y_c is f(x.y) - a_0, and that of the row weights is f'(x.y)."""
    coefficients = (0.7, 1.3, 0.4, 0.2)[: order + 1]
    table = rows.rows_of(order, width)
    x, y = (torch.randn(width, dtype=torch.float64).numpy() for _ in range(2))
    padded_x, padded_y = ([1.0, *z] for z in (x, y))
    monomials = [
        [z[i] * z[j] for i, j in zip(table.first, table.second, strict=True)]
        for z in (padded_x, padded_y)
    ]
    both = torch.tensor(monomials, dtype=torch.float64).prod(0)
    degrees = 1 + (table.first > 0).astype(int) + (table.second > 0).astype(int)
    factors = torch.tensor(coefficients, dtype=torch.float64)[torch.from_numpy(degrees)]
    weights = factors[:, None] * torch.from_numpy(rows.shared_weights(order, width)).double()
    score = float(x @ y)
    value = float(torch.einsum("r,rc,c->", both, weights, torch.from_numpy(x * y)))
    expected = sum(a * score**degree for degree, a in enumerate(coefficients)) - coefficients[0]
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-5)
    row_weights = factors * torch.from_numpy(rows.row_weights(order, width)).double()
    slope = float(both @ row_weights)
    expected = sum(d * a * score ** (d - 1) for d, a in enumerate(coefficients) if d > 0)
    assert slope == pytest.approx(expected, rel=1e-5, abs=1e-5)


@ORDERS_AND_WIDTHS
def test_panels_hold_every_computed_entry_once(order, width):
    table = rows.rows_of(order, width)
    held = torch.zeros(table.count, width)
    for first, last, column, columns in table.panels:
        held[first:last, column : column + columns] += 1
    computed = torch.from_numpy(rows.shared_weights(order, width)) != 0
    assert torch.equal(held[1:], computed[1:].float())
