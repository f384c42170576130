"""Each numbered equation names its code; that code and at least one test name the equation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tools.notebooks import ROOT, notebook_paths, read

EQUATION = re.compile(r"^\$\$ \((?P<label>eq-[a-z-]+)\)\n(?P<code>Code: [^\n]*)?", re.M)
ANY_LABEL = re.compile(r"\$\$ *\((eq-[a-z-]+)\)")
NAMED = re.compile(r"`([A-Za-z_.]+)`")
DOC_LINE = re.compile(r"Equation: ([^()]*)\(chapter (\w+)\)\.")
MARK = re.compile(r"mark\.equation\(([^)]*)\)")


def equations(text: str) -> dict[str, list[str]]:
    """Return the public names behind each labelled equation of a text."""
    found = EQUATION.finditer(text)
    return {match["label"]: NAMED.findall(match["code"] or "") for match in found}


@cache
def _chapters() -> dict[str, dict[str, list[str]]]:
    """Return the equations of each chapter."""
    texts = {
        path.stem: "\n\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
        for path in notebook_paths()
    }
    return {chapter: equations(text) for chapter, text in texts.items()}


def _all() -> list[tuple[str, str, list[str]]]:
    """Return chapter, label and public names of every numbered equation."""
    return [(name, *item) for name, found in _chapters().items() for item in found.items()]


def _docstring(public_name: str) -> str:
    """Return the docstring of a function or method named by its public path.

    It is read, not imported: so nothing is needed that some part of the package needs.
    """
    place, parts = ROOT, public_name.split(".")
    while (place / parts[0]).is_dir() or (place / f"{parts[0]}.py").exists():
        place, parts = place / parts[0], parts[1:]
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    body = ast.parse(source.read_text(encoding="utf-8")).body
    for node in body:
        if isinstance(node, ast.ImportFrom) and parts[0] in {name.name for name in node.names}:
            return _docstring(".".join([node.module or "", *parts]))
    for part in parts:
        body = [node for node in body if getattr(node, "name", None) == part]
        (found,) = body
        body = found.body
    return ast.get_docstring(found) or ""


def _marked() -> set[str]:
    """Return the labels that some test carries."""
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    found = (argument for text in tests for argument in MARK.findall(text))
    return {label for argument in found for label in re.findall(r'"(eq-[a-z-]+)"', argument)}


def _documented(package: Path) -> Iterator[tuple[str, str]]:
    """Yield label and chapter of every Equation line of the package."""
    for path in sorted(package.glob("*.py")):
        for labels, chapter in DOC_LINE.findall(path.read_text(encoding="utf-8")):
            for label in re.findall(r"eq-[a-z-]+", labels):
                yield label, chapter


@pytest.mark.parametrize(("chapter", "label", "names"), _all(), ids=lambda part: str(part)[:40])
def test_equation_code_and_test_name_each_other(chapter: str, label: str, names: list[str]) -> None:
    assert names, "no line 'Code: `fastattn_lite...`' below the equation"
    for name in names:
        lines = DOC_LINE.findall(_docstring(name))
        assert any(label in labels and chapter == where for labels, where in lines), name
    assert label in _marked(), "no test carries this equation"


def test_labels_stand_once_in_the_book() -> None:
    labels = [label for _, label, _ in _all()]
    assert len(labels) == len(set(labels)) >= 10


def test_every_label_is_read() -> None:
    for path in notebook_paths():
        text = "\n\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
        assert set(ANY_LABEL.findall(text)) == set(equations(text)), "'$$ (eq-...)' on its own line"


def test_documented_equations_are_in_their_chapters() -> None:
    documented = list(_documented(ROOT / "fastattn_lite"))
    assert documented
    for label, chapter in documented:
        assert label in _chapters().get(chapter, {}), f"{label} is not in chapter {chapter}"


def test_marked_equations_are_in_the_book() -> None:
    assert _marked() <= {label for _, label, _ in _all()}


def test_equation_without_code_is_found() -> None:
    text = "\n\n$$\nx\n$$ (eq-a)\n\nWords\n\n$$\ny\n$$ (eq-b)\nCode: `m.f`, `m.g`\n"
    assert equations(text) == {"eq-a": [], "eq-b": ["m.f", "m.g"]}
