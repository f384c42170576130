"""What attention costs by count, direct and expanded, and from how many tokens expanding pays.

    direct: 2 n^2 (d + d_v) flops, half of them under a causal mask
    fast:   4 n R (d_v + 1) flops with R = C(d+p, p)

A flop is one multiplication or one addition. Counts are not times: a rate (flops a second) makes
the one of the other, `measure` takes the times and `peak_memory` the memory that a call really
needs. How measured times grow with n is fitted in `scaling`.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastattn_lite._arrays import check_count, check_flag, check_real
from fastattn_lite.factorization import number_of_features

LATEST_TOKENS = 64
"""How many tokens of a stream the GPU kernels keep beside its moments at most."""


def direct_flops(
    tokens: int, dim: int, value_dim: int | None = None, *, is_causal: bool = False
) -> int:
    """Return the flops of the two matrix products of direct attention.

    Formula: 2 n^2 (d + d_v), half of it where `is_causal`; `value_dim` d_v is d unless given.
    Units: flops of one head. Cost: O(1). The exponentials (n^2 of them) are not counted.
    Raises `TypeError` or `ValueError` naming the argument that does not fit.
    Equation: eq-cost (chapter intro).
    """
    tokens = check_count("tokens", tokens, least=0)
    dim, value_dim = _dimensions(dim, value_dim)
    return (1 if check_flag("is_causal", is_causal) else 2) * tokens**2 * (dim + value_dim)


def fast_flops(tokens: int, dim: int, order: int, value_dim: int | None = None) -> int:
    """Return the flops of accumulating the moments and evaluating them at every query.

    Formula: 4 n R (d_v + 1) with R = C(d+p, p); `value_dim` d_v is d unless given.
    Units: flops of one head, causal or not. Cost: O(1). Forming the features (2 n R) and, under
    a causal mask, the scores within a chunk are not counted.
    Raises `TypeError` or `ValueError` naming the argument that does not fit.
    Equation: eq-cost (chapter intro).
    """
    tokens = check_count("tokens", tokens, least=0)
    return 4 * tokens * moment_numbers(dim, order, value_dim)


def crossover_tokens(
    dim: int, order: int, value_dim: int | None = None, *, is_causal: bool = False
) -> float:
    """Return the number of tokens at which both forms need the same flops.

    Formula: n* = 2 R (d_v + 1) / (d + d_v), which is R (d + 1) / d for d_v = d; twice that where
    `is_causal`. Units: tokens, not rounded: the first whole number that is not dearer is
    `math.ceil` of it (order 2: 579 for d = 32, 2,179 for d = 64, 8,451 for d = 128).
    Cost: O(1). Errors as in `fast_flops`.
    Equation: eq-crossover (chapter intro).
    """
    dim, value_dim = _dimensions(dim, value_dim)
    numbers = moment_numbers(dim, order, value_dim)
    return (4 if check_flag("is_causal", is_causal) else 2) * numbers / (dim + value_dim)


def moment_numbers(dim: int, order: int, value_dim: int | None = None) -> int:
    """Return how many numbers the moments of one head hold, for any number of tokens.

    Formula: R (d_v + 1) with R = C(d+p, p). Cost: O(1). Errors as in `fast_flops`.
    Equation: eq-memory (chapter moment_accumulation).
    """
    dim, value_dim = _dimensions(dim, value_dim)
    return number_of_features(dim, order) * (value_dim + 1)


def cache_numbers(tokens: int, dim: int, value_dim: int | None = None) -> int:
    """Return how many numbers a key-value cache of one head holds.

    Formula: n (d + d_v). Cost: O(1). Errors as in `direct_flops`.
    Equation: eq-memory (chapter moment_accumulation).
    """
    tokens = check_count("tokens", tokens, least=0)
    return tokens * sum(_dimensions(dim, value_dim))


def cache_crossover_tokens(
    dim: int,
    order: int,
    value_dim: int | None = None,
    *,
    cache_bytes: float = 4,
    moment_bytes: float = 4,
) -> float:
    """Return the number of tokens at which a key-value cache is as large as the moments.

    Formula: n = R (d_v + 1) b_m / ((d + d_v) b_c), with b the bytes of one number. Units:
    tokens, not rounded (order 2, d = 64: 1,090 rounded up; 2,179 for a cache of 2-byte numbers).
    Cost: O(1). Raises `TypeError` or `ValueError` naming the argument that does not fit.
    Equation: eq-cache-crossover (chapter moment_accumulation).
    """
    cache = check_real("cache_bytes", cache_bytes, positive=True)
    moments = check_real("moment_bytes", moment_bytes, positive=True)
    numbers = moment_numbers(dim, order, value_dim)
    return numbers * moments / (cache_numbers(1, dim, value_dim) * cache)


def stream_bytes(
    dim: int,
    order: int,
    value_dim: int | None = None,
    *,
    latest: int = LATEST_TOKENS,
    read_bytes: float = 2,
    token_bytes: float = 2,
) -> float:
    """Return the bytes that one token of a stream moves, with `latest` tokens beside the moments.

    Formula: N b_r + (d+1)(d_v+1)(4 - b_r) + 8 N / L + (d + d_v)(L + 3)/2 b, N = R (d_v + 1) and
    L = `latest`: a step reads b_r bytes of a number of degree 2 or more; with every L-th one all
    are read and written in float32; (L - 1)/2 tokens of b bytes a number are read on average, and
    one is written and added later. Units: bytes (d = 64, order 2: 313,304).
    Cost: O(1). Raises `TypeError` or `ValueError` naming the argument that does not fit.
    Equation: eq-stream-bytes (chapter complexity_scaling).
    """
    kept = check_count("latest", latest, least=1)
    read = check_real("read_bytes", read_bytes, positive=True)
    token = check_real("token_bytes", token_bytes, positive=True)
    dim, value_dim = _dimensions(dim, value_dim)
    numbers = moment_numbers(dim, order, value_dim)
    low = moment_numbers(dim, min(order, 1), value_dim)
    moments = numbers * read + low * (4 - read) + 8 * numbers / kept
    return moments + cache_numbers(1, dim, value_dim) * (kept + 3) / 2 * token


def direct_seconds(
    tokens: int,
    dim: int,
    value_dim: int | None = None,
    *,
    rate: float,
    fixed: float = 0.0,
    is_causal: bool = False,
) -> float:
    """Return how long direct attention takes by the model: a fixed time, and flops at a rate.

    Formula: fixed + 2 n^2 (d + d_v) / rate, half of the flops where `is_causal`. Units: `rate` in
    flops a second, `fixed` and the result in seconds of one head. Cost: O(1).
    Raises `TypeError` or `ValueError` naming the argument that does not fit.
    Equation: eq-time-model (chapter complexity_scaling).
    """
    flops = direct_flops(tokens, dim, value_dim, is_causal=is_causal)
    return _seconds_of(flops, rate, fixed)


def fast_seconds(
    tokens: int,
    dim: int,
    order: int,
    value_dim: int | None = None,
    *,
    rate: float,
    fixed: float = 0.0,
) -> float:
    """Return how long fast attention takes by the model: a fixed time, and flops at a rate.

    Formula: fixed + 4 n R (d_v + 1) / rate. Units, cost and errors as in `direct_seconds`.
    Equation: eq-time-model (chapter complexity_scaling).
    """
    return _seconds_of(fast_flops(tokens, dim, order, value_dim), rate, fixed)


def time_crossover_tokens(
    dim: int,
    order: int,
    value_dim: int | None = None,
    *,
    direct_rate: float,
    fast_rate: float,
    fixed: float = 0.0,
    is_causal: bool = False,
) -> float:
    """Return the number of tokens at which both forms take the same time by the model.

    Formula: the positive n with a n^2 = b n + fixed, where a n^2 and b n are the flops over the
    rates, so n = (b + sqrt(b^2 + 4 a fixed)) / (2 a). Without a fixed time this is the crossover
    of the flops times direct_rate / fast_rate. Units: rates in flops a second; `fixed`, at least
    0, is by how many seconds the fixed time of the fast form is the longer one; the result in
    tokens, not rounded. Cost: O(1). Errors as in `direct_seconds`.
    Equation: eq-time-crossover (chapter complexity_scaling).
    """
    slow = check_real("direct_rate", direct_rate, positive=True)
    fast = check_real("fast_rate", fast_rate, positive=True)
    a = direct_flops(1, dim, value_dim, is_causal=is_causal) / slow
    b = fast_flops(1, dim, order, value_dim) / fast
    return (b + math.sqrt(b**2 + 4 * a * _fixed_time(fixed))) / (2 * a)


def direct_memory(tokens: int, *, number_bytes: float = 4) -> float:
    """Return the bytes of the table of pairs, which direct attention needs beside its inputs.

    Formula: n^2 beta, beta the bytes of a number. Not counted are tables of the size of the
    inputs. A form that works block by block never holds the table.
    Cost: O(1). Errors as in `direct_flops`.
    Equation: eq-working-memory (chapter complexity_scaling).
    """
    size = check_real("number_bytes", number_bytes, positive=True)
    return size * check_count("tokens", tokens, least=0) ** 2


def fast_memory(
    chunk_size: int,
    dim: int,
    order: int,
    value_dim: int | None = None,
    *,
    number_bytes: float = 4,
) -> float:
    """Return the bytes of what fast attention needs beside its inputs: a chunk and the moments.

    Formula: (L R + R (d_v + 1)) beta: the features of one chunk of L tokens, and the moments. It
    does not depend on n. Not counted are tables of the size of the inputs.
    Cost: O(1). Errors as in `fast_flops`.
    Equation: eq-working-memory (chapter complexity_scaling).
    """
    size = check_real("number_bytes", number_bytes, positive=True)
    chunk = check_count("chunk_size", chunk_size, least=1)
    return size * (chunk * number_of_features(dim, order) + moment_numbers(dim, order, value_dim))


def _seconds_of(flops: int, rate: float, fixed: float) -> float:
    return _fixed_time(fixed) + flops / check_real("rate", rate, positive=True)


def _fixed_time(fixed: float) -> float:
    seconds = check_real("fixed", fixed)
    if seconds < 0:
        raise ValueError(f"fixed: expected at least 0 seconds, got {seconds:g}")
    return seconds


def _dimensions(dim: int, value_dim: int | None) -> tuple[int, int]:
    dim = check_count("dim", dim, least=1)
    return dim, dim if value_dim is None else check_count("value_dim", value_dim, least=1)


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of repeated calls, in the order they were made."""

    seconds: tuple[float, ...]

    @property
    def least(self) -> float:
        """The least of the measured times, in seconds: the one that others disturbed least."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle of the measured times, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The range of the measured times divided by their median."""
        return (max(self.seconds) - min(self.seconds)) / self.median


def measure(
    *functions: Callable[[], Any], repeats: int = 5, warmups: int = 1
) -> tuple[Timing, ...]:
    """Return the times of several functions, called in turn so that noise meets all alike.

    Each is first called `warmups` times unmeasured. Units: seconds of wall-clock time. For CPU
    functions; one that only starts work on another device must itself wait for the end.
    Raises `TypeError` or `ValueError` naming the count that does not fit.
    Chapter: complexity_scaling.
    """
    repeats = check_count("repeats", repeats, least=1)
    for _ in range(check_count("warmups", warmups, least=0)):
        for function in functions:
            function()
    rounds = [[_seconds(function) for function in functions] for _ in range(repeats)]
    return tuple(Timing(times) for times in zip(*rounds, strict=True))


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_memory(setup: str, call: str) -> int:
    """Return by how many bytes a call raises the resident memory of a fresh process at its peak.

    `setup` and `call` are Python source. The peak counts all that `call` allocates, its result
    included, in whichever library; it starts from the memory in use after `setup`. Where `setup`
    itself had peaked higher the answer is too large, never too small. Not on Windows.
    Raises `RuntimeError` with the process's own words where it fails.
    Chapter: complexity_scaling.
    """
    code = "\n".join([setup, _RESIDENT, "_before = _now()", call, "print(_peak() - _before)"])
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if process.returncode != 0:
        raise RuntimeError(f"the measured process failed:\n{process.stderr.strip()}")
    return int(process.stdout.split()[-1])


# Linux hands the parent's ru_maxrss on to the child, so the peak is read from /proc there.
_RESIDENT = """
import os as _os, pathlib as _pathlib, resource as _resource, subprocess as _subprocess
_status = _pathlib.Path("/proc/self/status")
def _field(name):
    lines = _status.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
def _peak():
    if _status.exists():
        return _field("VmHWM:")
    return _resource.getrusage(_resource.RUSAGE_SELF).ru_maxrss
def _now():
    if _status.exists():
        return _field("VmRSS:")
    return int(_subprocess.check_output(["ps", "-o", "rss=", "-p", str(_os.getpid())])) * 1024
"""
