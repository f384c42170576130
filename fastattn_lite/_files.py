"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Let `fill` write a file beside the path, then put it in its place; a link stays a link."""
    path, part = path.resolve(), _part(path)
    try:
        with part.open("xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def check(path: Path) -> None:
    """Raise `OSError` where `write` finds no place for a new file beside the path."""
    part = _part(path)
    part.touch(exist_ok=False)
    part.unlink()


def _part(path: Path) -> Path:
    path = path.resolve()
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
