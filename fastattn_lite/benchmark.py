"""Measure the array path: against plain matrix products, in memory, in n, and against torch.

What is compared is timed in one run and in turn, because absolute times mean little on a shared
machine. A ratio is one of least times: what else runs can only make a time longer, and on two
cores of a shared machine it makes it twice as long for seconds on end. Medians and spread stand in
the table. Order 2, float32. Every case is first checked against the direct sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastattn_lite import machine
from fastattn_lite.attention import fast_attention
from fastattn_lite.complexity import Timing, measure, peak_memory
from fastattn_lite.expansion import taylor
from fastattn_lite.factorization import number_of_features
from fastattn_lite.reference import kernel_attention

ORDER = 2
DIM = 64
GOAL_TOKENS = 65_536
CHECK_TOKENS = 2_500
CHECK_TOLERANCE = 1e-4
MOST_TIMES = 8
"""A short size of the race is timed at most so many times as often as the longest."""
PAR_GOALS = {32: 2_048, 64: 4_096}
"""From how many tokens the full form on torch should beat torch's own attention, by d."""


@dataclass(frozen=True)
class Plan:
    """What a run measures: sizes, libraries, repeats."""

    tokens: int = GOAL_TOKENS
    race_tokens: tuple[int, ...] = (512, 1024, 2048, 4096, 8192, 16_384)
    repeats: int = 9
    libraries: tuple[str, ...] = machine.LIBRARIES

    def steps(self) -> int:
        """Return how many reports of progress a run makes."""
        race = 4 * len(self.race_tokens) if "torch" in self.libraries else 0
        return 8 * len(self.libraries) + race

    def race_repeats(self, tokens: int) -> int:
        """Return how often a size of the race is timed: short ones more often.

        Otherwise a disturbance that lasts for part of a second would meet all calls of a size.
        """
        return self.repeats * min(MOST_TIMES, max(1, max(self.race_tokens) // tokens))


@dataclass(frozen=True)
class Case:
    """One problem: an array library, its sizes, and whether it is causal."""

    library: str
    tokens: int
    dim: int = DIM
    is_causal: bool = False

    @property
    def form(self) -> str:
        """The word for the mask."""
        return "causal" if self.is_causal else "full"

    def inputs(self) -> tuple[Any, Any, Any]:
        """Return query, key and value, of shape (1, 1, tokens, dim), the same each time."""
        random = np.random.default_rng(0)
        shape = (1, 1, self.tokens, self.dim)
        query, key, value = (random.standard_normal(shape, dtype=np.float32) for _ in range(3))
        return self.array(query), self.array(key), self.array(value)

    def array(self, numbers: Any) -> Any:
        """Return the numbers as an array of the library."""
        return (
            numbers if self.library == "numpy" else machine.installed("torch").from_numpy(numbers)
        )

    def fast(self) -> Callable[[], Any]:
        """Return the call of fast attention."""
        query, key, value = self.inputs()
        return lambda: fast_attention(query, key, value, order=ORDER, is_causal=self.is_causal)

    def products(self) -> Callable[[], Any]:
        """Return the two plain products of the same flops: features as one matrix, already made.

        They are Phi^T [V, 1] and Phi M, with Phi of shape (n, R).
        """
        random, features = np.random.default_rng(0), number_of_features(self.dim, ORDER)
        shapes = [(self.tokens, features), (self.tokens, self.dim + 1), (features, self.dim + 1)]
        arrays = [self.array(random.standard_normal(shape, dtype=np.float32)) for shape in shapes]
        phi, extended, moments = arrays
        return lambda: (phi.T @ extended, phi @ moments)

    def torch_attention(self) -> Callable[[], Any]:
        """Return the call of torch's own softmax attention."""
        query, key, value = self.inputs()
        attention = machine.installed("torch").nn.functional.scaled_dot_product_attention
        return lambda: attention(query, key, value, is_causal=self.is_causal)

    def sample(self, what: str, values: Sequence[float], unit: str = "s") -> dict[str, Any]:
        """Return a measured series as a stored result holds it."""
        return {
            "what": what,
            "library": self.library,
            "is_causal": self.is_causal,
            "tokens": self.tokens,
            "dim": self.dim,
            "order": ORDER,
            "unit": unit,
            "values": list(values),
        }


@dataclass(frozen=True)
class Finding:
    """One number that follows from the samples, with its goal where it has one."""

    text: str
    value: float | None
    unit: str
    goal: float | None = None
    goal_is: str = "at most"

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        if self.value is None:
            return False
        return self.value <= self.goal if self.goal_is == "at most" else self.value >= self.goal

    def entry(self) -> dict[str, Any]:
        """Return the finding as a stored result holds it."""
        entry: dict[str, Any] = {"text": self.text, "value": self.value, "unit": self.unit}
        return entry if self.goal is None else entry | {"goal": self.goal, "goal_is": self.goal_is}


@dataclass
class Measurements:
    """The samples of a run and what follows from them."""

    samples: list[dict[str, Any]]
    findings: dict[str, Finding]

    def add(self, case: Case, what: str, timing: Timing) -> None:
        """Keep a series of times."""
        self.samples.append(case.sample(what, timing.seconds))


def run(plan: Plan, report: Callable[[str], None]) -> Measurements:
    """Return all measurements of a plan; `report` hears of each step before it starts.

    Raises `RuntimeError` where fast attention disagrees with the direct sum.
    Chapter: complexity_scaling.
    """
    measured = Measurements([], {})
    for library in plan.libraries:
        for part in (_against_products, _memory, _growth):
            part(plan, library, measured, report)
    if "torch" in plan.libraries:
        for dim in PAR_GOALS:
            for is_causal in (False, True):
                _race(plan, dim, is_causal, measured, report)
    return measured


def check_against_direct_sum(case: Case) -> None:
    """Raise `RuntimeError` unless fast attention agrees with the direct sum in float64."""
    small = Case(case.library, min(case.tokens, CHECK_TOKENS), case.dim, case.is_causal)
    exact = [np.asarray(x, dtype=np.float64) for x in small.inputs()]
    expected = kernel_attention(*exact, expansion=taylor(ORDER), is_causal=case.is_causal)
    error = float(np.max(np.abs(np.asarray(small.fast()()) - expected)))
    if not error <= CHECK_TOLERANCE:
        raise RuntimeError(
            f"{small}: fast attention differs from the direct sum by {error:.1e}, "
            f"expected at most {CHECK_TOLERANCE:.0e}; nothing was timed"
        )


def _cases(plan: Plan, library: str) -> Iterator[Case]:
    for is_causal in (False, True):
        yield Case(library, plan.tokens, is_causal=is_causal)


def _against_products(
    plan: Plan, library: str, measured: Measurements, report: Callable[[str], None]
) -> None:
    """Time fast attention and plain products of the same flops in turn."""
    for case, limit in zip(_cases(plan, library), (1.5, 2.2), strict=True):
        report(f"{library}, {case.form}: against the direct sum")
        check_against_direct_sum(case)
        report(f"{library}, {case.form}: against matrix products, n = {case.tokens:,}")
        plain, fast = measure(case.products(), case.fast(), repeats=plan.repeats)
        measured.add(case, "matrix products", plain)
        measured.add(case, "fast_attention", fast)
        measured.findings[f"products_{library}_{case.form}"] = Finding(
            f"{library}, {case.form}: time over that of plain matrix products",
            fast.least / plain.least,
            "1",
            limit if plan.tokens == GOAL_TOKENS else None,
        )


def _memory(
    plan: Plan, library: str, measured: Measurements, report: Callable[[str], None]
) -> None:
    """Find the peak memory above inputs and output in a process of its own."""
    for case in _cases(plan, library):
        report(f"{library}, {case.form}: peak memory")
        setup = f"from fastattn_lite.benchmark import Case; Case({library!r}, 16).fast()()"
        setup += f"; call = Case({library!r}, {case.tokens}, is_causal={case.is_causal}).fast()"
        output = 4 * case.tokens * case.dim
        extra = max(0, peak_memory(setup, "output = call()") - output)
        measured.samples.append(case.sample("fast_attention, peak memory", [extra], "byte"))
        measured.findings[f"memory_{library}_{case.form}"] = Finding(
            f"{library}, {case.form}: peak memory above inputs and output",
            extra / 2**20,
            "MiB",
            256 if plan.tokens == GOAL_TOKENS else None,
        )


def _growth(
    plan: Plan, library: str, measured: Measurements, report: Callable[[str], None]
) -> None:
    """Time n = tokens/8, /4, /2 and tokens in turn."""
    for case in _cases(plan, library):
        report(f"{library}, {case.form}: doublings of n")
        sizes = [max(1, case.tokens >> shift) for shift in (3, 2, 1, 0)]
        cases = [Case(library, size, is_causal=case.is_causal) for size in sizes]
        timings = measure(*(each.fast() for each in cases), repeats=plan.repeats)
        for each, timing in zip(cases, timings, strict=True):
            measured.add(each, "fast_attention, doublings", timing)
        steps = [timings[i + 1].least / timings[i].least for i in range(3)]
        measured.findings[f"growth_{library}_{case.form}"] = Finding(
            f"{library}, {case.form}: largest growth of time as n doubles, "
            f"from {sizes[0]:,} to {sizes[-1]:,}",
            max(steps),
            "1",
            2.2 if plan.tokens == GOAL_TOKENS else None,
        )


def _race(
    plan: Plan, dim: int, is_causal: bool, measured: Measurements, report: Callable[[str], None]
) -> None:
    """Time fast attention and torch's softmax attention in turn, size by size."""
    ratios: dict[int, float] = {}
    for tokens in plan.race_tokens:
        case = Case("torch", tokens, dim, is_causal)
        report(f"torch, {case.form}, d = {dim}: against softmax attention, n = {tokens:,}")
        check_against_direct_sum(case)
        repeats = plan.race_repeats(tokens)
        direct, fast = measure(case.torch_attention(), case.fast(), repeats=repeats)
        measured.add(case, "scaled_dot_product_attention", direct)
        measured.add(case, "fast_attention", fast)
        ratios[tokens] = direct.least / fast.least
    measured.findings |= race_findings(ratios, dim, is_causal)


def race_findings(ratios: dict[int, float], dim: int, is_causal: bool) -> dict[str, Finding]:
    """Return the crossover and each speed-up; the issue's goals are those of the full form."""
    form = "causal" if is_causal else "full"
    crossing, longest = crossover(ratios), max(ratios)
    enough = not is_causal and longest >= 16_384
    found = {
        f"crossover_d{dim}_{form}": Finding(
            f"torch, {form}, d = {dim}: measured crossover with softmax attention",
            None if crossing is None else round(crossing),
            "tokens",
            PAR_GOALS[dim] if enough else None,
        )
    }
    for tokens, ratio in ratios.items():
        found[f"speedup_d{dim}_{form}_{tokens}"] = Finding(
            f"torch, {form}, d = {dim}: speed-up over softmax attention at n = {tokens:,}",
            ratio,
            "1",
            3.0 if enough and tokens == 16_384 else None,
            "at least",
        )
    return found


def crossing(ratios: dict[int, float]) -> tuple[int, int] | None:
    """Return the neighbouring sizes between which the speed-up comes to stay above 1, if any do."""
    sizes = sorted(ratios)
    slower = [size for size in sizes if ratios[size] < 1]
    if not slower or slower[-1] == sizes[-1]:
        return None
    return slower[-1], sizes[sizes.index(slower[-1]) + 1]


def crossover(ratios: dict[int, float]) -> float | None:
    """Return the number of tokens from which the speed-up stays above 1.

    Interpolated between two sizes, straight in log n and log ratio. None where the largest size
    is still slower; the smallest size, then an upper bound, where every size is faster.
    """
    pair = crossing(ratios)
    if pair is None:
        return None if ratios[max(ratios)] < 1 else float(min(ratios))
    left, right = pair
    below, above = math.log(ratios[left]), math.log(ratios[right])
    return left * (right / left) ** (below / (below - above))
