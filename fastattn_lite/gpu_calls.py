"""What `bench --gpu` runs on the device: each implementation, its inputs, errors, times, memory.

Error: relative Frobenius distance from the direct sum in float64, at n = 4,096, and of the fused
kernels also where they take the moments. Time: CUDA events between calls in a row on inputs in
turn, launches and autograd included; for short sequences also from a CUDA graph, where the host
has nothing to do. Memory: the allocator's peak above inputs and results.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import statistics
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from fastattn_lite.attention import ExpansionWarning, fast_attention
from fastattn_lite.complexity import LATEST_TOKENS, moment_numbers
from fastattn_lite.expansion import taylor
from fastattn_lite.gpu_benchmark import (
    CHECK_SIZE,
    CLOCK,
    COPY,
    IN_GRAPH,
    MEMORY,
    PRODUCT,
    Case,
    Problem,
    Samples,
    moment_check,
)
from fastattn_lite.moments import Moments

Tensor = torch.Tensor
Call = Callable[..., Any]
Forward = Callable[[Tensor, Tensor, Tensor], Any]
DEVICE = "cuda"
ROTATED_BYTES = 200_000_000
"""Inputs take turns among sets of at least so many bytes together, several times an L2 cache."""
BATCH_SECONDS = 0.002
SERIES_SECONDS = 0.4
SCORES_AT_ONCE = 2**27
"""Numbers; so many scores of all heads are made together for a check."""
ERROR_FLOOR = 1e-3
PRODUCT_SIZE = 8_192
COPY_SHAPE = (2**19, 1_024)
ROUND = LATEST_TOKENS
"""Tokens of a stream in a call of the kernels: after so many they add them to its moments."""


def with_autograd(forward: Forward) -> Call:
    """Return the call of forward and backward together, which gives the three gradients."""

    def call(query: Tensor, key: Tensor, value: Tensor, gradient: Tensor) -> Any:
        given = [x.detach().requires_grad_() for x in (query, key, value)]
        with torch.enable_grad():
            return torch.autograd.grad(forward(*given), given, gradient)

    return call


def by_backend(backend: str) -> Callable[[Problem, int], Forward]:
    """Return what makes the calls of this package's own function, with a backend by name."""

    def forward(problem: Problem, _tokens: int) -> Forward:
        options: dict[str, Any] = {"order": problem.order, "backend": backend}
        if problem.is_decode:
            return step(options)
        options["is_causal"] = problem.is_causal
        return lambda query, key, value: fast_attention(query, key, value, **options)

    return forward


def step(options: dict[str, Any]) -> Call:
    """Return the call on some tokens of some streams, which gives the last output and the states.

    A token goes to every stream before the next one comes: no state waits in a cache for it.
    """
    options = options | {"is_causal": True, "return_state": True}

    def call(query: Tensor, key: Tensor, value: Tensor, *states: Moments) -> Any:
        output, streams = None, list(states)
        for t in range(query.shape[-2]):
            token = [x[..., t : t + 1, :] for x in (query, key, value)]
            for i, state in enumerate(streams):
                output, streams[i] = fast_attention(*token, initial_state=state, **options)
        return [output, *streams]

    return call


def tokens_and_streams(
    kind: Implementation, problem: Problem, streams: int, *tensors: Tensor
) -> list[Any]:
    """Return the last tokens, and streams that hold those before them.

    As many tokens before the last ones went through the same call, so that it goes on as it does
    in a long stream.
    """
    count, (query, key, value) = kind.tokens, tensors
    first, last = (slice(None), slice(-2 * count)), (slice(None), slice(-count, None))
    options: dict[str, Any] = {"order": problem.order, "backend": "array", "chunk_size": 64}
    _, state = fast_attention(query[:, :0], key[first], value[first], return_state=True, **options)
    between = [x[:, -2 * count : -count] for x in tensors]
    call = kind.call(problem, count)
    states = [call(*between, state)[1] for _ in range(streams)]
    return [*(x[last].contiguous() for x in tensors), *states]


def token_and_cache(
    _kind: Implementation, _problem: Problem, _streams: int, *tensors: Tensor
) -> list[Tensor]:
    """Return the last query, and all keys and values."""
    query, key, value = tensors
    return [query[:, -1:].contiguous(), key, value]


def softmax(problem: Problem, _tokens: int) -> Forward:
    """Return the call of torch's softmax attention."""
    attention = torch.nn.functional.scaled_dot_product_attention
    return lambda query, key, value: attention(query, key, value, is_causal=problem.is_causal)


def sdpa_backend(name: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which torch's softmax attention takes this backend alone."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(getattr(SDPBackend, name))


def flex(problem: Problem, tokens: int) -> Forward:
    """Return the call of flex_attention, compiled, with log f(s) as the score."""
    from torch.nn.attention.flex_attention import flex_attention

    polynomial = taylor(problem.order)

    def score(s: Tensor, *_places: Tensor) -> Tensor:
        return torch.log(polynomial(s))

    torch.compiler.reset()  # else a size too many would run uncompiled, with n^2 numbers
    compiled = torch.compile(flex_attention, dynamic=False)
    mask = causal_blocks(tokens) if problem.is_causal else None
    return lambda query, key, value: compiled(
        query, key, value, score_mod=score, block_mask=mask, scale=problem.dim**-0.5
    )


def causal_blocks(tokens: int, block: int = 128) -> Any:
    """Return the causal mask of flex_attention, by blocks: whole ones below the diagonal."""
    from torch.nn.attention.flex_attention import BlockMask

    count = torch.arange(tokens // block, dtype=torch.int32, device=DEVICE)
    whole = count.expand(1, 1, len(count), len(count)).contiguous()
    diagonal = torch.zeros_like(whole)
    diagonal[..., 0] = count
    one = torch.ones_like(count)[None, None]
    return BlockMask.from_kv_blocks(
        one, diagonal, count[None, None], whole, BLOCK_SIZE=block,
        mask_mod=lambda _batch, _head, row, column: row >= column,
    )  # fmt: skip


def linear(problem: Problem, _tokens: int) -> Forward:
    """Return the call of fla's plain linear attention, (1, tokens, heads, d), always causal."""
    from fla.ops import linear_attn  # pyright: ignore[reportMissingImports]

    attend, scale = linear_attn.chunk_linear_attn, problem.dim**-0.5

    def call(query: Tensor, key: Tensor, value: Tensor) -> Any:
        return attend(query, key, value, scale=scale, normalize=False)[0]

    return call


def based(_problem: Problem, _tokens: int) -> Forward:
    """Return the call of fla's second-order attention, (1, tokens, heads, d), always causal."""
    from fla.ops.based import parallel_based  # pyright: ignore[reportMissingImports]

    return parallel_based


def _batch(x: Tensor) -> Tensor:
    return x[None]


def _first(x: Tensor) -> Tensor:
    return x[0]


def _tokens_first(x: Tensor) -> Tensor:
    return x.transpose(0, 1).contiguous()[None]


def _heads_first(x: Tensor) -> Tensor:
    return x[0].transpose(0, 1)


@dataclass(frozen=True)
class Implementation:
    """How to call one implementation on tensors (heads, tokens, d).

    `forward` takes a problem and the number of tokens and returns the call on query, key, value;
    gradients come by autograd. `target` is what it computes. For one token after others, `last`
    turns query, key and value into what the call takes, and `tokens` of every stream go through a
    call. `context` is entered around all calls.
    """

    forward: Callable[[Problem, int], Forward]
    target: str = "polynomial"
    arrange: Callable[[Tensor], Tensor] = lambda x: x
    restore: Callable[[Tensor], Tensor] = lambda x: x
    last: Callable[..., list[Any]] = tokens_and_streams
    tokens: int = 1
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    def call(self, problem: Problem, tokens: int) -> Call:
        """Return the call that is checked and timed."""
        forward = self.forward(problem, tokens)
        return with_autograd(forward) if problem.is_trained else forward

    def given(self, problem: Problem, tensors: Iterable[Tensor], streams: int = 1) -> list[Any]:
        """Return what the call takes, from query, key, value and the output's gradient."""
        if problem.is_decode:
            return [self.arrange(x) for x in self.last(self, problem, streams, *tensors)]
        return [self.arrange(x) for x in tensors]

    def streams(self, case: Case) -> int:
        """Return how many streams take turns, so that none is met in a cache."""
        if not case.problem.is_decode or self.last is not tokens_and_streams:
            return 1
        numbers = case.heads * moment_numbers(case.problem.dim, case.problem.order)
        return math.ceil(ROTATED_BYTES / (2 * numbers))


def _softmax(backend: str) -> Implementation:
    return Implementation(
        softmax,
        "softmax",
        _batch,
        _first,
        last=token_and_cache,
        context=lambda: sdpa_backend(backend),
    )


BY_NAME = {
    "fused": Implementation(by_backend("triton"), tokens=ROUND),
    "array": Implementation(by_backend("array")),
    "flash": _softmax("FLASH_ATTENTION"),
    "cudnn": _softmax("CUDNN_ATTENTION"),
    "flex": Implementation(flex, arrange=_batch, restore=_first),
    "fla": Implementation(linear, "scores", _tokens_first, _heads_first),
    "based": Implementation(based, arrange=_tokens_first, restore=_heads_first),
}


@functools.lru_cache(maxsize=1)
def inputs(dim: int, tokens: int, heads: int, spread: float, sets: int, each: int) -> Tensor:
    """Return random bf16 inputs (sets, each, heads, tokens, d); the keys times `spread`."""
    torch.manual_seed(0)
    shape = (sets, each, heads, tokens, dim)
    made = torch.randn(shape, dtype=torch.bfloat16, device=DEVICE)
    made[:, 1] *= spread
    return made


def spread(problem: Problem) -> float:
    """Return the standard deviation of the scores: small where f of odd order may be negative."""
    return 1.0 if problem.order % 2 == 0 else 0.25


def input_sets(case: Case) -> Tensor:
    """Return the sets of inputs of a case that take turns; the same for every implementation."""
    each = 4 if case.problem.is_trained else 3
    size = 2 * each * case.heads * case.tokens * case.problem.dim
    sets = math.ceil(ROTATED_BYTES / size)
    sizes = (case.problem.dim, case.tokens, case.heads)
    return inputs(*sizes, spread(case.problem), sets, each)


def check(problem: Problem, name: str) -> Samples:
    """Return the error of an implementation and that of the plain bf16 formula beside it.

    The fused kernels are checked by their scores and by their moments.
    Raises `ArithmeticError` where it is more than twice that of the plain formula, and a floor.
    """
    has_forms = name == "fused" and not problem.is_decode
    sizes = (CHECK_SIZE, moment_check(problem)) if has_forms else (CHECK_SIZE,)
    return [sample for size in sizes for sample in check_at(Case(problem, name, *size))]


def check_at(case: Case) -> Samples:
    """Return both errors at one size."""
    problem, kind, sizes = case.problem, BY_NAME[case.name], (case.tokens, case.heads)
    exact, plain = expected(replace(problem, names=(), span=(0, 0)), kind.target, *sizes)
    with kind.context(), quietly():
        given = kind.given(problem, checked_inputs(problem, *sizes))
        results = kind.call(problem, case.tokens)(*given)
    error = distance([kind.restore(x) for x in listed(results)[: len(exact)]], exact)
    if not error <= 2 * plain + ERROR_FLOOR:
        raise ArithmeticError(
            f"error {error:.1e} against the direct sum, the plain bf16 formula has {plain:.1e}"
        )
    formula = "softmax" if kind.target == "softmax" else "formula"
    formula = "linear formula" if kind.target == "scores" else formula
    return [
        case.sample(f"{case.name}, {problem.direction}, error", [error], "1"),
        case.sample(f"plain bf16 {formula}, {problem.direction}, error", [plain], "1"),
    ]


def checked_inputs(problem: Problem, tokens: int, heads: int) -> Tensor:
    """Return the inputs of a check."""
    return inputs(problem.dim, tokens, heads, spread(problem), 1, 4 if problem.is_trained else 3)[0]


@functools.lru_cache(maxsize=4)
def expected(problem: Problem, target: str, tokens: int, heads: int) -> tuple[list[Tensor], float]:
    """Return the exact results of the check, and the error of the plain formula in bf16."""
    given = list(checked_inputs(problem, tokens, heads))
    if problem.is_decode:
        given[0] = given[0][:, -1:]
    forward = functools.partial(direct, problem, target)
    call = with_autograd(forward) if problem.is_trained else forward
    exact = listed(call(*(x.double() for x in given)))
    return exact, distance(listed(call(*given)), exact)


def direct(problem: Problem, target: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the direct sum in the type of its inputs, some rows at a time.

    Formula: o_i = sum_j f(s_ij) v_j / sum_j f(s_ij); with the target "scores" sum_j s_ij v_j.
    """
    parts, size = list[Tensor](), max(1, SCORES_AT_ONCE // math.prod(key.shape[:-1]))
    for start in range(0, query.shape[-2], size):
        rows = query[..., start : start + size, :]
        given = problem, target, start, rows, key, value
        parts.append(checkpoint(direct_rows, *given, use_reentrant=False))
    return torch.cat(parts, -2)


def direct_rows(
    problem: Problem, target: str, start: int, rows: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """Return some rows of the direct sum. A backward pass makes their scores anew."""
    scores = problem.dim**-0.5 * (rows @ key.mT)
    kernel = torch.exp(scores) if target == "softmax" else scores
    kernel = taylor(problem.order)(scores) if target == "polynomial" else kernel
    kernel = kernel.tril(start) if problem.is_causal else kernel
    sums = 1 if target == "scores" else kernel.sum(-1, keepdim=True)
    return kernel @ value / sums


def distance(results: list[Tensor], exact: list[Tensor]) -> float:
    """Return the relative Frobenius distance, the largest of several results; nan stays nan."""
    pairs = zip(results, exact, strict=True)
    distances = [float((x.double() - y).norm() / y.norm()) for x, y in pairs]
    return math.nan if any(map(math.isnan, distances)) else max(distances)


def listed(results: Any) -> list[Tensor]:
    """Return one tensor or several as a list."""
    return [results] if isinstance(results, Tensor) else list(results)


@contextlib.contextmanager
def quietly() -> Generator[None]:
    """Leave out the warning that f may be negative: the inputs are chosen so that it is not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpansionWarning)
        yield


def measure(case: Case, repeats: int) -> Samples:
    """Return the times of a case and its peak memory."""
    kind = BY_NAME[case.name]
    streams = kind.streams(case)
    try:
        call = kind.call(case.problem, case.tokens)
        with kind.context(), quietly():
            sets = [kind.given(case.problem, one, streams) for one in input_sets(case)]
            call(*sets[0])  # compiles; what stays allocated is no part of the peak
            extra = peak_memory(call, sets[0])
            seconds = times(call, sets, repeats, clocks := list[float]())
            replayed = graph_times(call, sets, repeats) if case.in_graph else []
    except torch.cuda.OutOfMemoryError:
        inputs.cache_clear()
        raise
    finally:
        if torch.cuda.memory_reserved() > torch.cuda.get_device_properties(0).total_memory / 2:
            torch.cuda.empty_cache()
    what, tokens = f"{case.name}, {case.problem.direction}", kind.tokens * streams
    if case.problem.is_decode:
        seconds, replayed = ([each / tokens for each in x] for x in (seconds, replayed))
    found = [case.sample(what, seconds), case.sample(what + MEMORY, [extra], "byte")]
    if replayed:
        found.append(case.sample(what + IN_GRAPH, replayed))
    if clocks:
        found.append(case.sample(what + CLOCK, [statistics.median(clocks)], "Hz"))
    return found


def peak_memory(call: Call, given: list[Tensor]) -> int:
    """Return the most bytes a call holds above its inputs and results."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    results = call(*given)  # held until their memory is counted
    extra = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    del results
    return extra


def graph_times(call: Call, sets: list[list[Tensor]], repeats: int) -> list[float]:
    """Return seconds a call replayed from a CUDA graph, without what the host does to start it.

    The graph holds a call on each of the sets.
    """
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call(*sets[0])
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        for given in sets:
            call(*given)
    return [seconds / len(sets) for seconds in times(graph.replay, [[]], repeats)]


def times(
    call: Call, sets: list[list[Any]], repeats: int, clocks: list[float] | None = None
) -> list[float]:
    """Return seconds a call, each the mean of as many calls as fill about 2 ms.

    The clock of the device under way is put into `clocks`.
    """
    turn = itertools.cycle(sets)
    estimate = min(series(call, turn, 1, 2))
    calls = max(1, min(20, int(BATCH_SECONDS / estimate)))
    repeats = max(3, min(repeats, int(SERIES_SECONDS / (calls * estimate))))
    return series(call, turn, calls, repeats, clocks)


def series(
    call: Call,
    turn: Iterator[list[Any]],
    calls: int,
    repeats: int,
    clocks: list[float] | None = None,
) -> list[float]:
    """Return the mean seconds of so many calls in a row, so many times without a pause.

    The host is ahead from the first calls on, which are not timed. So its time to start a call
    counts where it is longer than what the device does, and not where it is shorter.
    """
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    torch.cuda.synchronize()
    for event in events:
        for _ in range(calls):
            call(*next(turn))
        event.record()
    while clocks is not None and not events[-1].query():
        clocks += clock()
    torch.cuda.synchronize()
    pairs = itertools.pairwise(events)
    return [start.elapsed_time(end) / 1000 / calls for start, end in pairs]


def clock() -> list[float]:
    """Return the clock of the device's multiprocessors in Hz, if its driver is asked for it here.

    torch asks through nvidia-ml-py, which need not be installed.
    """
    try:
        return [1e6 * torch.cuda.clock_rate()]
    except (ImportError, RuntimeError):
        time.sleep(BATCH_SECONDS)
        return []


def peaks(repeats: int) -> Samples:
    """Return the times of a plain bf16 product and of a plain copy, what the device can do."""
    sides = torch.randn((2, 2, PRODUCT_SIZE, PRODUCT_SIZE), dtype=torch.bfloat16, device=DEVICE)
    product = times(torch.matmul, [list(pair) for pair in sides], repeats)
    from_to = torch.ones((2, *COPY_SHAPE), dtype=torch.bfloat16, device=DEVICE)
    copy = times(torch.Tensor.copy_, [list(from_to)], repeats)
    square, oblong = (
        Case(Problem(columns, 0, False, False, ()), "", rows, 1)
        for rows, columns in ((PRODUCT_SIZE, PRODUCT_SIZE), COPY_SHAPE)
    )
    return [square.sample(PRODUCT, product), oblong.sample(COPY, copy)]
