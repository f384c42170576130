"""No kernel reads or writes a wrong place, or shares memory without waiting: what CUDA's tool says.

The interpreter has neither; there a few of the calls run without the tool.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sanitized
import torch


def test_the_calls_run():
    sanitized.calls(2, is_causal=True, sizes=sanitized.SIZES[:2])


if torch.cuda.is_available() and shutil.which("compute-sanitizer"):

    @pytest.mark.slow
    @pytest.mark.parametrize("order", ["1", "2", "3"])
    @pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
    def test_the_sanitizer_finds_nothing(tool, order):
        """A finding makes an exit status of 7; the summary says that something was looked at."""
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "7", sys.executable]
        done = subprocess.run(
            [*command, Path(sanitized.__file__), order], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
        assert "SUMMARY: 0 " in done.stdout
