"""python -m tools.gpu_designs --json gpu_designs.json: what each choice in the kernels is worth.

Each design differs from today's kernels in one thing. The forward pass, with --backward the
forward and the backward pass, or with --decode 64 tokens one after the other is timed with both in
turn, order 2, bfloat16; what counts is the quotient. Passes have 64 heads and 65,536 tokens. With
--few the tokens come to 64 streams, with --decode to as many as keep the GPU busy.
`predicted` was written down before the first measurement, and is left out where a run by hand had
shown the outcome.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import itertools
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

from fastattn_lite import fast_attention, gpu_benchmark
from fastattn_lite.results import new_result, save_result

HEADS, TOKENS, ORDER, ROUNDS = 64, 65_536, 2, 7
LARGEST_DIFFERENCE = 0.01
"""Relative distance of a design's outputs from today's: both are rounded to bfloat16."""
PROCESSES = 8
TITLE = "Designs of the fused kernels, time over today's, predicted and measured: order 2, bfloat16"
TITLES = {
    "": TITLE,
    "backward": TITLE.replace("kernels", "kernels, forward and backward"),
    "decode": TITLE.replace("kernels", "kernels, one token after others"),
    "few": TITLE.replace("kernels", "kernels, one token after others, few streams"),
}
DECODING = ("decode", "few")
STREAMS = {32: 4_096, 64: 2_048, 128: 512}
"""Of so many streams the states are far larger than a cache; of few, several sets take turns."""
FEW = 64
TOKENS_BEFORE = 256
Case = tuple[int, bool]
"""Head dimension, and whether causal."""
Tensor = Any
Change = Callable[[], contextlib.AbstractContextManager[Any]]
FULL_64, FULL_32, CAUSAL_64, CAUSAL_32 = (64, False), (32, False), (64, True), (32, True)
ALL = (FULL_64, FULL_32, CAUSAL_64, CAUSAL_32)


@dataclasses.dataclass(frozen=True)
class Design:
    """One change, and the time it should take over that of today's kernels, by case."""

    name: str
    text: str
    change: Change
    cases: tuple[Case, ...]
    predicted: tuple[float, ...] = ()

    def sample(self, which: str, case: Case, ratios: list[float]) -> dict[str, Any]:
        """Return the quotients as a stored result holds them."""
        what = f"{self.name}, time over that of today's kernels"
        made = sample(which, what, case, "1", ratios)
        made["design"] = self.text
        if self.predicted:
            made["predicted"] = self.predicted[self.cases.index(case)]
        return made


def sample(which: str, what: str, case: Case, unit: str, values: list[float]) -> dict[str, Any]:
    """Return a measured series as a stored result holds it."""
    is_decode = which in DECODING
    heads, tokens = (streams(which, case), TOKENS_BEFORE) if is_decode else (HEADS, TOKENS)
    return {
        "what": what, "library": "triton", "is_causal": case[1], "tokens": tokens, "dim": case[0],
        "order": ORDER, "heads": heads, "number_bytes": 2, "unit": unit, "values": values,
    }  # fmt: skip


def kernels(name: str) -> Any:
    """Return a module of the kernels, which torch and Triton must be there for."""
    return importlib.import_module(f"fastattn_lite.kernels.{name}")


def settings(
    modules: tuple[str, ...] = ("forward", "states", "backward"), **fields: int | None
) -> Change:
    """Return the change of some tiles, warps or stages in some modules of the kernels."""

    @contextlib.contextmanager
    def change() -> Generator[None]:
        chosen = kernels("settings").settings_for

        def other(*given: Any) -> Any:
            return dataclasses.replace(chosen(*given), **fields)

        with contextlib.ExitStack() as stack:
            for module in modules:
                stack.enter_context(mock.patch.object(kernels(module), "settings_for", other))
            yield

    return change


def panels(parts: int) -> Change:
    """Return the change to pairs cut into so many parts, 1 or 2: without or with less symmetry."""

    def cut(largest: Any, width: int) -> tuple[tuple[int, int, int, int], ...]:
        half, end = (int(sum(largest <= width * part // 2)) for part in (1, 2))
        if parts == 1:
            return ((1, end, 0, width),)
        return (1, half, 0, width), (half, end, width // 2, width // 2)

    @contextlib.contextmanager
    def change() -> Generator[None]:
        forget_rows()
        try:
            with mock.patch.object(kernels("rows"), "panels_of", cut):
                yield
        finally:
            forget_rows()

    return change


def forget_rows() -> None:
    """Forget all that follows from the rows of a state."""
    for name in ("rows_of", "shared_weights", "row_weights", "sources"):
        getattr(kernels("rows"), name).cache_clear()
    for name in ("entries", "variables"):
        getattr(kernels("states"), name).cache_clear()


def chunk(times: int, module: str = "forward") -> Change:
    """Return the change to causal chunks of `times` d tokens in one pass."""

    def cut(tokens: int, width: int, _order: int) -> Any:
        return kernels("states").Chunks(times * width, -(-tokens // (times * width)))

    return lambda: mock.patch.object(kernels(module), "cut_causal", cut)


def in_two_steps() -> contextlib.AbstractContextManager[Any]:
    """Raw sums of every causal chunk, then their means."""
    return mock.patch.object(kernels("forward"), "runs", return_value=False)


CAUSAL = (CAUSAL_64, CAUSAL_32)
DESIGNS = (
    Design(
        "no symmetry",
        "Every pair of coordinates, d^2 of them. By the count of products: 1.6 and 1.33 times as "
        "many.",
        panels(1), ALL, (1.57, 1.30, 1.43, 1.22),
    ),
    Design(
        "halves",
        "3/4 of the pairs. By the count of products: 1.2 times as many.",
        panels(2), (FULL_64, CAUSAL_64), (1.19, 1.13),
    ),
    Design(
        "accumulate: 2 stages",
        "Fewer tiles on their way from memory, 2 for 3 (d = 64) or 4 (d = 32). A turn is longer "
        "than a load takes, so little should be lost.",
        settings(moment_stages=2), ALL, (1.02, 1.02, 1.02, 1.02),
    ),
    Design(
        "accumulate: 128 tokens",
        "Twice the tokens in a turn: half as many barriers, which the profile shows as the "
        "longest wait.",
        settings(moment_tokens=128), ALL, (0.97, 0.95, 0.97, 0.97),
    ),
    Design(
        "accumulate: half the lines",
        "128 sums (row, column) a program for 256, so 4 programs on a multiprocessor for 2, but "
        "the values are read twice as often.",
        settings(lines=128), (FULL_64, CAUSAL_64), (1.07, 1.06),
    ),
    Design(
        "accumulate: twice the lines",
        "256 sums (row, column) a program for 128: eight rows share a tile of keys.",
        settings(lines=256), (FULL_32, CAUSAL_32), (0.98, 0.98),
    ),
    Design(
        "accumulate: 8 warps",
        "Twice the threads for the same sums. A run by hand had shown that it is slower.",
        settings(moment_warps=8), ALL,
    ),
    Design(
        "evaluate: 64 tokens",
        "Half the queries a program: states are read twice as often.",
        settings(tokens=64), ALL, (1.10, 1.10, 1.08, 1.08),
    ),
    Design(
        "evaluate: 256 tokens, 8 warps",
        "Twice the queries a program: states are read half as often. A run by hand had shown that "
        "it is slower.",
        settings(tokens=256, warps=8), ALL,
    ),
    Design(
        "evaluate: rows one by one",
        "One row a product for two: products half as long, twice the barriers. A run by hand had "
        "shown that it is slower.",
        settings(joined=1), ALL,
    ),
    Design(
        "evaluate: four rows a product",
        "Products twice as long, half the barriers. For d = 64 the tile should not fit the "
        "registers.",
        settings(joined=4), ALL, (1.30, 0.95, 1.20, 0.97),
    ),
    Design(
        "evaluate: 3 stages",
        "One state more on its way from memory than today's two.",
        settings(stages=3), (FULL_64, CAUSAL_64), (0.99, 0.99),
    ),
    Design(
        "evaluate: 2 stages",
        "One state less on its way from memory than today's three.",
        settings(stages=2), (FULL_32, CAUSAL_32), (1.02, 1.02),
    ),
    Design(
        "any number of registers",
        "No limit of 96 and 128 registers a thread, so fewer programs on a multiprocessor. Runs by "
        "hand had shown that it is slower.",
        settings(registers=None, moment_registers=None), (FULL_32, CAUSAL_32),
    ),
    Design(
        "scores of a chunk: 128 keys",
        "Twice the keys a turn: half the barriers.",
        settings(chunk_keys=128), (CAUSAL_64,), (0.98,),
    ),
    Design(
        "scores of a chunk: 64 keys",
        "Twice the keys a turn, and so more registers. Runs by hand had shown that it is slower.",
        settings(chunk_keys=64, registers=None), (CAUSAL_32,),
    ),
    Design(
        "scores of a chunk: 32 keys",
        "32 keys a turn for 64.",
        settings(chunk_keys=32), (CAUSAL_64,), (1.06,),
    ),
    Design(
        "chunks of 8 d tokens",
        "Half as long: half the scores, twice the states. A run by hand had shown the outcome.",
        chunk(8), CAUSAL,
    ),
    Design(
        "chunks of 32 d tokens",
        "Twice as long: twice the scores, half the states. A run by hand had shown the outcome.",
        chunk(32), CAUSAL,
    ),
    Design(
        "chunks side by side",
        "Raw sums of every chunk in float32 and a second kernel for their means, not one program "
        "that takes the chunks of a head in turn. A run by hand had shown that it is slower.",
        in_two_steps, CAUSAL,
    ),
)  # fmt: skip


BACKWARD = ("backward",)
"""The gradients' own tiles; sums are accumulated with those of the forward pass."""
WIDE = (FULL_64, CAUSAL_64)
BACKWARD_DESIGNS = (
    Design(
        "gradients: 64 tokens",
        "Half the tokens a program: states are read twice as often. The forward pass took 1.06 "
        "times as long with it; these kernels are about half of the time here.",
        settings(BACKWARD, tokens=64), WIDE, (1.03, 1.02),
    ),
    Design(
        "gradients: 8 warps",
        "Twice the threads for the same tile: half the registers each, so nothing is kept in "
        "memory, but more threads at every barrier.",
        settings(BACKWARD, warps=8), WIDE, (1.05, 1.03),
    ),
    Design(
        "gradients: rows one by one",
        "One row a product for two: twice the barriers.",
        settings(BACKWARD, joined=1), WIDE, (1.06, 1.04),
    ),
    Design(
        "gradients: 3 stages",
        "One state more on its way from memory than today's two.",
        settings(BACKWARD, stages=3), WIDE, (1.01, 1.01),
    ),
    Design(
        "scores of a chunk: 8 warps",
        "Twice the threads for tiles of 64 x 64.",
        settings(BACKWARD, pair_warps=8), (CAUSAL_64,), (1.03,),
    ),
    Design(
        "scores of a chunk: tiles of 32",
        "Tiles of 32 x 32 for 64 x 64: keys are read twice as often, and more programs find room.",
        settings(BACKWARD, pair_keys=32), (CAUSAL_64,), (1.08,),
    ),
    Design(
        "scores of a chunk: tiles of 128",
        "Tiles of 128 x 128: half the reads, but four tiles in float32 are more than the registers "
        "hold.",
        settings(BACKWARD, pair_keys=128), (CAUSAL_64,), (1.30,),
    ),
    Design(
        "scores of a chunk: 2 stages",
        "One tile less on its way, so that one more program may find room.",
        settings(BACKWARD, pair_stages=2), (CAUSAL_64,), (0.99,),
    ),
    Design(
        "chunks of 8 d tokens",
        "Half as long: half the scores, twice the states. A run by hand had shown the outcome.",
        chunk(8, "backward"), (CAUSAL_64,),
    ),
    Design(
        "chunks of 32 d tokens",
        "Twice as long: twice the scores, half the states. A run by hand had shown the outcome.",
        chunk(32, "backward"), (CAUSAL_64,),
    ),
)  # fmt: skip


def at_once(most: int) -> Change:
    """Return the change to at most so many tokens beside the moments."""
    return lambda: mock.patch.object(kernels("stream"), "MOST", most)


def in_full() -> contextlib.AbstractContextManager[Any]:
    """Both halves of every number of the moments are read."""

    def all_rows(_dtype: Any, _dim: int, rows: int) -> int:
        return rows

    return mock.patch.object(kernels("step"), "exact_rows", all_rows)


def row_tiles(count: int) -> Change:
    """Return the change to so many tiles of rows a program."""

    def tiles(_dim: int, _group: int) -> int:
        return count

    return lambda: mock.patch.object(kernels("step"), "tiles_of", tiles)


FULL = (FULL_64, (128, False), FULL_32)
DECODE_DESIGNS = (
    Design(
        "every token added at once",
        "No token waits: the moments are read and written in float32 with each. By the bytes: "
        "(2 + 8)/2.25 times as many.",
        at_once(1), FULL, (4.5, 4.6, 4.1),
    ),
    Design(
        "16 tokens beside the moments",
        "Moments are written four times as often.",
        at_once(16), FULL, (1.15, 1.17, 1.08),
    ),
    Design(
        "32 tokens beside the moments",
        "Moments are written twice as often.",
        at_once(32), FULL, (1.04, 1.05, 1.01),
    ),
    Design(
        "moments in float32",
        "Both halves are read with every token. By the bytes 1.9 times as many; a run by hand had "
        "shown the outcome.",
        in_full, FULL,
    ),
    Design(
        "1 tile of rows",
        "Two or four times the partial sums. A run by hand had shown the outcome.",
        row_tiles(1), FULL,
    ),
    Design(
        "2 tiles of rows",
        "Twice the partial sums. An earlier run and one by hand had shown the outcome.",
        row_tiles(2), ((128, False),),
    ),
    Design(
        "4 tiles of rows",
        "Half the partial sums. An earlier run and one by hand had shown the outcome.",
        row_tiles(4), (FULL_64, FULL_32),
    ),
)  # fmt: skip
FEW_DESIGNS = tuple(dataclasses.replace(design, predicted=()) for design in DECODE_DESIGNS)
DESIGNS_OF = {
    "": DESIGNS, "backward": BACKWARD_DESIGNS, "decode": DECODE_DESIGNS, "few": FEW_DESIGNS,
}  # fmt: skip


def streams(which: str, case: Case) -> int:
    """Return to how many streams a token comes."""
    return FEW if which == "few" else STREAMS[case[0]]


def inputs(which: str, case: Case) -> list[Any]:
    """Return query, key and value, and the gradient of the output where gradients are asked for.

    For decoding, the last tokens, and a state of those before.
    """
    import torch

    torch.manual_seed(0)
    if which in DECODING:
        from fastattn_lite import gpu_calls

        kind, problem, heads = gpu_calls.BY_NAME["fused"], decoding(case), streams(which, case)
        shape = (3, heads, TOKENS_BEFORE, case[0])
        drawn = torch.randn(shape, dtype=torch.bfloat16, device="cuda")
        some = gpu_benchmark.Case(problem, "fused", TOKENS_BEFORE, heads)
        return kind.given(problem, drawn, kind.streams(some) if which == "few" else 1)
    shape, is_trained = (HEADS, TOKENS, case[0]), which == "backward"
    count = 4 if is_trained else 3
    drawn = [torch.randn(shape, dtype=torch.bfloat16, device="cuda") for _ in range(count)]
    return [x.requires_grad_(is_trained) for x in drawn[:3]] + drawn[3:]


def decoding(case: Case) -> gpu_benchmark.Problem:
    """Return the problem of one token after others."""
    return gpu_benchmark.Problem(case[0], ORDER, False, False, ("fused",), is_decode=True)


def call(which: str, case: Case, given: Iterable[Any]) -> list[Tensor]:
    """Return the outputs by the fused kernels, or the gradients where theirs is given.

    No call is repeated as it was recorded before, for that may have been with another design.
    """
    import torch

    with mock.patch.object(kernels("launch"), "_recorded", {}):
        if which in DECODING:
            from fastattn_lite import gpu_calls

            return gpu_calls.BY_NAME["fused"].call(decoding(case), 0)(*given)[:1]
        query, key, value, *upstream = given
        tokens = (query, key, value)
        output = fast_attention(*tokens, order=ORDER, is_causal=case[1], backend="triton")
        return list(torch.autograd.grad(output, tokens, upstream)) if upstream else [output]


def compile_one(work: tuple[str, int, Case]) -> None:
    """Fill Triton's cache on the disk with the kernels of one design, if they compile."""
    which, place, case = work
    with contextlib.suppress(Exception), DESIGNS_OF[which][place].change():
        call(which, case, inputs(which, case))


def compare(which: str, design: Design, case: Case, given: list[Any]) -> list[float]:
    """Return the quotients of the times of the design and of today's kernels.

    Raises `ArithmeticError` where the outputs differ.
    """
    from fastattn_lite.gpu_calls import distance

    today = call(which, case, given)
    with design.change():
        other = call(which, case, given)
    difference = distance(other, [x.double() for x in today])
    if not difference <= LARGEST_DIFFERENCE:
        raise ArithmeticError(f"its outputs differ from today's by {difference:.1e}")
    with design.change():
        changed = ready(which, case, given)
    plain, ratios = ready(which, case, given), list[float]()
    for _ in range(ROUNDS):
        with design.change():
            (one,) = seconds(changed, 1)
        (other,) = seconds(plain, 1)
        ratios.append(one / other)
    return ratios


def ready(which: str, case: Case, given: list[Any]) -> Callable[[], object]:
    """Return what is timed: the call itself, or for decoding a CUDA graph of it.

    Starting the kernels of one token takes the host as long as they take.
    """
    if which not in DECODING:
        return lambda: call(which, case, given)
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(which, case, given)
    return graph.replay


def seconds(timed: Callable[[], object], repeats: int) -> list[float]:
    """Return the mean seconds of three calls in a row."""
    from fastattn_lite.gpu_calls import series

    return series(timed, itertools.repeat([]), 3, repeats)


def measure(report: Callable[[str], None], which: str) -> list[dict[str, Any]]:
    """Return the samples of all designs; `report` hears of each."""
    tries = DESIGNS_OF[which]
    work = [(which, at, case) for at, design in enumerate(tries) for case in design.cases]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for count, _ in enumerate(pool.imap_unordered(compile_one, work), 1):
            report(f"compiled {count} of {len(work)}")
    samples = list[dict[str, Any]]()
    for case in dict.fromkeys(case for _, _, case in sorted(work, key=lambda each: each[1])):
        given = inputs(which, case)
        call(which, case, given)
        times = seconds(ready(which, case, given), ROUNDS)
        samples.append(sample(which, "today's kernels", case, "s", times))
        for design in tries:
            if case in design.cases:
                samples += tried(which, design, case, given, report)
    return samples


def tried(
    which: str, design: Design, case: Case, given: list[Any], report: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return the sample of a design, or nothing where it does not start or is wrong."""
    try:
        ratios = compare(which, design, case, given)
    except Exception as error:
        report(f"{design.name}, {case}: left out: {str(error).splitlines()[0][:120]}")
        return []
    report(f"{design.name}, {case}: {statistics.median(ratios):.3f}")
    return [design.sample(which, case, ratios)]


def main(arguments: list[str] | None = None) -> int:
    """Measure every design, and write the result."""
    about = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_designs", description=about[1])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--backward", action="store_true", help="forward and backward pass")
    what.add_argument("--decode", action="store_true", help="one token after others")
    what.add_argument("--few", action="store_true", help=f"the same, of {FEW} streams only")
    given = parser.parse_args(arguments)
    try:
        gpu_benchmark.check_device()
    except RuntimeError as error:
        print(f"error: {str(error).removeprefix('--gpu: ')}", file=sys.stderr)
        return 1
    which = next((each for each in TITLES if getattr(given, each, False)), "")
    samples = measure(lambda line: print(line, file=sys.stderr, flush=True), which)
    option = f" --{which}" if which else ""
    command, title = f"python -m tools.gpu_designs{option} --json {given.json.name}", TITLES[which]
    save_result(new_result(given.json.stem, title, command, samples, on_gpu=True), given.json)
    print(f"written: {given.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
