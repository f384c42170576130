"""The rules that hold for every built page; each returns the faults it finds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

Rule = Callable[[Path], Iterator[str]]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
LINK_LOADS = {"stylesheet", "preload", "icon", "manifest", "modulepreload", "preconnect"}
CSS_LOAD = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""")
OUTSIDE = ("http://", "https://", "//")


@cache
def soup(page: Path) -> BeautifulSoup:
    """Return the parsed page."""
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def _loaded(page: Path) -> Iterator[str]:
    """Yield every address that the page loads by itself."""
    for tag, attribute in LOADS.items():
        yield from (str(found.get(attribute, "")) for found in soup(page).find_all(tag))
    for link in soup(page).find_all("link"):
        if LINK_LOADS & set(link.get("rel", [])):
            yield str(link.get("href", ""))
    for style in soup(page).find_all("style"):
        yield from CSS_LOAD.findall(style.text)


def loads_nothing_from_outside(page: Path) -> Iterator[str]:
    """No script, style, font or picture comes from another host."""
    for address in _loaded(page):
        if address.startswith(OUTSIDE):
            yield f"loads {address}"
        elif address and not address.startswith("data:"):
            if not (page.parent / unquote(urlsplit(address).path)).exists():
                yield f"loads {address}, which is not there"


def needs_no_widget_manager(page: Path) -> Iterator[str]:
    """No require.js, no widget manager, no thebe, no stored widget state."""
    text = page.read_text(encoding="utf-8")
    for word in ("require.min.js", "requirejs", "html-manager", "thebe", "widget-state+json"):
        if word in text:
            yield f"mentions {word}"


def describes_every_picture(page: Path) -> Iterator[str]:
    """Every picture has an alternative text (an empty one only beside the words it repeats)."""
    for picture in soup(page).find_all("img"):
        if picture.get("alt") is None:
            yield f"no alternative text: {picture}"
        if picture.find_parent("article") and not str(picture.get("alt", "")).strip():
            yield f"empty alternative text: {str(picture)[:80]}"


def has_one_heading_and_a_language(page: Path) -> Iterator[str]:
    """One h1, a language, a title; headings leave out no level."""
    article = soup(page).find("article")
    levels = [int(h.name[1]) for h in (article or soup(page)).find_all(re.compile("^h[1-6]$"))]
    if levels.count(1) != 1:
        yield f"{levels.count(1)} headings of level 1"
    if any(below > above + 1 for above, below in itertools.pairwise(levels)):
        yield f"heading levels {levels}"
    html = soup(page).find("html")
    if not html or not html.get("lang"):
        yield "no language"


def has_unique_ids(page: Path) -> Iterator[str]:
    """No id stands twice."""
    ids = [str(found["id"]) for found in soup(page).find_all(id=True)]
    yield from sorted({f"id {name!r} stands twice" for name in ids if ids.count(name) > 1})


@cache
def _targets(page: Path) -> frozenset[str]:
    """Return every id of a page."""
    return frozenset(str(found["id"]) for found in soup(page).find_all(id=True))


def links_lead_somewhere(page: Path) -> Iterator[str]:
    """Every link inside the book leads to a page and a place that exist."""
    for link in soup(page).find_all("a", href=True):
        parts = urlsplit(str(link["href"]))
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
        target = target / "index.html" if target.is_dir() else target
        if not target.exists():
            yield f"{link['href']} leads nowhere"
        elif parts.fragment and target.suffix == ".html":
            if unquote(parts.fragment) not in _targets(target):
                yield f"{link['href']} leads to no place on its page"


def shows_finished_formulas(page: Path) -> Iterator[str]:
    """Every formula is set, and has MathML for screen readers."""
    for formula in soup(page).select(".math"):
        if not formula.select_one(".katex-mathml math"):
            yield f"not set: {formula.text[:60]}"


RULES: list[Rule] = [
    loads_nothing_from_outside,
    needs_no_widget_manager,
    describes_every_picture,
    has_one_heading_and_a_language,
    has_unique_ids,
    links_lead_somewhere,
    shows_finished_formulas,
]
