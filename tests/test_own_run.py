"""A reader's own run: the form of a stored result, the sizes, the end."""

from __future__ import annotations

import pytest

from fastattn_lite import machine, own_run
from fastattn_lite.complexity import Timing
from fastattn_lite.results import save_result


def let_runs_take(monkeypatch, *seconds):
    """Call what is measured, and report these times in turn."""
    left = iter(seconds)

    def measure(call, repeats):
        assert repeats > 1
        call()
        least = next(left)
        return (Timing((2 * least, least)),)

    monkeypatch.setattr(own_run, "measure", measure)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_result_fits_the_schema(monkeypatch, tmp_path, library):
    if library == "numpy":
        monkeypatch.setattr(machine, "installed", {}.get)
    elif not machine.installed("torch"):
        pytest.skip("torch is not installed")
    let_runs_take(monkeypatch, 1, 2, 3, 4, 5, 6)
    result = own_run.own_run(dim=4, most_tokens=1024, seconds=60)
    assert save_result(result, tmp_path / "own_run.json").exists()
    softmax = "softmax_attention" if library == "numpy" else "scaled_dot_product_attention"
    assert [(s["what"], s["tokens"], s["values"]) for s in result["samples"]] == [
        (softmax, 256, [2, 1]),
        ("fast_attention", 256, [4, 2]),
        (softmax, 512, [6, 3]),
        ("fast_attention", 512, [8, 4]),
        (softmax, 1024, [10, 5]),
        ("fast_attention", 1024, [12, 6]),
    ]
    assert {s["library"] for s in result["samples"]} == {library}


def test_a_form_that_would_take_too_long_leaves(monkeypatch):
    let_runs_take(monkeypatch, 0.2, 0.6, 0.3)
    result = own_run.own_run(dim=4, most_tokens=4096, seconds=1.0)
    assert [(s["what"] == "fast_attention", s["tokens"]) for s in result["samples"]] == [
        (False, 256),
        (True, 256),
        (False, 512),
    ]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="order"):
        own_run.own_run(order=-1, most_tokens=256)
