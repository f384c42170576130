"""Where Triton has no wheel, every file of this folder is skipped; the report says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from triton_here import why_no_triton


class Skipped(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self) -> list[pytest.Item]:
        """Say why."""
        pytest.skip(why_no_triton() or "", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Skipped | None:
    """Return the file as one that is skipped, or leave it to pytest."""
    return Skipped.from_parent(parent, path=module_path) if why_no_triton() else None
