"""Step 4 against the oracle: every order, library, mask, split and size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import mpmath
import numpy as np
import pytest
import torch
from arrays import LIBRARIES, draw, worst
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reference import by_definition

from fastattn_lite import (
    Expansion,
    chebyshev,
    fast_attention,
    kernel_attention,
    minimax,
    softmax_attention,
    taylor,
)

EXPANSIONS = {
    "taylor": taylor,
    "chebyshev": lambda order: chebyshev(order, radius=2.0),
    "minimax": lambda order: minimax(order, radius=4.0),
    "negative": lambda order: Expansion((1.0, -0.2, 0.05, -0.01, 0.002, -1e-3, 1e-4)[: order + 1]),
}
pytestmark = pytest.mark.filterwarnings("ignore::fastattn_lite.ExpansionWarning")


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("order", range(7))
@pytest.mark.parametrize("family", EXPANSIONS)
@pytest.mark.parametrize("name", LIBRARIES)
def test_fast_attention_is_the_direct_sum(name, family, order, is_causal):
    query, key, value = draw(lead=(2,), dim=4)
    expansion = EXPANSIONS[family](order)
    options = {"expansion": expansion, "is_causal": is_causal, "scale": 0.25}
    expected = kernel_attention(query, key, value, **options)
    inputs = map(LIBRARIES[name], (query, key, value))
    result = fast_attention(*inputs, chunk_size=4, **options)
    assert worst(result, expected) < 1e-12


@pytest.mark.parametrize("is_causal", [False, True])
def test_order_means_taylor(is_causal):
    inputs = draw()
    for order in (0, 2, 4):
        expected = kernel_attention(*inputs, expansion=taylor(order), is_causal=is_causal)
        result = fast_attention(*inputs, order=order, is_causal=is_causal, chunk_size=3)
        assert worst(result, expected) < 1e-12


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("scale", [-1.3, -0.25, 0, 0.7, 1e-320, np.float32(0.5), torch.tensor(2.0)])
def test_a_scale_of_any_sign_and_zero(scale, is_causal):
    inputs = draw()
    options = {"is_causal": is_causal, "scale": scale}
    expected = kernel_attention(*inputs, expansion=taylor(2), **options)
    assert worst(fast_attention(*inputs, chunk_size=4, **options), expected) < 1e-12


@pytest.mark.parametrize("is_causal", [False, True])
def test_fast_attention_agrees_with_the_definition_in_high_precision(is_causal):
    query, key, value = draw(dim=4)
    coefficients = taylor(4).coefficients[::-1]
    expected = by_definition(
        query, key, value, lambda s: mpmath.polyval(coefficients, s), is_causal=is_causal, scale=0.5
    )
    result = fast_attention(query, key, value, order=4, is_causal=is_causal, chunk_size=4)
    assert worst(result, expected) < 1e-13


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_equal_values_come_back_unchanged(order, is_causal):
    query, key, _ = draw(queries=9, keys=9)
    result = fast_attention(
        query, key, np.ones((9, 2)), order=order, normalization="unit", is_causal=is_causal
    )
    assert worst(result, np.ones((9, 2))) < 1e-12


def test_order_zero_is_the_mean_and_causal_the_running_mean():
    query, key, value = draw()
    count = np.arange(1, 12)[:, None]
    assert worst(fast_attention(query, key, value, order=0), value.mean(0) + 0 * value) < 1e-13
    running = fast_attention(query, key, value, order=0, is_causal=True, chunk_size=4)
    assert worst(running, np.cumsum(value, 0) / count) < 1e-13


@given(cuts=st.lists(st.integers(0, 29), max_size=4).map(sorted), chunk=st.integers(1, 31))
@settings(max_examples=30)
def test_segments_with_carried_state_are_one_run(cuts, chunk):
    inputs = draw(queries=29, keys=29)
    whole = kernel_attention(*inputs, expansion=taylor(2), is_causal=True)
    edges, state, outputs = [0, *cuts, 29], None, []
    for start, stop in zip(edges, edges[1:], strict=False):
        segment = (x[start:stop] for x in inputs)
        output, state = fast_attention(
            *segment, is_causal=True, return_state=True, initial_state=state, chunk_size=chunk
        )
        outputs.append(output)
    assert worst(np.concatenate(outputs), whole) < 1e-12


def test_a_stream_of_single_tokens_is_the_whole():
    inputs = draw(queries=13, keys=13, lead=(2,))
    whole = fast_attention(*inputs, is_causal=True, normalization="unit")
    state, outputs = None, []
    for token in range(13):
        one = (x[:, token : token + 1] for x in inputs)
        output, state = fast_attention(
            *one, is_causal=True, normalization="unit", return_state=True, initial_state=state
        )
        outputs.append(output)
    assert worst(np.concatenate(outputs, axis=1), whole) < 1e-12


def test_the_state_of_full_attention_answers_later_queries():
    query, key, value = draw(queries=5)
    expected, state = fast_attention(query, key, value, return_state=True)
    nothing = key[:0], value[:0]
    assert worst(fast_attention(query, *nothing, initial_state=state), expected) < 1e-13


def test_permuting_the_keys_changes_nothing():
    query, key, value = draw(queries=5)
    order = np.random.default_rng(3).permutation(11)
    expected = fast_attention(query, key, value)
    assert worst(fast_attention(query, key[order], value[order]), expected) < 1e-12


@pytest.mark.parametrize("normalization", ["none", "unit"])
def test_the_future_changes_no_past_output(normalization):
    query, key, value = draw(queries=20, keys=20)
    options = {"is_causal": True, "normalization": normalization, "chunk_size": 6}
    before = fast_attention(query, key, value, **options)
    query[13:], key[13:], value[13:] = 7.0, -3.0, 100.0
    after = fast_attention(query, key, value, **options)
    assert np.array_equal(before[:13], after[:13])
    assert not np.any(np.isclose(before[13:], after[13:]))


@pytest.mark.parametrize("tokens", [0, 1, 7, 63, 111])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("name", LIBRARIES)
def test_any_number_of_tokens(tokens, is_causal, name):
    inputs = draw(queries=tokens, keys=tokens, dim=5, value_dim=3, lead=(2, 1))
    expected = kernel_attention(*inputs, expansion=taylor(2), is_causal=is_causal)
    result = fast_attention(*map(LIBRARIES[name], inputs), is_causal=is_causal, chunk_size=16)
    assert worst(result, expected) < 1e-12


@given(
    queries=st.integers(0, 9),
    keys=st.integers(1, 9),
    dim=st.integers(1, 4),
    value_dim=st.integers(1, 3),
    order=st.integers(0, 4),
    chunk=st.integers(1, 10),
    scale=st.floats(-1, 1),
)
@settings(max_examples=60)
def test_any_shape(queries, keys, dim, value_dim, order, chunk, scale):
    inputs = draw(queries=queries, keys=keys, dim=dim, value_dim=value_dim)
    expansion = minimax(order, radius=8.0)
    expected = kernel_attention(*inputs, expansion=expansion, scale=scale)
    result = fast_attention(*inputs, expansion=expansion, scale=scale, chunk_size=chunk)
    assert worst(result, expected) < 1e-9


def test_leading_axes_broadcast_and_inputs_may_be_strided():
    query, key, value = draw(lead=(3, 1), queries=22, dim=6)
    query, key, value = query[:, :, ::2, ::2], key[:1, 0, :, ::2], value[..., ::-1]
    result = fast_attention(query, key, value, is_causal=True, chunk_size=4)
    assert result.shape == (3, 1, 11, 2)
    assert (
        worst(result, kernel_attention(query, key, value, expansion=taylor(2), is_causal=True))
        < 1e-12
    )
    strided = [torch.from_numpy(np.ascontiguousarray(x)) for x in draw(lead=(3,), dim=4)]
    turned = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in strided]
    assert worst(fast_attention(*turned), fast_attention(*strided)) < 1e-14


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("turn", [np.asfortranarray, lambda x: x[::-1].copy()[::-1], "read-only"])
def test_any_memory_layout_is_read_and_never_written(turn, is_causal):
    inputs = draw()
    expected = kernel_attention(*inputs, expansion=taylor(3), is_causal=is_causal)
    turned = [x.copy() if turn == "read-only" else turn(x) for x in inputs]
    for x in turned:
        x.flags.writeable = False
    options = {"order": 3, "is_causal": is_causal, "chunk_size": 4, "return_state": True}
    result, state = fast_attention(*turned, **options)
    assert worst(result, expected) < 1e-9
    state.sums.flags.writeable = False
    fast_attention(*turned, initial_state=state, **options)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("name", LIBRARIES)
def test_empty_axes_pass_through(name, is_causal):
    no_batch = draw(lead=(0, 2))
    result = fast_attention(*map(LIBRARIES[name], no_batch), is_causal=is_causal)
    assert result.shape == (0, 2, 11, 2)
    no_value = draw(value_dim=0)
    result = fast_attention(*map(LIBRARIES[name], no_value), is_causal=is_causal)
    assert result.shape == (11, 0)


def test_threads_do_not_disturb_one_another():
    inputs = draw(queries=64, keys=64, dim=5)
    orders = [2, 4, 6] * 10

    def run(order):
        return fast_attention(*inputs, order=order, is_causal=True, chunk_size=16)

    expected = {order: run(order) for order in set(orders)}
    with ThreadPoolExecutor(8) as pool:
        for order, result in zip(orders, pool.map(run, orders), strict=True):
            assert np.array_equal(result, expected[order])


@pytest.mark.parametrize("backend", ["array", "autograd"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_torch_gradients_are_those_of_the_direct_sum(is_causal, backend):
    fast = [torch.from_numpy(x).requires_grad_() for x in draw(lead=(2,))]
    direct = [x.detach().clone().requires_grad_() for x in fast]
    options = {"is_causal": is_causal, "chunk_size": 4, "backend": backend}
    fast_attention(*fast, **options).square().sum().backward()
    result = kernel_attention(*direct, expansion=taylor(2), is_causal=is_causal)
    result.square().sum().backward()
    for left, right in zip(fast, direct, strict=True):
        assert left.grad is not None
        assert worst(left.grad, right.grad) < 1e-12


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch.func.jvp uses it
@pytest.mark.parametrize("is_causal", [False, True])
def test_torch_transforms_agree_with_the_direct_sum(is_causal):
    batch = [torch.from_numpy(x) for x in draw(lead=(3,))]
    inputs, tangents = [tuple(x[i] for x in batch) for i in (0, 1)]

    def fast(*tokens):
        return fast_attention(*tokens, is_causal=is_causal, chunk_size=4)

    def direct(*tokens):
        return kernel_attention(*tokens, expansion=taylor(2), is_causal=is_causal)

    assert worst(torch.func.vmap(fast)(*batch), direct(*batch)) < 1e-12
    shared = torch.func.vmap(fast, (0, None, None))(batch[0], *inputs[1:])
    assert worst(shared, direct(batch[0], *inputs[1:])) < 1e-12
    for left, right in zip(
        torch.func.jvp(fast, inputs, tangents),
        torch.func.jvp(direct, inputs, tangents),
        strict=True,
    ):
        assert worst(left, right) < 1e-12
    with torch.autograd.forward_ad.dual_level():
        dual = [
            torch.autograd.forward_ad.make_dual(*pair)
            for pair in zip(inputs, tangents, strict=True)
        ]
        left, right = (
            torch.autograd.forward_ad.unpack_dual(f(*dual)).tangent for f in (fast, direct)
        )
    assert worst(left, right) < 1e-12


def test_gradients_pass_through_a_stream():
    stream = [torch.from_numpy(x).requires_grad_() for x in draw(lead=(2,))]
    direct = [x.detach().clone().requires_grad_() for x in stream]
    state, outputs = None, []
    for token in range(11):
        one = (x[:, token : token + 1] for x in stream)
        output, state = fast_attention(*one, is_causal=True, return_state=True, initial_state=state)
        outputs.append(output)
    torch.cat(outputs, dim=1).square().sum().backward()
    kernel_attention(*direct, expansion=taylor(2), is_causal=True).square().sum().backward()
    for left, right in zip(stream, direct, strict=True):
        assert worst(left.grad, right.grad) < 1e-12


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("watched", [0, 1, 2])
@pytest.mark.parametrize("backend", ["array", "autograd"])
def test_gradients_of_one_input_alone(watched, is_causal, backend, monkeypatch):
    monkeypatch.setattr("fastattn_lite.factorization.BLOCK_NUMBERS", 40)  # several parts
    fast = [torch.from_numpy(x) for x in draw(dim=6)]
    direct = [x.clone() for x in fast]
    for inputs in (fast, direct):
        inputs[watched].requires_grad_()
    fast_attention(*fast, is_causal=is_causal, backend=backend).square().sum().backward()
    result = kernel_attention(*direct, expansion=taylor(2), is_causal=is_causal)
    result.square().sum().backward()
    assert worst(fast[watched].grad, direct[watched].grad) < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("is_causal", [False, True])
def test_low_precision_is_at_most_twice_as_wrong_as_the_plain_formula(dtype, is_causal):
    inputs = [torch.from_numpy(x) for x in draw(queries=200, keys=200, dim=16, value_dim=8)]
    low = [(0.5 * x).to(dtype) for x in inputs]
    exact = kernel_attention(*[x.double() for x in low], expansion=taylor(2), is_causal=is_causal)
    result = fast_attention(*low, is_causal=is_causal, chunk_size=64)
    assert result.dtype == dtype
    scores = 0.25 * low[0] @ low[1].T
    kernel = 1 + scores + scores * scores / 2
    kernel = kernel.tril() if is_causal else kernel
    plain = (kernel @ low[2]) / kernel.sum(-1, keepdim=True)
    floor = float(torch.finfo(dtype).eps) * float(exact.abs().max())
    assert worst(result.double(), exact) <= 2 * worst(plain.double(), exact) + floor


def test_norms_of_half_precision_are_taken_in_float32():
    inputs = [torch.from_numpy(x).to(torch.bfloat16) for x in draw(dim=16)]
    result, state = fast_attention(*inputs, normalization="unit", return_state=True)
    exact, exact_state = fast_attention(
        *[x.double() for x in inputs], normalization="unit", return_state=True
    )
    assert result.dtype == torch.bfloat16
    assert worst(result.double(), exact) < 4e-3
    assert worst(state.sums, exact_state.sums) < 1e-5


@pytest.mark.parametrize("is_causal", [False, True])
def test_nan_never_becomes_a_wrong_finite_number(is_causal):
    options = {"is_causal": is_causal, "chunk_size": 4}
    inputs = draw(queries=10, keys=10)
    clean = fast_attention(*inputs, **options)
    query, key, value = (x.copy() for x in inputs)
    query[5, 1] = np.nan
    result = fast_attention(query, key, value, **options)
    assert np.all(np.isnan(result[5]))
    assert np.array_equal(np.delete(result, 5, 0), np.delete(clean, 5, 0))
    attending = slice(5, None) if is_causal else slice(None)
    for damaged, columns in ((1, slice(None)), (2, 1)):
        copies = [x.copy() for x in inputs]
        copies[damaged][5, 1] = np.nan
        result = fast_attention(*copies, **options)
        assert np.all(np.isnan(result[attending, columns]))
        finite = np.isfinite(result)
        assert worst(result[finite], clean[finite]) < 1e-13


def test_softmax_is_the_limit_of_the_orders():
    inputs = draw(queries=30, keys=30, dim=8)
    options = {"normalization": "unit"}
    expected = softmax_attention(
        *(x / np.linalg.norm(x, axis=-1, keepdims=True) for x in inputs[:2]), inputs[2], scale=1.0
    )
    errors = [
        worst(fast_attention(*inputs, order=order, **options), expected) for order in (0, 2, 4, 6)
    ]
    assert all(later < earlier / 5 for earlier, later in zip(errors, errors[1:], strict=False))
