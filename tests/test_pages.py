"""The built book keeps the rules for pages; each rule finds the fault it is for."""

from __future__ import annotations

from pathlib import Path

import page_rules as rules
import pytest
from bs4 import BeautifulSoup

from tools.build import INDEX
from tools.maths import inline, render
from tools.notebooks import BOOK, notebook_paths
from tools.pages import repair
from tools.repository import current_name

PAGES = sorted((INDEX.parent / "book").glob("*.html"))
GOOD = """<html lang="en"><body><article><h1 id="t">T</h1><h2>S</h2>
<img src="data:image/png;base64,x" alt="A line"><a href="#t">T</a><a href="https://x.org">x</a>
<span class="math"><span class="katex-mathml"><math></math></span></span></article></body></html>"""


def test_every_source_has_its_page() -> None:
    sources = {path.stem for path in BOOK.iterdir() if path.suffix in {".ipynb", ".md"}}
    assert {page.stem for page in PAGES} == sources, "run `make book`"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_keeps_rule(page: Path, rule: rules.Rule) -> None:
    assert list(rule(page)) == []


def test_styles_load_nothing_from_outside() -> None:
    for style in INDEX.parent.rglob("*.css"):
        assert rules.CSS_LOAD.findall(style.read_text(encoding="utf-8")) == [], style


@pytest.mark.parametrize("name", [path.stem for path in notebook_paths()])
def test_chapter_has_a_download_button_and_colab_only_with_a_name(name: str) -> None:
    html = (INDEX.parent / "book" / f"{name}.html").read_text(encoding="utf-8")
    assert f'href="../_sources/book/{name}.ipynb"' in html
    assert ("colab.research.google.com" in html) == bool(current_name())


def _page(folder: Path, text: str) -> Path:
    page = folder / "page.html"
    page.write_text(text, encoding="utf-8")
    return page


def test_good_page_keeps_all_rules(tmp_path: Path) -> None:
    page = _page(tmp_path, GOOD)
    assert [fault for rule in rules.RULES for fault in rule(page)] == []


PLANTED = [
    ("<h2>", '<script src="https://x.org/a.js"></script><h2>', rules.loads_nothing_from_outside),
    ("<h2>", '<link rel="stylesheet" href="//x.org/a.css"><h2>', rules.loads_nothing_from_outside),
    ("<h2>", "<style>@import 'https://x.org'</style><h2>", rules.loads_nothing_from_outside),
    ("<h2>", '<script src="lost.js"></script><h2>', rules.loads_nothing_from_outside),
    ("<h2>", "<script>requirejs()</script><h2>", rules.needs_no_widget_manager),
    ('alt="A line"', "", rules.describes_every_picture),
    ("A line", "", rules.describes_every_picture),
    ("<h2>S</h2>", "<h1>S</h1>", rules.has_one_heading_and_a_language),
    ("<h2>S</h2>", "<h3>S</h3>", rules.has_one_heading_and_a_language),
    (' lang="en"', "", rules.has_one_heading_and_a_language),
    ("<h2>", '<h2 id="t">', rules.has_unique_ids),
    ("#t", "#lost", rules.links_lead_somewhere),
    ("#t", "lost.html", rules.links_lead_somewhere),
    ("<math></math>", "", rules.shows_finished_formulas),
]


@pytest.mark.parametrize(("old", "new", "rule"), PLANTED)
def test_rule_finds_planted_fault(tmp_path: Path, old: str, new: str, rule: rules.Rule) -> None:
    assert old in GOOD
    assert list(rule(_page(tmp_path, GOOD.replace(old, new, 1))))


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for _, _, rule in PLANTED} == set(rules.RULES)


def test_a_short_formula_stays_whole_and_a_long_one_breaks_before_its_last_box() -> None:
    short, long = (
        BeautifulSoup(inline(render(latex, display=False)), "html.parser")
        for latex in ("a + b", "a + b + c + d + e")
    )
    assert short.select_one(".math-whole > .math .katex-base")
    assert not short.select(".math-long, .math-end")
    assert [len(end.contents) for end in long.select(".math-long .katex-html > .math-end")] == [1]
    assert long.select(".katex-base")[-1].parent == long.select_one(".math-end")


def test_a_long_name_may_break_after_its_dots() -> None:
    assert repair('<span class="pre">package.module.function_name</span>') == (
        '<span class="pre">package.<wbr>module.<wbr>function_name</span>'
    )
    assert repair('<span class="pre">np.sum</span>') == '<span class="pre">np.sum</span>'


def test_formula_that_cannot_be_set_is_an_error() -> None:
    assert "<math" in render(r"\frac{1}{2}", display=False)
    with pytest.raises(ValueError, match="KaTeX cannot set"):
        render(r"\undefined{x}", display=True)
