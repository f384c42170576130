"""Every notebook keeps the rules, and each rule finds the fault it is for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import notebook_rules as rules
import pytest

from tools.notebooks import HASH_KEY, WIDGET_VIEW, code_hash, notebook_paths, read, write
from tools.repository import current_name, setup_source

NOTEBOOKS = notebook_paths()
LARGEST_BYTES = 300_000
FOLDED = "<details>\n<summary>Solution</summary>\n\n{}\n\n</details>"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_rule(path: Path, rule: rules.Rule) -> None:
    assert list(rule(read(path))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small_and_in_its_one_form(path: Path, tmp_path: Path) -> None:
    assert path.stat().st_size < LARGEST_BYTES
    write(tmp_path / path.name, read(path))
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_there_are_notebooks() -> None:
    assert {"intro", "expansion_truncation"} <= {path.stem for path in NOTEBOOKS}


def _code(cell_id: str, source: str, *tags: str, output: dict[str, Any] | None = None) -> Any:
    cell = nbformat.v4.new_code_cell(source, id=cell_id, metadata={"tags": list(tags)})
    if output:
        cell.outputs = [nbformat.v4.new_output("display_data", data=output)]
    return cell


def _good() -> Any:
    """Return a small notebook that keeps every rule."""
    text = nbformat.v4.new_markdown_cell
    cells = [
        text("# Title", id="title"),
        _code("setup", setup_source(current_name()), "setup"),
        _code("timing", "seconds = 1\nassert seconds < 2", "nbval-ignore-output"),
        _code("exercise-sum", "...", "exercise"),
        text(FOLDED.format("x"), id="solution-sum", metadata={"tags": ["solution"]}),
        _code("race-figure", "race", "figure", output={"text/html": "<p></p>"}),
        text("**Figure.** A race.", id="race-caption"),
        _code("picture", "plot()", output={"image/png": "iVBOR"}),
        text("**Figure.** A picture.", id="picture-caption"),
    ]
    cells[7].metadata["mystnb"] = {"image": {"alt": "Two lines that cross near one"}}
    notebook = nbformat.v4.new_notebook(cells=cells)
    for count, cell in enumerate(rules.code_cells(notebook), start=1):
        cell.execution_count = count
    notebook.metadata[HASH_KEY] = code_hash(notebook)
    return notebook


def _cell(notebook: Any, cell_id: str) -> Any:
    return next(cell for cell in notebook.cells if cell.id == cell_id)


def _repeat_id(notebook: Any) -> None:
    _cell(notebook, "picture").id = "timing"


def _random_id(notebook: Any) -> None:
    _cell(notebook, "picture").id = "5f1A"


def _out_of_order(notebook: Any) -> None:
    _cell(notebook, "timing").execution_count = 9


def _store_error(notebook: Any) -> None:
    error = nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])
    _cell(notebook, "picture").outputs.append(error)


def _store_warning(notebook: Any) -> None:
    warning = nbformat.v4.new_output("stream", name="stderr", text="careful")
    _cell(notebook, "picture").outputs.append(warning)


def _store_widgets(notebook: Any) -> None:
    notebook.metadata["widgets"] = {}


def _store_view(notebook: Any) -> None:
    _cell(notebook, "race-figure").outputs[0].data[WIDGET_VIEW] = {}


def _store_time(notebook: Any) -> None:
    _cell(notebook, "timing").metadata["execution"] = {}


def _edit_code(notebook: Any) -> None:
    _cell(notebook, "timing").source = "seconds = 0\nassert seconds < 2"


def _edit_setup(notebook: Any) -> None:
    _cell(notebook, "setup").source += "\n"


def _drop_setup(notebook: Any) -> None:
    notebook.cells.remove(_cell(notebook, "setup"))


def _unknown_tag(notebook: Any) -> None:
    _cell(notebook, "picture").metadata["tags"] = ["remove-output"]


def _drop_solution(notebook: Any) -> None:
    notebook.cells.remove(_cell(notebook, "solution-sum"))


def _unfold_solution(notebook: Any) -> None:
    _cell(notebook, "solution-sum").source = "The answer is 2."


def _drop_assertion(notebook: Any) -> None:
    _cell(notebook, "timing").source = "seconds = 1"


def _no_equality(notebook: Any) -> None:
    _cell(notebook, "picture").metadata["tags"] = ["equality"]


def _drop_alt(notebook: Any) -> None:
    del _cell(notebook, "picture").metadata["mystnb"]


def _drop_caption(notebook: Any) -> None:
    notebook.cells.remove(_cell(notebook, "race-caption"))


def _dead_figure(notebook: Any) -> None:
    _cell(notebook, "race-figure").outputs = []


PLANTED: list[tuple[Callable[[Any], None], rules.Rule]] = [
    (_repeat_id, rules.has_stable_ids),
    (_random_id, rules.has_stable_ids),
    (_out_of_order, rules.runs_top_to_bottom),
    (_store_error, rules.has_no_errors),
    (_store_warning, rules.has_no_errors),
    (_store_widgets, rules.stores_no_machine_state),
    (_store_view, rules.stores_no_machine_state),
    (_store_time, rules.stores_no_machine_state),
    (_edit_code, rules.has_fresh_hash),
    (_edit_setup, rules.has_the_setup_cell),
    (_drop_setup, rules.has_the_setup_cell),
    (_unknown_tag, rules.has_known_tags),
    (_drop_solution, rules.has_solutions),
    (_unfold_solution, rules.has_solutions),
    (_drop_assertion, rules.asserts_what_is_not_compared),
    (_no_equality, rules.asserts_what_is_not_compared),
    (_drop_alt, rules.describes_pictures),
    (_drop_caption, rules.describes_pictures),
    (_dead_figure, rules.shows_figures_in_html),
]


def test_good_notebook_keeps_all_rules() -> None:
    assert [fault for rule in rules.RULES for fault in rule(_good())] == []


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for _, rule in PLANTED} == set(rules.RULES)


@pytest.mark.parametrize(("plant", "rule"), PLANTED, ids=lambda part: part.__name__)
def test_rule_finds_planted_fault(plant: Callable[[Any], None], rule: rules.Rule) -> None:
    notebook = copy.deepcopy(_good())
    plant(notebook)
    assert list(rule(notebook))
