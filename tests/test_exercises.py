"""The folded solution of every coding exercise passes its check, and the blank does not."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any

import pytest

from tools.notebooks import code_cells, notebook_paths, read, tags

CODE = re.compile(r"^```python\n(.*?)^```$", re.S | re.M)
EXERCISES = [
    (path, cell.id)
    for path in notebook_paths()
    for cell in read(path).cells
    if "exercise" in tags(cell)
]


def last_value(source: str, names: dict[str, Any]) -> Any:
    """Run the code and return the value of its last line, as a notebook does."""
    body = ast.parse(source).body
    assert isinstance(body[-1], ast.Expr), "the code does not end in a check"
    exec(compile(ast.Module(body[:-1], []), "<cell>", "exec"), names)
    return eval(compile(ast.Expression(body[-1].value), "<cell>", "eval"), names)


@functools.cache
def names_before(path: Path) -> dict[str, Any]:
    """Return the names that the chapter has defined where its exercises begin."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in code_cells(read(path)):
        if "exercise" in tags(cell):
            break
        # nbval holds the assertions, in a kernel of their own with the threads they ask for.
        exec(compile(cell.source, cell.id, "exec", optimize=1), names)
    return names


@pytest.mark.parametrize(
    ("path", "cell_id"), EXERCISES, ids=lambda part: getattr(part, "stem", part)
)
def test_solution_passes_and_blank_does_not(path: Path, cell_id: str) -> None:
    cells = {cell.id: cell for cell in read(path).cells}
    blank = last_value(cells[cell_id].source, dict(names_before(path)))
    assert not blank
    assert blank.hint
    folded = CODE.findall(cells[cell_id.replace("exercise-", "solution-", 1)].source)
    solved = last_value("\n".join(folded), dict(names_before(path)))
    assert solved, solved


def test_every_chapter_has_exercises() -> None:
    assert {path for path, _ in EXERCISES} == set(notebook_paths())


def test_solution_differs_from_blank_in_the_blank_only() -> None:
    for path, cell_id in EXERCISES:
        cells = {cell.id: cell for cell in read(path).cells}
        solution = cells[cell_id.replace("exercise-", "solution-", 1)].source
        for line in cells[cell_id].source.replace("    return ...", "").splitlines():
            assert line in solution.splitlines(), f"{path.stem}: {line!r} is not in the solution"
