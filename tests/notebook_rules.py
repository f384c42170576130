"""The rules that hold for every notebook; each returns the faults it finds, in words."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

from tools.notebooks import HASH_KEY, WIDGET_VIEW, code_cells, code_hash, tags
from tools.repository import current_name, setup_source

Rule = Callable[[Any], Iterator[str]]
NOTEBOOK_SECONDS = 30.0
TAGS = {
    "break-it",
    "equality",
    "exercise",
    "figure",
    "hide-input",
    "nbval-ignore-output",
    "quiz",
    "setup",
    "solution",
}
CELL_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
CAPTION = "**Figure.** "


def has_stable_ids(notebook: Any) -> Iterator[str]:
    """Ids are words that say what the cell is, and each stands once."""
    ids = [cell.get("id", "") for cell in notebook.cells]
    for cell_id in ids:
        if not CELL_ID.fullmatch(cell_id) or not re.search("[a-z]{3}", cell_id):
            yield f"the id {cell_id!r} is not a descriptive word"
        if ids.count(cell_id) > 1:
            yield f"the id {cell_id!r} is used twice"


def runs_top_to_bottom(notebook: Any) -> Iterator[str]:
    """Outputs come from one run from top to bottom."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}: run `make execute`"


def has_no_errors(notebook: Any) -> Iterator[str]:
    """No cell ends in an error, and none writes to the error stream."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                yield f"{cell.id} stores an error or a warning"


def stores_no_machine_state(notebook: Any) -> Iterator[str]:
    """No widget state, no widget view, no time stamps."""
    if "widgets" in notebook.metadata:
        yield "metadata.widgets is stored"
    for cell in code_cells(notebook):
        if "execution" in cell.metadata:
            yield f"{cell.id} stores time stamps"
        if any(WIDGET_VIEW in output.get("data", {}) for output in cell.outputs):
            yield f"{cell.id} stores a widget view"


def has_fresh_hash(notebook: Any) -> Iterator[str]:
    """The stored outputs belong to the code as it stands."""
    if notebook.metadata.get(HASH_KEY) != code_hash(notebook):
        yield "the code changed after it was executed: run `make execute`"


def has_the_setup_cell(notebook: Any) -> Iterator[str]:
    """The first code cell is the setup cell, the same in all notebooks."""
    setups = [cell for cell in notebook.cells if "setup" in tags(cell)]
    if len(setups) != 1 or code_cells(notebook)[0] is not setups[0]:
        yield "the first code cell is not the one setup cell"
    elif setups[0].source != setup_source(current_name()):
        yield "the setup cell differs: run `python -m tools.repository setup-cells`"


def has_known_tags(notebook: Any) -> Iterator[str]:
    """Only the tags of the list are used, on the cells they are for."""
    for cell in notebook.cells:
        for tag in sorted(tags(cell) - TAGS):
            yield f"{cell.id} has the unknown tag {tag!r}"
        if cell.cell_type == "markdown" and tags(cell) - {"solution"}:
            yield f"{cell.id} is text and has a tag for code"


def has_solutions(notebook: Any) -> Iterator[str]:
    """Each coding exercise is followed by its folded solution."""
    cells = [*notebook.cells, None]
    for cell, following in itertools.pairwise(cells):
        if "exercise" in tags(cell):
            wanted = cell.id.replace("exercise-", "solution-", 1)
            if not cell.id.startswith("exercise-") or following is None or following.id != wanted:
                yield f"{cell.id} is not followed by {wanted}"
        is_folded = cell.source.startswith("<details>\n<summary>Solution</summary>\n\n")
        if "solution" in tags(cell) and not (is_folded and cell.source.endswith("\n\n</details>")):
            yield f"{cell.id} is not a folded solution"


def asserts_what_is_not_compared(notebook: Any) -> Iterator[str]:
    """A cell whose output nbval does not compare ends in an assertion."""
    for cell in code_cells(notebook):
        if "nbval-ignore-output" in tags(cell):
            body = ast.parse(cell.source).body
            if not body or not isinstance(body[-1], ast.Assert):
                yield f"{cell.id} is not compared and does not end in an assertion"
        if "equality" in tags(cell) and "check_equal(" not in cell.source:
            yield f"{cell.id} is tagged equality and checks none"


def _is_picture(cell: Any) -> bool:
    """Tell whether the page shows a PNG picture for this cell."""
    kinds = [set(output.get("data", {})) for output in cell.get("outputs", [])]
    return any("image/png" in kind and "text/html" not in kind for kind in kinds)


def describes_pictures(notebook: Any) -> Iterator[str]:
    """Every picture has an alternative text; every picture and figure has a caption."""
    cells = [*notebook.cells, None]
    for cell, following in itertools.pairwise(cells):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if _is_picture(cell) and len(alt.split()) < 5:
            yield f"{cell.id} shows a picture without an alternative text"
        needs_caption = _is_picture(cell) or "figure" in tags(cell)
        if needs_caption and not (following and following.source.startswith(CAPTION)):
            yield f"{cell.id} is not followed by its caption ({CAPTION}...)"


def shows_figures_in_html(notebook: Any) -> Iterator[str]:
    """A figure or quiz leaves an HTML part, which the page shows, and no plain junk alone."""
    for cell in code_cells(notebook):
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        if tags(cell) & {"figure", "quiz"} and "text/html" not in kinds:
            yield f"{cell.id} leaves nothing that the page could show"


RULES: list[Rule] = [
    has_stable_ids,
    runs_top_to_bottom,
    has_no_errors,
    stores_no_machine_state,
    has_fresh_hash,
    has_the_setup_cell,
    has_known_tags,
    has_solutions,
    asserts_what_is_not_compared,
    describes_pictures,
    shows_figures_in_html,
]


def slow_notebooks(seconds: dict[str, float]) -> list[str]:
    """Return a sentence for each notebook that takes too long."""
    return [
        f"{place} took {taken:.0f} s; it may take {NOTEBOOK_SECONDS:.0f} s"
        for place, taken in seconds.items()
        if taken > NOTEBOOK_SECONDS
    ]
