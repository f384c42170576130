"""The command line does what its help says, with and without the optional libraries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastattn_lite
from fastattn_lite import benchmark, machine
from fastattn_lite.__main__ import QUICK, Progress, main
from fastattn_lite.attention import BACKENDS
from fastattn_lite.results import validate_result

TINY = ["--tokens", "64", "--race-tokens", "32", "16", "--repeats", "1"]
WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def without(*libraries: str) -> str:
    """Return code after which the libraries cannot be imported."""
    return WITHOUT.format(blocked=set(libraries))


def test_help_names_every_command():
    done = subprocess.run(
        [sys.executable, "-m", "fastattn_lite", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("bench", "info", "figures"))


@pytest.mark.parametrize("command", ["bench", "info", "figures"])
def test_each_command_has_its_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"python -m fastattn_lite {command}" in capsys.readouterr().out


def test_bench_help_names_its_options(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    out = capsys.readouterr().out
    options = ("--quick", "--tokens", "--race-tokens", "--repeats", "--libraries", "--json")
    options += ("--gpu", "--heads", "--budget", "--resume")
    assert all(option in out for option in options)
    assert str(benchmark.GOAL_TOKENS) in out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == fastattn_lite.__version__


def test_info_says_what_is_here(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert fastattn_lite.__version__ in out
    assert machine.versions()["numpy"] in out
    assert all(backend in out for backend in BACKENDS)


def test_info_as_json(capsys):
    assert main(["info", "--json"]) == 0
    here = json.loads(capsys.readouterr().out)
    assert here["fastattn_lite"] == fastattn_lite.__version__
    assert here["versions"] == machine.versions()
    assert here["backends"] == list(BACKENDS)
    assert here["device"]["cores"] == machine.cores()


def test_figures_are_listed(capsys):
    assert main(["figures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "TruncationError" in {line.split()[0] for line in lines}
    assert all(len(line.split()) > 2 for line in lines), "each with a sentence"


def test_a_still_is_saved(tmp_path, capsys):
    assert main(["figures", "TruncationError", "--save", str(tmp_path / "new")]) == 0
    path = tmp_path / "new" / "TruncationError.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.strip() == str(path)


def test_a_tiny_benchmark_is_stored_and_valid(tmp_path, capsys):
    path = tmp_path / "tiny.json"
    assert main(["bench", *TINY, "--json", str(path)]) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    validate_result(result)
    assert result["name"] == "tiny"
    assert result["command"] == (
        "python -m fastattn_lite bench --tokens 64 --race-tokens 32 16 --repeats 1 --json tiny.json"
    )
    assert {sample["library"] for sample in result["samples"]} == {"numpy", "torch"}
    assert {sample["tokens"] for sample in result["samples"]} == {8, 16, 32, 64}
    counts = {
        (sample["what"], sample["tokens"]): len(sample["values"]) for sample in result["samples"]
    }
    assert counts.pop(("scaled_dot_product_attention", 16)) == 2, "half as long, twice as often"
    assert counts.pop(("fast_attention", 16)) == 2
    assert set(counts.values()) == {1}
    assert "goal" not in str(result["summary"]), "the goals hold for the full sizes alone"
    out = capsys.readouterr().out
    assert "scaled_dot_product_attention" in out
    assert str(path) in out


def test_a_short_size_of_the_race_is_timed_more_often():
    plan = benchmark.Plan()
    times = {tokens: plan.race_repeats(tokens) for tokens in plan.race_tokens}
    assert times == {512: 72, 1024: 72, 2048: 72, 4096: 36, 8192: 18, 16_384: 9}


def test_one_library_can_be_chosen(capsys):
    assert main(["bench", *TINY, "--quick", "--libraries", "numpy"]) == 0
    out = capsys.readouterr().out
    assert "torch, full" not in out
    assert "numpy, causal: peak memory" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["train"], "COMMAND: invalid choice: 'train'"),
        (["bench", "--tokens", "0"], "argument --tokens: expected a whole number of at least 1"),
        (["bench", "--tokens", "many"], "argument --tokens: expected a whole number"),
        (["bench", "--repeats", "1.5"], "argument --repeats: expected a whole number"),
        (["bench", "--race-tokens"], "argument --race-tokens"),
        (["bench", "--race-tokens", "16", "-4"], "-4"),
        (["bench", "--libraries", "jax"], "argument --libraries: invalid choice: 'jax'"),
        (["info", "--xml"], "unrecognized arguments: --xml"),
        (["figures", "--format", "gif"], "argument --format: invalid choice: 'gif'"),
    ],
)
def test_a_wrong_argument_is_named(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench", "--json", "Order 2.json"], "--json: expected a name like cpu_order2.json"),
        (["bench", "--json", "cpu.txt"], "--json: expected a name like"),
        (["bench", "--json", "nowhere/cpu.json"], "--json: the folder nowhere does not exist"),
        (["figures", "Nothing", "--save", "."], "NAME: expected one of"),
        (["figures", "TruncationError"], "--save FOLDER: expected"),
    ],
)
def test_what_cannot_be_done_is_said_before_it_starts(arguments, words, capsys):
    assert main(arguments) == 1
    caught = capsys.readouterr()
    assert caught.err.startswith("error: ")
    assert words in caught.err
    assert caught.out == ""


def test_importing_the_package_imports_no_optional_library():
    optional = {"torch", "matplotlib", "anywidget", "triton", "jsonschema"}
    code = (
        f"import sys, fastattn_lite, fastattn_lite.__main__; print({optional} & set(sys.modules))"
    )
    done = python(code)
    assert done.stdout.strip() == "set()", done.stderr


def test_without_torch_the_package_works_and_bench_says_so(tmp_path):
    code = (
        without("torch")
        + """
import numpy as np, fastattn_lite
from fastattn_lite.__main__ import main
ones = np.ones((5, 3))
assert np.allclose(fastattn_lite.fast_attention(ones, ones, ones, is_causal=True), 1)
sys.exit(main(sys.argv[1:]))
"""
    )
    path = tmp_path / "numpy_only.json"
    done = python(code, "bench", *TINY, "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert "torch is not installed: only NumPy is measured" in done.stdout
    result = json.loads(path.read_text(encoding="utf-8"))
    assert {sample["library"] for sample in result["samples"]} == {"numpy"}
    assert list(result["device"]["threads"]) == ["numpy"]
    done = python(code, "bench", "--libraries", "torch")
    assert done.returncode == 1
    assert "--libraries: torch is not installed" in done.stderr
    done = python(code, "info", "--json")
    assert json.loads(done.stdout)["accelerators"] == []


def test_figures_without_their_libraries_name_the_extra():
    code = without("anywidget", "matplotlib")
    code += "from fastattn_lite.__main__ import main; sys.exit(main(['figures']))"
    done = python(code)
    assert done.returncode == 1
    assert "pip install 'fastattn_lite[figures]'" in done.stderr


def test_the_quick_plan_is_smaller():
    assert QUICK.tokens < benchmark.Plan().tokens
    assert max(QUICK.race_tokens) < max(benchmark.Plan().race_tokens)
    assert benchmark.Plan(libraries=("numpy",), race_tokens=(1, 2)).steps() == 8


def test_progress_is_silent_where_nobody_looks(capsys):
    Progress(2)("step")
    assert capsys.readouterr().err == ""


def test_progress_reports_each_planned_step():
    plan, heard = benchmark.Plan(16, (16,), 1, ("numpy",)), []
    benchmark.run(plan, heard.append)
    assert len(heard) == plan.steps()


def test_crossover_is_between_the_sizes():
    assert benchmark.crossover({512: 0.5, 1024: 2.0}) == pytest.approx(512 * 2**0.5)
    assert benchmark.crossover({512: 2.0, 1024: 0.5, 2048: 0.7}) is None
    assert benchmark.crossover({512: 1.5, 1024: 2.0}) == 512
    assert benchmark.crossover({512: 2.0, 1024: 0.5, 2048: 2.0}) == pytest.approx(1024 * 2**0.5)


def test_findings_are_met_or_not():
    finding = benchmark.Finding("x", 2.0, "1", 2.2)
    assert finding.met
    assert not benchmark.Finding("x", 2.0, "1", 3.0, "at least").met
    assert benchmark.Finding("x", None, "1", 3.0).met is False
    assert benchmark.Finding("x", 2.0, "1").met is None


def test_a_wrong_fast_form_is_never_timed(monkeypatch):
    monkeypatch.setattr(benchmark, "fast_attention", lambda *tokens, **_: 1 + tokens[2])
    with pytest.raises(RuntimeError, match=r"differs from the direct sum .* nothing was timed"):
        benchmark.check_against_direct_sum(benchmark.Case("numpy", 16))


def test_the_machine_describes_itself(monkeypatch):
    here = machine.device()
    assert here["cores"] >= 1
    assert here["memory_gib"] > 0
    assert here["threads"].keys() == {"numpy", "torch"}
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert machine.threads("numpy") == 1
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "100000")
    assert machine.threads("numpy") == machine.cores()
    assert machine.versions()["python"].count(".") == 2
    assert machine.installed("no_such_library") is None


def _git(folder: Path, *arguments: str) -> str:
    who = {
        f"GIT_{role}_{what}": "a@b.c"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=os.environ | who,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_commit_is_that_of_the_package_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "HERE", tmp_path)
    module, deep = tmp_path / "machine.py", tmp_path / "kernels" / "pairs.py"
    deep.parent.mkdir()
    for path in (module, deep):
        path.write_text("first")
    assert machine.commit() == "unknown"
    _git(tmp_path, "init", "--quiet")
    assert machine.commit() == "unknown", "in a repository, but not of it"
    _git(tmp_path, "add", "machine.py", "kernels")
    _git(tmp_path, "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "-m", "first")
    (tmp_path / "notes.txt").write_text("not code")
    head = _git(tmp_path, "rev-parse", "HEAD")
    assert machine.commit() == head
    for path in (module, deep):
        path.write_text("second")
        assert machine.commit() == f"{head}-modified"
        path.write_text("first")
    assert machine.commit() == head
    (deep.parent / "new.py").write_text("")
    assert machine.commit() == f"{head}-modified"


def test_the_version_of_the_package_tells_any_two_edits_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "HERE", tmp_path)
    (tmp_path / "kernels").mkdir()
    seen = []
    for name, text in (
        ("a.py", "x"), ("kernels/b.py", "y"), ("kernels/b.py", "z"), ("c.py", ""), ("a.py", "xc"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        seen.append(machine.versions()["fastattn_lite"])
        (tmp_path / "notes.txt").write_text(text)
        assert machine.versions()["fastattn_lite"] == seen[-1]
    assert len(set(seen)) == 5
    version = re.escape(fastattn_lite.__version__)
    assert all(re.fullmatch(rf"{version}\+[0-9a-f]{{12}}", each) for each in seen)
