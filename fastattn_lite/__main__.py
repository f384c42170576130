"""The command line: `python -m fastattn_lite bench|roofline|info|figures`."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fastattn_lite import __version__, benchmark, gpu_benchmark, machine, roofline
from fastattn_lite.attention import BACKENDS
from fastattn_lite.complexity import Timing
from fastattn_lite.progress import Progress, say
from fastattn_lite.results import list_results, new_result
from fastattn_lite.run_file import RunFile, check_target, refuse_differences

PROGRAM = "python -m fastattn_lite"
GPU_TITLE = "Fused attention on a GPU, bfloat16"
CPU_TITLE = "Fast attention of order 2 on a CPU, float32"
QUICK = benchmark.Plan(tokens=16_384, race_tokens=(512, 1024, 2048, 4096), repeats=3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    given = parser().parse_args(arguments)
    try:
        return given.run(given)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog=PROGRAM, description="Linear attention.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_bench(commands)
    roof = commands.add_parser("roofline", help="measure the two speeds of this CPU, and the steps")
    roof.add_argument("--tokens", type=_count, default=16_384, help="n of the steps (16384)")
    roof.add_argument("--dims", type=_count, nargs="+", default=[32, 64], metavar="D")
    roof.add_argument("--repeats", type=_count, default=9, help="timed calls of each (9)")
    roof.add_argument("--json", type=Path, metavar="FILE", help="also store the result here")
    roof.set_defaults(run=measure_roofline)
    info = commands.add_parser("info", help="versions, devices, backends, threads")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=show_info)
    figures = commands.add_parser("figures", help="list the figures, save stills of them")
    figures.add_argument("names", nargs="*", metavar="NAME", help="figures to save (default: all)")
    figures.add_argument("--save", type=Path, metavar="FOLDER", help="save stills here")
    figures.add_argument("--format", choices=("png", "svg", "pdf"), default="png")
    figures.set_defaults(run=show_figures)
    return top


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure the fast form on this machine",
        description="Measure fast attention (order 2, float32): time against plain matrix "
        "products, peak memory, growth with n, and against torch's softmax attention. "
        "Set OMP_NUM_THREADS before the call to choose the number of threads. "
        "With --gpu: the fused kernels in bfloat16 beside every other implementation, forward, "
        "backward and one token after others: time, memory, error.",
    )
    plan, on_gpu = benchmark.Plan(), gpu_benchmark.Plan()
    bench.add_argument("--gpu", action="store_true", help="measure the fused kernels on a GPU")
    bench.add_argument(
        "--quick", action="store_true", help="a few sizes only, too few for most goals"
    )
    bench.add_argument("--tokens", type=_count, help=f"n of the first parts ({plan.tokens})")
    bench.add_argument("--race-tokens", type=_count, nargs="+", metavar="N", help="n of the race")
    bench.add_argument("--repeats", type=_count, help=f"timed calls of each ({plan.repeats})")
    bench.add_argument("--libraries", nargs="+", choices=machine.LIBRARIES, metavar="NAME")
    bench.add_argument("--json", type=Path, metavar="FILE", help="also store the result here")
    _add_gpu_options(bench, on_gpu)
    bench.set_defaults(run=bench_and_print)


def _add_gpu_options(bench: argparse.ArgumentParser, on_gpu: gpu_benchmark.Plan) -> None:
    bench.add_argument(
        "--heads", type=_count, help=f"--gpu: batch x heads ({on_gpu.heads}); one token has its own"
    )
    bench.add_argument(
        "--budget",
        type=_count,
        metavar="SECONDS",
        help=f"--gpu: start no new case after these seconds ({on_gpu.budget:.0f})",
    )
    bench.add_argument(
        "--resume",
        action="store_true",
        default=None,
        help="--gpu: go on with the run stored in the file of --json, on the same machine",
    )


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def bench_and_print(given: argparse.Namespace) -> int:
    """Run the benchmark, store the result where asked, and print its tables."""
    if given.gpu:
        refuse_options(given, ("tokens", "race_tokens", "libraries"), "not with --gpu")
        gpu_benchmark.check_device()
    else:
        refuse_options(given, ("heads", "budget", "resume"), "only with --gpu")
    file = file_of(given, GPU_TITLE if given.gpu else CPU_TITLE)
    measured = measured_on_gpu(given, file) if given.gpu else measured_on_cpu(given)
    return store_and_print(measured, file)


def measure_roofline(given: argparse.Namespace) -> int:
    """Measure the roofline of this CPU and the steps on it, and store the result where asked."""
    file = file_of(given, "Both steps of order 2 and the two speeds of a CPU, float32")
    print(machine_line())
    measured = roofline.measurements(given.tokens, given.dims, repeats=given.repeats)
    return store_and_print(measured, file)


def store_and_print(measured: benchmark.Measurements, file: RunFile | None) -> int:
    """Store a result where asked, and print its tables, whether or not it could be stored."""
    try:
        if file is not None:
            file.store(measured)
    finally:
        print(times_table(measured.samples), findings_table(measured.findings), sep="\n\n")
    if file is not None:
        print(f"\nstored in {file.path}")
    return 0


def measured_on_cpu(given: argparse.Namespace) -> benchmark.Measurements:
    """Return the measurements of the array path."""
    plan = plan_of(given)
    print(machine_line())
    return benchmark.run(plan, Progress(plan.steps()))


def measured_on_gpu(given: argparse.Namespace, file: RunFile | None) -> benchmark.Measurements:
    """Return the measurements of the fused kernels and of all that stands beside them."""
    earlier = earlier_run(given, file)
    plan = gpu_plan_of(given)
    about = machine.accelerator()
    print(f"{about['name']}, {about['memory_gib']} GiB, driver {about['driver']}")
    print(*(f"{name:6} {text}" for name, text in gpu_benchmark.IMPLEMENTATIONS.items()), sep="\n")
    is_kept = file is not None and file.path.exists() and not earlier
    if is_kept:
        print(f"{given.json} is there already: it is replaced when all is measured, not before")
    survey = gpu_benchmark.run(
        plan,
        Progress(plan.steps()),
        say,
        earlier=earlier.get("samples"),
        store=functools.partial(store_on_gpu, None if is_kept else file),
    )
    return found_on_gpu(survey.samples)


def found_on_gpu(samples: list[dict[str, Any]]) -> benchmark.Measurements:
    """Return samples with what follows from them."""
    return benchmark.Measurements(samples, gpu_benchmark.findings(samples))


def store_on_gpu(file: RunFile | None, samples: list[dict[str, Any]]) -> None:
    """Store what there is of a run, where asked: what ends it then loses little."""
    if file is not None and samples:
        file.store(found_on_gpu(samples))


def earlier_run(given: argparse.Namespace, file: RunFile | None) -> dict[str, Any]:
    """Return the stored run that `--resume` goes on with, or nothing.

    Raises `ValueError` where there is none, or where it is one of something else: only what the
    same code did on the same machine may stand beside what is measured now.
    """
    if not given.resume:
        return {}
    if file is None or not file.path.is_file():
        raise ValueError("--resume: expected --json with the file of an earlier run")
    try:
        stored = file.earlier()
        options = (given_then(stored["command"]), given)
        plans = [{"plan": asdict(replace(gpu_plan_of(each), budget=0))} for each in options]
        refuse_differences(*plans)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.path}: cannot be gone on with: {error}") from error
    file.about["command"] = f"{stored['command']} && {file.about['command']}"
    return stored


def given_then(command: str) -> argparse.Namespace:
    """Return what the first part of a stored command was given; `ValueError` if it is another."""
    try:
        words = shlex.split(command.partition(" && ")[0])
        silence = io.StringIO()
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            then = parser().parse_args(words[3:])
        if words[:5] == f"{PROGRAM} bench --gpu".split():
            return then
    except (ValueError, SystemExit):
        pass
    raise ValueError(f"command: expected one of bench --gpu, got {command!r}")


def gpu_plan_of(given: argparse.Namespace) -> gpu_benchmark.Plan:
    """Return what to measure on the GPU."""
    plan = gpu_benchmark.QUICK if given.quick else gpu_benchmark.Plan()
    chosen = {name: getattr(given, name) for name in ("heads", "repeats", "budget")}
    return replace(plan, **{name: value for name, value in chosen.items() if value is not None})


def refuse_options(given: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raise `ValueError` where an option was given that the chosen benchmark does not take."""
    for name in names:
        if getattr(given, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')}: {why}")


def plan_of(given: argparse.Namespace) -> benchmark.Plan:
    """Return what to measure; says so where torch is not installed."""
    plan = QUICK if given.quick else benchmark.Plan()
    present = [name for name in machine.LIBRARIES if machine.installed(name)]
    for name in given.libraries or ():
        if name not in present:
            raise ValueError(f"--libraries: {name} is not installed")
    if "torch" not in present:
        print("torch is not installed: only NumPy is measured, without the comparison to torch")
    return benchmark.Plan(
        tokens=given.tokens or plan.tokens,
        race_tokens=tuple(sorted(set(given.race_tokens or plan.race_tokens))),
        repeats=given.repeats or plan.repeats,
        libraries=tuple(given.libraries or present),
    )


def file_of(given: argparse.Namespace, title: str) -> RunFile | None:
    """Return the file to store a run in, with what is known at its start, None where not asked."""
    if given.json is None:
        return None
    check_target(given.json)
    on_gpu = bool(getattr(given, "gpu", False))
    about = new_result(given.json.stem, title, command_of(given), [], on_gpu=on_gpu)
    return RunFile(given.json, about)


def command_of(given: argparse.Namespace) -> str:
    """Return the command line that measures the same again."""
    options = {name: value for name, value in vars(given).items() if name not in ("run", "json")}
    words = [f"--{n.replace('_', '-')} {_words(v)}".strip() for n, v in options.items() if v]
    command = "bench" if given.run is bench_and_print else "roofline"
    return " ".join([PROGRAM, command, *words, f"--json {given.json.name}"])


def _words(value: Any) -> str:
    if value is True:
        return ""
    return shlex.join(map(str, value)) if isinstance(value, list) else str(value)


def machine_line() -> str:
    """Return one line on the machine and its threads."""
    here = machine.device()
    threads = ", ".join(f"{name} {count}" for name, count in here["threads"].items())
    return f"{here['processor']}, {here['cores']} cores; threads: {threads}"


def times_table(samples: list[dict[str, Any]]) -> str:
    """Return the measured times, one line a series."""
    times = f"{'least':>11}{'median':>11}{'spread':>8}"
    lines = [f"{'library':8}{'form':8}{'p':>2}{'d':>6}{'heads':>6}{'n':>11}{times}  what"]
    for sample in samples:
        if sample["unit"] == "s":
            form = "causal" if sample["is_causal"] else "full"
            timing = Timing(tuple(sample["values"]))
            lines.append(
                f"{sample['library']:8}{form:8}{sample['order']:2}{sample['dim']:6}"
                f"{sample.get('heads', 1):6}{sample['tokens']:11,}"
                f"{_milliseconds(timing.least)}{_milliseconds(timing.median)}"
                f"{timing.spread:8.0%}  {sample['what']}"
            )
    return "\n".join(lines)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:8,.{1 if seconds >= 0.01 else 3}f} ms"


def findings_table(findings: dict[str, benchmark.Finding]) -> str:
    """Return what follows from the times, with each goal and whether it is met."""
    verdicts = {True: "met", False: "NOT MET", None: ""}
    width = max((len(finding.text) for finding in findings.values()), default=0)
    lines: list[str] = []
    for finding in findings.values():
        value = "none" if finding.value is None else f"{finding.value:,.4g}"
        unit = "" if finding.unit == "1" else finding.unit
        goal = "" if finding.goal is None else f"goal {finding.goal_is} {finding.goal:,g}: "
        line = f"{finding.text:{width}}  {value:>7} {unit:7}{goal}{verdicts[finding.met]}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def show_info(given: argparse.Namespace) -> int:
    """Print versions, devices, backends and threads."""
    here: dict[str, Any] = {
        "fastattn_lite": __version__,
        "commit": machine.commit(),
        "versions": machine.versions(),
        "device": machine.device(),
        "accelerators": machine.accelerators(),
        "backends": list(BACKENDS),
        "results": list_results(),
    }
    if given.json:
        print(json.dumps(here, indent=1))
        return 0
    for name, value in here.items():
        print(f"{name:14}{_sentence(value)}")
    return 0


def _sentence(value: Any) -> str:
    if isinstance(value, dict):
        members: dict[str, Any] = value
        return ", ".join(f"{name} {_sentence(member)}" for name, member in members.items())
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)


def show_figures(given: argparse.Namespace) -> int:
    """List the figures, or save a still of each as it starts."""
    known = known_figures()
    for name in given.names:
        if name not in known:
            raise ValueError(f"NAME: expected one of {', '.join(known)}, got {name!r}")
    if given.save is None and given.names:
        raise ValueError("--save FOLDER: expected with the names of figures")
    for name in given.names or known:
        if given.save is None:
            print(f"{name:18}{(known[name].__doc__ or '').splitlines()[0]}")
        else:
            print(save_still(name, known[name], given.save, given.format))
    return 0


def known_figures() -> dict[str, Callable[[], Any]]:
    """Return every figure that needs no argument, by name; quizzes have no still."""
    try:
        from fastattn_lite import figures
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"the figures need {error.name}: pip install 'fastattn_lite[figures]'"
        ) from error
    members: dict[str, Any] = {name: getattr(figures, name) for name in figures.__all__}
    left_out = {figures.Figure, figures.Quiz}
    return {
        name: member
        for name, member in members.items()
        if isinstance(member, type) and member not in left_out
    }


def save_still(name: str, figure: Callable[[], Any], folder: Path, kind: str) -> Path:
    """Write the still of a figure as it starts, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{kind}"
    figure().still().savefig(path)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
