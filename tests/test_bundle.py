"""The bundle is what its sources give, the catalogue has every word, the palette can be read."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from fastattn_lite.figures.base import DIST
from fastattn_lite.figures.parameters import SPECS
from fastattn_lite.figures.style import FAMILIES, palette
from fastattn_lite.figures.words import catalogue
from tools.bundle import HERE, SOURCES, bundle

SCRIPTS = [path for path in SOURCES.rglob("*.js") if "node_modules" not in path.parts]
PYTHON = sorted(HERE.glob("*.py"))
FIGURES = json.loads(SPECS.read_text(encoding="utf-8"))
CALL = re.compile(r"""\bsay\(\s*(?:(\w+|"\w+"),\s*)?(f?["'`][^"'`]+["'`])""")


def test_rebuilding_gives_the_same_files(tmp_path: Path) -> None:
    bundle(tmp_path)
    fresh = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    stored = {path.name: path.read_bytes() for path in DIST.iterdir()}
    assert fresh.keys() == stored.keys()
    different = [name for name, content in fresh.items() if content != stored[name]]
    assert different == [], "run `python -m tools.bundle`"


def texts() -> list[str]:
    """Return the text of every script and module of the figures."""
    return [path.read_text(encoding="utf-8") for path in (*SCRIPTS, *PYTHON)]


def section_of(text: str) -> set[str]:
    """Return the sections a file takes its words from."""
    named = re.search(r'^NAME = "(\w+)"', text, re.M) or re.search(r'defineFigure\("(\w+)"', text)
    return {named[1]} if named else set()


def asked(text: str) -> list[tuple[set[str], str]]:
    """Return every text that a file asks for by name, with the sections it may stand in."""
    found = []
    for section, key in CALL.findall(text):
        key = key.strip("\"'")
        if key.startswith(('f"', "f'", "`")) or key in catalogue():
            continue  # made of parts: the words in the catalogue are looked for instead
        own = section_of(text)
        where = {section.strip('"')} if section.startswith('"') else own
        found.append((where or {"common", *FIGURES}, key))
    return found


def test_every_word_that_is_asked_for_exists() -> None:
    calls = [call for text in texts() for call in asked(text)]
    assert len(calls) > 60
    words = catalogue()
    lost = [call for call in calls if not any(call[1] in words[part] for part in call[0])]
    assert lost == []


def test_every_word_in_the_catalogue_is_used() -> None:
    """A key is used where it stands in quotes, or where it is made from parameters and options."""
    everything = "\n".join(texts())
    made = {
        f"readout_{key}"
        for keys in re.findall(r"readouts\((\[.*?\])\)", everything)
        for key in json.loads(keys)
    }
    made |= {f"expected_{kind}" for kind in ("integer", "number", "choice", "boolean")}
    for parameters in FIGURES.values():
        for name, spec in parameters.items():
            made |= {name, *(f"{name}.{option}" for option in spec.get("options", ()))}
    prefixes = tuple(re.findall(r"""["'`](\w+[._])(?:\$?\{)""", everything))
    unused = [
        f"{section}.{key}"
        for section, words in catalogue().items()
        for key in words
        if key not in made
        and not key.startswith(prefixes)
        and not re.search(rf"""["'`]{re.escape(key)}["'`]|\b{re.escape(key)}: """, everything)
    ]
    assert unused == []


def test_holes_are_names_alone() -> None:
    for words in catalogue().values():
        for text in words.values():
            assert re.sub(r"\{[a-z_]+\}", "", text).count("{") == 0


def linear(color: str) -> np.ndarray:
    """Return the linear red, green and blue of a colour like #0d35b8."""
    values = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG defines it."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, bright = sorted((linear(one) @ weights, linear(other) @ weights))
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_from_their_surface(theme: str) -> None:
    """Text and everything that labels are written in: 4.5; the rest that carries meaning: 3."""
    colors = palette()[theme]
    least = dict.fromkeys(colors, 4.5) | {"axis": 3.0}
    for name in colors.keys() - {"surface", "control", "grid"}:
        for surface in ("surface", "control"):
            assert contrast(colors[name], colors[surface]) >= least[name], (name, surface)


# Linear RGB seen without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LEAST_DISTANCE = 15.0
"""In CIE Lab, where about 2.3 can just be told apart side by side."""


def lab(color: str, sight: str) -> np.ndarray:
    """Return the CIE Lab coordinates of a colour as this sight sees it."""
    seen = np.clip(np.asarray(SIGHT[sight]) @ linear(color), 0, 1)
    x, y, z = np.cbrt(np.maximum(TO_XYZ @ seen / TO_XYZ.sum(axis=1), 1e-9))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_families_can_be_told_apart(theme: str, sight: str) -> None:
    colors = palette()[theme]
    for one, other in itertools.combinations(FAMILIES, 2):
        distance = np.linalg.norm(lab(colors[one], sight) - lab(colors[other], sight))
        assert distance >= LEAST_DISTANCE, (one, other)


def test_series_differ_also_without_colour() -> None:
    lines = palette()["lines"]
    assert len({tuple(lines[family]["dash"]) for family in FAMILIES}) == len(FAMILIES)
    assert len({line["marker"] for line in lines.values()}) == len(lines)
