"""A run and its file: known from the start, stored before it is shown, and no other run's."""

from __future__ import annotations

import json
import os
import sys

import pytest

from fastattn_lite import gpu_benchmark, machine
from fastattn_lite.__main__ import main
from fastattn_lite.gpu_benchmark import QUICK, Budget, Case, Problem, Survey
from fastattn_lite.results import new_result, save_result

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
