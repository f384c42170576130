"""The fused kernels for tokens that lie, and are cut, in any way; when they take which form."""

from __future__ import annotations

import functools
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from fused import (
    BOTH_FORMS,
    DEVICE,
    FLOOR,
    HALF,
    SINGLE,
    far_apart,
    plain,
    poison_empty,
    relative,
    shorten_chunks,
    take,
    tokens,
)
from torch import Tensor

from fastattn_lite import fast_attention, kernel_attention, number_of_features, taylor
from fastattn_lite.kernels import forward, launch, operator, settings, states


def round_off(query: Tensor) -> float:
    """Return what R sums one after another in float32 lose when each step rounds at random.

    A GPU adds the products of order 2 like that; below d = 23 the floor of all tests is larger.
    """
    features = number_of_features(query.shape[-1], 2)
    return max(FLOOR[SINGLE], math.sqrt(features) * 2**-24)


def check_outputs_and_gradients(inputs: list[Tensor], is_causal: bool = False) -> None:
    """Compare the kernels with the direct sum on query, key and value."""
    given = [x.clone().requires_grad_() for x in inputs]
    exact = [x.double().requires_grad_() for x in inputs]
    found = fast_attention(*given, is_causal=is_causal, backend="triton")
    expected = kernel_attention(*exact, expansion=taylor(2), is_causal=is_causal)
    assert relative(found, expected) < round_off(inputs[0])
    pairs = zip(
        torch.autograd.grad(found.square().sum(), given),
        torch.autograd.grad(expected.square().sum(), exact),
        strict=True,
    )
    assert all(relative(ours, truth) < 1e-5 for ours, truth in pairs)


@BOTH_FORMS
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(
    ("query", "key", "value"),
    [
        pytest.param((2, 2, 2), (2, 2, 1), (2, 2, 1), id="grouped-heads"),
        pytest.param((2, 2), (1, 2), (2, 1), id="both-broadcast"),
        pytest.param((), (2,), (2,), id="one-query-for-two-heads"),
        pytest.param((2,), (), (), id="shared-keys"),
    ],
)
def test_leading_axes_broadcast(query, key, value, is_causal):
    shapes = ((*query, 20, 16), (*key, 20, 16), (*value, 20, 8))
    inputs = tokens(*shapes, dtype=SINGLE)
    check_outputs_and_gradients(inputs, is_causal)


@BOTH_FORMS
@pytest.mark.parametrize("is_causal", [False, True])
def test_features_far_apart_in_memory(is_causal):
    *far, upstream = far_apart(4, 6)
    given = [x.requires_grad_() for x in far]
    exact = [x.detach().double().contiguous().requires_grad_() for x in far]
    found = fast_attention(*given, is_causal=is_causal, backend="triton")
    expected = kernel_attention(*exact, expansion=taylor(2), is_causal=is_causal)
    ours = torch.autograd.grad(found, given, upstream)
    truth = torch.autograd.grad(expected, exact, upstream.double())
    for x, y in zip((found, *ours), (expected, *truth), strict=True):
        assert relative(x, y) < 3 * FLOOR[HALF]


def test_wide_heads_are_taken_in_quarters(monkeypatch):
    """From width 64 on panels begin at quarters of the variables; monomials share them."""
    take(monkeypatch, "moments")
    check_outputs_and_gradients(tokens((1, 5, 64), (1, 5, 64), (1, 5, 16)))


def test_wide_heads_are_taken_in_quarters_under_a_mask(monkeypatch):
    n = states.TOKEN_TILE + 2
    take(monkeypatch, "moments")
    shorten_chunks(monkeypatch, n)
    inputs = tokens((1, n, 64), (1, n, 64), (1, n, 16))
    exact = kernel_attention(*(x.double() for x in inputs), expansion=taylor(2), is_causal=True)
    found = fast_attention(*inputs, is_causal=True, backend="triton")
    assert relative(found[:, -2:], exact[:, -2:]) < round_off(inputs[0])


@pytest.mark.parametrize(
    ("query", "key", "calls"),
    [
        pytest.param((2, 6), (2, 6), 3, id="alike"),
        pytest.param((3, 2), (3, 1), 2, id="groups-stay-whole"),
        pytest.param((6,), (), 2, id="one-group-is-too-many"),
    ],
)
def test_more_heads_than_a_grid_takes_are_taken_in_several_calls(query, key, calls, monkeypatch):
    inputs = tokens((*query, 5, 16), (*key, 5, 16), (*key, 5, 8), dtype=SINGLE)
    monkeypatch.setattr(operator, "LONGEST_AXIS", 4)
    made: list[int] = []

    def counted(function, tensors, *options, original=operator.again):
        if function is operator.attention:
            made.append(len(tensors[0]))
        return original(function, tensors, *options)

    monkeypatch.setattr(operator, "again", counted)
    check_outputs_and_gradients(inputs)
    assert (len(made), max(made)) == (calls, 4)


def test_grouped_heads_share_their_moments():
    assert operator.leads((2, 3, 4), (2, 3, 1), (2, 3, 1))[1] == (2, 3, 1)
    assert operator.leads((2, 3), (3,), (3,))[1] == (2, 3)
    assert operator.leads((2, 3), (1, 1), (1,))[1] == (1, 1)


@BOTH_FORMS
def test_inputs_in_any_memory_order():
    base = tokens((1, 16, 30), (1, 30, 32), (30, 1, 16), dtype=SINGLE)
    query, key, value = base[0].mT, base[1][..., ::2], base[2].transpose(0, 1)
    found = fast_attention(query, key, value, is_causal=True, backend="triton")
    exact = [x.double() for x in (query, key, value)]
    assert relative(found, kernel_attention(*exact, expansion=taylor(2), is_causal=True)) < 1e-6


SIZES = [(1, 260, 16, 1)] if DEVICE == "cpu" else [(4, 20_000, d, 12) for d in (16, 32, 64, 128)]


@BOTH_FORMS
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("heads", "n", "d", "runs"), SIZES)
def test_same_inputs_give_the_same_bits(heads, n, d, runs, is_causal):
    """A product still under way while its operands are overwritten shows as bits that change."""
    query, key, value, upstream = tokens(*[(heads, n, d)] * 4, dtype=HALF)
    options = ((1.0, 1.0, 0.5), d**-0.5, is_causal)

    def once() -> tuple[Tensor, ...]:
        output, normaliser = operator.forward(query, key, value, *options)
        given = (upstream, output, normaliser, query, key, value)
        return output, normaliser, *operator.backward(*given, *options)

    first = once()
    for _ in range(runs):
        assert all(torch.equal(x, y) for x, y in zip(first, once(), strict=True))


@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
@pytest.mark.parametrize(
    ("expansion", "heads", "n"), [(taylor(1), 2, 300), (taylor(2), 2, 300), (taylor(3), 1, 130)]
)
def test_chunks_in_turn_equal_chunks_side_by_side(expansion, heads, n, monkeypatch):
    """Three of the shortest chunks that the kernels take, and two at order 3."""
    inputs = tokens(*[(heads, n, width) for width in (16, 16, 24)], dtype=SINGLE)
    exact = kernel_attention(*(x.double() for x in inputs), expansion=expansion, is_causal=True)
    rough = relative(plain(*inputs, expansion, True), exact)
    take(monkeypatch, "moments")
    shorten_chunks(monkeypatch, n)
    for in_turn in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(forward, "runs", lambda *_, chosen=in_turn: chosen)
            poison_empty(patch)
            found = fast_attention(*inputs, expansion=expansion, is_causal=True, backend="triton")
        assert relative(found, exact) <= 2 * rough + FLOOR[SINGLE]


def test_chunks_are_taken_in_turn_where_heads_keep_the_device_busy(monkeypatch):
    key, cut = states.transposed(tokens((2, 600, 16), dtype=SINGLE)[0], 2), states.Chunks(256, 3)
    for processors, in_turn in ((1, True), (132, False)):
        monkeypatch.setattr(states, "processors", lambda _, count=processors: count)
        assert states.runs(key, 2, cut) == in_turn
    assert states.runs(key, 2, states.Chunks(1024, 1))


@BOTH_FORMS
def test_a_causal_output_does_not_see_the_future():
    query, key, value = tokens(*3 * [(1, 260, 16)], dtype=SINGLE)
    before = fast_attention(query, key, value, is_causal=True, backend="triton")
    key[:, 200:], value[:, 200:] = 7.0, -7.0
    after = fast_attention(query, key, value, is_causal=True, backend="triton")
    assert torch.equal(before[:, :200], after[:, :200])


def test_few_tokens_take_the_scores_and_many_the_moments():
    """More features make moments dearer; a mask halves the scores; long sequences stay linear."""
    limits = [most_pairs(16, 2, False), most_pairs(64, 2, False), most_pairs(64, 2, True)]
    assert 0 < limits[0] < limits[1] < limits[2] < most_pairs(128, 2, True)
    assert most_pairs(128, 3, True) == settings.MOST_PAIRS


def test_the_backward_pass_takes_its_moments_earlier_up_to_order_2():
    for dim, is_causal in ((64, False), (64, True), (128, True)):
        limits = [most_pairs(dim, 2, is_causal, is_backward=way) for way in (False, True)]
        assert limits[1] == pytest.approx(0.75 * limits[0], abs=1)
    assert most_pairs(32, 3, False) == most_pairs(32, 3, False, is_backward=True)


def test_where_the_host_takes_longer_than_the_device_one_kernel_is_started():
    """Few heads may have more tokens than many."""
    limits = [most_pairs(32, 2, False, heads=heads) for heads in (1_000, 64, 8)]
    assert limits[0] < limits[1] < limits[2]
    assert limits[1] == 2_048


def most_pairs(dim, order, is_causal, *, heads=1_000, is_backward=False):
    rest = order, is_causal, is_backward
    return sum(settings.takes_pairs((heads, n, dim), n, *rest) for n in range(1, 20_000))


def test_chunks_under_a_mask_find_room_on_an_axis_of_the_grid():
    for dim, order in ((16, 2), (64, 1), (128, 2)):
        cut = states.cut_causal(2**31, dim, order)
        assert cut.count <= launch.LONGEST_AXIS
        assert cut.size % states.TOKEN_TILE == 0


def test_chunks_hold_every_token():
    for n in (1, 127, 128, 129, 5000):
        causal = [states.cut_causal(n, dim, order) for dim in (16, 64) for order in (1, 2)]
        for cut in (*causal, states.cut_full(n, torch.zeros(3, n, 16))):
            assert (cut.count - 1) * cut.size < n <= cut.count * cut.size
            assert cut.size % states.TOKEN_TILE == 0


@pytest.mark.parametrize(("capability", "limits"), [((9, 0), (96, 128)), ((8, 9), (None, None))])
def test_registers_are_limited_where_that_leaves_enough(capability, limits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(settings, "shared_memory", lambda _: settings.ROOMY)
    settings.settings_of.cache_clear()
    on_gpu = SimpleNamespace(dtype=torch.bfloat16, device=torch.device("cuda", 0))
    chosen = settings.settings_for(on_gpu, 2, 32, 32)
    settings.settings_of.cache_clear()
    assert (chosen.moment_registers, chosen.registers) == limits


def test_chunks_of_order_1_are_short_for_their_state_is_small():
    assert states.cut_causal(5000, 64, 1).size < states.cut_causal(5000, 64, 2).size
    assert states.cut_causal(5000, 16, 1).size <= states.cut_causal(5000, 16, 2).size


def test_order_1_takes_its_keys_as_they_lie(monkeypatch):
    """No transposed copy is made: nothing but row 0 is summed."""
    monkeypatch.setattr(states, "launch", None)
    query = tokens((2, 300, 16), dtype=SINGLE)[0]
    assert states.transposed(query, 1).copy is query
    assert states.transposed(query, 1).padded == 384


def test_kernels_start_on_the_gpu_of_their_first_tensor(launches) -> None:
    first = torch.ones(1)
    launch.launch(launches, (2, 3), first, torch.ones(1), ORDER=2)
    assert [place is first for place in launches.places] == [True]
    assert launches.current == []


if torch.cuda.device_count() > 1:

    @BOTH_FORMS
    @pytest.mark.parametrize("is_causal", [False, True])
    def test_tensors_may_lie_on_another_gpu_than_the_current_one(is_causal):
        """Forward and backward, twice, for a call that is known takes a shorter way; one token."""
        fused = functools.partial(fast_attention, backend="triton", is_causal=is_causal)
        drawn = tokens(*[(2, 600, 32)] * 3, dtype=HALF)
        results = []
        for place in ("cuda:0", "cuda:1"):
            given = [x.to(place) for x in drawn]
            recorded = [x.clone().requires_grad_() for x in given]
            found = [fused(*given) for _ in range(2)]
            fused(*recorded).sum().backward()
            last = [x[:, -1:] for x in given]
            step, state = fast_attention(*last, backend="triton", return_state=True)
            found += [*(x.grad for x in recorded), step, state.sums]
            assert all(x.device == torch.device(place) for x in found)
            results.append([x.cpu() for x in found])
        assert torch.cuda.current_device() == 0
        assert all(map(torch.equal, *results))


@pytest.fixture
def quick_switches():
    """Let threads take turns far more often than Python does by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quick_switches")
def test_threads_start_kernels_beside_each_other(monkeypatch):
    take(monkeypatch, "moments")
    inputs = [[torch.randn(4, 40, 16, device=DEVICE) for _ in range(3)] for _ in range(6)]
    expected = [fast_attention(*each, backend="array") for each in inputs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: fast_attention(*each, backend="triton"), inputs))
    assert all(relative(x, y) < 1e-6 for x, y in zip(found, expected, strict=True))
