"""Build the book from its stored outputs; warnings are errors.

`python -m tools.build` prints the page to open when it is done.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT / "_build" / "html" / "index.html"


COMMAND = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]


def build() -> int:
    """Run Jupyter Book over every page, showing warnings only; return its exit status."""
    command = [*COMMAND, "--all", "-q", "-W", "--keep-going"]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode


def main() -> None:
    """Build, then say where the book is."""
    print("Building the book ...", flush=True)
    status = build()
    if status:
        sys.exit(f"The book was not built (status {status}); the reasons stand above.")
    print(f"The book is built. Open this page:\n    {INDEX.as_uri()}")


if __name__ == "__main__":
    main()
