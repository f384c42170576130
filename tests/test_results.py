"""Stored results: every rule of the schema refuses its fault, and what ships is valid."""

from __future__ import annotations

import copy
import json
import math
import os

import jsonschema
import pytest

from fastattn_lite.results import list_results, load_result, save_result, store, validate_result
from fastattn_lite.results.validation import schema

GOOD = {
    "schema_version": 1,
    "name": "cpu_order2",
    "title": "A measurement",
    "command": "python -m fastattn_lite bench --json cpu_order2.json",
    "commit": 40 * "a",
    "date": "2024-02-29",
    "device": {
        "processor": "A processor",
        "system": "Linux x86_64",
        "cores": 2,
        "memory_gib": 7.5,
        "threads": {"numpy": 2, "torch": 1},
    },
    "versions": {"python": "3.12.1", "numpy": "2.1.0"},
    "samples": [
        {
            "what": "fast_attention",
            "library": "numpy",
            "is_causal": False,
            "tokens": 64,
            "dim": 8,
            "order": 2,
            "unit": "s",
            "values": [0.25, 1],
        }
    ],
    "summary": {
        "growth": {"text": "growth", "value": 2.1, "unit": "1", "goal": 2.2, "goal_is": "at most"},
        "crossover": {"text": "crossover", "value": None, "unit": "tokens"},
    },
}
GONE = object()
FAULTS = [
    ("schema_version", 2, "schema_version: expected 1, got 2"),
    ("schema_version", True, "schema_version: expected 1, got True"),
    ("schema_version", GONE, "result: expected the field 'schema_version'"),
    ("name", "Order 2", "name: expected text like"),
    ("name", 2, "name: expected string, got 2"),
    ("title", "", "title: expected a length of at least 1"),
    ("command", "", "command: expected a length"),
    ("commit", "abc", "commit: expected text like"),
    ("commit", 40 * "a" + "-dirty", "commit: expected text like"),
    ("date", "29.2.2024", "date: expected text like"),
    ("device", [], "device: expected object"),
    ("device.cores", 0, "device.cores: expected at least 1, got 0"),
    ("device.cores", 2.5, "device.cores: expected integer"),
    ("device.cores", True, "device.cores: expected integer, got True"),
    ("device.memory_gib", -1, "device.memory_gib: expected at least 0"),
    ("device.processor", GONE, "device: expected the field 'processor'"),
    ("device.accelerator", {"name": "A GPU"}, "accelerator: expected the field 'memory_gib'"),
    ("device.owner", "me", "device: expected only the fields .* got 'owner'"),
    ("device.threads.numpy", 0, "device.threads.numpy: expected at least 1"),
    ("versions.python", GONE, "versions: expected the field 'python'"),
    ("versions.numpy", 2.1, "versions.numpy: expected string"),
    ("samples", [], "samples: expected a length of at least 1"),
    ("samples.0.values", [], r"samples\[0\].values: expected a length"),
    ("samples.0.values.0", "fast", r"samples\[0\].values\[0\]: expected number"),
    ("samples.0.values.0", True, r"samples\[0\].values\[0\]: expected number"),
    ("samples.0.unit", "ms", r"samples\[0\].unit: expected one of"),
    ("samples.0.is_causal", 0, r"samples\[0\].is_causal: expected boolean"),
    ("samples.0.tokens", -1, r"samples\[0\].tokens: expected at least 0"),
    ("samples.0.heads", 0, r"samples\[0\].heads: expected at least 1"),
    ("samples.0.dim", 0, r"samples\[0\].dim: expected at least 1"),
    ("samples.0.order", GONE, r"samples\[0\]: expected the field 'order'"),
    ("samples.0.note", "", r"samples\[0\]: expected only the fields"),
    ("samples.0.heads", 0, r"samples\[0\].heads: expected at least 1"),
    ("samples.0.number_bytes", 0.5, r"samples\[0\].number_bytes: expected integer"),
    ("samples.0.predicted", "soon", r"samples\[0\].predicted: expected number"),
    ("samples.0.design", "", r"samples\[0\].design: expected a length"),
    ("samples.0.finding", 1, r"samples\[0\].finding: expected string"),
    ("summary.growth.unit", "hours", "summary.growth.unit: expected one of"),
    ("summary.growth.value", "2", "summary.growth.value: expected number or null"),
    ("summary.growth.text", GONE, "summary.growth: expected the field 'text'"),
    ("summary.growth.goal", None, "summary.growth.goal: expected number, got None"),
    ("summary.growth.goal_is", "below", "summary.growth.goal_is: expected one of"),
    ("summary.growth.note", "", "summary.growth: expected only the fields"),
    ("note", "", "result: expected only the fields"),
]


def changed(field: str, value: object) -> dict:
    """Return a copy of the good result in which one field holds something else, or is gone."""
    result = copy.deepcopy(GOOD)
    *path, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    place = result
    for part in path:
        place = place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return result


@pytest.fixture(scope="module")
def library() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


def test_a_good_result_is_valid(library):
    validate_result(GOOD)
    assert library.is_valid(GOOD)


@pytest.mark.parametrize(("field", "value", "words"), FAULTS)
def test_each_fault_is_refused_and_named(field, value, words, library):
    broken = changed(field, value)
    with pytest.raises(ValueError, match=words):
        validate_result(broken)
    assert not library.is_valid(broken)


@pytest.mark.parametrize("field", ["summary", "versions", "device.threads"])
def test_names_are_free_where_the_schema_leaves_them_open(field, library):
    known = {"python": "3.11.0"} if field == "versions" else {}
    validate_result(changed(field, known))
    assert library.is_valid(changed(field, known))


@pytest.mark.parametrize("number", [math.nan, math.inf, -(10**400), 2**63])
def test_numbers_that_json_cannot_hold_are_refused(number):
    with pytest.raises(ValueError, match=r"values\[0\]: expected number"):
        validate_result(changed("samples.0.values.0", number))


@pytest.mark.parametrize("data", [None, [], "text", 1])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(ValueError, match="result: expected object"):
        validate_result(data)


def test_a_saved_result_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    path = save_result(GOOD, tmp_path / "cpu_order2.json")
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert list_results() == ["cpu_order2"]
    assert load_result("cpu_order2") == GOOD
    with pytest.raises(ValueError, match=r"name: expected one of \['cpu_order2'\], got 'gpu'"):
        load_result("gpu")


def test_nothing_is_written_where_the_result_is_broken_or_misnamed(tmp_path):
    with pytest.raises(ValueError, match="date"):
        save_result(changed("date", "today"), tmp_path / "cpu_order2.json")
    with pytest.raises(ValueError, match=r"path: expected a file named cpu_order2.json, got 'a"):
        save_result(GOOD, tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_stored_whole_leaves_the_old_one(tmp_path, monkeypatch):
    path = save_result(GOOD, tmp_path / "cpu_order2.json")

    def full(_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        save_result(changed("title", "Another"), path)
    assert json.loads(path.read_text(encoding="utf-8")) == GOOD
    assert list(tmp_path.iterdir()) == [path]


def test_a_stored_result_that_was_broken_later_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    (tmp_path / "old.json").write_text(json.dumps(changed("date", "today")), encoding="utf-8")
    with pytest.raises(ValueError, match="date"):
        load_result("old")


def test_a_file_holds_the_result_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    (tmp_path / "other.json").write_text(json.dumps(GOOD), encoding="utf-8")
    with pytest.raises(ValueError, match="name: expected 'other'"):
        load_result("other")


def test_every_result_that_ships_is_valid(library):
    for name in list_results():
        library.validate(load_result(name))
