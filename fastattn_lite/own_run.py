"""A short measurement on the reader's own device, in the form of a stored result.

Softmax attention and the fast form in turn, over growing n: on a graphics card where torch sees
one, otherwise on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastattn_lite import machine
from fastattn_lite._arrays import check_flag
from fastattn_lite.attention import fast_attention
from fastattn_lite.complexity import measure
from fastattn_lite.reference import softmax_attention
from fastattn_lite.results import new_result, validate_result

FIRST_TOKENS = 256
REPEATS = 3
GROWTH = {"softmax": 4, "fast": 2}
"""By how much each form's time grows at most when n is doubled."""


@dataclass(frozen=True)
class _Place:
    """Where the run happens: NumPy, torch on the CPU, or torch on a graphics card."""

    library: str
    accelerator: str | None

    def arrays(self, tokens: int, dim: int) -> list[Any]:
        """Return query, key and value of one head, float32, the same each time."""
        shape = (3, 1, 1, tokens, dim)
        numbers = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        if self.library == "numpy":
            return list(numbers)
        torch = machine.installed("torch")
        target = "cuda" if self.accelerator else "cpu"
        return [torch.from_numpy(array).to(target) for array in numbers]

    def forms(self, order: int, is_causal: bool) -> dict[str, tuple[str, Callable[..., Any]]]:
        """Return by form what runs and how it is called."""
        torch = machine.installed("torch")
        softmax: Any = softmax_attention
        if self.library == "torch":
            softmax = torch.nn.functional.scaled_dot_product_attention
        return {
            "softmax": (softmax.__name__, lambda *x: softmax(*x, is_causal=is_causal)),
            "fast": (
                "fast_attention",
                lambda *x: fast_attention(*x, order=order, is_causal=is_causal),
            ),
        }

    def timed(self, call: Callable[[], Any]) -> Callable[[], None]:
        """Return the call, made to wait for the graphics card."""
        torch = machine.installed("torch")

        def run() -> None:
            call()
            if self.accelerator:
                torch.cuda.synchronize()

        return run

    def device(self) -> dict[str, Any]:
        """Return the machine as a stored result describes it."""
        found = machine.device()
        return found if self.accelerator is None else {**found, "processor": self.accelerator}


def own_run(
    *,
    dim: int = 64,
    order: int = 2,
    is_causal: bool = False,
    most_tokens: int = 16_384,
    seconds: float = 0.5,
) -> dict[str, Any]:
    """Return the times of softmax attention and of the fast form on this machine.

    n is 256, 512, ... up to `most_tokens`; a form leaves when its next run would take more than
    `seconds` by its growth. float32, one head. The result fits the schema of stored results, so
    that `ComplexityScaling(own=own_run())` draws it over them, and `save_result` stores it.
    Raises `TypeError` or `ValueError` as `fast_attention` does.
    Chapter: complexity_scaling.
    """
    place, is_causal = _place(), check_flag("is_causal", is_causal)
    samples = _samples(place, most_tokens, seconds, dim=dim, order=order, is_causal=is_causal)
    shown = f"{dim=}, {order=}, {is_causal=}"
    title = f"A short run with {shown}, float32"
    command = f"fastattn_lite.own_run.own_run({shown}, {most_tokens=}, {seconds=})"
    result = new_result("own_run", title, command, samples) | {"device": place.device()}
    validate_result(result)
    return result


def _place() -> _Place:
    torch = machine.installed("torch")
    if torch is None:
        return _Place("numpy", None)
    has_cuda = bool(torch.cuda.is_available())
    return _Place("torch", torch.cuda.get_device_name(0) if has_cuda else None)


def _samples(
    place: _Place, most_tokens: int, seconds: float, *, dim: int, order: int, is_causal: bool
) -> Iterator[dict[str, Any]]:
    latest = dict.fromkeys(GROWTH, 0.0)
    tokens = FIRST_TOKENS
    while tokens <= most_tokens:
        inputs = place.arrays(tokens, dim)
        for form, (what, call) in place.forms(order, is_causal).items():
            if latest[form] * GROWTH[form] > seconds:
                latest[form] = math.inf
                continue
            (timing,) = measure(place.timed(lambda c=call, x=inputs: c(*x)), repeats=REPEATS)
            latest[form] = timing.least
            yield {
                "what": what,
                "library": place.library,
                "is_causal": is_causal,
                "tokens": tokens,
                "dim": dim,
                "order": order,
                "unit": "s",
                "values": list(timing.seconds),
            }
        tokens *= 2
