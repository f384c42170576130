"""Plan a measurement on a GPU, keep to its time, and say what follows from the times.

Order 1 to 3, bfloat16: the fused kernels beside every other implementation a user could pick, in
one run, forward, backward, and one token after others (decode). Each is checked against the
direct sum in float64 before it is timed. The most important cases come first, so that a short
budget still gives a useful table. What runs on the device stands in `gpu_calls`.
"""

from __future__ import annotations

import itertools
import math
import operator
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastattn_lite import machine
from fastattn_lite.benchmark import Finding, crossing, crossover
from fastattn_lite.complexity import fast_flops, moment_numbers, stream_bytes
from fastattn_lite.factorization import number_of_features

IMPLEMENTATIONS = {
    "fused": 'this package with backend="triton", its fused kernels',
    "flash": "torch's softmax attention, FlashAttention backend",
    "cudnn": "torch's softmax attention, cuDNN backend",
    "array": 'this package with backend="array", plain torch products',
    "flex": "torch's flex_attention, compiled, with log f as score: softmax of it weighs by f",
    "fla": "flash-linear-attention, chunk_linear_attn: sum of s v, no constant, no normaliser",
    "based": "flash-linear-attention, parallel_based: order 2, causal, pair by pair",
}
SOFTMAX = ("flash", "cudnn")
LINEAR, PAIRWISE = "fla", ("flex", "based")
"""The first has no polynomial; the others compute it pair by pair, so that time grows like n^2."""
QUADRATIC = {*SOFTMAX, *PAIRWISE}
RACERS = ("fused", *SOFTMAX)
LONGEST_CALL, LONGEST_RACE = 0.3, 0.6
"""No size is tried where one call would take more seconds, or one that a goal compares with."""
TOKENS_AT_ONCE = 65_536
"""With gradients, heads are dropped where more tokens than this would meet all of them."""
MOMENTS_AT_ONCE = 10**10
"""Without, where the moments before every chunk of 16 d tokens would be about so many numbers."""
CHECK_SIZE = (4_096, 2)
"""Tokens and heads of a check: so few heads are taken by their scores."""
MOMENT_CHECKS = {1_000: (4_096, 36), 2_500: (8_192, 36), math.inf: (20_480, 8)}
"""By the most features: tokens and heads that the fused kernels take by their moments, and so many
heads that they take the chunks of a causal form as they do at 65,536 tokens."""
GOAL_TOKENS = 65_536
SLOPE_TOKENS = (16_384, 1_048_576)
DECODE_SPAN = (256, 65_536)
DECODE_HEADS, CACHED_TOKENS, STATE_NUMBERS = 4_096, 2**22, 2**30
"""A step of one token is short: as many heads as these bounds let through keep a GPU busy."""
DECODE_TOKENS = {"": 1_024, "_few": 65_536}
"""Tokens where the share of a copy is looked at: with the most streams, and with the fewest."""
NARROW = 1.25
"""Sizes are added around a crossover until the two beside it are not farther apart."""
PRODUCT, COPY = "bf16 product", "device copy"
IN_GRAPH, CLOCK, MEMORY = ", in a graph", ", clock", ", peak memory"
GRAPH_TOKENS = 16_384
"""Up to so many tokens the time that the host takes to start a call can show; with a state at any
number."""

CROSSOVER_GOALS = {(32, False): 1_200, (64, False): 2_700, (32, True): 2_000, (64, True): 7_000}
PEAK_GOALS = {(32, False): 0.33, (64, False): 0.50, (32, True): 0.22, (64, True): 0.37}
"""By d and whether causal: forward, order 2, set for an H200."""
RATIO_GOALS = {
    ("flash", "forward", 64, False): 38,
    ("cudnn", "forward", 64, False): 26,
    ("flash", "forward", 32, False): 127,
    ("cudnn", "forward + backward", 64, False): 26,
    ("cudnn", "forward + backward", 64, True): 10,
}
"""Speed-ups at 65,536 tokens, order 2, set for an H200 with 64 heads."""
TRAINING_GOALS = {(64, False): 0.021, (64, True): 0.028}
"""Seconds of these by d and whether causal: forward and backward of the kernels."""
DECODE_CROSSOVER_GOAL, TRAFFIC_GOAL = 2_200, 0.70
"""One token, d = 64, order 2, set for an H200; traffic as a share of the plain copy."""
LINEAR_GOAL = 1.3
SLOPE_GOAL = 0.03
MEMORY_SLOPE_GOAL = 1 + SLOPE_GOAL


@dataclass(frozen=True)
class Problem:
    """What is computed, by whom, between which sizes."""

    dim: int
    order: int
    is_causal: bool
    is_trained: bool
    names: tuple[str, ...]
    span: tuple[int, int] = (1, 2**62)
    is_decode: bool = False

    @property
    def direction(self) -> str:
        """The word for what is timed: all tokens, with gradients or not, or one token."""
        if self.is_decode:
            return "decode"
        return "forward + backward" if self.is_trained else "forward"

    @property
    def form(self) -> str:
        """Whether every token meets all keys; the last one does in any case."""
        return "causal" if self.is_causal else "full"

    @property
    def is_race(self) -> bool:
        """Whether the kernels are compared with softmax, so that there is a crossover to find."""
        return self.order == 2 and set(RACERS) <= set(self.names)

    def __str__(self) -> str:
        words = (self.direction, *(() if self.is_decode else (self.form,)))
        return f"{', '.join(words)}, order {self.order}, d = {self.dim}"


@dataclass(frozen=True)
class Case:
    """One implementation at one size of a problem."""

    problem: Problem
    name: str
    tokens: int
    heads: int

    @property
    def longest(self) -> float:
        """The most seconds that a call may take to be tried."""
        each = self.problem
        is_race = (self.name, each.direction, each.dim, each.is_causal) in RATIO_GOALS
        return LONGEST_RACE if is_race and self.tokens == GOAL_TOKENS else LONGEST_CALL

    @property
    def in_graph(self) -> bool:
        """Whether the call is timed from a CUDA graph, too."""
        races = self.name in RACERS and not self.problem.is_trained
        return races and (self.tokens <= GRAPH_TOKENS or self.problem.is_decode)

    def sample(self, what: str, values: Iterable[float], unit: str = "s") -> dict[str, Any]:
        """Return a measured series as a stored result holds it."""
        return {
            "what": what,
            "library": "torch",
            "is_causal": self.problem.is_causal,
            "tokens": self.tokens,
            "heads": self.heads,
            "dim": self.problem.dim,
            "order": self.problem.order,
            "unit": unit,
            "values": list(values),
        }

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}, n = {self.tokens:,}"


@dataclass(frozen=True)
class Plan:
    """What a run measures: batch x heads, sizes, repeats, seconds."""

    heads: int = 64
    tokens: tuple[int, ...] = (*(256 * 2**i for i in range(7)), *(2**i for i in (16, 18, 20)))
    repeats: int = 9
    budget: float = 450.0
    is_quick: bool = False

    def problems(self) -> list[Problem]:
        """Return the problems, the most important first."""
        main = [(2, dim, causal) for dim in (64, 32) for causal in (False, True)]
        masked, long = main[1::2], (4_096, 65_536)
        first = _problems(main, False, RACERS)
        if self.is_quick:
            return first
        rest = [(2, dim, causal) for dim in (128, 16) for causal in (False, True)]
        odd = [(1, 64, False), (1, 32, False), (3, 32, False), (3, 32, True)]
        odd += [(order, 16, causal) for order in (1, 3) for causal in (False, True)]
        odd += [(1, 128, causal) for causal in (False, True)]
        all_of_softmax = (*RACERS, "array")
        return [
            *_problems(main, False, all_of_softmax),
            *_problems(main, True, all_of_softmax),
            *_decodes([(2, 64), (2, 32), (2, 128)], all_of_softmax),
            *_decodes([(1, 64), (3, 32)], ("fused", "array")),
            *_problems([(1, 64, True), (1, 32, True)], False, ("fused", "fla", "array")),
            *_problems(main, False, ("flex",), long),
            *_problems(masked, False, ("based",), long),
            *_problems(rest, False, all_of_softmax),
            *_problems(odd, False, ("fused", "array")),
            *_problems(rest, True, RACERS),
            *_problems([(1, 64, True), (1, 32, True)], True, ("fused", "fla")),
            *_problems(odd, True, ("fused",)),
            *_problems(masked, True, ("based",), long),
            *_problems(main, True, ("flex",), long),
        ]

    def cases(self) -> list[Case]:
        """Return every case in the order measured; fewer heads where tokens are many."""
        return [
            Case(problem, name, tokens, self.heads_for(tokens, problem))
            for problem in self.problems()
            for tokens in self.tokens
            if problem.span[0] <= tokens <= problem.span[1]
            for name in problem.names
        ]

    def steps(self) -> int:
        """Return how many reports a run makes: the device, each case, each crossover."""
        races = sum(problem.is_race for problem in self.problems())
        return 1 + len(self.cases()) + races

    def heads_for(self, tokens: int, problem: Problem) -> int:
        """Return how many heads there are at a size; for one token a power of 2 of its own."""
        if problem.is_decode:
            numbers = moment_numbers(problem.dim, problem.order)
            most = min(DECODE_HEADS, CACHED_TOKENS // tokens, STATE_NUMBERS // numbers)
            return 1 << (most.bit_length() - 1)
        most = self.heads * TOKENS_AT_ONCE // tokens
        if not problem.is_trained:
            moments = moment_numbers(problem.dim, problem.order) * tokens // (16 * problem.dim)
            most = 1 << ((MOMENTS_AT_ONCE // max(1, moments)).bit_length() - 1)
        return max(1, min(self.heads, most))


QUICK = Plan(tokens=(1_024, 4_096, 16_384, 65_536), repeats=5, budget=120.0, is_quick=True)


def _problems(
    which: list[tuple[int, int, bool]],
    is_trained: bool,
    names: tuple[str, ...],
    span: tuple[int, int] = (1, 2**62),
) -> list[Problem]:
    return [Problem(dim, order, causal, is_trained, names, span) for order, dim, causal in which]


def _decodes(which: list[tuple[int, int]], names: tuple[str, ...]) -> list[Problem]:
    return [Problem(dim, order, False, False, names, DECODE_SPAN, True) for order, dim in which]


def moment_check(problem: Problem) -> tuple[int, int]:
    """Return tokens and heads that the fused kernels take by their moments."""
    features = number_of_features(problem.dim, problem.order)
    return next(size for most, size in MOMENT_CHECKS.items() if features <= most)


@dataclass
class Budget:
    """The seconds that a run may go on starting cases."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.clock()

    @property
    def is_spent(self) -> bool:
        """Whether the time is used up."""
        return self.clock() - self.start >= self.seconds


Samples = list[dict[str, Any]]


@dataclass(frozen=True)
class Times:
    """The median seconds of a run, to look up."""

    samples: Samples

    def median(self, what: str) -> float | None:
        """Return the first median of that name."""
        found = (s["values"] for s in self.samples if s["what"] == what and s["unit"] == "s")
        values = next(found, None)
        return None if values is None else statistics.median(values)

    def of(self, name: str, problem: Problem, how: str = "") -> dict[int, float]:
        """Return seconds a head by the number of tokens, of calls or in a graph."""
        found = self._named(f"{name}, {problem.direction}{how}", "s", problem)
        return {n: statistics.median(sample["values"]) / sample["heads"] for n, sample in found}

    def heads(self, name: str, problem: Problem) -> dict[int, int]:
        """Return how many heads were timed together, by the number of tokens."""
        found = self._named(f"{name}, {problem.direction}", "s", problem)
        return {n: sample["heads"] for n, sample in found}

    def memory(self, name: str, problem: Problem) -> dict[int, float]:
        """Return the bytes a head of the peak above inputs and results, by the number of tokens."""
        found = self._named(f"{name}, {problem.direction}{MEMORY}", "byte", problem)
        return {n: sample["values"][0] / sample["heads"] for n, sample in found}

    def clocks(self, problem: Problem) -> dict[int, float]:
        """Return the clock of the device under the fused kernels by the number of tokens."""
        found = self._named(f"fused, {problem.direction}{CLOCK}", "Hz", problem)
        return {n: sample["values"][0] for n, sample in found}

    def _named(
        self, what: str, unit: str, problem: Problem
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for sample in self.samples:
            if (sample["what"], sample["unit"]) == (what, unit) and _is_of(sample, problem):
                yield sample["tokens"], sample


def _is_of(sample: dict[str, Any], problem: Problem) -> bool:
    of = (problem.dim, problem.order, problem.is_causal)
    return (sample["dim"], sample["order"], sample["is_causal"]) == of


@dataclass
class Survey:
    """The samples of a run, and what it left out.

    `check` returns the errors of an implementation on a problem and raises where they are too
    large; `measure` returns the times and memory of a case. `notice` hears of all that is skipped.
    What is in `known`, the times of an earlier part of the run, is not measured again.
    """

    check: Callable[[Problem, str], Samples]
    measure: Callable[[Case], Samples]
    budget: Budget
    notice: Callable[[str], None]
    samples: Samples = field(default_factory=list[dict[str, Any]])
    known: Times = field(default_factory=lambda: Times([]))
    left_out: list[Case] = field(default_factory=list[Case])
    _ended: dict[tuple[Problem, str], int] = field(default_factory=dict[tuple[Problem, str], int])
    _last: dict[tuple[Problem, str], tuple[Case, float]] = field(
        default_factory=dict[tuple[Problem, str], tuple[Case, float]]
    )

    def take(self, case: Case) -> None:
        """Check and measure one case, or say why not."""
        key = (case.problem, case.name)
        known = self.known.of(case.name, case.problem)
        if case.tokens >= self._ended.get(key, math.inf):
            return
        if case.tokens in known:
            self._last[key] = (case, known[case.tokens] * case.heads)
        elif self.budget.is_spent:
            self.left_out.append(case)
        elif (seconds := self.predicted(case)) > case.longest:
            self._end(case, f"a call would take about {1000 * seconds:,.0f} ms")
        else:
            try:
                self._measure(case, key)
            except Exception as error:
                self._end(case, _reason(error))

    def predicted(self, case: Case) -> float:
        """Return the seconds a call should take, from the last smaller size; 0 without one."""
        if (case.problem, case.name) not in self._last:
            return 0.0
        last, seconds = self._last[case.problem, case.name]
        power = 2 if case.name in QUADRATIC and not case.problem.is_decode else 1
        return seconds * (case.tokens / last.tokens) ** power * case.heads / last.heads

    def _measure(self, case: Case, key: tuple[Problem, str]) -> None:
        if key not in self._last:
            errors = self.check(*key)
            self.samples += [sample for sample in errors if sample not in self.samples]
        found = self.measure(case)
        self.samples += found
        times = next(sample["values"] for sample in found if sample["unit"] == "s")
        self._last[key] = (case, statistics.median(times))

    def _end(self, case: Case, reason: str) -> None:
        """Leave an implementation out from this size of the problem on."""
        self._ended[case.problem, case.name] = case.tokens
        self.notice(f"skipped from here on: {case}: {reason}")


def _reason(error: Exception) -> str:
    words = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {words[0][:200]}"


def left_out_lines(cases: list[Case]) -> list[str]:
    """Return one line for each implementation and problem that the budget left out."""
    sizes: dict[tuple[Problem, str], list[int]] = {}
    for case in cases:
        sizes.setdefault((case.problem, case.name), []).append(case.tokens)
    return [
        f"left out, for the time was used up: {name}: {problem}, n = "
        + ", ".join(f"{each:,}" for each in tokens)
        for (problem, name), tokens in sizes.items()
    ]


def check_device() -> None:
    """Raise `RuntimeError` where the fused kernels cannot run here, and say what is missing."""
    torch = machine.installed("torch")
    if torch is None:
        raise RuntimeError("--gpu: torch is not installed")
    if not torch.cuda.is_available():
        raise RuntimeError("--gpu: torch sees no CUDA device")
    from fastattn_lite.kernels import support

    if (missing := support.why_not_device(torch.device("cuda"))) is not None:
        raise RuntimeError(f"--gpu: {missing}")


def run(
    plan: Plan,
    report: Callable[[str], None],
    notice: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    earlier: Samples | None = None,
    store: Callable[[Samples], object] = lambda _: None,
) -> Survey:
    """Return the samples of a plan; `report` hears of each case before it starts.

    `earlier` are samples of the same machine: what they hold is kept, and not measured again.
    `store` is given what there is after each problem, so that a run that ends early is not lost.
    Raises `RuntimeError` where there is no device for it.
    Chapter: complexity_scaling.
    """
    check_device()
    from fastattn_lite import gpu_calls

    budget = Budget(plan.budget, clock)

    def measure(case: Case) -> Samples:
        return gpu_calls.measure(case, plan.repeats)

    earlier = earlier or []
    survey = Survey(gpu_calls.check, measure, budget, notice, [*earlier], Times(earlier))
    report(f"{PRODUCT} and {COPY}")
    if not earlier:
        survey.samples += gpu_calls.peaks(plan.repeats)
    for problem, cases in itertools.groupby(plan.cases(), operator.attrgetter("problem")):
        for case in cases:
            report(str(case))
            survey.take(case)
        if problem.is_race:
            report(f"crossover: {problem}")
            close_in(survey, plan, problem)
        store(survey.samples)
    for line in left_out_lines(survey.left_out):
        notice(line)
    return survey


def close_in(survey: Survey, plan: Plan, problem: Problem) -> None:
    """Measure sizes around the crossovers, of calls and in a graph, each halfway between two."""
    for how in ("", IN_GRAPH):
        tried = set[int]()
        while (tokens := halfway(Times(survey.samples), problem, how)) is not None:
            if tokens in tried:  # it could not be measured
                break
            tried.add(tokens)
            for name in RACERS:
                survey.take(Case(problem, name, tokens, plan.heads_for(tokens, problem)))


def halfway(times: Times, problem: Problem, how: str) -> int | None:
    """Return a size between those around a crossover; `None` where they are near or none is."""
    pair = crossing(speed_ups(times, problem, how))
    if pair is None or pair[1] <= NARROW * pair[0]:
        return None
    return 64 * round(math.sqrt(pair[0] * pair[1]) / 64)


def findings(samples: Samples) -> dict[str, Finding]:
    """Return what follows from the samples; goals are those set for an H200."""
    times, found = Times(samples), peak_findings(samples)
    product = found["product"].value if "product" in found else None
    for is_trained in (False, True):
        for dim in (64, 32, 128, 16):
            for order in (2, 1, 3):
                for is_causal in (False, True):
                    problem = Problem(dim, order, is_causal, is_trained, ())
                    found |= _findings_of(times, problem, product)
    copy = found["copy"].value if "copy" in found else None
    for dim, order in ((64, 2), (32, 2), (128, 2), (64, 1), (32, 3)):
        found |= decode_findings(times, Problem(dim, order, False, False, (), is_decode=True), copy)
    return found


def _findings_of(times: Times, problem: Problem, product: float | None) -> dict[str, Finding]:
    fused = times.of("fused", problem)
    found = error_findings(times.samples, problem) | memory_findings(times.samples, problem)
    if problem.order == 2 and fused:
        found |= race_findings(times, problem)
    if GOAL_TOKENS in fused and product is not None and not problem.is_trained:
        found |= share_finding(fused[GOAL_TOKENS], problem, product)
    if all(tokens in fused for tokens in SLOPE_TOKENS):
        found |= slope_findings(fused, times.clocks(problem), problem)
    if problem.is_trained and problem.order == 2:
        found |= training_findings(times, problem)
    linear = times.of(LINEAR, problem)
    if GOAL_TOKENS in fused and GOAL_TOKENS in linear:
        found[_key("linear", problem)] = Finding(
            f"{problem}: time over that of fla's plain linear attention at n = {GOAL_TOKENS:,}",
            fused[GOAL_TOKENS] / linear[GOAL_TOKENS],
            "1",
            None if problem.is_trained else LINEAR_GOAL,
        )
    return found


def decode_findings(times: Times, problem: Problem, copy: float | None) -> dict[str, Finding]:
    """Return what follows for one token: the race, and the bytes that it moves a second."""
    fused = times.of("fused", problem)
    found = error_findings(times.samples, problem) | memory_findings(times.samples, problem)
    if problem.order == 2 and fused:
        found |= race_findings(times, problem)
    fused, heads = times.of("fused", problem, IN_GRAPH) or fused, times.heads("fused", problem)
    traffic = stream_bytes(problem.dim, problem.order)
    for word, tokens in DECODE_TOKENS.items():
        if tokens in fused and tokens in heads and copy is not None:
            found[_key(f"traffic{word}", problem)] = Finding(
                f"{problem}: bytes of a token a second with {heads[tokens]:,} streams, "
                "share of the plain copy (goal: H200)",
                traffic / fused[tokens] / copy,
                "1",
                TRAFFIC_GOAL if (problem.dim, problem.order) == (64, 2) else None,
                "at least",
            )
    return found


def training_findings(times: Times, problem: Problem) -> dict[str, Finding]:
    """Return the time of forward and backward, and how their extra memory grows with n."""
    found, heads = dict[str, Finding](), times.heads("fused", problem)
    goal = TRAINING_GOALS.get((problem.dim, problem.is_causal))
    if goal is not None and heads.get(GOAL_TOKENS) == Plan().heads:
        seconds = times.of("fused", problem)[GOAL_TOKENS] * heads[GOAL_TOKENS]
        text = f"{problem}: time of {heads[GOAL_TOKENS]} heads at n = {GOAL_TOKENS:,} (goal: H200)"
        found[_key("time", problem)] = Finding(text, seconds, "s", goal)
    memory = times.memory("fused", problem)
    sizes = [tokens for tokens, size in memory.items() if tokens >= GOAL_TOKENS and size > 0]
    if GOAL_TOKENS in sizes and len(sizes) > 1:
        text = f"{problem}: log-log slope of peak memory above inputs and results a head, n from "
        growth = slope(sizes, [memory[tokens] for tokens in sizes])
        found[_key("memory_slope", problem)] = Finding(
            f"{text}{GOAL_TOKENS:,} to {max(sizes):,}", growth, "1", MEMORY_SLOPE_GOAL
        )
    return found


def _key(word: str, problem: Problem) -> str:
    direction = "training" if problem.is_trained else "forward"
    which = "decode" if problem.is_decode else f"{problem.form}_{direction}"
    return f"{word}_d{problem.dim}_order{problem.order}_{which}"


def _crossover_goal(problem: Problem) -> int | None:
    if problem.is_decode:
        return DECODE_CROSSOVER_GOAL if problem.dim == 64 else None
    is_timed = not problem.is_trained
    return CROSSOVER_GOALS.get((problem.dim, problem.is_causal)) if is_timed else None


def peak_findings(samples: Samples) -> dict[str, Finding]:
    """Return what the device reaches in a plain product and a plain copy, as measured here."""
    found: dict[str, Finding] = {}
    for sample in samples:
        rows, columns, values = sample["tokens"], sample["dim"], sample["values"]
        if sample["what"] == PRODUCT:
            rate = 2 * rows * columns**2 / statistics.median(values)
            text = f"a plain bf16 product of {rows:,} x {columns:,} matrices"
            found["product"] = Finding(text, rate, "flop/s")
        if sample["what"] == COPY:
            rate = 2 * 2 * rows * columns / statistics.median(values)
            found["copy"] = Finding("a plain copy, bytes read and written", rate, "byte/s")
    return found


def race_findings(times: Times, problem: Problem) -> dict[str, Finding]:
    """Return crossovers with the faster softmax backend, and each speed-up at 65,536 tokens."""
    fused, found, key = times.of("fused", problem), dict[str, Finding](), _key("", problem)
    for word, how in (("crossover", ""), ("crossover_graph", IN_GRAPH)):
        found |= crossover_finding(times, problem, word, how)
    for name in (*SOFTMAX, *PAIRWISE, "array"):
        seconds = times.of(name, problem)
        if GOAL_TOKENS in seconds and GOAL_TOKENS in fused:
            found[f"speedup_{name}{key}"] = Finding(
                f"{problem}: speed-up over {name} at n = {GOAL_TOKENS:,} (goal: H200)",
                seconds[GOAL_TOKENS] / fused[GOAL_TOKENS],
                "1",
                RATIO_GOALS.get((name, problem.direction, problem.dim, problem.is_causal)),
                "at least",
            )
    return found


def speed_ups(times: Times, problem: Problem, how: str) -> dict[int, float]:
    """Return the time of the faster softmax backend over that of the kernels, by tokens."""
    fused, best = times.of("fused", problem, how), dict[int, float]()
    for name in SOFTMAX:
        for tokens, seconds in times.of(name, problem, how).items():
            best[tokens] = min(seconds, best.get(tokens, math.inf))
    return {tokens: best[tokens] / fused[tokens] for tokens in best.keys() & fused.keys()}


def crossover_finding(times: Times, problem: Problem, word: str, how: str) -> dict[str, Finding]:
    """Return from how many tokens the kernels are faster than softmax; None if they never are."""
    ratios = speed_ups(times, problem, how)
    if not ratios:
        return {}
    tokens = crossover(ratios)
    text = f"{problem}: crossover with the faster of FlashAttention and cuDNN{how} (goal: H200)"
    value = None if tokens is None else round(tokens)
    return {word + _key("", problem): Finding(text, value, "tokens", _crossover_goal(problem))}


def share_finding(seconds: float, problem: Problem, product: float) -> dict[str, Finding]:
    """Return least flops 4 n R (d + 1) a second over those of the plain product."""
    flops = fast_flops(GOAL_TOKENS, problem.dim, problem.order)
    goal = PEAK_GOALS.get((problem.dim, problem.is_causal)) if problem.order == 2 else None
    text = f"{problem}: least flops, share of the plain product, n = {GOAL_TOKENS:,} (goal: H200)"
    share = flops / seconds / product
    return {_key("share", problem): Finding(text, share, "1", goal, "at least")}


def slope_findings(
    fused: dict[int, float], clocks: dict[int, float], problem: Problem
) -> dict[str, Finding]:
    """Return the slope of log time a head against log n, and its distance from 1.

    Under a long load a device may lower its clock: the slope of cycles leaves that out.
    """
    low, high = SLOPE_TOKENS
    sizes = [tokens for tokens in fused if low <= tokens <= high]
    found, span = dict[str, Finding](), f"n from {low:,} to {high:,}"
    if all(tokens in clocks for tokens in sizes):
        cycles = slope(sizes, [fused[tokens] * clocks[tokens] for tokens in sizes])
        text = f"{problem}: log-log slope of clock cycles a head, {span}"
        found[_key("slope_cycles", problem)] = Finding(text, cycles, "1")
    of_time = slope(sizes, [fused[tokens] for tokens in sizes])
    text = f"{problem}: log-log slope of time a head, {span}"
    goal = SLOPE_GOAL if problem.order == 2 and not problem.is_trained else None
    return found | {
        _key("slope", problem): Finding(text, of_time, "1"),
        _key("slope_distance", problem): Finding(
            f"{problem}: distance of that slope from 1 (goal: H200)", abs(of_time - 1), "1", goal
        ),
    }


def slope(sizes: list[int], values: list[float]) -> float:
    """Return the slope of the line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def error_findings(samples: Samples, problem: Problem) -> dict[str, Finding]:
    """Return the error of the fused kernels over that of the plain bf16 formula, at its largest."""
    errors = {
        (sample["what"], sample["tokens"], sample["heads"]): sample["values"][0]
        for sample in samples
        if sample["unit"] == "1" and _is_of(sample, problem)
    }
    names = [f"{name}, {problem.direction}, error" for name in ("fused", "plain bf16 formula")]
    sizes = [size for what, *size in errors if what == names[0] and (names[1], *size) in errors]
    pairs = [tuple(errors[name, *size] for name in names) for size in sizes]
    if not pairs:
        return {}
    fused, plain = max(pairs, key=lambda pair: pair[0] / pair[1])
    text = f"{problem}: error over that of the plain bf16 formula ({fused:.1e} / {plain:.1e})"
    return {_key("error", problem): Finding(text, fused / plain, "1", 1.0)}


def memory_findings(samples: Samples, problem: Problem) -> dict[str, Finding]:
    """Return the peak memory at 65,536 tokens above inputs and results."""
    return {
        _key("memory", problem): Finding(
            f"{problem}: peak memory above inputs and results, {sample['heads']} heads, "
            f"n = {GOAL_TOKENS:,}",
            sample["values"][0] / 2**20,
            "MiB",
        )
        for sample in samples
        if sample["what"] == f"fused, {problem.direction}{MEMORY}"
        and sample["tokens"] == GOAL_TOKENS
        and _is_of(sample, problem)
    }
