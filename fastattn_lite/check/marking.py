"""How an answer is marked: a verdict and a hint, never an exception, never the solution."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Function = Callable[..., Any]
Mistakes = list[tuple[Any, str]]
"""Wrong outcomes that readers reach, each with its hint."""
Inputs = ParamSpec("Inputs")

AGREES = 1e-9
"""Largest difference, relative to the size of the answer, that counts as the same number."""
SINGLE = 1e-5
"""Within this the answer is right, but was computed with 32 bits or by an approximation."""
ROUNDED = "Compute with 64 bits (float64) from the first step to the last."


@dataclass(frozen=True)
class CheckResult:
    """The verdict on an answer, and one sentence that helps; true exactly when it is correct."""

    passed: bool
    hint: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{'correct' if self.passed else 'not yet'}: {self.hint}"


def check_equal(old: Any, new: Any, tolerance: float = 1e-12) -> None:
    """Print whether two forms of the same quantity agree, and assert that they do.

    Formula: max |old - new| < tolerance, for numbers or arrays of the same shape.
    Raises `AssertionError` where they differ.
    """
    first, second = np.asarray(old), np.asarray(new)
    assert first.shape == second.shape, f"the shapes differ: {first.shape} and {second.shape}"
    agrees = bool(np.all(np.abs(first - second) < tolerance))
    print(f"difference < {tolerance:g}: {agrees}")
    assert agrees, f"the two forms differ by {np.max(np.abs(first - second)):.3g}"


def show_source(function: Function) -> None:
    """Print the text of a function as it stands in the package, without its docstring."""
    text = inspect.cleandoc("\n" + inspect.getsource(function))
    documentation = function.__doc__
    if documentation:
        start = text.index('"""')
        end = text.index('"""', start + 3) + 3
        text = text[:start].rstrip() + text[end:]
    print(text)


class NotYetError(Exception):
    """The answer is wrong; the message is the hint."""


def marks(check: Callable[Inputs, str]) -> Callable[Inputs, CheckResult]:
    """Turn a check that returns praise or raises `NotYetError` into one that returns a verdict."""

    @functools.wraps(check)
    def marked(*args: Inputs.args, **kwargs: Inputs.kwargs) -> CheckResult:
        try:
            return CheckResult(True, check(*args, **kwargs))
        except NotYetError as wrong:
            return CheckResult(False, str(wrong))

    return marked


def answer_of(function: Any, *inputs: Any) -> Any:
    """Return what the reader's function makes of copies of the inputs."""
    if not callable(function):
        raise NotYetError(f"expected a function, got {kind_of(function)}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = function(*copy.deepcopy(inputs))
    except (Exception, SystemExit) as error:
        message = f"your function raised {type(error).__name__}: {error}"
        raise NotYetError(message) from None
    if answer is None:
        raise NotYetError("your function returns nothing: does it end in `return`?")
    if answer is Ellipsis:
        raise NotYetError("the blank `...` is still there: put your answer in its place.")
    return answer


def floats_of(answer: Any) -> Floats:
    """Return the answer as numbers, which may be infinite; a tensor loses its gradient."""
    try:
        return np.asarray(getattr(answer, "detach", lambda: answer)(), dtype=np.float64)
    except (TypeError, ValueError):
        raise NotYetError(f"expected numbers, got {kind_of(answer)}.") from None


def array_of(answer: Any, shape: tuple[int, ...]) -> Floats:
    """Return the answer as finite numbers of that shape."""
    array = floats_of(answer)
    if array.shape != shape:
        expected = f"the shape {shape}" if shape else "one number"
        raise NotYetError(f"expected {expected}, got the shape {array.shape}.")
    if not np.all(np.isfinite(array)):
        raise NotYetError(
            "some of your numbers are infinite or not a number (nan): is something divided by 0, "
            "does exp overflow, or is a slice empty?"
        )
    return array


def number_of(answer: Any) -> float:
    """Return the answer as one finite number."""
    return float(array_of(answer, ()))


def kind_of(answer: Any) -> str:
    """Return in words what the answer is."""
    return "nothing" if answer is None else f"a value of type {type(answer).__name__}"


def same(answer: Any, expected: Any, within: float = 0.0, agrees: float = AGREES) -> bool:
    """Say whether all numbers agree to round-off, or to `within`."""
    expected = np.asarray(expected, dtype=np.float64)
    allowed = within + agrees * (1 + np.abs(expected))
    return bool(np.all(np.abs(np.asarray(answer) - expected) <= allowed))


def judge(
    answer: Any,
    right: Any,
    mistakes: Mistakes,
    otherwise: str,
    *,
    within: float = 0.0,
    nearly: float = SINGLE,
    rounded: str = ROUNDED,
) -> None:
    """Raise the hint of the first known mistake that gives this answer, unless it is right.

    An answer that is right within `nearly` gets the hint `rounded`.
    """
    if same(answer, right, within):
        return
    for outcome, hint in mistakes:
        if same(answer, outcome, within):
            raise NotYetError(hint)
    if same(answer, right, within, nearly):
        raise NotYetError(f"nearly: the first digits are right, the last are not. {rounded}")
    raise NotYetError(otherwise)


def small_tokens(seed: int, tokens: int, dim: int, value_dim: int) -> Sequence[Floats]:
    """Return queries, keys and values with scores in (-1/2, 1/2), so that 1 + s is positive."""
    rng = np.random.default_rng(seed)
    bound = math.sqrt(0.5 / dim)
    return [
        rng.uniform(-bound, bound, (tokens, dim)),
        rng.uniform(-bound, bound, (tokens, dim)),
        rng.normal(size=(tokens, value_dim)),
    ]


def peak_bytes(function: Function, *inputs: Any) -> int:
    """Return how much memory a call of the reader's function takes at most.

    It counts what NumPy has at a time or, where that is more, the largest tensor of torch.
    """
    if "torch" not in sys.modules:
        return _traced_bytes(function, *inputs)
    from fastattn_lite.check.torch_memory import LargestTensor

    with LargestTensor() as tensors:  # a call of its own: what torch loads here is not the reader's
        answer_of(function, *inputs)
    return max(_traced_bytes(function, *inputs), tensors.bytes)


def _traced_bytes(function: Function, *inputs: Any) -> int:
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    answer_of(function, *inputs)
    peak = tracemalloc.get_traced_memory()[1]
    if not was_tracing:
        tracemalloc.stop()
    return peak - before
