"""A recorded call starts its kernels again: the same numbers, whatever the addresses.

On a CPU Triton compiles nothing. There the interpreter stands in for a compiled kernel: it takes
addresses as a compiled one does.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import subprocess
import sys
from typing import Any

import hypothesis
import pytest
import torch
from arrays import Names
from fused import DEVICE, poison_empty, take
from hypothesis import strategies as st

from fastattn_lite import fast_attention
from fastattn_lite.kernels import backward, forward, launch, states, support
from fastattn_lite.kernels.accumulate import transpose_kernel

pytestmark = pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
FORMS = pytest.mark.parametrize("form", ["pairs", "moments"])
MOMENTS_SLOW = pytest.mark.parametrize(
    "form", ["pairs", pytest.param("moments", marks=pytest.mark.slow)]
)
CAUSAL = pytest.mark.parametrize("is_causal", [False, True])
WITHOUT_WORK = {
    "empty.memory_format", "detach.default", "view.default", "select.int", "slice.Tensor",
    "_unsafe_view.default", "alias.default",
}  # fmt: skip
"""Operators of torch that look at no number."""


class Interpreted:
    """An interpreted kernel that is started as a compiled one: all arguments, in their order."""

    def __init__(self, start: Any, kernel: Any, given: tuple[Any, ...], named: Any) -> None:
        by_name = {**dict(zip(kernel.arg_names, given, strict=False)), **named}
        self.start, self.kernel = start, kernel
        self.types = [getattr(by_name[name], "dtype", None) for name in kernel.arg_names]

    def __getitem__(self, grid: tuple[int, int, int]):
        """Return what starts the kernel on a grid."""

        def run(*arguments: Any) -> None:
            pairs = zip(arguments, self.types, strict=True)
            tensors = [x if dtype is None else tensor_at(x, dtype) for x, dtype in pairs]
            self.start(self.kernel, grid)(*tensors)

        return run


def tensor_at(address: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the first number at an address."""
    if address == 0:
        return torch.empty(0, dtype=dtype)
    memory = (ctypes.c_char * dtype.itemsize).from_address(address)
    return torch.frombuffer(memory, dtype=dtype)


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """Let interpreted kernels be started again."""
    if not support.interpreted():
        return
    kind = type(transpose_kernel)
    start = kind.__getitem__

    def item(kernel, grid):
        def run(*given, **named):
            start(kernel, grid)(*given, **named)
            return Interpreted(start, kernel, given, named)

        return run

    monkeypatch.setattr(kind, "__getitem__", item)


@pytest.fixture
def starts(monkeypatch):
    """Note how many kernels are started through Triton."""
    noted, real = [], launch.Recording.note

    def note(*given):
        noted.append(given)
        real(*given)

    monkeypatch.setattr(launch.Recording, "note", note)
    return noted


def tokens(seed=0, n=40, heads=2):
    torch.manual_seed(seed)
    return [torch.randn(heads, n, 16, device=DEVICE) for _ in range(3)]


def unrecorded(monkeypatch, call, *given):
    with monkeypatch.context() as patch:
        patch.setattr(launch, "REPEATS", False)
        return call(*given)


def both_ways(options):
    """Return a call that gives the output and the three gradients."""

    def call(*given):
        given = [x.detach().requires_grad_() for x in given]
        output = fast_attention(*given, backend="triton", **options)
        output.backward(torch.ones_like(output) + output.detach())
        return [output.detach(), *(x.grad for x in given)]

    return call


@FORMS
@CAUSAL
@pytest.mark.parametrize(
    "order", [2, *(pytest.param(order, marks=pytest.mark.slow) for order in (1, 3))]
)
def test_other_tensors_get_their_own_numbers(form, is_causal, order, monkeypatch, starts, recorded):
    take(monkeypatch, form)
    call = both_ways({"is_causal": is_causal, "order": order})
    first, second = (tokens(seed, 70 if is_causal else 20, heads=1) for seed in (1, 2))
    expected = unrecorded(monkeypatch, call, *second)
    call(*first)
    assert len(recorded) == 2
    starts.clear()
    poison_empty(monkeypatch)
    found = call(*second)
    assert not starts
    assert all(map(torch.equal, found, expected))


@MOMENTS_SLOW
def test_a_repeated_call_leaves_earlier_results_alone(form, monkeypatch):
    take(monkeypatch, form)
    call = both_ways({})
    call(*tokens(0))
    found = call(*tokens(1))
    copies = [x.clone() for x in found]
    call(*tokens(2))
    assert all(map(torch.equal, found, copies))


@MOMENTS_SLOW
def test_one_tensor_for_all_is_not_taken_for_three(form, monkeypatch):
    take(monkeypatch, form)

    def call(*given):
        return fast_attention(*given, backend="triton")

    q, k, v = tokens(1)
    for given in ((q, q, q), (q, k, v), (q, k, k), (k, k, v)):
        expected = unrecorded(monkeypatch, call, *given)
        for _ in range(2):
            assert torch.equal(call(*given), expected)
    another = tokens(2)[0]
    expected = unrecorded(monkeypatch, call, another, another, another)
    assert torch.equal(call(another, another, another), expected)


LAYOUTS = {
    "heads inside": (
        2, lambda *given: [x.transpose(1, 2).contiguous().transpose(1, 2) for x in given]
    ),
    "grouped": (2, lambda q, k, v: (q, k[:, :1], v[:, :1])),
    "shared": (1, lambda q, k, v: (q, k[0, 0], v[0, 0])),
    "expanded": (2, lambda q, k, v: (q, k[:1].expand_as(k), v)),
    "values alone": (2, lambda q, k, v: (q[:1], k[:1], v)),
    "minus": (1, lambda q, k, v: (torch._neg_view(q), k, torch._neg_view(v))),
    "packed": (1, lambda q, k, v: torch.cat([q, k, v], -1).chunk(3, -1)),
    "turned": (1, lambda q, k, v: (q.mT.contiguous().mT, k, v.flip(-1))),
}  # fmt: skip
"""How many pairs of heads each layout needs, and how it lays them: of two, torch copies some."""


@FORMS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_repeated(layout, form, monkeypatch, starts):
    """Copies that torch makes are made each time; signs and strides are not forgotten."""
    take(monkeypatch, form)
    torch.manual_seed(0)

    def call(*given):
        return fast_attention(*given, is_causal=True, backend="triton")

    pairs, laid = LAYOUTS[layout]
    plain, other = torch.randn(2, 3, pairs, 2, 20, 16, device=DEVICE)
    call(*plain)
    call(*laid(*plain))
    starts.clear()
    for given in (laid(*other), other):
        expected = unrecorded(monkeypatch, call, *given)
        assert torch.equal(call(*given), expected)
    assert not starts


GROUPS = {
    "alike": ((2, 2), (2, 2)),
    "grouped": ((2, 3), (2, 1)),
    "grouped first": ((2, 3), (1, 3)),
    "one state": ((2, 3), ()),
}


@pytest.mark.parametrize("group", GROUPS)
def test_a_stream_of_tokens_is_repeated(group, monkeypatch, starts):
    """Each step goes on from the state of the one before, which stays as it is."""
    torch.manual_seed(0)
    lead, own = GROUPS[group]
    query = torch.randn(3, *lead, 1, 16, device=DEVICE)
    key, value = torch.randn(2, 3, *own, 1, 16, device=DEVICE)

    def stream():
        states, outputs, state = [], [], None
        for token in zip(query, key, value, strict=True):
            output, state = fast_attention(
                *token, initial_state=state, return_state=True, backend="triton"
            )
            outputs.append(output)
            states.append(state)
        return [*outputs, *(each.sums for each in states)]

    expected = unrecorded(monkeypatch, stream)
    stream()
    starts.clear()
    assert all(map(torch.equal, stream(), expected))
    assert bool(starts) == (group == "grouped first"), "torch turns its output"


def test_what_the_kernels_were_compiled_for_is_not_taken_for_something_else(recorded, monkeypatch):
    """Alignment, strides, types, coefficients and the setting of tf32 are compiled in."""
    q, k, v = tokens()
    fast_attention(q, k, v, backend="triton")
    room = torch.empty(q.numel() + 1, device=DEVICE)
    shifted = room[1:].view(q.shape).copy_(q)
    fast_attention(shifted, k, v, backend="triton")
    turned = q.mT.contiguous().mT
    fast_attention(turned, k, v, backend="triton")
    fast_attention(q.half(), k.half(), v.half(), backend="triton")
    fast_attention(q, k, v, scale=0.5, backend="triton")
    fast_attention(q, k, v, is_causal=True, backend="triton")
    monkeypatch.setattr(launch, "precision", lambda _: "tf32")
    fast_attention(q, k, v, backend="triton")
    assert len(recorded) == 7


@FORMS
@CAUSAL
def test_only_rooms_are_made_and_kernels_started(form, is_causal, monkeypatch):
    """What torch would compute in between could not be repeated."""
    take(monkeypatch, form)
    for module in (states, forward, backward):
        monkeypatch.setattr(module, "launch", lambda *_, **__: None)

    def both(q, k, v):
        found = forward.attention(q, k, v, (1.0, 0.25, 0.03), is_causal)
        backward.attention_backward(v, q, k, v, *found, (1.0, 0.25, 0.03), is_causal)

    given = tokens()
    both(*given)  # tables are made once
    with Names() as names:
        both(*given)
    seen = {name.removeprefix("aten.") for name in names.found}
    assert "empty.memory_format" in seen
    assert seen <= WITHOUT_WORK


class Noting:
    """A kernel of two arguments that notes what it and its compiled form are started with."""

    arg_names = ("x", "y")

    def __init__(self) -> None:
        self.noted: list[list[int]] = []
        self.repeated: list[tuple[int, ...]] = []

    def __getitem__(self, _):
        """Return what starts the kernel."""

        def run(*given):
            self.noted.append([x.data_ptr() for x in given])
            return {(1, 1, 1): lambda *addresses: self.repeated.append(addresses)}

        return run


def new(size):
    return launch.room((size,), torch.float32, torch.device(DEVICE))


def test_rooms_lie_apart_when_a_call_is_repeated():
    kernel, x = Noting(), torch.ones(8, device=DEVICE)

    def passes_on(x):
        launch.launch(kernel, (1,), x, first := new(8))
        result = new(4)
        launch.launch(kernel, (1,), first, result[1:])
        launch.launch(kernel, (1,), result, second := new(2))
        launch.launch(kernel, (1,), second, new(2))
        return (result,)

    launch.again(passes_on, (x,))
    (result,) = launch.again(passes_on, (x,))
    first, second, third, fourth = kernel.repeated
    assert (first[0], second) == (x.data_ptr(), (first[1], result.data_ptr() + 4))
    assert third[0] == result.data_ptr()
    assert first[1] not in (second[1], third[0])
    assert third[1] == first[1], "the first room is used up"
    assert fourth == (third[1], third[1] + launch.ALIGNED)
    assert len(kernel.noted) == 4


LIFE = st.tuples(st.integers(0, 2_000), st.integers(0, 6), st.integers(0, 6))


@hypothesis.given(st.lists(LIFE, max_size=9))
def test_no_two_rooms_overlap_while_both_are_in_use(drawn):
    lives = [launch.Life(size, *sorted(uses)) for size, *uses in drawn]
    begins, size = launch.placed(lives)
    ends = [begin + life.size for begin, life in zip(begins, lives, strict=True)]
    assert all(begin % launch.ALIGNED == 0 for begin in begins)
    assert all(end <= size for end in ends)
    for i, j in itertools.combinations(range(len(lives)), 2):
        one, other = sorted((lives[i], lives[j]), key=lambda life: life.first)
        is_used_up = one.last < other.first
        assert is_used_up or ends[i] <= begins[j] or ends[j] <= begins[i]


def test_rooms_that_are_used_up_are_used_again():
    lives = [launch.Life(1_000, place, place) for place in range(5)]
    assert launch.placed(lives) == ([0] * 5, 1_024)


def test_memory_of_a_room_is_not_handed_out_again_before_the_end(recorded):
    """Else a copy that torch makes could lie where a room was, and be taken for it."""
    kernel, x = Noting(), torch.ones(8, device=DEVICE)

    def copies(x):
        launch.launch(kernel, (1,), x, scratch := new(64))
        address = scratch.data_ptr()
        del scratch
        gc.collect()
        copy = torch.ones(64, device=DEVICE)
        assert copy.data_ptr() != address
        return (copy,)

    launch.again(copies, (x,))
    assert not recorded


@pytest.mark.parametrize("what", ["another tensor", "a part", "a result that is no room"])
def test_what_cannot_be_repeated_is_not(what, recorded):
    kernel, other = Noting(), torch.ones(4, device=DEVICE)

    def function(x):
        given = {"another tensor": other, "a part": x[1:]}.get(what, x)
        launch.launch(kernel, (1,), given, result := new(4))
        return (x,) if what == "a result that is no room" else (result,)

    for _ in range(2):
        launch.again(function, (torch.ones(4, device=DEVICE),))
    assert not recorded
    assert len(kernel.noted) == 2


def test_a_call_that_another_one_makes_with_a_copy_is_repeated_alone(recorded):
    kernel = Noting()

    def inner(x):
        launch.launch(kernel, (1,), x, result := new(4))
        return (result,)

    def outer(x):
        launch.launch(kernel, (1,), x, result := new(4))
        launch.again(inner, (x + 1,))
        return (result,)

    for _ in range(2):
        launch.again(outer, (torch.ones(4, device=DEVICE),))
    assert (len(recorded), len(kernel.noted), len(kernel.repeated)) == (1, 3, 1)


def test_a_table_is_read_where_it_lies():
    kernel = Noting()
    table = launch.kept([1, 2], torch.int32, torch.device(DEVICE))

    def function(x):
        launch.launch(kernel, (1,), x, table)
        launch.launch(kernel, (1,), x, result := new(4))
        return (result,)

    for _ in range(2):
        launch.again(function, (torch.ones(4, device=DEVICE),))
    assert kernel.repeated[0][1] == table.data_ptr()


def test_no_table_depends_on_a_scale():
    """Else a scale that changes from step to step would leave tables behind."""
    given = tokens()
    counts = []
    for scale in (0.1, 0.2, 0.3):
        both_ways({"scale": scale})(*given)
        counts.append(len(launch._tables))
    assert counts[0] == counts[2] > 0


SET_TF32 = (
    "pass",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch.set_float32_matmul_precision('high')",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.fp32_precision = 'ieee'",
)
WITH_TF32 = dict(zip(SET_TF32, (False, True, True, True, True, False), strict=True))
HAS_NEWER = hasattr(torch.backends.cuda.matmul, "fp32_precision")


@pytest.mark.parametrize("setting", [x for x in SET_TF32 if HAS_NEWER or "fp32_" not in x])
def test_tf32_is_used_where_torch_is_set_to_it_in_any_way(setting):
    """In a process of its own, for torch allows no way back from the newer way to the older."""
    code = f"import torch; from fastattn_lite.kernels.launch import precision; {setting}"
    code += "; print(precision(torch.float32), precision(torch.bfloat16))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tf32" if WITH_TF32[setting] else "ieee", "ieee"]


def test_an_error_ends_the_recording():
    with pytest.raises(RuntimeError, match="of the function"):
        launch.again(fails, (torch.ones(1),))
    assert launch._recording.get() is None


def fails(_):
    raise RuntimeError("of the function")


@pytest.mark.parametrize("bytes_allowed", [0, 2**29])
def test_much_memory_is_not_held_together(bytes_allowed, monkeypatch, recorded):
    take(monkeypatch, "moments")
    monkeypatch.setattr(launch, "most_bytes", lambda _: bytes_allowed)
    held = []
    monkeypatch.setattr(launch.Recording, "finished", lambda made, _: held.append(made.rooms[:]))
    fast_attention(*tokens(), backend="triton")
    assert len(held) == 1
    assert bool(held[0]) == bool(bytes_allowed)
    assert not recorded


def test_only_so_many_calls_are_kept(recorded, monkeypatch):
    monkeypatch.setattr(launch, "MOST_RECORDED", 2)
    for n in range(3, 8):
        fast_attention(*tokens(n=n), backend="triton")
    assert 1 <= len(recorded) <= 2
