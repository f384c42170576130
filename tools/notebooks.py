"""Read, write and describe the notebooks of the book; the other tools build on it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
HASH_KEY = "code_hash"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def notebook_paths(book: Path = BOOK) -> list[Path]:
    """Return the notebooks of the book in the order of their names."""
    return sorted(path for path in book.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    """Return the notebook in that file."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def write(path: Path, notebook: NotebookNode) -> None:
    """Write the notebook in the one form that all notebooks have."""
    text: str = nbformat.writes(notebook, version=4)  # type: ignore[no-untyped-call]
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")


def tags(cell: Any) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", []))


def code_cells(notebook: NotebookNode) -> list[Any]:
    """Return the code cells in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_hash(notebook: NotebookNode) -> str:
    """Return a hash of all code but the setup cell, whose text the repository name changes."""
    sources = [cell.source for cell in code_cells(notebook) if "setup" not in tags(cell)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]
