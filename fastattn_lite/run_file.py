"""The file that a command stores its run in."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastattn_lite import _files
from fastattn_lite.benchmark import Measurements
from fastattn_lite.progress import say
from fastattn_lite.results import save_result, validate_result
from fastattn_lite.results.validation import schema

NAME = schema()["properties"]["name"]["pattern"]
SAME = ("name", "title", "commit", "device", "versions")
"""What two parts of one run have in common."""


def check_target(path: Path) -> None:
    """Raise `ValueError` where a result could not be stored, before anything is measured."""
    if path.suffix != ".json" or not re.fullmatch(NAME, path.stem):
        raise ValueError(
            f"--json: expected a name like cpu_order2.json, of a-z, 0-9 and _, got {path.name!r}"
        )
    target = path.resolve()
    if not target.parent.is_dir():
        raise ValueError(f"--json: the folder {path.parent} does not exist")
    if target.exists() and not target.is_file():
        raise ValueError(f"--json: {path} is there, and no file")
    if target.exists() and not os.access(target, os.W_OK):
        raise ValueError(f"--json: {path} may not be written")
    try:
        _files.check(target)
    except OSError as error:
        raise ValueError(f"--json: {target.parent} takes no new file: {error.strerror}") from error


@dataclass
class RunFile:
    """A file, and what its result says of the run: commit, machine, day as they were at its start.

    Where something else wrote the file since, it is left alone, and the run goes beside it.
    """

    path: Path
    about: dict[str, Any]
    _seen: tuple[int, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        self._seen = _mark(self.path)

    def earlier(self) -> dict[str, Any]:
        """Return the result that is there; `ValueError` where this run cannot go on with it."""
        stored = json.loads(self.path.read_text(encoding="utf-8"))
        validate_result(stored)
        refuse_differences(
            {name: stored[name] for name in SAME}, {name: self.about[name] for name in SAME}
        )
        for position, sample in enumerate(stored["samples"]):
            least = min(sample["values"]) if sample["unit"] != "byte" else 1
            if least <= 0 or sample["tokens"] < 1 or "heads" not in sample:
                raise ValueError(
                    f"samples[{position}]: expected heads, tokens and values above 0, got {sample}"
                )
        return stored

    def store(self, measured: Measurements) -> None:
        """Write what there is of the run."""
        if _mark(self.path) not in (None, self._seen):
            self._step_aside()
        summary = {name: finding.entry() for name, finding in measured.findings.items()}
        save_result(self.about | {"samples": measured.samples, "summary": summary}, self.path)
        self._seen = _mark(self.path)

    def _step_aside(self) -> None:
        others = (self.path.with_stem(f"{self.path.stem}_{i}") for i in itertools.count(2))
        path = next(other for other in others if not other.exists())
        say(f"{self.path} was changed by something else: this run is stored in {path}")
        self.path, self.about = path, self.about | {"name": path.stem}


def refuse_differences(then: dict[str, Any], here: dict[str, Any]) -> None:
    """Raise `ValueError` where two records differ, and name each entry that does."""
    was, now = dict(_entries(then)), dict(_entries(here))
    lines = [
        f"{name} was {was.get(name)}, here it is {now.get(name)}"
        for name in was | now
        if was.get(name) != now.get(name)
    ]
    if lines:
        raise ValueError("; ".join(lines))


def _entries(record: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _entries(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _mark(path: Path) -> tuple[int, ...] | None:
    """Return what every store of a file changes, None where there is no file."""
    if not path.exists():
        return None
    about = path.stat()
    return about.st_ino, about.st_mtime_ns, about.st_size
