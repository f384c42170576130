"""The profile of the kernels: what is read from the profiler's table, and what is said without."""

from __future__ import annotations

import pytest

from fastattn_lite import gpu_benchmark
from tools import gpu_designs, gpu_profile
from tools.gpu_profile import CASES, COUNTERS, METRICS, STALL, launches, samples

TIME = "gpu__time_duration.sum"


def table(unit: str = "ns", **counters: str) -> str:
    """Return a table as the profiler prints it, with other lines around it."""
    names = ["ID", "Kernel Name", TIME, STALL.format("barrier"), STALL.format("wait"), *counters]
    units = ["", "", unit, "inst", "inst", *("%" for _ in counters)]
    rows = [
        ["0", "accumulate_kernel", "1,500.00", "3.00", "1.00", *counters.values()],
        ["1", "attention_kernel", "2,000", "", "", *counters.values()],
    ]
    lines = [",".join(f'"{word}"' for word in row) for row in (names, units, *rows)]
    return "\n".join(["==PROF== Connected", *lines, ""])


def test_every_launch_and_counter_is_read():
    memory = "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"
    made = samples("full-64", launches(table(**{memory: "12.50"})))
    found = {sample["what"]: (sample["values"], sample["unit"]) for sample in made}
    first = "forward, 1. accumulate_kernel"
    assert found[f"{first}: time"] == ([pytest.approx(1.5e-6)], "s")
    assert found[f"{first}: main memory"] == ([0.125], "1")
    assert found[f"{first}: waits for a barrier"] == ([0.75], "1")
    assert found["forward, 2. attention_kernel: time"][0] == [pytest.approx(2e-6)]
    assert "forward, 2. attention_kernel: waits for a barrier" not in found


@pytest.mark.parametrize(
    ("printed", "words"),
    [("==ERROR== no permission", "no table: '==ERROR== no"), (table("us"), "in 'us', expected ns")],
)
def test_what_is_no_table_is_refused(printed, words):
    with pytest.raises(ValueError, match=words):
        launches(printed)


def test_the_profiler_is_asked_for_what_is_stored():
    line = gpu_profile.command("ncu", "order-1")
    assert line[line.index("--metrics") + 1].split(",") == list(COUNTERS)
    assert line[-2:] == ["--call", "order-1"]
    assert set(METRICS) < set(COUNTERS)
    assert all(problem.names == ("fused",) for problem in CASES.values())


@pytest.mark.parametrize("tool", [gpu_profile, gpu_designs])
def test_without_a_gpu_each_tool_says_so(tool, tmp_path, capsys, monkeypatch):
    def no_device() -> None:
        raise RuntimeError("--gpu: torch sees no CUDA device")

    monkeypatch.setattr(gpu_benchmark, "check_device", no_device)
    assert tool.main(["--json", str(tmp_path / "gpu_some.json")]) == 1
    assert capsys.readouterr().err == "error: torch sees no CUDA device\n"


def test_without_the_profiler_it_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu_benchmark, "check_device", lambda: None)
    monkeypatch.setattr(gpu_profile.shutil, "which", lambda _: None)
    assert gpu_profile.main(["--json", str(tmp_path / "gpu_profile.json")]) == 1
    assert "Nsight Compute is not installed" in capsys.readouterr().err
