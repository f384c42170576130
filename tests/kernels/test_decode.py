"""One token on a state: the kernels against the array path and the direct sum over all tokens."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from arrays import Names
from fused import DEVICE, HALF, SINGLE, far_apart, poison_empty, relative, tokens
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fastattn_lite import (
    Expansion,
    Moments,
    fast_attention,
    kernel_attention,
    minimax,
    monomial_features,
    number_of_features,
    taylor,
)
from fastattn_lite.kernels import step
from fastattn_lite.kernels import stream as stream_kernels

FLOOR = {SINGLE: 2e-6, HALF: 1e-3, torch.bfloat16: 8e-3}
"""About one unit in the last place of each type, sixteen in float32: summation orders differ."""
NEGATIVE = Expansion((1.0, -0.5, 0.4))
pytestmark = pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")


def stream(
    inputs: list[Tensor], backend: str, state: Moments | None = None, alone: bool = False, **options
):
    """Return the outputs of all tokens, one after the other, and the last state.

    Without a state the first half goes through the array path, unless the backend is to be alone:
    else the kernels would meet all tokens by their scores.
    """
    outputs, count = [], inputs[0].shape[-2]
    first = count // 2 if state is None and not alone else 0
    for t in range(count):
        one = [x[..., t : t + 1, :] for x in inputs]
        options |= {"backend": "array" if t < first else backend, "initial_state": state}
        output, state = fast_attention(*one, is_causal=True, return_state=True, **options)
        outputs.append(output)
    return torch.cat(outputs, dim=-2), state


CASES = [
    pytest.param(taylor(1), 16, 20, SINGLE, id="order-1"),
    pytest.param(taylor(2), 16, 16, SINGLE, id="order-2"),
    pytest.param(taylor(3), 5, 8, SINGLE, id="order-3"),
    pytest.param(minimax(2), 33, 7, SINGLE, id="minimax-odd-dimensions"),
    pytest.param(NEGATIVE, 5, 70, SINGLE, id="negative-and-two-blocks-of-columns"),
    pytest.param(taylor(2), 16, 33, HALF, id="half-precision"),
]
if DEVICE == "cuda":
    CASES += [
        pytest.param(taylor(order), d, d, torch.bfloat16, id=f"bfloat16-{order}-{d}")
        for order, d in ((1, 128), (2, 16), (2, 64), (2, 128), (3, 32))
    ]


@pytest.mark.parametrize(("expansion", "d", "d_v", "dtype"), CASES)
def test_token_after_token_equals_the_array_path_and_the_direct_sum(
    expansion, d, d_v, dtype, monkeypatch
):
    inputs = tokens((2, 4, d), (2, 4, d), (2, 4, d_v), dtype=dtype)
    array, after_array = stream(inputs, "array", expansion=expansion)
    poison_empty(monkeypatch)
    found, after = stream(inputs, "triton", expansion=expansion)
    monkeypatch.undo()
    exact = [x.double() for x in inputs]
    expected = kernel_attention(*exact, expansion=expansion, is_causal=True)
    assert found.dtype == dtype
    assert relative(found, expected) <= 2 * relative(array, expected) + FLOOR[dtype]
    assert relative(found, array) <= FLOOR[dtype]
    assert (after.kind(), after.sums.dtype) == (after_array.kind(), torch.float32)
    assert relative(after.sums, after_array.sums) <= FLOOR[SINGLE]


@pytest.mark.parametrize(
    ("query", "key", "value"),
    [
        pytest.param((2, 3, 4), (2, 3, 1), (2, 3, 1), id="grouped-heads"),
        pytest.param((2, 3, 4), (2, 1, 4), (2, 1, 4), id="shared-in-the-middle"),
        pytest.param((2, 3), (1, 3), (2, 1), id="both-broadcast"),
        pytest.param((), (2,), (2,), id="one-query-for-two-heads"),
        pytest.param((3,), (), (), id="shared-by-all"),
        pytest.param((0,), (1,), (1,), id="nobody-asks"),
        pytest.param((0, 2), (0, 2), (0, 1), id="no-batch"),
    ],
)
def test_leading_axes_broadcast_as_in_the_array_path(query, key, value):
    inputs = tokens((*query, 2, 5), (*key, 2, 5), (*value, 2, 3))
    found, after = stream(inputs, "triton")
    expected, after_array = stream(inputs, "array")
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert after.sums.shape == after_array.sums.shape
    assert torch.allclose(after.sums, after_array.sums, rtol=1e-6, atol=1e-6)


def test_values_of_no_column_are_counted():
    inputs = tokens((2, 3, 5), (2, 3, 5), (2, 3, 0))
    found, after = stream(inputs, "triton")
    assert found.shape == (2, 3, 0)
    assert torch.allclose(after.sums, stream(inputs, "array")[1].sums, atol=1e-6)


def test_inputs_and_states_in_any_memory_order():
    base = tokens((5, 3, 2), (2, 3, 10), (3, 2, 4))
    inputs = [base[0].permute(2, 1, 0), base[1][..., ::2], base[2].transpose(0, 1)]
    expected, state = stream(inputs, "array")
    turned = Moments(state.sums.mT.contiguous().mT, state.order, state.dim, state.key_map)
    assert relative(stream(inputs, "triton")[0], expected) < 1e-6
    found, _ = stream(inputs, "triton", turned)
    assert relative(found, stream(inputs, "array", state)[0]) < 1e-6


def test_features_far_apart_in_memory():
    inputs = far_apart(3, 4)
    expected, _ = stream([x.contiguous() for x in inputs], "array")
    assert relative(stream(inputs, "triton")[0], expected) < FLOOR[HALF]


@pytest.mark.parametrize("normalization", ["none", "unit"])
@pytest.mark.parametrize("scale", [None, -0.3, 0.0])
def test_scales_and_normalized_tokens(scale, normalization):
    inputs = tokens((3, 5), (3, 5), (3, 4), dtype=HALF)
    options = {"scale": scale, "normalization": normalization}
    found, after = stream(inputs, "triton", **options)
    exact, after_array = stream(inputs, "array", **options)
    assert relative(found, exact) < 1e-3
    assert relative(after.sums, after_array.sums) < 1e-6
    assert after.key_map == after_array.key_map


def test_both_paths_go_on_from_each_others_states(tmp_path):
    inputs = tokens((2, 6, 5), (2, 6, 5), (2, 6, 3))
    first, rest = [x[:, :4] for x in inputs], [x[:, 4:] for x in inputs]
    _, state = fast_attention(*first, is_causal=True, return_state=True)
    state.save(tmp_path / "state.npz")
    loaded = Moments.load(tmp_path / "state.npz", like=inputs[0])
    one, state = stream([x[:, :1] for x in rest], "triton", loaded)
    two, _ = stream([x[:, 1:] for x in rest], "array", state)
    exact = [x.double() for x in inputs]
    expected = kernel_attention(*exact, expansion=taylor(2), is_causal=True)[:, 4:]
    assert relative(torch.cat([one, two], dim=1), expected) < 1e-6


MOST = stream_kernels.MOST if DEVICE == "cuda" else 20
LONG = MOST + 6


@pytest.mark.parametrize(("dtype", "is_rounded"), [(SINGLE, False), (HALF, False), (HALF, True)])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_latest_tokens_are_added_to_the_moments_in_time(order, dtype, is_rounded, monkeypatch):
    monkeypatch.setattr(stream_kernels, "MOST", MOST)
    if is_rounded:  # what tokens in bfloat16 do, which the interpreter does not know
        monkeypatch.setattr(step, "exact_rows", lambda _dtype, dim, _rows: 1 + dim)
    inputs = tokens((1, LONG, 5), (1, LONG, 5), (1, LONG, 3), dtype=dtype)
    inputs[1] *= 0.3
    exact = [x.double() for x in inputs]
    expected = kernel_attention(*exact, expansion=taylor(order), is_causal=True)
    array, after_array = stream(inputs, "array", order=order)
    found, after = stream(inputs, "triton", alone=True, order=order)
    allowed = 2e-3 if is_rounded else 2 * relative(array, expected) + FLOOR[dtype]
    assert relative(found, expected) <= allowed
    assert after.held.count == 6
    assert relative(after.sums, after_array.sums) < 1e-6


def test_the_sums_are_those_of_all_tokens_at_any_time(monkeypatch):
    monkeypatch.setattr(stream_kernels, "MOST", MOST)
    inputs = tokens((2, LONG, 5), (2, LONG, 5), (2, LONG, 3))
    state, counts = None, []
    for t in range(LONG):
        _, state = stream([x[:, t : t + 1] for x in inputs], "triton", state)
        assert "sums" not in vars(state), "a step has no need of them"
        counts.append(state.held.count)
        if t + 1 in (1, 2, 16, 17, MOST - 1, MOST, MOST + 1, LONG):
            _, expected = stream([x[:, : t + 1] for x in inputs], "array")
            asked = copy.copy(state)
            assert asked.kind() == expected.kind()
            assert relative(asked.sums, expected.sums) < 1e-6
            assert asked.sums is asked.sums
    assert counts == [*range(1, MOST + 1), *range(1, 7)]


def test_two_streams_go_on_from_one_state():
    inputs = tokens((2, 9, 5), (2, 9, 5), (2, 9, 3))
    first, *rest = ([x[:, a:b] for x in inputs] for a, b in ((0, 5), (5, 7), (7, 9), (6, 8)))

    def in_turn(backend):
        """Each of three streams takes a token before the next token comes."""
        states = [stream(first, backend)[1]] * 3
        outputs = []
        for t in range(2):
            for i, tail in enumerate(rest):
                one = [x[:, t : t + 1] for x in tail]
                output, states[i] = stream(one, backend, states[i])
                outputs.append(output)
        return torch.cat(outputs, 1)

    assert relative(in_turn("triton"), in_turn("array")) < 1e-6


def test_one_of_many_threads_gets_a_place():
    key, value = tokens((1, 1, 5), (1, 1, 3))
    latest = stream_kernels.Latest.empty(1, key, value)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(latest.takes, [3] * 64)) == 1
    assert latest.takes(4)
    assert not latest.takes(3)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_a_state_is_its_own(copied):
    inputs = tokens((2, 4, 5), (2, 4, 5), (2, 4, 3))
    start, end = ([x[:, a:b] for x in inputs] for a, b in ((0, 2), (2, 4)))
    expected, _ = stream(end, "array", stream(start, "array")[1])
    _, state = stream(start, "triton")
    other = copied(state)
    for each in (state, other):
        assert relative(stream(end, "triton", each)[0], expected) < 1e-6
    assert other.held.latest.keys.data_ptr() != state.held.latest.keys.data_ptr()


def test_a_state_with_other_sums_is_a_plain_one():
    inputs = tokens((2, 4, 5), (2, 4, 5), (2, 4, 3))
    _, state = stream(inputs, "triton")
    turned = dataclasses.replace(state, sums=state.sums.flip(0))
    found, _ = stream(inputs, "triton", turned)
    assert relative(found, stream(inputs, "array", turned)[0]) < 1e-6
    with pytest.raises(AttributeError, match="'Stream' object has no attribute 'tokens'"):
        state.tokens  # noqa: B018


def test_sums_that_were_changed_are_gone_on_from():
    inputs = tokens((2, 4, 5), (2, 4, 5), (2, 4, 3))
    for backend in ("triton", "array"):
        _, state = stream(inputs, backend)
        state.sums.mul_(torch.tensor([3.0, 1.0, 1.0, 1.0], device=DEVICE))
        found = stream(inputs, backend, state)[0]
        if backend == "triton":
            first = found
    assert relative(first, found) < 1e-6


def test_a_state_that_was_asked_for_its_sums_holds_nothing_else():
    inputs = tokens((2, 3, 5), (2, 3, 5), (2, 3, 3))
    _, state = stream(inputs, "triton", alone=True)
    other = copy.copy(state)
    repr(state.sums)
    assert set(vars(state)) == {"sums", "order", "dim", "key_map"}
    assert torch.equal(other.sums, state.sums)


def test_sums_made_inside_a_mode_stay_there():
    inputs = tokens((2, 3, 5), (2, 3, 5), (2, 3, 3))
    _, state = stream(inputs, "triton", alone=True)
    _, expected = stream(inputs, "array")
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert state.evaluate(inputs[0], taylor(2)).shape == (2, 3, 3)
    torch.func.grad(lambda x: state.evaluate(x, taylor(2)).sum())(inputs[0])
    assert type(state.sums) is Tensor
    assert relative(state.sums, expected.sums) < 1e-6


def test_scales_that_are_no_float32():
    inputs = tokens((2, 4, 5), (2, 4, 5), (2, 4, 3))
    for x in inputs[:2]:
        x *= 1e-20
    expected, _ = stream(inputs, "array", scale=1e40)
    assert relative(stream(inputs, "triton", scale=1e40)[0], expected) < 1e-5


def test_a_state_whose_kind_is_a_list():
    inputs = tokens((2, 4, 5), (2, 4, 5), (2, 4, 3))
    _, state = stream(inputs, "array")
    listed = dataclasses.replace(state, key_map=list(state.key_map))
    expected, _ = stream(inputs, "triton", state)
    assert torch.equal(stream(inputs, "triton", listed)[0], expected)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), ("a", TypeError), (1.5, TypeError)])
def test_a_chunk_size_that_nobody_needs_is_checked_too(size, error):
    inputs = tokens(*3 * [(1, 1, 5)])
    for carried in ({}, {"return_state": True}):
        with pytest.raises(error, match="chunk_size: expected"):
            fast_attention(*inputs, backend="triton", chunk_size=size, **carried)


def test_tokens_of_another_type_find_room():
    inputs = tokens((2, 6, 5), (2, 6, 5), (2, 6, 3))
    state = array = None
    for t in range(6):
        one = [x[:, t : t + 1].to(HALF if t % 3 == 1 else SINGLE) for x in inputs]
        found, state = stream(one, "triton", state)
        expected, array = stream(one, "array", array)
        assert relative(found, expected) <= FLOOR[one[0].dtype]
    assert relative(state.sums, array.sums) < 1e-6


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -0.0, 3.0e38, 1e-42, 1.1, -7e-3])
def test_halves_hold_every_number(number):
    sums = torch.full((1, 3, 2), number, device=DEVICE)
    held = stream_kernels.Held.of(sums, sums[..., :1], sums[..., :1])
    assert torch.equal(held.far().view(torch.int32), sums.view(torch.int32))


def test_rounded_moments_are_right_on_average(monkeypatch):
    """What is read of each lies in the middle of what it may be: errors cancel in a sum."""
    monkeypatch.setattr(step, "exact_rows", lambda _dtype, dim, _rows: 1 + dim)
    query, key, value = tokens((64, 1, 16), (64, 1, 16), (64, 1, 3))
    state = state_of(query, key, value)
    generator = torch.Generator().manual_seed(1)
    state.sums[:, 1:] = torch.rand(state.sums[:, 1:].shape, generator=generator).to(DEVICE) + 1
    state.sums[:, :, -1] = 0
    state.sums[:, 0, -1] = 1e4
    query.abs_()
    found, expected = (stream([query, key, value], x, state)[0] for x in ("triton", "array"))
    errors = (found - expected) / expected
    assert errors.abs().max() < 4e-3
    assert errors.mean().abs() < 2e-4
    assert not torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_rounded_moments_show_what_is_not_finite(monkeypatch):
    monkeypatch.setattr(step, "exact_rows", lambda _dtype, dim, _rows: 1 + dim)
    inputs = tokens((1, 1, 5), (1, 1, 5), (1, 1, 3))
    for number in (float("nan"), float("inf")):
        state = state_of(*inputs)
        state.sums[0, -1, 0] = number
        found, _ = stream(inputs, "triton", state)
        assert not found[..., 0].isfinite().any()
        assert found[..., 1:].isfinite().all()


def test_the_given_state_stays_as_it_is_and_bits_repeat():
    inputs = tokens((2, 1, 5), (2, 1, 5), (2, 1, 3))
    _, state = stream(inputs, "array")
    before = state.sums.clone()
    (output, after), (again, same) = (stream(inputs, "triton", state) for _ in range(2))
    assert torch.equal(state.sums, before)
    assert after.sums.data_ptr() != state.sums.data_ptr()
    assert torch.equal(output, again)
    assert torch.equal(after.sums, same.sums)


def test_without_a_mask_one_token_is_the_same_sum():
    inputs = tokens((2, 1, 5), (2, 1, 5), (2, 1, 3))
    _, state = stream(inputs, "array")
    expected, _ = stream(inputs, "triton", state)
    found = fast_attention(*inputs, backend="triton", initial_state=state)
    assert torch.equal(found, expected)


def test_a_nan_stays_in_its_row_or_marks_the_whole_column():
    query, key, value = tokens((3, 1, 5), (3, 1, 5), (3, 1, 4))
    query[0, 0, 1] = key[1, 0, 2] = value[2, 0, 3] = float("nan")
    found, after = stream([query, key, value], "triton")
    expected, after_array = stream([query, key, value], "array")
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(after.sums.isnan(), after_array.sums.isnan())


def test_the_table_spells_out_the_monomials():
    x = tokens((1, 4))[0].cpu().double()
    for order in (1, 2, 3):
        table = stream_kernels.variables(4, order, torch.device("cpu"))
        assert table.shape == (order, number_of_features(4, order))
        padded = torch.cat([x[0], torch.ones(1, dtype=x.dtype)])
        assert torch.allclose(padded[table.long()].prod(0), monomial_features(x, order)[0])


def test_auto_takes_the_kernel_on_a_gpu_alone(monkeypatch):
    inputs, taken = tokens((1, 1, 5), (1, 1, 5), (1, 1, 3)), []

    def one_token(query, _key, _value, state, _expansion):
        taken.append(query.device.type)
        return query, state

    monkeypatch.setattr(step, "one_token", one_token)
    for x in (inputs, [x.cpu() for x in inputs]):
        stream(x, "auto")
    assert taken == (["cuda"] if DEVICE == "cuda" else [])


if DEVICE == "cuda":

    def test_a_cuda_graph_replays_the_step():
        inputs = tokens((2, 1, 16), (2, 1, 16), (2, 1, 16))
        state = state_of(*inputs)
        expected, after = stream(inputs, "triton", state)  # compiles, and makes the tables
        sums = after.sums
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found, after = stream(inputs, "triton", state)
            after_sums = after.sums
        for x in (found, after_sums):
            x.zero_()
        graph.replay()
        assert torch.equal(found, expected)
        assert torch.equal(after_sums, sums)

    def test_a_cuda_graph_holds_a_round_of_tokens():
        """As many tokens as are kept beside the moments: with the next round they are added."""
        inputs = tokens(*3 * [(2, stream_kernels.MOST, 16)], dtype=torch.bfloat16)
        _, state = stream(inputs, "triton")
        expected, _ = stream(inputs, "triton", state)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found, _ = stream(inputs, "triton", state)
        for _ in range(2):
            found.zero_()
            graph.replay()
            assert torch.equal(found, expected)


def state_of(*inputs: Tensor, dtype: torch.dtype = SINGLE) -> Moments:
    return stream([x.detach().to(dtype) for x in inputs], "array")[1]


@pytest.mark.parametrize(
    ("count", "dtype", "options", "reason"),
    [
        (2, SINGLE, {}, "with a state they take one query and one key, got 2 and 2"),
        (1, SINGLE, {"order": 4}, "an order from 1 to 3, got 4"),
        (1, torch.float64, {}, "one of float16, bfloat16 or float32"),
    ],
)
def test_what_the_kernels_do_not_take_is_said(count, dtype, options, reason):
    inputs = tokens(*3 * [(1, count, 5)], dtype=dtype)
    with pytest.raises(ValueError, match=f'backend: "triton" cannot take this: .*{reason}'):
        fast_attention(*inputs, backend="triton", return_state=True, **options)


def test_states_that_the_kernels_do_not_take():
    inputs = tokens(*3 * [(1, 1, 5)])
    wide, right = state_of(*inputs, dtype=torch.float64), state_of(*inputs)
    with pytest.raises(ValueError, match=r"a state in float32, got torch\.float64"):
        fast_attention(*inputs, backend="triton", initial_state=wide)
    with pytest.raises(ValueError, match=r"expected moments of order 1, .* got .* order 2"):
        fast_attention(*inputs, backend="triton", initial_state=right, order=1)
    with pytest.raises(TypeError, match="initial_state: expected the array library of key"):
        fast_attention(*(x.cpu().numpy() for x in inputs), initial_state=right)
    no_keys = inputs[0], inputs[1][:, :0], inputs[2][:, :0]
    with pytest.raises(ValueError, match="one query and one key, got 1 and 0"):
        fast_attention(*no_keys, backend="triton", initial_state=right)


@pytest.mark.parametrize("watched", range(4))
def test_gradients_take_the_array_path(watched):
    inputs = tokens(*3 * [(1, 1, 5)])
    state = state_of(*inputs)
    (*inputs, state.sums)[watched].requires_grad_()
    with pytest.raises(ValueError, match="no gradient passes through their state"):
        fast_attention(*inputs, backend="triton", initial_state=state)
    assert fast_attention(*inputs, initial_state=state).requires_grad
    with torch.no_grad():
        fast_attention(*inputs, backend="triton", initial_state=state)


@pytest.mark.parametrize("what", ["fake", "transform", "watched"])
def test_what_torch_does_besides_takes_the_array_path(what):
    """Else a table could be made that holds no numbers, and be kept for good."""
    real = tokens(*3 * [(2, 1, 5)])
    state = state_of(*real)
    _, streamed = stream(real, "triton", state)
    stream_kernels.variables.cache_clear()

    def attend(backend, initial):
        return fast_attention(*real, backend=backend, initial_state=initial)

    def inside(*given):
        if what == "fake":
            with FakeTensorMode(allow_non_fake_inputs=True):
                return attend(*given)
        if what == "transform":
            return torch.func.vmap(lambda x: x + attend(*given))(torch.zeros(3, 1, device=DEVICE))
        with Names():
            return attend(*given)

    with pytest.raises(ValueError, match="no operator for what traces"):
        inside("triton", state)
    for initial in (state, streamed):
        assert inside("auto", initial).shape[-3:] == (2, 1, 5)
    found, _ = stream(real, "triton", state)
    assert relative(found, stream(real, "array", state)[0]) < 1e-6


def test_transforms_are_refused():
    inputs = tokens(*3 * [(2, 1, 5)])
    state = state_of(*(x[0] for x in inputs))

    def attend(*one):
        return fast_attention(*one, backend="triton", initial_state=state)

    with pytest.raises(ValueError, match=r"no rule for torch\.func"):
        torch.func.vmap(attend)(*inputs)
