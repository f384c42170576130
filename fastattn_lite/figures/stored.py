"""Stored results as the figure ComplexityScaling draws them: one line per implementation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastattn_lite.figures.words import catalogue, format_number, say
from fastattn_lite.gpu_benchmark import LINEAR, PAIRWISE
from fastattn_lite.results import list_results, load_result, validate_result

Result = dict[str, Any]
SECTION = "ComplexityScaling"
SOFTMAX = ("scaled_dot_product", "softmax", "flash", "cudnn")
"""What the name of an implementation holds that computes softmax, so that no order matters."""
RACES = "python -m fastattn_lite bench"
"""The command of results that time whole attention at many n; others time single steps."""
NOT_ATTENTION = ("matrix products",)
OF_THE_DEVICE = ("bf16 product", "device copy")
"""What is measured of the device itself, at sizes of its own: no line of the figure."""
OTHER_CASES = {"decode", "in a graph"}
"""Remarks of samples that the figure leaves out: one token, and calls without the host's time."""
TRAINED = "forward + backward"
DROPPED = ("doublings", "peak memory", "forward", TRAINED)
"""Remarks behind a comma that are not part of the name of an implementation."""
UNITS = ("s", "byte")
LIBRARIES = ("numpy", "torch", "triton", "cuda", "cudnn")
"""Whose versions are shown, of those that a result names."""
FIELDS = ("line", "source", "kind", "dim", "order", "is_causal", "is_trained", "unit")


def stored_results() -> list[Result]:
    """Return the measured results of whole attention, on processors and graphics cards."""
    results = map(load_result, list_results())
    return [result for result in results if result["command"].startswith(RACES)]


def own_result(own: Result | str | Path) -> Result:
    """Return the reader's own result, given as such or as its file; checked against the schema."""
    if not isinstance(own, dict | str | Path):
        raise TypeError(f"own: expected a result or the path of its file, got {own!r}")
    result = own if isinstance(own, dict) else json.loads(Path(own).read_text(encoding="utf-8"))
    validate_result(result)
    return result


def given_results(results: Any) -> list[Result]:
    """Return results in a list, or raise `TypeError` where something else came."""
    listed = list(results) if isinstance(results, list | tuple) else [results]
    wrong = [result for result in listed if not isinstance(result, dict)]
    if wrong or isinstance(results, dict):
        raise TypeError(f"results: expected a list of results, got {results!r:.80}")
    return listed


def series_of(results: Iterable[tuple[str, Result]]) -> list[dict[str, Any]]:
    """Return the series of named results by line and by case: points [n, least, upper quartile].

    A line is an implementation on one machine, of a `kind` as `kind_of` says. A case is d, order
    (None for softmax, which has none), causal or not, with the backward pass or without, and what
    is measured. Values are those of one head: of a call with several, their share.
    """
    found: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for source, result in results:
        for sample in result["samples"]:
            if _is_drawn(sample):
                points = found.setdefault(_key(source, sample), {})
                new, tokens = _least_and_quartile(sample), sample["tokens"]
                points[tokens] = min(new, points.get(tokens, new))
    return [
        dict(
            zip(FIELDS, key, strict=True),
            points=[[n, *(float(f"{x:.3g}") for x in points[n])] for n in sorted(points)],
        )
        for key, points in found.items()
    ]


def _words(sample: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the name of what was measured, and the remarks behind its commas."""
    name, *remarks = str(sample["what"]).split(", ")
    return name, remarks


def _is_drawn(sample: dict[str, Any]) -> bool:
    name, remarks = _words(sample)
    return sample["unit"] in UNITS and name not in OF_THE_DEVICE and not OTHER_CASES & {*remarks}


def source_name(result: Result) -> str:
    """Return the machine of a result in few words."""
    device = result["device"]
    return str(device["accelerator"]["name"] if "accelerator" in device else device["processor"])


def provenance(source: str, result: Result) -> dict[str, str]:
    """Return what a result is, where and when it was measured, with what, and how to repeat it."""
    versions = [f"{name} {v}" for name, v in result["versions"].items() if name in LIBRARIES]
    details = say(
        SECTION,
        "details",
        machine=source_name(result),
        date=result["date"],
        heads=_heads(result),
        versions=", ".join(versions),
    )
    return {
        "source": source,
        "title": result["title"],
        "details": details,
        "command": result["command"],
    }


def kind_of(name: str) -> str:
    """Return "softmax", "fast" (its cost depends on an order), or what neither of them is.

    "pairs" computes the polynomial of an order, but for each pair of tokens; "linear" sums
    s_ij v_j, without a constant and a normaliser; "bound" is no attention.
    """
    if name.startswith(NOT_ATTENTION):
        return "bound"
    if name == LINEAR:
        return "linear"
    if name.startswith(PAIRWISE):
        return "pairs"
    is_softmax = any(word in name.lower() for word in SOFTMAX) and "linear" not in name.lower()
    return "softmax" if is_softmax else "fast"


def _heads(result: Result) -> str:
    """Say how many heads a call has, and up to which n all calls have them."""
    calls = [(s.get("heads", 1), s["tokens"]) for s in result["samples"] if _is_drawn(s)]
    most = max(heads for heads, _ in calls)
    if most == 1:
        return say(SECTION, "one_head")
    fewer = min((n for heads, n in calls if heads < most), default=math.inf)
    sizes = {n for heads, n in calls if heads == most}
    full = max((n for n in sizes if n < fewer), default=min(sizes))
    return say(SECTION, "heads", most=most, tokens=format_number(full))


def _least_and_quartile(sample: dict[str, Any]) -> list[float]:
    values = [value / sample.get("heads", 1) for value in sample["values"]]
    if len(values) == 1:
        return values
    return [min(values), float(np.quantile(values, 0.75))]


def _key(source: str, sample: dict[str, Any]) -> tuple[Any, ...]:
    name, remarks = _words(sample)
    kind = kind_of(name)
    shown = catalogue()[SECTION].get(f"name.{name}", name)
    words = ", ".join([shown, *(remark for remark in remarks if remark not in DROPPED)])
    line = say(SECTION, "line", name=words, library=sample["library"], source=source)
    order = None if kind == "softmax" else sample["order"]
    case = (sample["dim"], order, sample["is_causal"], TRAINED in remarks, sample["unit"])
    return line, source, kind, *case
