"""How fast a step can run: its flops and bytes, the two speeds of a machine, and what was reached.

    rate of a step <= min(peak rate, intensity * bandwidth),   intensity = flops / bytes

The work of a step is counted, the two speeds of a CPU are measured here, and those of a GPU stand
in the stored results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastattn_lite._arrays import check_count, check_real
from fastattn_lite.benchmark import Case, Finding, Measurements
from fastattn_lite.complexity import Timing, direct_flops, measure, moment_numbers
from fastattn_lite.expansion import taylor
from fastattn_lite.factorization import feature_weights, monomial_features, number_of_features
from fastattn_lite.moments import Moments

MOMENT_BYTES = 4
"""Moments are float32, whatever the tokens are."""
PRODUCT_SIZE = 1536
COPY_NUMBERS = 2**24


@dataclass(frozen=True)
class Work:
    """What a step does: floating-point operations, and bytes to and from main memory."""

    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        """Flops for each byte."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class Roof:
    """The two speeds of a machine: flops a second at most, bytes a second at most."""

    peak: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """The intensity from which on arithmetic is what bounds a step."""
        return self.peak / self.bandwidth

    def attainable(self, intensity: float) -> float:
        """Return the largest rate of a step of this intensity.

        Formula: min(peak, intensity * bandwidth). Units: flops a second. Cost: O(1).
        Raises `TypeError` or `ValueError` where the intensity is no positive number.
        Equation: eq-roofline (chapter gpu_evaluation).
        """
        intensity = check_real("intensity", intensity, positive=True)
        return min(self.peak, intensity * self.bandwidth)

    def least_seconds(self, work: Work) -> float:
        """Return the time that no program can beat.

        Formula: max(flops / peak, bytes / bandwidth). Units: seconds. Cost: O(1).
        Equation: eq-least-time (chapter gpu_evaluation).
        """
        return max(work.flops / self.peak, work.bytes / self.bandwidth)


def step_work(
    tokens: int,
    dim: int,
    order: int,
    value_dim: int | None = None,
    *,
    number_bytes: int = 4,
    is_stored: bool = False,
) -> Work:
    """Return the work of one step of one head: accumulating the moments, or evaluating them.

    Formula: 2 n R (d_v + 1) flops; b n (d + d_v) + 4 R (d_v + 1) bytes, and 2 b n R more where
    the features are stored in memory and read again (`is_stored`). b = `number_bytes`, d_v = d
    unless given; moments are float32. Cost: O(1). Forming the features is not counted.
    Raises `TypeError` or `ValueError` naming the argument that does not fit.
    Equation: eq-intensity (chapter gpu_evaluation).
    """
    tokens = check_count("tokens", tokens, least=1)
    number_bytes = check_count("number_bytes", number_bytes, least=1)
    moments, width = moment_numbers(dim, order, value_dim), value_dim or dim
    traffic = number_bytes * tokens * (dim + width) + MOMENT_BYTES * moments
    if is_stored:
        traffic += 2 * number_bytes * tokens * number_of_features(dim, order)
    return Work(2 * tokens * moments, traffic)


def direct_work(tokens: int, dim: int, *, number_bytes: int = 4, is_causal: bool = False) -> Work:
    """Return the work of direct attention in one fused kernel, of one head, with d_v = d.

    Formula: 4 n^2 d flops, half of them where `is_causal`; 4 b n d bytes: queries, keys and
    values in, outputs out, and no table of scores. Cost: O(1). Errors as in `step_work`.
    Chapter: gpu_evaluation.
    """
    tokens = check_count("tokens", tokens, least=1)
    number_bytes = check_count("number_bytes", number_bytes, least=1)
    return Work(direct_flops(tokens, dim, is_causal=is_causal), 4 * number_bytes * tokens * dim)


def measure_roof(*, repeats: int = 5) -> Roof:
    """Return the two speeds of this CPU for float32, as NumPy reaches them.

    The peak is that of a product of two matrices, the bandwidth that of a copy (a number read and
    a number written), each in the least of its measured times. Takes about a second.
    Chapter: gpu_evaluation.
    """
    random = np.random.default_rng(0)
    left, right = random.standard_normal((2, PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    product = np.empty_like(left)
    source = np.ones(COPY_NUMBERS, dtype=np.float32)
    target = np.zeros_like(source)
    multiply, copy = measure(
        lambda: np.matmul(left, right, out=product),
        lambda: np.copyto(target, source),
        repeats=repeats,
    )
    return Roof(2 * PRODUCT_SIZE**3 / multiply.least, 2 * source.nbytes / copy.least)


def step_functions(tokens: int, dim: int, order: int = 2) -> dict[str, Callable[[], Any]]:
    """Return both steps in two forms as calls, on random float32 tokens: what `measure` times.

    The names are "accumulate: features stored", "accumulate: in chunks" and the same of
    "evaluate". Chapter: gpu_evaluation.
    """
    random = np.random.default_rng(0)
    query, key, value = random.uniform(-0.5, 0.5, (3, tokens, dim)).astype(np.float32)
    with_one = np.concatenate([value, np.ones_like(value[:, :1])], axis=1)
    expansion = taylor(order)
    weights = feature_weights(expansion, dim).astype(np.float32)[:, None]
    moments = Moments.accumulate(key, value, order=order)

    def evaluate_stored() -> Any:
        sums = monomial_features(query, order) @ (weights * moments.sums)
        return sums[:, :-1] / sums[:, -1:]

    return {
        "accumulate: features stored": lambda: monomial_features(key, order).T @ with_one,
        "accumulate: in chunks": lambda: Moments.accumulate(key, value, order=order).sums,
        "evaluate: features stored": evaluate_stored,
        "evaluate: in chunks": lambda: moments.evaluate(query, expansion),
    }


def measure_steps(tokens: int, dim: int, order: int = 2, *, repeats: int = 5) -> dict[str, Timing]:
    """Return the times of `step_functions` by their names.

    Chapter: gpu_evaluation.
    """
    steps = step_functions(tokens, dim, order)
    return dict(zip(steps, measure(*steps.values(), repeats=repeats), strict=True))


def measurements(tokens: int, dims: Sequence[int], *, repeats: int) -> Measurements:
    """Return the two speeds of this CPU and the times of both steps, as a result holds them.

    Chapter: gpu_evaluation.
    """
    roof = measure_roof(repeats=repeats)
    findings = {
        "peak": Finding("product of two float32 matrices", roof.peak, "flop/s"),
        "bandwidth": Finding("copy of float32 numbers", roof.bandwidth, "byte/s"),
    }
    samples = [
        Case("numpy", tokens, dim).sample(what, timing.seconds) | {"heads": 1, "number_bytes": 4}
        for dim in dims
        for what, timing in measure_steps(tokens, dim, repeats=repeats).items()
    ]
    return Measurements(samples, findings)


def sample_work(sample: dict[str, Any]) -> Work:
    """Return the work of all heads of a measured sample whose name begins with its step.

    The steps are "accumulate", "evaluate", "forward" (both) and "softmax"; where the name says
    "features stored", the features pass through memory. Raises `ValueError` for another name.
    Chapter: gpu_evaluation.
    """
    step, _, design = sample["what"].partition(":")
    if step not in ("accumulate", "evaluate", "forward", "softmax"):
        raise ValueError(f"what: expected the name of a step, got {sample['what']!r}")
    tokens, dim, size = sample["tokens"], sample["dim"], sample["number_bytes"]
    heads = sample["heads"]
    if step == "softmax":
        work = direct_work(tokens, dim, number_bytes=size, is_causal=sample["is_causal"])
    else:
        is_stored = "features stored" in design
        order = sample["order"]
        work = step_work(tokens, dim, order, number_bytes=size, is_stored=is_stored)
        heads *= 2 if step == "forward" else 1
    return Work(heads * work.flops, heads * work.bytes)


def roof_of(result: dict[str, Any]) -> Roof:
    """Return the two speeds that a stored result names in its summary.

    Chapter: gpu_evaluation.
    """
    speeds = (result["summary"][name]["value"] for name in ("peak", "bandwidth"))
    return Roof(*speeds)
