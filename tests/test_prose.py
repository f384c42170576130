"""The text reads in any Markdown renderer, and every number in it has a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import prose_rules as rules
import pytest

from tools.notebooks import BOOK, notebook_paths, read

TEXT_RULES = [rules.untied_numbers, rules.reads_in_plain_markdown, rules.has_balanced_fences]


def _texts() -> list[tuple[str, str]]:
    """Return every piece of text of the book with its place."""
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in rules.pages(BOOK)]
    for path in notebook_paths():
        cells = [cell for cell in read(path).cells if cell.cell_type == "markdown"]
        texts += [(f"{path.name}#{cell.id}", cell.source) for cell in cells]
    return texts


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.__name__)
def test_text_keeps_rule(rule: Callable[[str], Iterator[str]]) -> None:
    faults = [f"{place}: {fault}" for place, text in _texts() for fault in rule(text)]
    assert faults == []


@pytest.mark.parametrize("path", notebook_paths(), ids=lambda path: path.stem)
def test_tied_numbers_stand_in_their_cells(path: Path) -> None:
    notebook = read(path)
    outputs = rules.text_outputs(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    faults = [
        f"{cell.id}: {fault}"
        for cell in cells
        for fault in rules.tied_number_faults(cell.source, outputs)
    ]
    assert faults == []


@pytest.mark.parametrize("path", rules.pages(BOOK), ids=lambda path: path.stem)
def test_tied_numbers_of_pages_stand_in_their_results(path: Path) -> None:
    assert list(rules.tied_number_faults(path.read_text(encoding="utf-8"), {})) == []


@pytest.mark.parametrize(
    "text",
    ["The error is 9.7 %.", "It takes 0.25 seconds.", "Half, 50%, is enough.", "**1.5** times"],
)
def test_untied_number_is_found(text: str) -> None:
    assert list(rules.untied_numbers(text))


@pytest.mark.parametrize(
    "text",
    ["In $0.5 s$ and `0.25` and chapter 4.", '<data value="0.5" data-cell="x">0.5</data>'],
)
def test_tied_number_is_let_be(text: str) -> None:
    assert list(rules.untied_numbers(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "See {eq}`eq-taylor`.",
        "```{note}\nx\n```",
        "(label)=\n# Title",
        "Text[^1].",
        "![alt](picture.png)",
        "[](#eq-taylor)",
        r"\(x\)",
        ":::{figure} x\n:::",
        ":::{admonition} T\n:name: x\n\nText\n:::",
    ],
)
def test_unreadable_markup_is_found(text: str) -> None:
    assert list(rules.reads_in_plain_markdown(text))


@pytest.mark.parametrize("text", [":::{admonition} T\n\nText", "Word\n$$\nx\n$$ (eq-a)\n"])
def test_broken_block_is_found(text: str) -> None:
    assert list(rules.has_balanced_fences(text))


OUTPUT = {"table": "order 2   0.09733   2,179"}


@pytest.mark.parametrize(
    ("value", "shown"), [("0.09733", "9.7 %"), ("2179", "2,179"), ("0.0973", "0.1")]
)
def test_number_in_its_source_is_accepted(value: str, shown: str) -> None:
    text = f'<data value="{value}" data-cell="table">{shown}</data>'
    assert list(rules.tied_number_faults(text, OUTPUT)) == []


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ('value="0.098" data-cell="table"', "9.8 %"),
        ('value="0.09733" data-cell="other"', "9.7 %"),
        ('value="0.09733" data-cell="table"', "9.8 %"),
        ('value="0.09733" data-cell="table"', "many"),
        ('value="0.09733"', "9.7 %"),
    ],
)
def test_number_without_its_source_is_found(attributes: str, shown: str) -> None:
    assert list(rules.tied_number_faults(f"<data {attributes}>{shown}</data>", OUTPUT))
