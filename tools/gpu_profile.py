"""python -m tools.gpu_profile --json gpu_profile.json: what each kernel waits for.

Nsight Compute counts, kernel by kernel, for one call of every case: how busy the matrix units,
the memories and the schedulers are, and why a warp that could not go on had to wait. bfloat16,
65,536 tokens (for one token after others: as many states as tokens), 64 heads, as in the benchmark.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastattn_lite import gpu_benchmark
from fastattn_lite.gpu_benchmark import GOAL_TOKENS, Plan, Problem
from fastattn_lite.results import new_result, save_result

HEADS, TOKENS, STATES = Plan().heads, GOAL_TOKENS, 1_024
TITLE = "What each fused kernel waits for, by Nsight Compute: bfloat16, 65,536 tokens"
CASES = {
    "full-64": Problem(64, 2, False, False, ("fused",)),
    "full-32": Problem(32, 2, False, False, ("fused",)),
    "causal-64": Problem(64, 2, True, False, ("fused",)),
    "causal-32": Problem(32, 2, True, False, ("fused",)),
    "training-full-64": Problem(64, 2, False, True, ("fused",)),
    "training-causal-64": Problem(64, 2, True, True, ("fused",)),
    "order-1": Problem(64, 1, True, False, ("fused",)),
    "decode-64": Problem(64, 2, False, False, ("fused",), is_decode=True),
}
METRICS = {
    "gpu__time_duration.sum": ("time", 1e-9),
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed": ("matrix units", 0.01),
    "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed": ("main memory", 0.01),
    "lts__throughput.avg.pct_of_peak_sustained_elapsed": ("L2 cache", 0.01),
    "l1tex__throughput.avg.pct_of_peak_sustained_elapsed": ("L1 and shared memory", 0.01),
    "sm__issue_active.avg.pct_of_peak_sustained_elapsed": ("schedulers", 0.01),
    "sm__warps_active.avg.pct_of_peak_sustained_active": ("warps there", 0.01),
    "launch__registers_per_thread": ("registers of a thread", 1.0),
}
"""What is stored of each counter: its name, and the factor to seconds or to a share of the most."""
STALL = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
REASONS = {
    "barrier": "a barrier",
    "long_scoreboard": "main memory or L2",
    "short_scoreboard": "shared memory",
    "mio_throttle": "a full queue of shared memory",
    "lg_throttle": "a full queue of main memory",
    "math_pipe_throttle": "a busy arithmetic unit",
    "dispatch_stall": "the dispatcher",
    "wait": "a fixed number of cycles",
    "gmma": "the matrix units",
    "not_selected": "another warp that goes first",
    "selected": "nothing: it goes on",
}
"""What a warp waits for, by the name that the counters give it; the rest is rare."""
COUNTERS = (*METRICS, *(STALL.format(reason) for reason in REASONS))


@dataclasses.dataclass(frozen=True)
class Launch:
    """One kernel of a call, and its counters."""

    kernel: str
    counters: dict[str, float]


def command(ncu: str, case: str) -> list[str]:
    """Return the command line that counts one call of a case."""
    return [
        ncu, "--csv", "--page", "raw", "--metrics", ",".join(COUNTERS), "--profile-from-start",
        "off", "--clock-control", "none", sys.executable, "-m", "tools.gpu_profile", "--call", case,
    ]  # fmt: skip


def launches(printed: str) -> list[Launch]:
    """Return the launches of a table as `ncu --csv --page raw` prints it; units are in line two.

    Raises `ValueError` where the table is missing, or where a time is not in nanoseconds.
    """
    lines = list(csv.reader(line for line in printed.splitlines() if line.startswith('"')))
    if len(lines) < 3:
        raise ValueError(f"ncu printed no table: {printed.strip()[-300:]!r}")
    names, units, *rows = lines
    time = "gpu__time_duration.sum"
    if units[names.index(time)] not in ("ns", "nsecond"):
        raise ValueError(f"ncu gives {time} in {units[names.index(time)]!r}, expected ns")
    places = {name: names.index(name) for name in COUNTERS if name in names}
    return [
        Launch(
            row[names.index("Kernel Name")],
            {name: float(row[at].replace(",", "")) for name, at in places.items() if row[at]},
        )
        for row in rows
    ]


def samples(case: str, found: list[Launch]) -> list[dict[str, Any]]:
    """Return the counters of one call, each kernel in the order started, as a result holds them."""
    made, problem = list[dict[str, Any]](), CASES[case]
    for count, launch in enumerate(found, 1):
        shown = dict[str, float]()
        for name, (word, factor) in METRICS.items():
            if name in launch.counters:
                shown[word] = factor * launch.counters[name]
        stalls = {
            word: launch.counters.get(STALL.format(reason), 0.0) for reason, word in REASONS.items()
        }
        total = sum(stalls.values())
        shown |= {f"waits for {word}": value / total for word, value in stalls.items() if total}
        for word, value in shown.items():
            unit = "s" if word == "time" else "1"
            what = f"{problem.direction}, {count}. {launch.kernel}: {word}"
            made.append(sample(problem, what, unit, value))
    return made


def sample(problem: Problem, what: str, unit: str, value: float) -> dict[str, Any]:
    """Return one number as a stored result holds it."""
    return {
        "what": what, "library": "triton", "is_causal": problem.is_causal,
        "tokens": 1 if problem.is_decode else TOKENS, "dim": problem.dim, "order": problem.order,
        "heads": STATES if problem.is_decode else HEADS, "number_bytes": 2, "unit": unit,
        "values": [value],
    }  # fmt: skip


def profile(ncu: str, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the samples of all cases; `report` hears of each."""
    made = list[dict[str, Any]]()
    for case in CASES:
        report(case)
        done = subprocess.run(command(ncu, case), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{case}: {(done.stderr + done.stdout).strip()[-500:]}")
        made += samples(case, launches(done.stdout))
    return made


def call_once(case: str) -> None:
    """Call a case twice; the profiler counts the second call."""
    import torch

    from fastattn_lite import gpu_calls

    problem, kind = CASES[case], gpu_calls.BY_NAME["fused"]
    heads, tokens = (STATES, 256) if problem.is_decode else (HEADS, TOKENS)
    shape = (4 if problem.is_trained else 3, heads, tokens, problem.dim)
    torch.manual_seed(0)
    drawn = gpu_calls.spread(problem) * torch.randn(shape, dtype=torch.bfloat16, device="cuda")
    call, given = kind.call(problem, tokens), kind.given(problem, drawn)
    if problem.is_decode:  # the token with which the ones before are added to the moments
        given[:3] = (x[:, :1] for x in given[:3])
    with gpu_calls.quietly():
        call(*given)
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
        call(*given)
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()


def main(arguments: list[str] | None = None) -> int:
    """Profile every case, and write the result."""
    about = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_profile", description=about[1])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--json", type=Path, metavar="FILE", help="where to write the result")
    what.add_argument("--call", choices=CASES, help="only call this case, for the profiler")
    given = parser.parse_args(arguments)
    try:
        gpu_benchmark.check_device()
        if given.call:
            call_once(given.call)
            return 0
        ncu = shutil.which("ncu")
        if ncu is None:
            raise RuntimeError("Nsight Compute is not installed: no program ncu is on the PATH")
        found = profile(ncu, lambda line: print(line, file=sys.stderr, flush=True))
    except (RuntimeError, ValueError) as error:
        print(f"error: {str(error).removeprefix('--gpu: ')}", file=sys.stderr)
        return 1
    line = f"python -m tools.gpu_profile --json {given.json.name}"
    save_result(new_result(given.json.stem, TITLE, line, found, on_gpu=True), given.json)
    print(f"written: {given.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
