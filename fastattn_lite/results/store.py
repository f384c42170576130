"""Read and write stored results, each checked on its way."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastattn_lite import _files, machine
from fastattn_lite.results.validation import SCHEMA, validate_result

FOLDER = Path(__file__).parent


def list_results() -> list[str]:
    """Return the names of the results that come with the package.

    Chapter: complexity_scaling.
    """
    return sorted(path.stem for path in FOLDER.glob("*.json") if path != SCHEMA)


def load_result(name: str) -> dict[str, Any]:
    """Return a stored result by its name.

    Raises `ValueError` where there is none of that name, or where it does not fit the schema.
    Chapter: complexity_scaling.
    """
    if name not in list_results():
        raise ValueError(f"name: expected one of {list_results()}, got {name!r}")
    data = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    validate_result(data)
    if data["name"] != name:
        raise ValueError(f"name: expected {name!r}, that of the file, got {data['name']!r}")
    return data


def new_result(
    name: str,
    title: str,
    command: str,
    samples: Iterable[dict[str, Any]],
    summary: dict[str, Any] | None = None,
    *,
    on_gpu: bool = False,
) -> dict[str, Any]:
    """Return samples of today as a stored result, with this machine, its versions, the commit."""
    return {
        "schema_version": 1,
        "name": name,
        "title": title,
        "command": command,
        "commit": machine.commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": machine.device() | ({"accelerator": machine.accelerator()} if on_gpu else {}),
        "versions": machine.versions() | (machine.accelerator_versions() if on_gpu else {}),
        "samples": list(samples),
        "summary": summary or {},
    }


def save_result(data: dict[str, Any], path: str | Path) -> Path:
    """Write a result whole to a JSON file named after it, and return its path.

    Raises `ValueError`, and writes nothing, where the data do not fit the schema or the file is
    not called after the result.
    Chapter: complexity_scaling.
    """
    validate_result(data)
    path = Path(path)
    if path.name != f"{data['name']}.json":
        raise ValueError(f"path: expected a file named {data['name']}.json, got {path.name!r}")
    text = json.dumps(data, indent=1) + "\n"
    _files.write(path, lambda file: file.write(text.encode()))
    return path
