"""A call whose facts are known skips the checks, and nothing that somebody asks of it."""

from __future__ import annotations

import threading

import pytest
import torch
from fused import DEVICE
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from fastattn_lite import attention as calls
from fastattn_lite import autograd, fast_attention, minimax


@pytest.fixture
def asked(monkeypatch):
    """Note what the operator of torch is asked for."""
    noted, operator = [], autograd.attention_op

    def attention_op(*given):
        noted.append(given)
        return operator(*given)

    monkeypatch.setattr(autograd, "attention_op", attention_op)
    return noted


def tokens(n=20, dim=16, **options):
    torch.manual_seed(0)
    return [torch.randn(2, n, dim, device=DEVICE, **options) for _ in range(3)]


def fused(*given, **options):
    return fast_attention(*given, backend="triton", **options)


def test_a_known_call_gives_the_same_without_the_operator(asked):
    given = tokens()
    first, second = fused(*given), fused(*given)
    assert len(asked) == 1
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "options",
    [
        {"order": 1},
        {"scale": 0.5},
        {"is_causal": True},
        {"expansion": minimax(2)},
    ],
)
@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
def test_another_call_is_not_taken_for_it(options, asked):
    given = tokens()
    fused(*given)
    fused(*given, **options)
    fused(*(x[:, :10] for x in given), **options)
    fused(*(x.half() for x in given), **options)
    assert len(asked) == 4
    assert torch.equal(fused(*given, **options), fused(*given, normalization="none", **options))
    assert len(asked) == 4


@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
@pytest.mark.parametrize("wrong", [{"order": True}, {"order": 2.0}, {"scale": True}])
def test_what_only_equals_a_known_option_is_refused(wrong):
    fused(*tokens(), **{name: int(value) for name, value in wrong.items()})
    with pytest.raises(TypeError, match=next(iter(wrong))):
        fused(*tokens(), **wrong)


def test_what_cannot_be_hashed_is_checked_each_time():
    fused(*tokens())
    with pytest.raises(TypeError, match="expansion"):
        fused(*tokens(), expansion=[1.0, 1.0])
    assert torch.equal(fused(*tokens(), scale=torch.tensor(0.25)), fused(*tokens(), scale=0.25))


def test_gradients_come_after_a_call_without(asked):
    fused(*tokens())
    given = tokens(requires_grad=True)
    fused(*given).sum().backward()
    assert given[0].grad is not None
    with torch.no_grad():
        fused(*given)
    assert len(asked) == 2


@pytest.mark.filterwarnings("ignore")
def test_a_mode_and_a_trace_see_the_operator(asked):
    given = tokens()
    fused(*given)
    with FlopCounterMode(display=False):
        fused(*given)
    assert len(asked) == 2
    calls._known.clear()
    fused(*given)
    traced = torch.jit.trace(fused, given, check_trace=False)
    assert "fastattn_lite::attention" in str(traced.graph)


def test_a_transform_is_refused_after_a_known_call():
    given = tokens()
    fused(*given)
    with pytest.raises(ValueError, match=r"torch\.func"):
        torch.vmap(fused)(*given)


def test_inside_a_transform_other_tensors_pass_through_the_operator(asked):
    """There torch wraps what a kernel would write to."""
    given = tokens()
    plain = fused(*given)

    def scaled(x):
        return (x * fused(*given)).sum()

    assert torch.allclose(torch.func.grad(scaled)(torch.ones(())), plain.sum())
    assert len(asked) == 2


def test_a_mode_is_seen_while_another_thread_leaves_its_own(asked):
    given = tokens()
    fused(*given)

    def enter_and_leave():
        with FlopCounterMode(display=False):
            pass

    with FlopCounterMode(display=False):
        thread = threading.Thread(target=enter_and_leave)
        thread.start()
        thread.join()
        fused(*given)
    assert len(asked) == 2


def test_a_trace_of_real_tensors_holds_the_operator():
    given = tokens()
    fused(*given)
    traced = make_fx(fused, pre_dispatch=True)(*given)
    assert "fastattn_lite.attention" in str(traced.graph)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"is_causal": "yes"}, TypeError, "is_causal: expected True or False"),
        ({"chunk_size": "x"}, TypeError, "chunk_size: expected a whole number"),
        ({"chunk_size": 2.5}, TypeError, "chunk_size: expected a whole number"),
    ],
)
def test_what_is_refused_once_is_refused_again(wrong, error, words):
    fused(*tokens())
    for _ in range(2):
        with pytest.raises(error, match=words):
            fused(*tokens(), **wrong)


def test_no_head_at_all_gives_no_output():
    """Leading axes of length 1 beside one of length 0."""
    given = [torch.ones(1, 5, 4), torch.ones(0, 5, 4), torch.ones(1, 5, 4)]
    recorded = [x.to(DEVICE).requires_grad_() for x in given]
    output = fused(*recorded)
    output.sum().backward()
    assert output.shape == (0, 5, 4)
    assert float(recorded[0].grad.abs().sum()) == 0


def test_normalised_calls_and_first_tokens_are_not_remembered(known):
    with torch.no_grad():
        fused(*tokens(), normalization="unit")
        fused(*tokens(n=1), return_state=True)
    assert not known


def step(state, **options):
    return fused(*tokens(n=1), initial_state=state, return_state=True, **options)[1]


def test_a_known_step_skips_the_checks_and_is_the_same(known, monkeypatch):
    first = step(None)
    expected = step(step(first))
    assert len(known) == 1
    monkeypatch.setattr(calls, "checked", None)
    found = step(step(first))
    assert torch.equal(found.sums, expected.sums)
    output = fused(*tokens(n=1), initial_state=first)
    monkeypatch.undo()
    assert torch.equal(output, fused(*tokens(n=1), initial_state=first))


@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
@pytest.mark.parametrize("other", [{"order": 1}, {"scale": 0.5}])
def test_another_state_is_not_taken_for_it(other):
    right, wrong = step(None), step(None, **other)
    step(right)
    with pytest.raises(ValueError, match="initial_state: expected moments of order 2"):
        step(wrong)
    smaller = fused(*(x[:1] for x in tokens(n=1)), return_state=True)[1]
    with pytest.raises(ValueError, match="initial_state: expected moments of order 2"):
        step(smaller)


def test_sums_that_somebody_asked_for_are_looked_at_again(known):
    state = step(None)
    step(state)
    state.sums.requires_grad_()
    with pytest.raises(ValueError, match="no gradient passes through their state"):
        step(state)
    assert len(known) == 1


def test_only_so_many_calls_are_known(known, monkeypatch):
    monkeypatch.setattr(calls, "MOST_KNOWN", 2)
    for n in range(3, 8):
        fused(*tokens(n))
    assert 1 <= len(known) <= 2


def test_other_paths_are_not_remembered(known):
    fast_attention(*tokens(), backend="array")
    fast_attention(*tokens(), backend="autograd")
    assert not known


def test_a_minus_sign_that_torch_only_notes_is_not_lost():
    """Views of conjugated complex numbers hold the numbers without their sign."""
    query, key, value = tokens()
    noted = torch.complex(torch.zeros_like(query), query).conj().imag
    assert noted.is_neg()
    for _ in range(2):
        assert torch.equal(fused(noted, key, value), fused(-query, key, value))
    given = [[x[:, :1] for x in (q, key, value)] for q in (noted, -query)]
    found = [fused(*x, return_state=True)[0] for x in given]
    assert torch.equal(*found)
    noted_key = torch.complex(torch.zeros_like(key), key).conj().imag
    states = [
        fused(query[:, :1], k[:, :1], value[:, :1], return_state=True)[1] for k in (noted_key, -key)
    ]
    assert torch.equal(*(state.sums for state in states))
