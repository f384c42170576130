"""The repository name stands in one place, and everything that carries it agrees."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import repository
from tools.notebooks import ROOT, code_hash, notebook_paths, read, tags, write

NAME = "jane-doe/fast.attention_1"
CARRIERS = [*repository.BLOCKS, repository.NAME_FILE, repository.TEMPLATE]


@pytest.fixture
def copy_of_project(tmp_path: Path) -> Path:
    for place in CARRIERS:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / place, tmp_path / place)
    (tmp_path / "book").mkdir()
    for path in notebook_paths():
        shutil.copy(path, tmp_path / "book")
    repository.set_name("", tmp_path)
    return tmp_path


def _disagreements(root: Path) -> list[str]:
    """Return the files that do not carry the name that tools/repository_name.txt holds."""
    name = repository.current_name(root)
    texts = repository.expected_texts(name, root)
    wrong = [place for place, text in texts.items() if (root / place).read_text("utf-8") != text]
    source = repository.setup_source(name, root)
    for path in notebook_paths(root / "book"):
        setups = [cell.source for cell in read(path).cells if "setup" in tags(cell)]
        wrong += [path.name] if setups != [source] else []
    return wrong


def test_all_files_carry_the_same_name() -> None:
    assert _disagreements(ROOT) == []


@pytest.mark.parametrize("place", [*repository.BLOCKS, "book/intro.ipynb"])
def test_disagreement_is_found(copy_of_project: Path, place: str) -> None:
    repository.set_name(NAME, copy_of_project)
    assert _disagreements(copy_of_project) == []
    text = (copy_of_project / place).read_text("utf-8")
    (copy_of_project / place).write_text(text.replace(NAME, "other/name"), "utf-8")
    assert _disagreements(copy_of_project) == [Path(place).name]


def test_set_writes_what_the_tools_read(copy_of_project: Path) -> None:
    repository.set_name(NAME, copy_of_project)
    config = yaml.safe_load((copy_of_project / "_config.yml").read_text("utf-8"))
    assert config["repository"]["url"] == f"https://github.com/{NAME}"
    assert "colab" in config["launch_buttons"]["colab_url"]
    project = tomllib.loads((copy_of_project / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["urls"]["Repository"].endswith(NAME)
    assert "torch" in project["optional-dependencies"]
    citation = yaml.safe_load((copy_of_project / "CITATION.cff").read_text("utf-8"))
    assert citation["repository-code"].endswith(NAME)


def test_unset_restores_every_byte(copy_of_project: Path) -> None:
    files = [path for path in copy_of_project.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    repository.set_name(NAME, copy_of_project)
    repository.set_name("", copy_of_project)
    assert {path: path.read_bytes() for path in files} == before


def test_without_a_name_there_is_no_colab_button(copy_of_project: Path) -> None:
    config = yaml.safe_load((copy_of_project / "_config.yml").read_text("utf-8"))
    assert "launch_buttons" not in config


def test_name_does_not_make_the_hash_stale(copy_of_project: Path) -> None:
    hashes = [code_hash(read(path)) for path in notebook_paths()]
    repository.set_name(NAME, copy_of_project)
    assert [code_hash(read(path)) for path in notebook_paths(copy_of_project / "book")] == hashes


@pytest.mark.parametrize(
    "name", ["name", "a/b/c", "https://github.com/a/b", "a/b.git", "a b/c", ""]
)
def test_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        repository.check_name(name)


def test_missing_setup_cell_is_inserted_before_all_code(copy_of_project: Path) -> None:
    path = copy_of_project / "book" / "intro.ipynb"
    notebook = read(path)
    notebook.cells = [cell for cell in notebook.cells if "setup" not in tags(cell)]
    write(path, notebook)
    repository.write_setup_cells(copy_of_project)
    first = next(cell for cell in read(path).cells if cell.cell_type == "code")
    assert first.id == "setup"


def test_command_prints_the_name() -> None:
    command = [sys.executable, "-m", "tools.repository", "show"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert answer.strip() == (repository.current_name() or "no repository name is set")


def _run_setup(name: str, monkeypatch: pytest.MonkeyPatch, *, in_colab: bool) -> list[Any]:
    """Run the setup cell with pip and Colab replaced; return the calls it made."""
    calls: list[Any] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: calls.append(command))
    if in_colab:
        output = types.SimpleNamespace(enable_custom_widget_manager=lambda: calls.append("widgets"))
        colab = types.ModuleType("google.colab")
        colab.output = output  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "google.colab", colab)
    exec(repository.setup_source(name), {})
    return calls


def test_setup_cell_does_nothing_outside_colab(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run_setup(NAME, monkeypatch, in_colab=False) == []


def test_setup_cell_installs_the_package_in_colab(monkeypatch: pytest.MonkeyPatch) -> None:
    install, widgets = _run_setup(NAME, monkeypatch, in_colab=True)
    assert install[1:4] == ["-m", "pip", "install"]
    assert install[-1] == f"fastattn_lite[figures] @ git+https://github.com/{NAME}"
    assert "torch" not in json.dumps(install)
    assert widgets == "widgets"


def test_setup_cell_without_a_name_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run_setup("", monkeypatch, in_colab=True) == []
    assert "%pip install" in capsys.readouterr().out


def test_figures_extra_leaves_torch_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["figures"]]
    assert not [package for package in needed if package.startswith(("torch", "triton"))]
