"""Run the notebooks again from top to bottom and store what changed.

`python -m tools.execute [--force] [NOTEBOOK ...]`

Outputs that nbval does not compare (pictures, cells tagged nbval-ignore-output) do not make
a file change, unless the code did; --force stores every output anew.
"""

from __future__ import annotations

import argparse
import configparser
import copy
import re
import sys
import time
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tools.notebooks import (
    BOOK,
    HASH_KEY,
    ROOT,
    WIDGET_VIEW,
    code_cells,
    code_hash,
    notebook_paths,
    read,
    tags,
    write,
)
from tools.repository import write_setup_cells

SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
COMPARED = ("text/plain", "text/html")
BUDGET_SECONDS = 30
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sanitize(text: str) -> str:
    """Return the text with addresses and the like replaced, as nbval does."""
    rules = configparser.RawConfigParser()
    rules.read(SANITIZE, encoding="utf-8")
    for section in rules.sections():
        text = re.sub(rules[section]["regex"], rules[section]["replace"], text)
    return text


def comparable(cell: Any) -> list[str]:
    """Return what nbval compares of the outputs of a code cell."""
    if "nbval-ignore-output" in tags(cell):
        return []
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        texts += [f"{kind}: {data[kind]}" for kind in COMPARED if kind in data]
        texts += [f"{output.get('name')}: {output['text']}"] if "text" in output else []
    return [sanitize(text) for text in texts]


def clean(notebook: Any) -> None:
    """Remove what differs from run to run, and the pictures of figures that are live anyway."""
    notebook.metadata.clear()
    notebook.metadata.update(copy.deepcopy(METADATA))
    notebook.metadata[HASH_KEY] = code_hash(notebook)
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)
        for data in [output.get("data", {}) for output in cell.outputs]:
            data.pop(WIDGET_VIEW, None)
            if "text/html" in data:
                data.pop("image/png", None)


def keep_unchanged(new: Any, old: Any) -> None:
    """Put the old outputs back where the new ones compare equal."""
    known = {cell.id: cell for cell in code_cells(old)}
    for cell in code_cells(new):
        before = known.get(cell.id)
        if before is not None and before.outputs and comparable(before) == comparable(cell):
            cell.outputs = before.outputs


def run(path: Path) -> Any:
    """Return the notebook, executed in a fresh kernel."""
    notebook = read(path)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None

    def show_progress(cell: Any, cell_index: int, **_: Any) -> None:
        done = f"{cell_index + 1}/{len(notebook.cells)}"
        print(f"\r{path.name}: cell {done} {cell.id:40.40}", end="", flush=True)

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        on_cell_start=show_progress,
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        timeout=10 * BUDGET_SECONDS,
    )
    client.execute()
    return notebook


def execute(path: Path, *, force: bool = False) -> str:
    """Execute one notebook, rewrite its file if that is called for, and say what happened."""
    start = time.perf_counter()
    old, new = read(path), run(path)
    seconds = time.perf_counter() - start
    clean(new)
    if not force and old.metadata.get(HASH_KEY) == new.metadata[HASH_KEY]:
        keep_unchanged(new, old)
    changed = new != old
    if changed:
        write(path, new)
    slow = f", more than the {BUDGET_SECONDS} s it may take" if seconds > BUDGET_SECONDS else ""
    return f"{'stored' if changed else 'unchanged'} ({seconds:.1f} s{slow})"


def main() -> None:
    """Execute the named notebooks, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.execute", description=__doc__)
    parser.add_argument("--force", action="store_true", help="store every output anew")
    parser.add_argument("notebook", nargs="*", type=Path)
    options = parser.parse_args()
    write_setup_cells()
    for path in options.notebook or notebook_paths(BOOK):
        try:
            print(f"\r{path.name}: {execute(path, force=options.force):60}")
        except CellExecutionError as error:
            sys.exit(f"\n{path.name} was left as it is: a cell failed.\n{error}")


if __name__ == "__main__":
    main()
