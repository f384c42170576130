"""A run and its file: known from the start, stored before it is shown, and no other run's."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import fastattn_lite
from fastattn_lite import gpu_benchmark, machine
from fastattn_lite.__main__ import main
from fastattn_lite.gpu_benchmark import QUICK, Budget, Case, Problem, Survey
from fastattn_lite.results import new_result, save_result, validate_result
from fastattn_lite.run_file import check_target

DEVICE = {"name": "Made Up", "memory_gib": 80.0, "capability": "9.0", "driver": "1.2"}
PROBLEM = Problem(64, 2, False, False, ("fused", "flash"))


def series(count: int) -> list[dict]:
    """Return the times of the kernels at so many sizes of the quick plan."""
    return [
        Case(PROBLEM, "fused", n, QUICK.heads_for(n, PROBLEM)).sample("fused, forward", [1e-3])
        for n in QUICK.tokens[:count]
    ]


@pytest.fixture
def on_gpu(monkeypatch, tmp_path):
    """Return the path of a run and what runs it: stores after 1, 2 and 3 sizes, calls between."""
    monkeypatch.setattr(gpu_benchmark, "check_device", lambda: None)
    monkeypatch.setattr(machine, "accelerator", lambda: DEVICE)
    monkeypatch.setattr(machine, "accelerator_versions", lambda: {"cuda": "13.0"})
    path = tmp_path / "gpu_made_up.json"

    def bench(*options, between=lambda: None):
        def run(*given, store, **_):
            for count in (1, 2, 3):
                store(series(count))
                given[2](f"notice {count}")
                between()
            return Survey(lambda *_: [], lambda _: [], Budget(1), print, series(4))

        monkeypatch.setattr(gpu_benchmark, "run", run)
        return main(["bench", "--gpu", "--quick", *options, "--json", str(path)])

    return path, bench


def read(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_a_result_says_of_its_run_is_taken_at_its_start(on_gpu, monkeypatch):
    path, bench = on_gpu
    now = {"commit": "a" * 40, "versions": {"python": "3.11.0"}, "device": machine.device()}
    for name in now:
        monkeypatch.setattr(machine, name, lambda name=name: now[name])

    def later():
        now.update(commit="b" * 40, versions={"python": "3.12.0"}, device={})

    assert bench(between=later) == 0
    result = read(path)
    assert result["commit"] == "a" * 40
    assert result["versions"] == {"python": "3.11.0", "cuda": "13.0"}
    assert result["device"]["cores"] == machine.cores()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_result_is_stored_where_nobody_reads_what_is_printed(is_there, on_gpu, monkeypatch):
    path, bench = on_gpu
    if is_there:
        bench("--heads", "4")

    class Gone:
        def write(self, text):
            if "notice" in text or "median" in text:
                raise BrokenPipeError
            return len(text)

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stdout", Gone())
    assert bench() == 1
    assert read(path)["samples"] == series(4)
    assert "--heads" not in read(path)["command"]


def test_what_cannot_be_stored_is_printed(on_gpu, monkeypatch, capsys):
    path, bench = on_gpu
    bench()
    capsys.readouterr()

    def full(_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", full)
    assert bench() == 1
    caught = capsys.readouterr()
    assert "fused, forward" in caught.out
    assert "stored in" not in caught.out
    assert caught.err == "error: the disk is full\n"
    assert path.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_that_another_run_wrote_is_left_to_it(is_there, on_gpu, capsys):
    path, bench = on_gpu
    if is_there:
        bench()
    beside = [path.with_name(f"gpu_made_up_{i}.json") for i in (2, 3)]
    beside[0].write_text("of somebody")
    others = []

    def other():
        if not others:
            others.append(new_result(path.stem, "Another", "a command", series(1)))
            save_result(others[0], path)

    assert bench(between=other) == 0
    assert read(path) == others[0]
    assert beside[0].read_text() == "of somebody"
    assert read(beside[1])["name"] == "gpu_made_up_3"
    assert read(beside[1])["samples"] == series(4)
    said = f"{path} was changed by something else: this run is stored in {beside[1]}"
    assert capsys.readouterr().out.count(said) == 1


def test_a_file_that_was_removed_is_written_again(on_gpu):
    path, bench = on_gpu
    assert bench(between=path.unlink) == 0
    assert read(path)["samples"] == series(4)
    assert len(list(path.parent.iterdir())) == 1


def refused(bench, capsys) -> str:
    """Return the error of a run that must end before it measures anything."""

    def never():
        raise AssertionError("something was measured")

    assert bench(between=never) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("name", ["gpu_é.json", "gpu_١.json", "GPU.json", "gpu\n.json", ".json"])
def test_a_name_that_no_result_can_have_is_refused(name, on_gpu, capsys):
    path, _ = on_gpu
    assert main(["bench", "--gpu", "--json", str(path.with_name(name))]) == 1
    assert f"--json: expected a name like cpu_order2.json, of a-z, 0-9 and _, got {name!r}" in (
        capsys.readouterr().err
    )


def test_a_folder_is_no_target(on_gpu, capsys):
    path, bench = on_gpu
    path.mkdir()
    assert refused(bench, capsys) == f"error: --json: {path} is there, and no file\n"


def test_a_file_that_may_not_be_written_is_no_target(on_gpu, capsys, monkeypatch):
    path, bench = on_gpu
    bench()
    path.chmod(0o444)
    capsys.readouterr()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write it
    assert refused(bench, capsys) == f"error: --json: {path} may not be written\n"


def test_a_folder_that_takes_no_file_is_found_first(on_gpu, capsys, monkeypatch):
    path, bench = on_gpu
    bench()
    capsys.readouterr()

    def fails(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", fails)
    error = f"error: --json: {path.parent} takes no new file: Permission denied\n"
    assert refused(bench, capsys) == error


def test_the_look_at_a_target_leaves_nothing_behind(on_gpu):
    path, _ = on_gpu
    check_target(path)
    assert list(path.parent.iterdir()) == []


COMMAND = "python -m fastattn_lite bench --gpu --quick"


def without_heads(result: dict) -> None:
    del result["samples"][1]["heads"]


EDITS = {
    "x": lambda r: r.update(command="x"),
    "option": lambda r: r.update(command=f"{COMMAND} --old-option 3"),
    "prefix": lambda r: r.update(command=f"OMP_NUM_THREADS=4 {COMMAND}"),
    "version": lambda r: r.update(command="python -m fastattn_lite --version"),
    "help": lambda r: r.update(command=f"{COMMAND} --help"),
    "roofline": lambda r: r.update(command="python -m fastattn_lite roofline"),
    "quote": lambda r: r.update(command="it's"),
    "processor": lambda r: r.update(command="python -m fastattn_lite bench"),
    "heads": without_heads,
    "tokens": lambda r: r["samples"][1].update(tokens=0),
    "zero": lambda r: r["samples"][1].update(values=[0.0]),
    "below": lambda r: r["samples"][1].update(values=[1.0, -1.0], unit="1"),
}
SAID = {"heads": "samples[1]", "tokens": "samples[1]", "zero": "samples[1]", "below": "samples[1]"}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_run_is_refused_by_name(edit, on_gpu, capsys):
    path, bench = on_gpu
    bench()
    result = read(path)
    EDITS[edit](result)
    path.write_text(json.dumps(result), encoding="utf-8")
    capsys.readouterr()
    error = refused(lambda **given: bench("--resume", **given), capsys)
    words = SAID.get(edit, "command: expected one of bench --gpu, got")
    assert error.startswith(f"error: {path}: cannot be gone on with: {words}")
    assert read(path) == result


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"{", b""])
def test_what_is_no_result_is_refused_by_name(content, on_gpu, capsys):
    path, bench = on_gpu
    path.write_bytes(content)
    error = refused(lambda **given: bench("--resume", **given), capsys)
    assert error.startswith(f"error: {path}: cannot be gone on with: ")


def test_every_difference_of_a_run_is_named(on_gpu, capsys, monkeypatch):
    path, bench = on_gpu
    bench()
    was = machine.versions()["fastattn_lite"]
    monkeypatch.setattr(machine, "digest", lambda: "an edit")
    monkeypatch.setattr(machine, "accelerator", lambda: DEVICE | {"driver": "3"})
    capsys.readouterr()
    assert refused(lambda **given: bench("--resume", **given), capsys) == (
        f"error: {path}: cannot be gone on with: device.accelerator.driver was 1.2, here it is 3; "
        f"versions.fastattn_lite was {was}, here it is {fastattn_lite.__version__}+an edit\n"
    )


def test_options_that_change_nothing_may_differ(on_gpu):
    path, bench = on_gpu
    bench()
    assert bench("--resume", "--repeats", "5", "--heads", "64", "--budget", "7") == 0
    assert read(path)["command"].count("&&") == 1


def test_a_run_without_its_version_is_valid_but_not_gone_on_with(on_gpu, capsys):
    path, bench = on_gpu
    bench()
    result = read(path)
    del result["versions"]["fastattn_lite"]
    validate_result(result)
    path.write_text(json.dumps(result), encoding="utf-8")
    capsys.readouterr()
    error = refused(lambda **given: bench("--resume", **given), capsys)
    assert "versions.fastattn_lite was None, here it is" in error
