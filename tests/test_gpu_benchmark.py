"""The GPU benchmark without a GPU: plan, budget, what is skipped, checks, findings, storage."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import sys
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest
import torch

from fastattn_lite import gpu_benchmark, gpu_calls, machine
from fastattn_lite.__main__ import findings_table, gpu_plan_of, main, parser, times_table
from fastattn_lite.benchmark import Measurements
from fastattn_lite.complexity import fast_flops, moment_numbers, stream_bytes
from fastattn_lite.gpu_benchmark import IN_GRAPH, QUICK, Budget, Case, Plan, Problem, Survey
from fastattn_lite.kernels import states, support
from fastattn_lite.kernels.settings import settings_for, takes_pairs
from fastattn_lite.results import validate_result

FULL = Problem(64, 2, False, False, ("fused", "flash"))
DECODE_16 = Problem(16, 2, False, False, (), is_decode=True)
DECODE = Problem(64, 2, False, False, ("fused", "flash"), is_decode=True)


FULL_PEAKS = [Case(FULL, "fused", 256, 1).sample(gpu_benchmark.PRODUCT, [1.0])]


class Clock:
    """A clock that goes on by a second with each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def survey(seconds: float = 1e9, times: float = 1e-3, clock=None, check=None, heard=None):
    """Return a survey whose calls all take the same time."""
    return Survey(
        check or (lambda *_: []),
        lambda case: [case.sample(f"{case.name}, forward", [times])],
        Budget(seconds, clock or (lambda: 0.0)),
        (heard if heard is not None else []).append,
    )


def made_up(problem: Problem, name: str, seconds, plan: Plan = QUICK, how="") -> list[dict]:
    """Return samples of one implementation: `seconds(n)` a head."""
    sizes = [(n, plan.heads_for(n, problem)) for n in plan.tokens]
    return [
        Case(problem, name, n, heads).sample(
            f"{name}, {problem.direction}{how}", [heads * seconds(n)]
        )
        for n, heads in sizes
    ]


def without_device(monkeypatch, measure, peaks=()) -> None:
    """Let a run measure by a function, find no error, and take these samples for the peaks."""
    monkeypatch.setattr(gpu_benchmark, "check_device", lambda: None)
    monkeypatch.setattr(gpu_calls, "check", lambda *_: [])
    monkeypatch.setattr(gpu_calls, "peaks", lambda _: list(peaks))
    monkeypatch.setattr(gpu_calls, "measure", measure)


def test_the_plan_starts_with_what_matters_most():
    first = [(p.order, p.dim, p.is_causal, p.is_trained) for p in Plan().problems()[:8]]
    one_way = [(2, dim, causal, False) for dim in (64, 32) for causal in (False, True)]
    assert first[:4] == one_way
    assert first[4:] == [(*which[:3], True) for which in one_way]
    assert all(p.names[0] == "fused" for p in Plan().problems()[:8])


def test_the_plan_holds_every_dimension_order_form_and_direction():
    problems = [p for p in Plan().problems() if "fused" in p.names and not p.is_decode]
    found = [(p.order, p.dim, p.is_causal, p.is_trained) for p in problems]
    wanted = {
        (order, dim, causal, trained)
        for order in (1, 2, 3)
        for dim in (16, 32, 64, 128)
        for causal in (False, True)
        for trained in (False, True)
        if order < 3 or dim <= 32
    }
    assert set(found) == wanted
    assert len(found) == len(wanted), "none twice"
    assert {n for p in Plan().problems() for n in p.names} == set(gpu_benchmark.IMPLEMENTATIONS)
    assert set(gpu_calls.BY_NAME) == set(gpu_benchmark.IMPLEMENTATIONS)


def test_long_sequences_get_fewer_heads_only_where_memory_asks_for_it():
    plan = Plan()
    assert (plan.tokens[0], plan.tokens[-1]) == (256, 1_048_576)
    assert [plan.heads_for(n, FULL) for n in plan.tokens] == [*8 * [64], 64, 64]
    trained = Problem(64, 2, False, True, ("fused",))
    assert [plan.heads_for(n, trained) for n in plan.tokens] == [*8 * [64], 16, 4]
    for dim, order in ((128, 2), (32, 3)):
        wide = Problem(dim, order, True, False, ("fused",))
        assert [plan.heads_for(n, wide) for n in plan.tokens] == [*8 * [64], 64, 16]
    flex = [case.tokens for case in plan.cases() if case.name == "flex"]
    assert set(flex) == {4_096, 8_192, 16_384, 65_536}
    based = [case for case in plan.cases() if case.name == "based"]
    assert {case.tokens for case in based} == set(flex)
    assert all(case.problem.is_causal for case in based)


def test_the_plan_holds_one_token_after_others():
    decodes = [p for p in Plan().problems() if p.is_decode]
    assert [(p.order, p.dim) for p in decodes] == [(2, 64), (2, 32), (2, 128), (1, 64), (3, 32)]
    assert all(p.names == ("fused", "flash", "cudnn", "array") for p in decodes[:3])
    assert not any(p.is_causal for p in decodes), "torch would hide all keys but the first"
    assert str(DECODE) == "decode, order 2, d = 64"
    cases = [c for c in Plan().cases() if c.problem == decodes[0] and c.name == "fused"]
    assert [(c.tokens, c.heads) for c in cases] == [
        (256, 4096), (512, 4096), (1_024, 4096), (2_048, 2048), (4_096, 1024), (8_192, 512),
        (16_384, 256), (65_536, 64)
    ]  # fmt: skip
    assert Plan().heads_for(256, decodes[2]) == 512, "its states would fill the memory"


def test_short_races_are_timed_from_graphs_too():
    training = Problem(64, 2, False, True, ())
    assert Case(FULL, "fused", 16_384, 64).in_graph
    assert Case(DECODE, "cudnn", 256, 64).in_graph
    assert not Case(FULL, "fused", 65_536, 64).in_graph
    assert not Case(FULL, "array", 256, 64).in_graph
    assert not Case(training, "fused", 256, 64).in_graph


def test_one_token_on_a_cache_takes_time_in_proportion():
    made = survey(times=0.1)
    for tokens, heads in ((1_024, 64), (4_096, 16), (16_384, 4)):
        made.take(Case(DECODE, "flash", tokens, heads))
    assert [s["tokens"] for s in made.samples] == [1_024, 4_096, 16_384]


def test_the_budget_stops_new_cases_and_names_what_is_left_out(monkeypatch):
    without_device(monkeypatch, lambda case, _: [case.sample("fused", [1e-6])])
    plan, reported, heard = Plan(budget=3), [], []
    done = gpu_benchmark.run(plan, reported.append, heard.append, Clock())
    assert len(done.samples) == 2
    assert len(done.left_out) == len(plan.cases()) - 2
    assert len(reported) == plan.steps(), "the steps that the bar counts"
    assert heard[0] == (
        "left out, for the time was used up: cudnn: forward, full, order 2, d = 64, n = "
        "256, 512, 1,024, 2,048, 4,096, 8,192, 16,384, 65,536, 262,144, 1,048,576"
    )


def test_a_resumed_run_measures_what_was_left_out_and_nothing_twice(monkeypatch):
    checked, timed = [], []

    def check(problem, name):
        checked.append((problem, name))
        return []

    def measure(case, _):
        timed.append(case)
        return [case.sample(f"{case.name}, {case.problem.direction}", [1e-6 * case.tokens])]

    without_device(monkeypatch, measure, FULL_PEAKS)
    monkeypatch.setattr(gpu_calls, "check", check)
    done = gpu_benchmark.run(Plan(budget=40), print, print, Clock())
    first = gpu_benchmark.run(Plan(), print, print, Clock(), done.samples)
    assert len(first.samples) == len(timed) + len(FULL_PEAKS)
    assert len(set(timed)) == len(timed)
    assert len(set(checked)) == len(checked)
    assert first.samples[: len(done.samples)] == done.samples
    whole = gpu_benchmark.run(Plan(budget=1e9), print, print, Clock())
    assert {str(s) for s in whole.samples} >= {str(s) for s in first.samples}


def race(monkeypatch, fixed: float, heard: list, **options) -> Survey:
    """Return a made-up run: the kernels linear behind a fixed time, softmax quadratic."""

    def measure(case, _):
        n = case.tokens
        seconds = fixed + 1e-8 * n if case.name == "fused" else 1e-11 * n * n
        if case.name == "flash":
            seconds *= 1.5
        what = f"{case.name}, {case.problem.direction}"
        in_graph = case.sample(what + IN_GRAPH, [seconds - fixed * (case.name == "fused")])
        return [case.sample(what, [seconds]), *([in_graph] if case.in_graph else [])]

    without_device(monkeypatch, measure, FULL_PEAKS)
    monkeypatch.setattr(gpu_benchmark, "LONGEST_CALL", 0.01)
    return gpu_benchmark.run(Plan(), print, heard.append, **options)


@pytest.mark.parametrize("fixed", [0.0, 5e-5, 1e-3])
def test_sizes_close_in_on_the_crossovers(fixed, monkeypatch):
    found = race(monkeypatch, fixed, heard := [])
    assert any("a call would take" in line for line in heard), "flash ends before the kernels do"
    for problem in (p for p in Plan().problems() if p.is_race and not p.is_decode):
        for how, exact in (("", 500 + math.sqrt(250_000 + fixed / 1e-11)), (IN_GRAPH, 1_000)):
            if how and problem.is_trained:
                continue
            ratios = gpu_benchmark.speed_ups(gpu_benchmark.Times(found.samples), problem, how)
            left, right = gpu_benchmark.crossing(ratios)
            assert left <= exact <= right <= gpu_benchmark.NARROW * left
            assert all(size % 64 == 0 for size in ratios)
            assert gpu_benchmark.crossover(ratios) == pytest.approx(exact, rel=0.02)


def test_a_resumed_run_closes_in_no_further(monkeypatch):
    first = race(monkeypatch, 5e-5, heard := [])
    again = race(monkeypatch, 5e-5, heard, earlier=first.samples)
    assert again.samples == first.samples


def test_without_time_nobody_closes_in_and_it_is_said(monkeypatch):
    clock, problem = Clock(), Plan().problems()[0]
    cases = [case for case in Plan().cases() if case.problem == problem]
    monkeypatch.setattr(Clock, "__call__", lambda self: self.now)
    heard: list[str] = []
    original = gpu_benchmark.close_in

    def close_in(*given):
        clock.now = 1e9
        original(*given)

    monkeypatch.setattr(gpu_benchmark, "close_in", close_in)
    found = race(monkeypatch, 5e-5, heard, clock=clock)
    sizes = gpu_benchmark.Times(found.samples).of("fused", problem)
    assert set(sizes) <= {case.tokens for case in cases}
    assert f"left out, for the time was used up: fused: {problem}, n = 2,880, 704" in heard


def test_a_resumed_run_knows_from_the_stored_sizes_what_would_take_too_long():
    heard = []
    made = survey(times=0.1, heard=heard)
    made.known = gpu_benchmark.Times(
        [Case(FULL, "flash", 1_024, 16).sample("flash, forward", [0.1])]
    )
    for tokens, heads in ((1_024, 16), (4_096, 4)):
        made.take(Case(FULL, "flash", tokens, heads))
    assert made.samples == []
    assert "a call would take about 400 ms" in heard[0]


def test_a_quadratic_form_stops_before_a_call_takes_too_long():
    heard = []
    made = survey(times=0.1, heard=heard)
    for name in ("flash", "fused"):
        for tokens, heads in ((1_024, 16), (4_096, 4), (16_384, 1)):
            made.take(Case(FULL, name, tokens, heads))
    sizes = [(s["what"], s["tokens"]) for s in made.samples]
    assert [n for what, n in sizes if what == "flash, forward"] == [1_024]
    assert [n for what, n in sizes if what == "fused, forward"] == [1_024, 4_096, 16_384]
    assert heard == [
        "skipped from here on: flash: forward, full, order 2, d = 64, n = 4,096: "
        "a call would take about 400 ms"
    ]


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'fla'"), ArithmeticError("error 1"), MemoryError("full")],
)
def test_what_fails_is_skipped_with_its_reason_and_never_timed(error):
    def check(*_):
        raise error

    heard: list[str] = []
    made = survey(check=check, heard=heard)
    for tokens in (256, 1_024):
        made.take(Case(FULL, "fused", tokens, 1))
    assert made.samples == []
    assert len(heard) == 1
    assert heard[0].endswith(f"n = 256: {type(error).__name__}: {error}")


def test_errors_are_kept_once():
    case = Case(FULL, "fused", 4_096, 2)
    made = survey(check=lambda *_: [case.sample("plain bf16 formula, forward, error", [0.1], "1")])
    made.take(Case(FULL, "fused", 256, 1))
    made.take(Case(FULL, "array", 256, 1))
    assert [s["unit"] for s in made.samples] == ["1", "s", "s"]


def small_check(monkeypatch, name: str, problem: Problem) -> list[dict]:
    """Check an implementation on the CPU, with few tokens."""
    monkeypatch.setattr(gpu_calls, "DEVICE", "cpu")
    monkeypatch.setattr(gpu_calls, "CHECK_SIZE", (256, 2))
    monkeypatch.setattr(gpu_calls, "moment_check", lambda _: (320, 1))
    monkeypatch.setattr(gpu_calls, "SCORES_AT_ONCE", 100 * 256 * 2)
    monkeypatch.setattr(gpu_calls, "sdpa_backend", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    gpu_calls.inputs.cache_clear()
    gpu_calls.expected.cache_clear()
    try:
        return gpu_calls.check(problem, name)
    finally:
        gpu_calls.inputs.cache_clear()
        gpu_calls.expected.cache_clear()


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("is_trained", [False, True])
@pytest.mark.parametrize(
    ("name", "order"), [("array", 1), ("array", 2), ("array", 3), ("flash", 2)]
)
def test_right_calls_pass_their_check(name, order, is_causal, is_trained, monkeypatch):
    samples = small_check(monkeypatch, name, Problem(16, order, is_causal, is_trained, ()))
    assert [s["unit"] for s in samples] == ["1", "1"]
    assert all(0 < s["values"][0] < 0.02 for s in samples)


def test_the_fused_kernels_are_checked_in_both_forms(monkeypatch):
    monkeypatch.setitem(gpu_calls.BY_NAME, "fused", gpu_calls.BY_NAME["array"])
    samples = small_check(monkeypatch, "fused", Problem(16, 2, True, True, ()))
    sizes = [256, 256, 320, 320]
    assert [s["tokens"] for s in samples] == sizes
    (found,) = gpu_benchmark.error_findings(samples, Problem(16, 2, True, True, ())).values()
    errors = [s["values"][0] for s in samples]
    assert found.value == max(errors[0] / errors[1], errors[2] / errors[3])


def test_two_checks_with_as_many_tokens_are_two():
    problem = Problem(16, 2, True, True, ())
    made = [
        Case(problem, "fused", 4_096, heads).sample(f"{name}, {problem.direction}, error", [e], "1")
        for heads, e in ((2, 3e-3), (36, 1e-3))
        for name, e in (("fused", e), ("plain bf16 formula", 4e-3))
    ]
    (found,) = gpu_benchmark.error_findings(made, problem).values()
    assert found.value == pytest.approx(0.75)


def test_goals_of_training_are_those_of_64_heads():
    problem = Problem(64, 2, False, True, ())
    few = made_up(problem, "fused", lambda n: n * 1e-9, Plan(heads=8))
    assert not any(name.startswith("time") for name in gpu_benchmark.findings(few))


def test_one_form_that_is_wrong_fails_the_check(monkeypatch):
    right = gpu_calls.BY_NAME["array"].forward
    wrong = gpu_calls.Implementation(
        lambda p, n: lambda *given: (1.1 if n > 256 else 1.0) * right(p, n)(*given)
    )
    monkeypatch.setitem(gpu_calls.BY_NAME, "fused", wrong)
    with pytest.raises(ArithmeticError, match="the plain bf16 formula has"):
        small_check(monkeypatch, "fused", Problem(16, 2, False, False, ()))


@pytest.mark.parametrize("problem", [p for p in Plan().problems() if not p.is_decode], ids=str)
def test_the_second_check_is_one_of_the_moments(problem):
    tokens, heads = gpu_benchmark.moment_check(problem)
    shape = (heads, tokens, problem.dim)
    assert not takes_pairs(shape, tokens, problem.order, problem.is_causal)
    assert runs_on_h200(problem, heads) == runs_on_h200(problem, Plan().heads)


def runs_on_h200(problem: Problem, heads: int) -> bool:
    """Say whether so many heads keep its 132 multiprocessors busy with a program for all chunks."""
    bf16 = SimpleNamespace(dtype=torch.bfloat16, device=torch.device("cpu"))
    x = SimpleNamespace(x=torch.empty(heads, 1, device="meta"), width=problem.dim)
    with mock.patch.multiple(
        states, processors=lambda _: 132, settings_for=lambda _, *sizes: settings_for(bf16, *sizes)
    ):
        return states.runs(x, problem.order, SimpleNamespace(count=2))


@pytest.mark.parametrize("name", ["array", "flash"])
def test_one_token_after_others_passes_its_check(name, monkeypatch):
    samples = small_check(monkeypatch, name, Problem(16, 2, False, False, (), is_decode=True))
    assert samples[0]["what"] == f"{name}, decode, error"
    assert all(0 < s["values"][0] < 0.02 for s in samples)


@pytest.mark.parametrize("count", [1, 3])
def test_streams_hold_all_tokens_but_the_last(count):
    tokens = torch.randn(3, 2, 9, 16).unbind()
    kind = dataclasses.replace(gpu_calls.BY_NAME["array"], tokens=count)
    query, key, value, *states = kind.given(DECODE_16, tokens, streams=2)
    assert [x.shape[1] for x in (query, key, value)] == [count] * 3
    assert torch.equal(query, tokens[0][:, -count:])
    assert len({state.sums.data_ptr() for state in states}) == 2
    for state in states:
        assert torch.equal(state.sums[:, 0, -1], torch.full((2,), 9.0 - count))
    output, *after = kind.call(DECODE_16, 9)(query, key, value, *states)
    for state in after:
        assert torch.equal(state.sums[:, 0, -1], torch.full((2,), 9.0))
    query, key, value = (x[0] for x in gpu_calls.BY_NAME["flash"].given(DECODE_16, tokens))
    expected = gpu_calls.direct(DECODE_16, "polynomial", query, key, value)
    assert torch.allclose(output, expected, atol=1e-5)


def test_streams_take_turns_where_a_cache_would_hold_one():
    fused = gpu_calls.BY_NAME["fused"]
    large, small = (Case(DECODE, "fused", 256, heads) for heads in (4_096, 64))
    assert [fused.streams(case) for case in (large, small)] == [1, 12]
    assert 2 * 64 * moment_numbers(64, 2) * 12 >= gpu_calls.ROTATED_BYTES
    assert gpu_calls.BY_NAME["cudnn"].streams(Case(DECODE, "cudnn", 256, 64)) == 1
    assert fused.streams(Case(FULL, "fused", 256, 64)) == 1


def test_seconds_of_one_token_are_those_of_a_call_over_its_tokens(monkeypatch):
    monkeypatch.setattr(gpu_calls, "DEVICE", "cpu")
    monkeypatch.setattr(gpu_calls, "ROTATED_BYTES", 2 * 2 * 2 * moment_numbers(16, 2))
    monkeypatch.setattr(gpu_calls, "peak_memory", lambda *_: 7)
    monkeypatch.setattr(gpu_calls, "times", lambda *_: [12.0])
    monkeypatch.setattr(gpu_calls, "graph_times", lambda *_: [6.0])
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 0)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=1)
    )
    kind = dataclasses.replace(gpu_calls.BY_NAME["array"], tokens=3)
    monkeypatch.setitem(gpu_calls.BY_NAME, "fused", kind)
    gpu_calls.inputs.cache_clear()
    found = gpu_calls.measure(Case(DECODE_16, "fused", 64, 2), 3)
    gpu_calls.inputs.cache_clear()
    assert kind.streams(Case(DECODE_16, "fused", 64, 2)) == 2
    assert [sample["values"] for sample in found] == [[2.0], [7], [1.0]]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.parametrize("is_causal", [False, True])
def test_the_log_of_the_polynomial_makes_flex_attention_compute_the_same(is_causal, monkeypatch):
    small_check(monkeypatch, "flex", Problem(16, 2, is_causal, False, ()))


def made_up_fla(target: str) -> ModuleType:
    """Return in the place of fla.ops what sums by the direct formula, (batch, tokens, heads, d)."""

    def attend(query, key, value, **_):
        heads = [x[0].transpose(0, 1) for x in (query, key, value)]
        problem = Problem(query.shape[-1], 2, True, False, ())
        return gpu_calls.direct(problem, target, *heads).transpose(0, 1)[None]

    module = ModuleType("fla.ops")
    module.linear_attn = SimpleNamespace(
        chunk_linear_attn=lambda *x, **kw: (attend(*x, **kw), None)
    )
    module.based = ModuleType("fla.ops.based")
    module.based.parallel_based = attend
    return module


@pytest.mark.parametrize("is_trained", [False, True])
@pytest.mark.parametrize(
    ("name", "order", "target"), [("fla", 1, "scores"), ("based", 2, "polynomial")]
)
def test_heads_stand_where_fla_expects_them(name, order, target, is_trained, monkeypatch):
    module = made_up_fla(target)
    for path, part in (
        ("fla", ModuleType("fla")),
        ("fla.ops", module),
        ("fla.ops.based", module.based),
    ):
        monkeypatch.setitem(sys.modules, path, part)
    samples = small_check(monkeypatch, name, Problem(16, order, True, is_trained, ()))
    found, plain = (sample["values"] for sample in samples)
    assert found == pytest.approx(plain), "the plain formula itself"


@pytest.mark.parametrize("is_trained", [False, True])
def test_a_wrong_call_fails_its_check(is_trained, monkeypatch):
    right = gpu_calls.BY_NAME["array"]
    wrong = gpu_calls.Implementation(
        lambda p, n: lambda q, k, v: 1.1 * right.forward(p, n)(q, k, v)
    )
    monkeypatch.setitem(gpu_calls.BY_NAME, "array", wrong)
    with pytest.raises(ArithmeticError, match="the plain bf16 formula has"):
        small_check(monkeypatch, "array", Problem(16, 2, True, is_trained, ()))


def test_nan_is_the_largest_error():
    ones, bad = torch.ones(3), torch.tensor([1.0, math.nan, 1.0])
    assert math.isnan(gpu_calls.distance([bad, ones], [ones, ones]))
    assert gpu_calls.distance([ones, 2 * ones], [ones, ones]) == pytest.approx(1)


def test_inputs_take_turns_among_enough_sets(monkeypatch):
    monkeypatch.setattr(gpu_calls, "DEVICE", "cpu")
    monkeypatch.setattr(gpu_calls, "ROTATED_BYTES", 100_000)
    gpu_calls.inputs.cache_clear()
    sets = gpu_calls.input_sets(Case(FULL, "fused", 256, 1))
    assert sets.shape == (2, 3, 1, 256, 64)
    small = gpu_calls.input_sets(Case(FULL, "fused", 16, 1))
    assert small.numel() * 2 >= 100_000
    gpu_calls.inputs.cache_clear()


def samples() -> list[dict]:
    """Return a made-up run in which every finding is known."""
    plan = Plan()
    product = Case(Problem(8_192, 0, False, False, ()), "", 8_192, 1)
    copy = Case(Problem(1_024, 0, False, False, ()), "", 2**19, 1)
    error = Case(FULL, "fused", 4_096, 2)
    linear = Problem(64, 1, True, False, ())
    return [
        product.sample(gpu_benchmark.PRODUCT, [2 * 8_192**3 / 5e14]),
        copy.sample(gpu_benchmark.COPY, [2**31 / 2e12]),
        error.sample("fused, forward, error", [2e-3], "1"),
        error.sample("plain bf16 formula, forward, error", [4e-3], "1"),
        *made_up(FULL, "fused", lambda n: n * 1e-9, plan),
        *made_up(FULL, "flash", lambda n: n**2 * 1e-12),
        *made_up(FULL, "cudnn", lambda n: n**2 * 5e-13),
        *made_up(FULL, "fused", lambda n: n * 7.5e-10, how=IN_GRAPH),
        *made_up(FULL, "cudnn", lambda n: n**2 * 5e-13, how=IN_GRAPH),
        *made_up(linear, "fused", lambda n: n * 2e-9, plan),
        *made_up(linear, "fla", lambda n: n * 1e-9, plan),
        *made_up(DECODE, "fused", lambda _: 1e-6, plan),
        *made_up(DECODE, "cudnn", lambda n: n * 5e-10, plan),
        Case(FULL, "fused", 65_536, 16).sample(
            "fused, forward, peak memory", [3 * 2**20], "byte"
        ),
    ]  # fmt: skip


def test_findings_follow_from_the_samples():
    found = gpu_benchmark.findings(samples())
    end = "_d64_order2_full_forward"
    value = {name: finding.value for name, finding in found.items()}
    assert value["product"] == pytest.approx(5e14)
    assert value["copy"] == pytest.approx(2e12)
    assert value["crossover" + end] == pytest.approx(2_000, abs=1)
    assert value["crossover_graph" + end] == pytest.approx(1_500, abs=1)
    assert value["speedup_flash" + end] == pytest.approx(65.536)
    assert value["speedup_cudnn" + end] == pytest.approx(32.768)
    assert value["share" + end] == pytest.approx(fast_flops(65_536, 64, 2) / 65_536e-9 / 5e14)
    assert value["slope" + end] == pytest.approx(1)
    assert value["slope_distance" + end] == pytest.approx(0, abs=1e-12)
    assert value["error" + end] == pytest.approx(0.5)
    assert value["memory" + end] == 3
    assert value["crossover_d64_order2_decode"] == pytest.approx(2_000, abs=1)
    assert value["speedup_cudnn_d64_order2_decode"] == pytest.approx(32.768)
    traffic = pytest.approx(stream_bytes(64, 2) / 1e-6 / 2e12)
    assert value["traffic_d64_order2_decode"] == value["traffic_few_d64_order2_decode"] == traffic
    assert "4,096 streams" in found["traffic_d64_order2_decode"].text
    assert "64 streams" in found["traffic_few_d64_order2_decode"].text
    assert value["linear_d64_order1_causal_forward"] == pytest.approx(2)


@pytest.mark.parametrize("power", [1, 1.5])
def test_training_has_a_time_and_memory_that_grows_like_n(power):
    problem, plan = Problem(64, 2, True, True, ()), Plan()
    made = made_up(problem, "fused", lambda n: n * 1e-9, plan)
    for sample in list(made):
        numbers = {**sample, "what": f"{sample['what']}, peak memory", "unit": "byte"}
        made.append({**numbers, "values": [sample["heads"] * sample["tokens"] ** power]})
    found = gpu_benchmark.findings(made)
    end = "_d64_order2_causal_training"
    assert found["time" + end].value == pytest.approx(64 * 65_536e-9)
    assert found["time" + end].goal == 0.028
    assert found["memory_slope" + end].value == pytest.approx(power)
    assert found["memory_slope" + end].met is (power == 1)


def test_a_lower_clock_is_told_from_more_cycles():
    def slow(n):
        return n * 1e-9 * n**0.05

    made = [*made_up(FULL, "fused", slow, Plan()), *clocks(lambda n: 2e9 / n**0.05)]
    end = "_d64_order2_full_forward"
    value = {name: found.value for name, found in gpu_benchmark.findings(made).items()}
    assert value["slope" + end] == pytest.approx(1.05)
    assert value["slope_cycles" + end] == pytest.approx(1)
    without = gpu_benchmark.findings(made_up(FULL, "fused", slow, Plan()))
    assert "slope_cycles" + end not in without


def clocks(rate):
    return [
        Case(FULL, "fused", n, 64).sample("fused, forward, clock", [rate(n)], "Hz")
        for n in Plan().tokens
    ]


def test_the_clock_is_noted_while_the_device_works(monkeypatch):
    ends = iter([False, False, True])

    class Event:
        def __init__(self, **_):
            self.query = lambda: next(ends)

        def record(self):
            pass

        def elapsed_time(self, _):
            return 3.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    rates = iter([1_980, 1_700])
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda: next(rates))
    found = list[float]()
    seconds = gpu_calls.series(lambda: None, itertools.repeat([]), 2, 3, found)
    assert seconds == [0.0015] * 3
    assert found == [1.98e9, 1.7e9]

    def missing():
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(torch.cuda, "clock_rate", missing)
    assert gpu_calls.clock() == []


def test_goals_are_met_or_not():
    found = gpu_benchmark.findings(samples())
    end = "_d64_order2_full_forward"
    assert found["crossover" + end].met
    assert found["speedup_flash" + end].met
    assert found["slope_distance" + end].met
    assert found["error" + end].met
    assert found["crossover_d64_order2_decode"].met
    assert found["traffic_d64_order2_decode"].met is False
    assert found["linear_d64_order1_causal_forward"].met is False
    assert all("H200" in f.text for f in found.values() if f.goal and "H200" in f.text)


def test_no_crossover_where_the_longest_is_still_slower():
    made = made_up(FULL, "fused", lambda n: n * 1.0) + made_up(FULL, "flash", lambda n: n * 0.5)
    found = gpu_benchmark.findings(made)
    assert found["crossover_d64_order2_full_forward"].value is None
    assert not any(name.startswith(("share", "slope", "product")) for name in found)


def test_a_run_of_nothing_has_no_findings():
    assert gpu_benchmark.findings([]) == {}
    assert findings_table({}) == ""


def device(monkeypatch, why_not=None, is_there=True):
    """Pretend that there is a GPU, which the kernels take or say why not."""
    cuda = SimpleNamespace(is_available=lambda: is_there)
    made = SimpleNamespace(cuda=cuda, device=torch.device)
    monkeypatch.setattr(machine, "installed", {"torch": made}.get)
    monkeypatch.setattr(support, "why_not_device", {torch.device("cuda"): why_not}.get)


def test_each_thing_missing_is_named(monkeypatch):
    device(monkeypatch)
    gpu_benchmark.check_device()
    device(monkeypatch, why_not="it is too old")
    with pytest.raises(RuntimeError, match="--gpu: it is too old"):
        gpu_benchmark.check_device()
    device(monkeypatch, is_there=False)
    with pytest.raises(RuntimeError, match="--gpu: torch sees no CUDA device"):
        gpu_benchmark.check_device()
    monkeypatch.setattr(machine, "installed", lambda _: None)
    with pytest.raises(RuntimeError, match="--gpu: torch is not installed"):
        gpu_benchmark.check_device()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpu", "--tokens", "64"], "--tokens: not with --gpu"),
        (["--gpu", "--race-tokens", "64"], "--race-tokens: not with --gpu"),
        (["--gpu", "--libraries", "numpy"], "--libraries: not with --gpu"),
        (["--heads", "4"], "--heads: only with --gpu"),
        (["--budget", "4"], "--budget: only with --gpu"),
        (["--resume"], "--resume: only with --gpu"),
    ],
)
def test_options_of_the_other_benchmark_are_refused(arguments, words, capsys):
    assert main(["bench", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_a_call_that_a_goal_compares_with_may_take_longer():
    race = Problem(64, 2, False, True, ("cudnn",))
    sizes = {n: Case(race, "cudnn", n, 64).longest for n in (16_384, 65_536, 262_144)}
    assert sizes == {16_384: 0.3, 65_536: 0.6, 262_144: 0.3}
    assert Case(race, "flash", 65_536, 64).longest == 0.3
    made = survey(times=0.03)
    for tokens in (16_384, 65_536):
        made.take(Case(race, "cudnn", tokens, 64))
    assert [s["tokens"] for s in made.samples] == [16_384, 65_536], "0.48 s"


class Device:
    """A device that works through calls behind the host; the host waits where it is told to."""

    def __init__(self, on_host: float, on_device: float) -> None:
        self.on_host, self.on_device, self.host, self.free = on_host, on_device, 0.0, 0.0

    def call(self) -> None:
        self.host += self.on_host
        self.free = max(self.free, self.host) + self.on_device

    def synchronize(self) -> None:
        self.host = max(self.host, self.free) + 5.0

    def event(self, **_: object) -> SimpleNamespace:
        event = SimpleNamespace(at=math.nan)
        event.record = lambda: setattr(event, "at", max(self.free, self.host))
        event.elapsed_time = lambda end: 1000 * (end.at - event.at)
        return event


@pytest.mark.parametrize(("on_host", "on_device"), [(0.2, 3.0), (0.2, 0.1)])
def test_calls_in_a_row_take_the_longer_of_host_and_device(on_host, on_device, monkeypatch):
    made = Device(on_host, on_device)
    monkeypatch.setattr(torch.cuda, "Event", made.event)
    monkeypatch.setattr(torch.cuda, "synchronize", made.synchronize)
    found = gpu_calls.series(made.call, itertools.cycle([[]]), calls=2, repeats=3)
    assert found == pytest.approx(3 * [max(on_host, on_device)])


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """Return the path of a stored run of 9 seconds, and note what later ones are given."""
    about = {"name": "Made Up", "memory_gib": 80.0, "capability": "9.0", "driver": "1.2"}
    monkeypatch.setattr(gpu_benchmark, "check_device", lambda: None)
    monkeypatch.setattr(machine, "accelerator", lambda: about)
    monkeypatch.setattr(machine, "accelerator_versions", lambda: {"cuda": "13.0", "cudnn": "91900"})
    given = []

    def run(*_, earlier, **__):
        given.append(earlier)
        return Survey(lambda *_: [], lambda _: [], Budget(1), print, samples())

    monkeypatch.setattr(gpu_benchmark, "run", run)
    path = tmp_path / "gpu_made_up.json"
    assert main(["bench", "--gpu", "--budget", "9", "--json", str(path)]) == 0
    return path, given


def test_a_run_that_is_broken_off_is_stored_up_to_its_last_problem(stored, monkeypatch):
    path, _ = stored
    path.unlink()
    part = samples()[:3]

    def run(*_, store, **__):
        store(part)
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu_benchmark, "run", run)
    with pytest.raises(KeyboardInterrupt):
        main(["bench", "--gpu", "--json", str(path)])
    assert json.loads(path.read_text(encoding="utf-8"))["samples"] == part


def test_a_run_that_is_broken_off_leaves_an_earlier_one_as_it_is(stored, monkeypatch, capsys):
    path, _ = stored
    before = path.read_text(encoding="utf-8")

    def run(*_, store, **__):
        store(samples()[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu_benchmark, "run", run)
    with pytest.raises(KeyboardInterrupt):
        main(["bench", "--gpu", "--json", str(path)])
    assert path.read_text(encoding="utf-8") == before
    assert "it is replaced when all is measured" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{}", "[]", "no result"])
def test_what_is_no_result_is_not_resumed(text, stored, capsys):
    path, _ = stored
    path.write_text(text, encoding="utf-8")
    assert main(["bench", "--gpu", "--resume", "--json", str(path)]) == 1
    assert f"{path}: cannot be gone on with: " in capsys.readouterr().err


def test_what_there_is_is_handed_on_after_each_problem(monkeypatch):
    without_device(monkeypatch, lambda case, _: [case.sample(f"{case.name}, forward", [1e-6])])
    counts = []
    gpu_benchmark.run(QUICK, print, print, store=lambda found: counts.append(len(found)))
    assert counts == [12, 24, 36, 48]


def test_a_run_is_resumed_from_its_file(stored):
    path, given = stored
    command = "python -m fastattn_lite bench --gpu --budget 9 --json gpu_made_up.json"
    for _ in range(2):
        before = json.loads(path.read_text(encoding="utf-8"))
        assert before["command"] == command
        assert main(["bench", "--gpu", "--resume", "--json", str(path)]) == 0
        assert given[-1] == before["samples"]
        command += " && python -m fastattn_lite bench --gpu --resume --json gpu_made_up.json"
    assert given[0] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("commit", "0" * 40), ("title", "Another"),
        ("versions", {"python": "3.1"}), ("device", {"cores": 1}),
    ],
)  # fmt: skip
def test_a_run_of_something_else_is_not_resumed(field, value, stored, capsys):
    path, _ = stored
    data = json.loads(path.read_text(encoding="utf-8"))
    data[field] = data[field] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(data), encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    assert main(["bench", "--gpu", "--resume", "--json", str(path)]) == 1
    assert f"cannot be gone on with: {field}" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--heads", "4"], "plan.heads was 64, here it is 4"),
        (["--repeats", "2"], "plan.repeats was 9, here it is 2"),
        (["--quick"], "plan.is_quick was False, here it is True"),
    ],
)
def test_a_run_is_resumed_with_its_own_options(options, words, stored, capsys):
    path, _ = stored
    assert main(["bench", "--gpu", "--resume", *options, "--json", str(path)]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("stored")
def test_without_a_stored_run_there_is_nothing_to_resume(capsys, tmp_path):
    for arguments in ([], ["--json", str(tmp_path / "gpu_none.json")]):
        assert main(["bench", "--gpu", "--resume", *arguments]) == 1
        assert "--resume: expected --json with the file" in capsys.readouterr().err


def test_without_a_gpu_the_command_says_so(monkeypatch, capsys):
    device(monkeypatch, is_there=False)
    assert main(["bench", "--gpu"]) == 1
    caught = capsys.readouterr()
    assert caught.err == "error: --gpu: torch sees no CUDA device\n"
    assert caught.out == ""


def test_options_choose_the_plan():
    given = parser().parse_args(["bench", "--gpu", "--heads", "4", "--budget", "60"])
    assert gpu_plan_of(given) == Plan(heads=4, budget=60)
    given = parser().parse_args(["bench", "--gpu", "--quick", "--repeats", "3"])
    assert gpu_plan_of(given).repeats == 3
    assert len(gpu_plan_of(given).cases()) < len(Plan().cases()) / 4


def test_a_run_is_printed_and_stored(monkeypatch, tmp_path, capsys):
    about = {"name": "Made Up", "memory_gib": 80.0, "capability": "9.0", "driver": "1.2"}
    monkeypatch.setattr(gpu_benchmark, "check_device", lambda: None)
    monkeypatch.setattr(machine, "accelerator", lambda: about)
    monkeypatch.setattr(machine, "accelerator_versions", lambda: {"cuda": "13.0", "cudnn": "91900"})
    done = Survey(lambda *_: [], lambda _: [], Budget(1), print, samples())
    monkeypatch.setattr(gpu_benchmark, "run", lambda *_, **__: done)
    path = tmp_path / "gpu_made_up.json"
    assert main(["bench", "--gpu", "--budget", "9", "--json", str(path)]) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    validate_result(result)
    assert result["command"] == (
        "python -m fastattn_lite bench --gpu --budget 9 --json gpu_made_up.json"
    )
    assert result["device"]["accelerator"] == about
    assert result["versions"]["cuda"] == "13.0"
    assert result["title"] == "Fused attention on a GPU, bfloat16"
    assert (
        gpu_benchmark.findings(result["samples"])
        == Measurements(result["samples"], gpu_benchmark.findings(samples())).findings
    )
    out = capsys.readouterr().out
    assert "Made Up, 80.0 GiB" in out
    assert "crossover with the faster of FlashAttention and cuDNN" in out


def test_short_times_keep_their_digits():
    line = times_table([Case(FULL, "fused", 256, 16).sample("fused, forward", [25e-6])])
    assert "0.025 ms" in line
    assert "    16        256" in line
