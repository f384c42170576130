"""The parameters of the figures, from specs.json, which the scripts read too."""

from __future__ import annotations

import json
import math
import numbers
from functools import cache
from pathlib import Path
from typing import Any

import traitlets

from fastattn_lite.figures.words import say

SPECS = Path(__file__).parent / "specs.json"


@cache
def specs(figure: str) -> dict[str, dict[str, Any]]:
    """Return the parameters of a figure: kind, limits or options, default."""
    return json.loads(SPECS.read_text(encoding="utf-8")).get(figure, {})


class Parameter(traitlets.TraitType[Any, Any]):
    """A synced trait whose value must meet its entry in specs.json."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__(default_value=spec["default"])
        self.spec = spec
        self.tag(sync=True, parameter=True)

    def validate(self, obj: Any, value: Any) -> Any:
        """Return the value as a plain Python one, or say what was expected."""
        del obj
        checked = CHECKS[self.spec["kind"]](self.spec, value)
        if checked is None:
            words = {**self.spec, "options": ", ".join(map(repr, self.spec.get("options", ())))}
            key = f"expected_{self.spec['kind']}"
            raise traitlets.TraitError(
                say("common", key, name=self.name, value=repr(value), **_without_kind(words))
            )
        return checked


def parameter(figure: str, name: str) -> Any:
    """Return the trait for one parameter of a figure."""
    return Parameter(specs(figure)[name])


def _without_kind(words: dict[str, Any]) -> dict[str, Any]:
    return {key: word for key, word in words.items() if key not in {"kind", "default"}}


def _number(spec: dict[str, Any], value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    number = float(value)
    return number if math.isfinite(number) and spec["min"] <= number <= spec["max"] else None


def _integer(spec: dict[str, Any], value: Any) -> int | None:
    number = _number(spec, value)
    return int(number) if number is not None and number == int(number) else None


def _choice(spec: dict[str, Any], value: Any) -> str | None:
    return value if isinstance(value, str) and value in spec["options"] else None


def _boolean(spec: dict[str, Any], value: Any) -> bool | None:
    del spec
    return bool(value) if type(value).__name__ in {"bool", "bool_"} else None


CHECKS = {"integer": _integer, "number": _number, "choice": _choice, "boolean": _boolean}
