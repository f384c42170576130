"""Stored results as the figure ComplexityScaling draws them: one line per implementation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastattn_lite.figures.words import say
from fastattn_lite.results import list_results, load_result, validate_result

Result = dict[str, Any]
SECTION = "ComplexityScaling"
SOFTMAX = ("scaled_dot_product", "softmax", "flash", "cudnn")
"""What the name of an implementation holds that computes softmax, so that no order matters."""
STEPS_ONLY = ("_roofline", "_log")
"""Ends of names of results that time single steps, not whole attention."""
NOT_ATTENTION = ("matrix products",)
DROPPED = ("doublings", "peak memory")
"""Remarks behind a comma that do not make another task."""
UNITS = ("s", "byte")


def stored_results() -> list[Result]:
    """Return the measured results on processors (cpu_...) and graphics cards (gpu_...)."""
    names = [name for name in list_results() if name.startswith(("cpu_", "gpu_"))]
    return [load_result(name) for name in names if not name.endswith(STEPS_ONLY)]


def own_result(own: Result | str | Path) -> Result:
    """Return the reader's own result, given as such or as its file; checked against the schema."""
    result = own if isinstance(own, dict) else json.loads(Path(own).read_text(encoding="utf-8"))
    validate_result(result)
    return result


def series_of(results: Iterable[tuple[str, Result]]) -> list[dict[str, Any]]:
    """Return the series of named results: points [n, least value] by line and by case.

    A line is an implementation on one machine, its `kind` "softmax", "fast" or "bound", its `task`
    what stands behind a comma, such as "backward". A case is d, order (None for softmax, which
    has none), causal or not, and what is measured.
    """
    found: dict[tuple[Any, ...], dict[int, float]] = {}
    for source, result in results:
        for sample in result["samples"]:
            if sample["unit"] in UNITS:
                points = found.setdefault(_key(source, sample), {})
                least, tokens = min(sample["values"]), sample["tokens"]
                points[tokens] = min(least, points.get(tokens, least))
    fields = ("line", "kind", "task", "dim", "order", "is_causal", "unit")
    return [
        dict(
            zip(fields, key, strict=True),
            points=[[n, float(f"{points[n]:.4g}")] for n in sorted(points)],
        )
        for key, points in found.items()
    ]


def source_name(result: Result) -> str:
    """Return the machine of a result in few words."""
    device = result["device"]
    return str(device.get("gpu") or device.get("accelerator") or device["processor"])


def _key(source: str, sample: dict[str, Any]) -> tuple[Any, ...]:
    name, *remarks = sample["what"].split(", ")
    task = ", ".join(remark for remark in remarks if remark not in DROPPED)
    kind = kind_of(name)
    words = f"{name}, {task}" if task else name
    line = say(SECTION, "line", name=words, library=sample["library"], source=source)
    order = None if kind == "softmax" else sample["order"]
    return line, kind, task, sample["dim"], order, sample["is_causal"], sample["unit"]


def kind_of(name: str) -> str:
    """Return "softmax", "fast" (its cost depends on an order) or "bound" (no attention)."""
    if name.startswith(NOT_ATTENTION):
        return "bound"
    is_softmax = any(word in name.lower() for word in SOFTMAX) and "linear" not in name.lower()
    return "softmax" if is_softmax else "fast"
