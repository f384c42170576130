"""The tools do what the README says: find a browser, serve the book, execute notebooks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import nbformat
import pytest
from notebook_rules import slow_notebooks
from packaging.requirements import Requirement

from tools import browser, execute, notebooks, serve
from tools.notebooks import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
needs_sh = pytest.mark.skipif(sys.platform == "win32", reason="make and sh are not on Windows")


def _script(folder: Path, name: str, body: str) -> Path:
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return script


@needs_sh
def test_named_browser_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _script(tmp_path, "mine", "echo Chromium 1")
    monkeypatch.setenv("CHROMIUM", str(mine))
    assert browser.executable() == str(mine)


@needs_sh
def test_other_browsers_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    firefox = _script(tmp_path, "firefox", "echo Mozilla Firefox 1")
    monkeypatch.setenv("BROWSER", str(firefox))
    assert browser.find() != str(firefox)


def test_missing_browser_is_installed_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[str]] = []

    def fail(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        tried.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(browser, "find", lambda: None)
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(RuntimeError, match="CHROMIUM="):
        browser.executable()
    assert tried[0][-4:] == ["playwright", "install", "--with-deps", "chromium"]


def test_book_is_served_on_the_loopback() -> None:
    with serve.make_server(0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/book/intro.html"
        with urllib.request.urlopen(address) as answer:
            assert b"<html" in answer.read()
        with serve.make_server(server.server_port) as other:
            assert other.server_port != server.server_port
        server.shutdown()


@pytest.fixture
def small_notebook(tmp_path: Path) -> Path:
    code = nbformat.v4.new_code_cell
    cells = [
        code("print('one', object())", id="print-one"),
        code("import ipywidgets\nipywidgets.IntSlider()", id="slider"),
    ]
    path = tmp_path / "small.ipynb"
    notebooks.write(path, nbformat.v4.new_notebook(cells=cells))
    return path


def test_execute_stores_once_and_then_leaves_the_file(small_notebook: Path) -> None:
    assert execute.execute(small_notebook).startswith("stored")
    stored = small_notebook.read_bytes()
    assert notebooks.WIDGET_VIEW not in stored.decode()
    assert "widgets" not in json.loads(stored)["metadata"]
    assert execute.execute(small_notebook).startswith("unchanged")
    assert small_notebook.read_bytes() == stored
    assert stored.decode().count("print-one") == 1


def test_execute_stores_again_when_the_code_changed(small_notebook: Path) -> None:
    execute.execute(small_notebook)
    notebook = notebooks.read(small_notebook)
    notebook.cells[0].source = "print('two')"
    notebooks.write(small_notebook, notebook)
    assert execute.execute(small_notebook).startswith("stored")
    assert notebooks.read(small_notebook).cells[0].outputs[0].text == "two\n"


def test_makefile_is_short_and_needs_no_new_make() -> None:
    assert len(MAKEFILE.splitlines()) < 60
    assert not re.search(r"\.ONESHELL|\$\(file |::=|!=", MAKEFILE)


def test_readme_names_every_target() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M):
        assert target == "help" or f"make {target}" in readme


def _pins() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name.lower().replace("_", "-"): requirement for requirement in found}


def test_every_pin_is_exact_and_torch_is_the_one_agreed() -> None:
    exact = {name: pin for name, pin in _pins().items() if name != "triton"}  # torch pins it
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in exact.values())
    assert str(_pins()["torch"].specifier) == "==2.13.0"


def test_environment_is_the_pinned_one() -> None:
    from importlib.metadata import distributions

    for found in distributions():
        pin = _pins().get(found.metadata["Name"].lower().replace("_", "-"))
        assert pin is None or pin.specifier.contains(found.version), f"{found.name} {found.version}"


@needs_sh
@pytest.mark.parametrize(
    ("version", "venv", "message"),
    [(1, 0, "No Python 3.11 to 3.14"), (0, 1, "lacks the venv module")],
)
def test_missing_python_is_told_with_the_command_that_mends_it(
    tmp_path: Path, version: int, venv: int, message: str
) -> None:
    programs = tmp_path / "bin"
    answer = f'case "$2" in *"not (3"*) exit {version};; *ensurepip*) exit {venv};; '
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        _script(programs, name, answer + "*) echo 3.12;; esac")
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_text("")
    command = ["sh", str(ROOT / "tools" / "environment.sh"), "book"]
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    answered = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert answered.returncode == 1
    assert message in answered.stderr
    assert re.search("install", answered.stderr.splitlines()[-1])


def test_slow_notebook_is_reported() -> None:
    assert slow_notebooks({"a.ipynb": 31.0, "b.ipynb": 5.0}) == [
        "a.ipynb took 31 s; it may take 30 s"
    ]
