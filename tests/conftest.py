"""What all tests share: kernels run without a GPU, and how long the notebooks may take."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict

import pytest
from hypothesis import settings
from notebook_rules import slow_notebooks

if shutil.which("nvidia-smi") is None:
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton

settings.register_profile("untimed", deadline=None)  # no test asserts a time
settings.load_profile("untimed")

_seconds: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the time of each notebook's cells."""
    place = report.nodeid.partition("::")[0]
    if place.endswith(".ipynb"):
        _seconds[place] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which notebook took too long; a loaded machine is no reason to fail."""
    for sentence in slow_notebooks(_seconds):
        terminalreporter.write_line(f"WARNING {sentence}", yellow=True)
