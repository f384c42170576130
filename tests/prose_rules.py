"""The rules that hold for the text of notebooks and pages; each returns the faults it finds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from tools.notebooks import ROOT

DATA = re.compile(r"<data\s+([^>]*)>([^<]*)</data>")
ATTRIBUTE = re.compile(r'([a-z-]+)="([^"]*)"')
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
NOT_PROSE = [
    re.compile(r"^```.*?^```$", re.S | re.M),
    re.compile(r"`[^`\n]*`"),
    re.compile(r"\$\$.*?\$\$", re.S),
    re.compile(r"\$[^$\n]*(?:\n[^$\n]+)?\$"),
    re.compile(r"<data.*?</data>", re.S),
    re.compile(r"\]\([^)]*\)"),
    re.compile(r"<[^>]*>"),
]
UNTIED = re.compile(r"\d+[.,]?\d*\s?%|\d+\.\d+")
LEFTOVERS = {
    "a role": re.compile(r"\{[a-z:]+\}`"),
    "a fenced directive": re.compile(r"^`{3,}\{", re.M),
    "a target line": re.compile(r"^\([\w-]+\)=$", re.M),
    "a footnote": re.compile(r"\[\^\w+\]"),
    "a block break": re.compile(r"^\+\+\+", re.M),
    "a relative picture": re.compile(r"!\[[^\]]*\]\((?!data:)"),
    "an empty link": re.compile(r"(?<!!)\[\]\("),
    "TeX brackets": re.compile(r"\\\(|\\\["),
}
LABEL_OPTION = re.compile(r"^:(?!class: \w+$|label: [\w-]+$|all:$)[a-z]+:", re.M)


def prose_of(markdown: str) -> str:
    """Return the text without code, formulas, tied numbers and addresses."""
    for pattern in NOT_PROSE:
        markdown = pattern.sub(" ", markdown)
    return markdown


def untied_numbers(markdown: str) -> Iterator[str]:
    """No decimal number or percentage stands in the prose without its source."""
    for found in UNTIED.finditer(prose_of(markdown)):
        yield f"{found.group()!r} has no source: tie it with <data value= data-cell=>"


def reads_in_plain_markdown(markdown: str) -> Iterator[str]:
    """A plain Markdown renderer shows nothing that a reader cannot understand."""
    html = MarkdownIt("commonmark").render(markdown)
    text = re.sub(r"<(pre|code)\b.*?</\1>", "", html, flags=re.S)
    text = re.sub(r"<[^>]*>", "", text)
    if re.search(r"^\s*:{3,}\{(?!admonition|prf:|bibliography)", text, re.M):
        yield "a colon fence that is no admonition, theorem or proof"
    if LABEL_OPTION.search(markdown):
        yield "an option line other than :class: or :label:"
    for what, pattern in LEFTOVERS.items():
        if pattern.search(markdown):
            yield what


def has_balanced_fences(markdown: str) -> Iterator[str]:
    """Every colon fence that opens is closed, and a labelled formula stands after a blank line."""
    opened = len(re.findall(r"^:::\{", markdown, re.M))
    closed = len(re.findall(r"^:::$", markdown, re.M))
    if opened != closed:
        yield f"{opened} colon fences open and {closed} close"
    for block in re.findall(r"([^\n]*)\n\$\$\n[^$]*\$\$ \(eq-", markdown):
        if block.strip():
            yield f"no blank line before the formula that follows {block!r}"


def _matches(text: str, value: float, decimals: int) -> bool:
    """Tell whether a number in the text, rounded to so many decimals, is the value."""
    half = 0.5 * 10.0**-decimals * (1 + 1e-9)
    numbers = (float(token.replace(",", "")) for token in NUMBER.findall(text))
    return any(abs(number - value) <= half for number in numbers)


def _decimals(number: str) -> int:
    """Return how many decimals a number shows."""
    mantissa, _, exponent = number.lower().partition("e")
    return len(mantissa.partition(".")[2]) - int(exponent or 0)


def _shown_agrees(shown: str, value: float) -> bool:
    """Tell whether the number a reader sees is the value, rounded."""
    token = NUMBER.search(shown)
    if token is None:
        return False
    factor = 100 if "%" in shown else 1
    return _matches(token.group(), value * factor, _decimals(token.group()))


def _result(reference: str) -> str:
    """Return the number that `name#path.to.it` names, among the stored results."""
    name, _, path = reference.partition("#")
    places = [ROOT / "fastattn_lite" / "results", ROOT / "tools"]
    file = next(place / f"{name}.json" for place in places if (place / f"{name}.json").exists())
    node: Any = json.loads(file.read_text(encoding="utf-8"))
    for key in path.split("."):
        node = node[int(key)] if isinstance(node, list) else node[key]
    return str(node)


def tied_number_faults(markdown: str, outputs: dict[str, str]) -> Iterator[str]:
    """Every tied number stands in its source and is shown rounded, not changed."""
    for attributes, shown in DATA.findall(markdown):
        given = dict(ATTRIBUTE.findall(attributes))
        value = given.get("value", "")
        if not NUMBER.fullmatch(value) or not {"data-cell", "data-result"} & set(given):
            yield f"<data {attributes}> lacks a value or a source"
            continue
        if "data-cell" in given:
            source = outputs.get(given["data-cell"], "")
        else:
            source = _result(given["data-result"])
        if not _matches(source, float(value), _decimals(value)):
            yield f"{value} does not stand in {given.get('data-cell') or given['data-result']}"
        if not _shown_agrees(shown, float(value)):
            yield f"{shown!r} is not {value} rounded"


def text_outputs(notebook: Any) -> dict[str, str]:
    """Return the printed text of each code cell by its id."""
    texts: dict[str, str] = {}
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        parts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
        texts[cell.id] = "\n".join(parts)
    return texts


def pages(book: Path) -> list[Path]:
    """Return the Markdown pages of the book."""
    return sorted(book.glob("*.md"))
