"""The roofline: counts by hand, the bound, the measured steps, and what the stored results say."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest

from fastattn_lite import fast_attention, number_of_features
from fastattn_lite.__main__ import main
from fastattn_lite.complexity import fast_flops
from fastattn_lite.results import load_result, validate_result
from fastattn_lite.roofline import (
    Roof,
    Work,
    direct_work,
    measure_roof,
    measurements,
    roof_of,
    sample_work,
    step_functions,
    step_work,
)
from tools import gpu_roofline

RESULTS = ["gpu_design_log", "gpu_roofline", "cpu_roofline"]


@pytest.mark.equation("eq-intensity")
def test_work_by_hand():
    assert step_work(3, 4, 2) == Work(2 * 3 * 15 * 5, 4 * 3 * 8 + 4 * 15 * 5)
    assert step_work(3, 4, 2, 7, number_bytes=2) == Work(2 * 3 * 15 * 8, 2 * 3 * 11 + 4 * 15 * 8)
    stored = step_work(3, 4, 2, number_bytes=2, is_stored=True)
    assert stored == Work(2 * 3 * 15 * 5, 2 * 3 * 8 + 4 * 15 * 5 + 2 * 2 * 3 * 15)
    assert direct_work(3, 4, number_bytes=2) == Work(4 * 9 * 4, 2 * 3 * 16)
    assert direct_work(3, 4, is_causal=True) == Work(2 * 9 * 4, 4 * 3 * 16)


@pytest.mark.equation("eq-intensity")
@pytest.mark.parametrize(("dim", "order"), [(16, 1), (64, 2), (32, 3)])
def test_both_steps_have_the_flops_of_the_cost_model(dim, order):
    assert 2 * step_work(1000, dim, order).flops == fast_flops(1000, dim, order)


@pytest.mark.equation("eq-intensity")
def test_many_tokens_leave_the_traffic_of_the_tokens():
    many, features = 10**9, number_of_features(64, 2)
    fused = step_work(many, 64, 2, number_bytes=2).intensity
    stored = step_work(many, 64, 2, number_bytes=2, is_stored=True).intensity
    assert fused == pytest.approx(features * 65 / 128, rel=1e-4)
    assert stored == pytest.approx(features * 65 / (128 + 2 * features), rel=1e-4)


@pytest.mark.equation("eq-roofline")
def test_the_roof_rises_to_the_ridge_and_is_flat_from_there():
    roof = Roof(peak=600.0, bandwidth=20.0)
    assert roof.ridge == 30
    assert [roof.attainable(x) for x in (1, 15, 30, 31, 1e6)] == [20, 300, 600, 600, 600]


@pytest.mark.equation("eq-least-time")
def test_the_least_time_is_the_longer_of_two():
    roof = Roof(peak=600.0, bandwidth=20.0)
    assert roof.least_seconds(Work(6000, 20)) == 10
    assert roof.least_seconds(Work(600, 200)) == 10
    for work in (Work(6000, 20), Work(600, 200), Work(60, 2)):
        rate = work.flops / roof.least_seconds(work)
        assert rate == pytest.approx(roof.attainable(work.intensity))


@pytest.mark.parametrize("intensity", [0, -1.0, math.nan, "1"])
def test_an_intensity_is_a_positive_number(intensity):
    with pytest.raises((TypeError, ValueError), match="intensity"):
        Roof(1.0, 1.0).attainable(intensity)


@pytest.mark.parametrize(
    ("changes", "name"), [({"tokens": 0}, "tokens"), ({"dim": 0}, "dim"), ({"order": -1}, "order")]
)
def test_bad_counts_are_named(changes, name):
    with pytest.raises(ValueError, match=name):
        step_work(**({"tokens": 1, "dim": 1, "order": 2} | changes))
    with pytest.raises(ValueError, match="number_bytes"):
        step_work(1, 1, 2, number_bytes=0)


def test_both_forms_of_a_step_compute_the_same():
    steps = step_functions(300, 5)
    found = {name: call() for name, call in steps.items()}
    assert len(found) == 4
    for step in ("accumulate", "evaluate"):
        stored, chunked = found[f"{step}: features stored"], found[f"{step}: in chunks"]
        np.testing.assert_allclose(stored, chunked, rtol=1e-3, atol=1e-3)
    random = np.random.default_rng(0)
    tokens = random.uniform(-0.5, 0.5, (3, 300, 5))
    exact = fast_attention(*tokens, scale=1.0)
    np.testing.assert_allclose(found["evaluate: in chunks"], exact, atol=1e-5)


def test_measured_speeds_are_numbers_a_machine_can_have(monkeypatch):
    monkeypatch.setattr("fastattn_lite.roofline.PRODUCT_SIZE", 64)
    monkeypatch.setattr("fastattn_lite.roofline.COPY_NUMBERS", 1000)
    roof = measure_roof(repeats=1)
    assert 0 < roof.ridge < math.inf
    found = measurements(64, [4, 8], repeats=2)
    assert {sample["dim"] for sample in found.samples} == {4, 8}
    assert all(len(sample["values"]) == 2 for sample in found.samples)


def test_the_command_stores_a_valid_result(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fastattn_lite.roofline.PRODUCT_SIZE", 64)
    monkeypatch.setattr("fastattn_lite.roofline.COPY_NUMBERS", 1000)
    path = tmp_path / "cpu_roofline.json"
    options = ["--tokens", "64", "--dims", "4", "--repeats", "1", "--json", str(path)]
    assert main(["roofline", *options]) == 0
    assert "accumulate: in chunks" in capsys.readouterr().out
    result = json.loads(path.read_text(encoding="utf-8"))
    validate_result(result)
    words = "--tokens 64 --dims 4 --repeats 1 --json cpu_roofline.json"
    assert result["command"] == f"python -m fastattn_lite roofline {words}"
    assert roof_of(result).peak == result["summary"]["peak"]["value"]


def test_the_work_of_a_sample_counts_heads_and_steps():
    sample = {
        "what": "accumulate: v1",
        "tokens": 64,
        "dim": 8,
        "order": 2,
        "heads": 3,
        "number_bytes": 2,
        "is_causal": False,
    }
    one = step_work(64, 8, 2, number_bytes=2)
    assert sample_work(sample) == Work(3 * one.flops, 3 * one.bytes)
    both = sample_work(sample | {"what": "forward: fused"})
    assert both == Work(6 * one.flops, 6 * one.bytes)
    stored = sample_work(sample | {"what": "evaluate: features stored"})
    assert stored.bytes == 3 * step_work(64, 8, 2, number_bytes=2, is_stored=True).bytes
    causal = sample_work(sample | {"what": "softmax: torch", "is_causal": True})
    assert causal.flops == 3 * direct_work(64, 8).flops / 2
    with pytest.raises(ValueError, match="what: expected the name of a step"):
        sample_work(sample | {"what": "decode: v1"})


@pytest.mark.parametrize("name", RESULTS)
def test_no_stored_time_beats_its_roof(name):
    result = load_result(name)
    roof = roof_of(result)
    for sample in result["samples"]:
        assert min(sample["values"]) > roof.least_seconds(sample_work(sample)), sample["what"]


def test_the_roof_of_the_gpu_is_the_measured_one():
    """Not that of the data sheet; the log repeats what gpu_h100 of commit 0d087a3 measured."""
    log = load_result("gpu_design_log")["summary"]
    measured = {"peak": 762837747561157.8, "bandwidth": 2995196055467.2603}
    for speed, value in measured.items():
        assert log[speed]["value"] == value
        assert log[speed]["value"] < log[f"{speed}_data_sheet"]["value"]


def test_the_runs_of_the_h200_are_those_of_the_benchmark():
    assert load_result(gpu_roofline.NAME) == gpu_roofline.extract(load_result(gpu_roofline.RUN))


def test_only_whole_forward_passes_of_many_tokens_stand_on_the_roof():
    run = load_result(gpu_roofline.RUN)
    found = gpu_roofline.extract(run)
    fused = [s for s in found["samples"] if s["what"] == "forward: fused kernels"]
    sizes = {(s["order"], s["dim"]) for s in fused}
    assert len(fused) == len(sizes) == 10
    sample = next(s for s in fused if (s["order"], s["dim"]) == (2, 64))
    seconds = fast_flops(65_536, 64, 2) / (
        run["summary"]["share_d64_order2_full_forward"]["value"] * roof_of(found).peak
    )
    assert statistics.median(sample["values"]) / sample["heads"] == pytest.approx(seconds)
    assert sample_work(sample).flops == 64 * fast_flops(65_536, 64, 2)


@pytest.mark.parametrize("step", ["accumulate", "evaluate"])
def test_the_log_holds_three_designs_of_each_step_and_its_predictions(step):
    samples = load_result("gpu_design_log")["samples"]
    designs = {s["what"].partition(",")[0] for s in samples if s["what"].startswith(step)}
    assert len(designs) >= 3
    assert sum("predicted" in s for s in samples if s["what"].startswith(step)) == 2
