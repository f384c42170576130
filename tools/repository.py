"""Keep the name under which the book is published, owner/name on GitHub, in one place.

python -m tools.repository show
python -m tools.repository set owner/name
python -m tools.repository unset

The name stands in tools/repository_name.txt; `set` writes it from there into _config.yml,
pyproject.toml, CITATION.cff and the setup cell of every notebook.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

from tools.notebooks import ROOT, notebook_paths, read, tags, write

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}")
NAME_FILE = "tools/repository_name.txt"
TEMPLATE = "tools/setup_cell.py.txt"
BEGIN = "# repository: written by `python -m tools.repository`\n"
END = "# repository: end\n"
BLOCKS = {
    "_config.yml": (
        "html:\n  use_issues_button: false\n  use_repository_button: false\n",
        "repository:\n  url: https://github.com/{name}\n  branch: main\n"
        '  path_to_book: ""\n'
        "launch_buttons:\n  colab_url: https://colab.research.google.com\n"
        "html:\n  use_issues_button: true\n  use_repository_button: true\n",
    ),
    "pyproject.toml": (
        "",
        '[project.urls]\nRepository = "https://github.com/{name}"\n'
        'Issues = "https://github.com/{name}/issues"\n',
    ),
    "CITATION.cff": ("", 'repository-code: "https://github.com/{name}"\n'),
}


def check_name(name: str) -> str:
    """Return the name if it has the form owner/name, else raise a ValueError that says so."""
    if not NAME.fullmatch(name) or name.endswith((".git", "/.", "/..")):
        raise ValueError(f"{name!r} is not a repository name; give it as owner/name, without .git")
    return name


def current_name(root: Path = ROOT) -> str:
    """Return owner/name, or an empty string while none is set."""
    return (root / NAME_FILE).read_text(encoding="utf-8").strip()


def with_block(text: str, block: str, place: str) -> str:
    """Return the text with its marked block replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{place} has lost its lines '# repository: ...'; put them back")
    return before + begin + block + end + after


def setup_source(name: str, root: Path = ROOT) -> str:
    """Return the text of the setup cell for that name."""
    template = (root / TEMPLATE).read_text(encoding="utf-8").rstrip("\n")
    return template.replace('REPOSITORY = ""', f'REPOSITORY = "{name}"')


def expected_texts(name: str, root: Path = ROOT) -> dict[str, str]:
    """Return what each file that carries the name must hold."""
    texts = {}
    for place, (without, with_name) in BLOCKS.items():
        block = with_name.format(name=name) if name else without
        texts[place] = with_block((root / place).read_text(encoding="utf-8"), block, place)
    return texts


def write_setup_cell(notebook: Any, source: str) -> bool:
    """Give the notebook its setup cell, before all other code; tell whether it changed."""
    for cell in notebook.cells:
        if "setup" in tags(cell):
            changed = cell.source != source
            cell.source = source
            return changed
    kinds = [cell.cell_type for cell in notebook.cells]
    place = kinds.index("code") if "code" in kinds else len(kinds)
    cell = nbformat.v4.new_code_cell(source, id="setup")  # type: ignore[no-untyped-call]
    cell.metadata["tags"] = ["setup", "hide-input"]
    notebook.cells.insert(place, cell)
    return True


def write_setup_cells(root: Path = ROOT) -> None:
    """Write the setup cell into every notebook where it is missing or differs."""
    source = setup_source(current_name(root), root)
    for path in notebook_paths(root / "book"):
        notebook = read(path)
        if write_setup_cell(notebook, source):
            write(path, notebook)


def set_name(name: str, root: Path = ROOT) -> None:
    """Write the name (empty: none) to its place and from there to every file."""
    texts = expected_texts(name, root)
    (root / NAME_FILE).write_text(name + "\n" if name else "", encoding="utf-8")
    for place, text in texts.items():
        (root / place).write_text(text, encoding="utf-8")
    write_setup_cells(root)


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m tools.repository", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show", help="print the name")
    commands.add_parser("unset", help="forget the name")
    commands.add_parser("setup-cells", help="write the setup cell into every notebook")
    commands.add_parser("set", help="write the name everywhere").add_argument("name")
    options = parser.parse_args()
    try:
        if options.command == "set":
            set_name(check_name(options.name))
        elif options.command == "unset":
            set_name("")
        elif options.command == "setup-cells":
            write_setup_cells()
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(current_name() or "no repository name is set")


if __name__ == "__main__":
    main()
