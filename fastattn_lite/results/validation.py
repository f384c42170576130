"""Check a result against `schema.json`, with the few JSON Schema keywords that it uses."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parent / "schema.json"
LARGEST = 2.0**63
"""Numbers below it, with either sign, are ones that every reader of JSON holds; nan is none."""
ANNOTATIONS = {"$schema", "title", "description"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of a result."""
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


def validate_result(data: Any) -> None:
    """Raise `ValueError` unless the data fit `schema.json`.

    The message names the field, what was expected and what came.
    Chapter: complexity_scaling.
    """
    _validate(data, schema(), "result")


def _validate(data: Any, rules: dict[str, Any], field: str) -> None:
    """Apply every keyword of `rules`; an unknown keyword is a `KeyError`, never passed over."""
    if "type" in rules:  # first, for the other keywords rely on it
        _check_type(data, rules["type"], field)
    for keyword, rule in rules.items():
        if keyword not in ANNOTATIONS and keyword not in {"type", "properties"}:
            CHECKS[keyword](data, rule, field)
    if isinstance(data, dict):
        _validate_members(data, rules, field)


def _validate_members(data: dict[str, Any], rules: dict[str, Any], field: str) -> None:
    others = rules.get("additionalProperties", {})
    known: dict[str, Any] = rules.get("properties", {})
    for name, member in data.items():
        if name not in known and others is False:
            raise _wrong(field, f"only the fields {', '.join(known)}", name)
        _validate(member, known.get(name, others), f"{field}.{name}")


def _check_type(data: Any, rule: str | list[str], field: str) -> None:
    names = [rule] if isinstance(rule, str) else rule
    if not any(_is_of_type(data, name) for name in names):
        raise _wrong(field, " or ".join(names), data)


def _is_of_type(data: Any, name: str) -> bool:
    if isinstance(data, bool):
        return name == "boolean"
    return isinstance(data, TYPES[name]) and not (
        isinstance(data, int | float) and not abs(data) < LARGEST
    )


def _check_required(data: Any, rule: list[str], field: str) -> None:
    missing = [name for name in rule if name not in data]
    if missing:
        raise ValueError(f"{field}: expected the field {missing[0]!r}, got {sorted(data)}")


def _check_const(data: Any, rule: Any, field: str) -> None:
    if data != rule or type(data) is not type(rule):
        raise _wrong(field, repr(rule), data)


def _check_enum(data: Any, rule: list[Any], field: str) -> None:
    if data not in rule:
        raise _wrong(field, f"one of {rule}", data)


def _check_pattern(data: str, rule: str, field: str) -> None:
    if not re.search(rule, data):
        raise _wrong(field, f"text like {rule}", data)


def _check_minimum(data: float, rule: float, field: str) -> None:
    if data < rule:
        raise _wrong(field, f"at least {rule}", data)


def _check_length(data: Any, rule: int, field: str) -> None:
    if len(data) < rule:
        raise _wrong(field, f"a length of at least {rule}", data)


def _check_items(data: list[Any], rule: dict[str, Any], field: str) -> None:
    for position, item in enumerate(data):
        _validate(item, rule, f"{field}[{position}]")


def _check_nothing(*_: Any) -> None:
    """Stand for `additionalProperties`, which is read together with `properties`."""


def _wrong(field: str, expected: str, came: Any) -> ValueError:
    return ValueError(f"{field}: expected {expected}, got {came!r}")


CHECKS: dict[str, Any] = {
    "required": _check_required,
    "const": _check_const,
    "enum": _check_enum,
    "pattern": _check_pattern,
    "minimum": _check_minimum,
    "minLength": _check_length,
    "minItems": _check_length,
    "items": _check_items,
    "additionalProperties": _check_nothing,
}
