"""Find a Chromium or Chrome on this machine, or install one; never go on without.

`python -m tools.browser` prints the path of the program.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VARIABLES = ("CHROMIUM", "BROWSER")
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
)
PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/snap/bin/chromium",
    "{PROGRAMFILES}/Google/Chrome/Application/chrome.exe",
    "{PROGRAMFILES(X86)}/Google/Chrome/Application/chrome.exe",
    "{LOCALAPPDATA}/Google/Chrome/Application/chrome.exe",
    "{PROGRAMFILES(X86)}/Microsoft/Edge/Application/msedge.exe",
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REMEDY = """\
No Chromium or Chrome was found, and none could be installed. The browser tests need one:
  Debian:   sudo apt-get install -y chromium
  Ubuntu:   sudo snap install chromium
  macOS:    brew install --cask chromium
  Windows:  winget install Google.Chrome
or name the program yourself: CHROMIUM=/path/to/chrome make test"""


def _candidates() -> Iterator[str]:
    """Yield the programs that may be there, the reader's own choice first."""
    for variable in VARIABLES:
        named = os.environ.get(variable)
        if named:
            yield shutil.which(named) or named
    yield from filter(None, map(shutil.which, NAMES))
    for place in PLACES:
        parts = place.removeprefix("{").split("}", 1)
        yield os.environ.get(parts[0], "") + parts[1] if len(parts) == 2 else place
    yield from filter(None, [_playwright_own()])


def _playwright_own() -> str | None:
    """Return the path of the browser that playwright would start, there or not."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as driver:
        return driver.chromium.executable_path


def _works(program: str) -> bool:
    """Tell whether the file is there and, outside Windows, answers with a Chromium version."""
    if not Path(program).is_file():
        return False
    if sys.platform == "win32":  # chrome.exe --version opens a window there
        return True
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and "Chrom" in answer.stdout


def find() -> str | None:
    """Return the first working browser, or None."""
    return next(filter(_works, _candidates()), None)


def _install_commands() -> Iterator[list[list[str]]]:
    """Yield the ways to install a browser, each a list of commands."""
    yield [[sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"]]
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if is_root and shutil.which("apt-get"):
        yield [["apt-get", "update"], ["apt-get", "install", "-y", "chromium"]]


def install() -> bool:
    """Try each way to install a browser until one works."""
    for commands in _install_commands():
        print("No browser found; running:", *map(" ".join, commands), sep="\n  ", file=sys.stderr)
        done = all(
            subprocess.run(command, stdout=sys.stderr).returncode == 0 for command in commands
        )
        if done and find():
            return True
    return False


def executable() -> str:
    """Return the path of a working browser; install one if there is none.

    Raises
    ------
    RuntimeError
        If there is none and none can be installed; the message says what to do.
    """
    program = find()
    if program is None and install():
        program = find()
    if program is None:
        raise RuntimeError(REMEDY)
    return program


if __name__ == "__main__":
    try:
        print(executable())
    except RuntimeError as problem:
        sys.exit(str(problem))
