"""Sphinx extension: formulas are rendered when the book is built, by KaTeX in a V8 engine.

The pages then carry finished HTML for the eye and MathML for screen readers. No script sets a
formula; one hands over two fonts. Why this and not MathJax: see book/how_built.md.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

KATEX = Path(__file__).parent / "vendor" / "katex.min.js"
LOGGER = logging.getLogger(__name__)


@functools.cache
def _engine() -> MiniRacer:
    """Return one JavaScript engine with KaTeX loaded."""
    engine = MiniRacer()
    atexit.register(engine.close)  # later its thread is frozen, and from Python 3.13 on it hangs
    engine.eval(KATEX.read_text(encoding="utf-8"))
    return engine


@functools.cache
def render(latex: str, *, display: bool) -> str:
    """Return the HTML and MathML of one formula; a formula KaTeX cannot set is a ValueError."""
    options = {"displayMode": display, "strict": "error", "throwOnError": True}
    try:
        return str(
            _engine().eval(f"katex.renderToString({json.dumps(latex)}, {json.dumps(options)})")
        )
    except JSEvalException as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"KaTeX cannot set {latex!r}: {reason}") from error


def _html(node: nodes.Node, *, display: bool) -> str:
    """Return the HTML of a math node, or its escaped source and a warning."""
    try:
        return render(node.astext().strip(), display=display)
    except ValueError as error:
        LOGGER.warning(str(error), location=node, type="maths")
        return f"<code>{escape(node.astext())}</code>"


BOX = '<span class="katex-base">'
"""KaTeX sets a formula as a row of such boxes; a line may break after each of them."""
MOST_BOXES = 3
"""A formula of more boxes may break inside; a shorter one stays whole."""


def inline(html: str) -> str:
    """Return an inline formula that keeps the comma or full stop after it on its own line.

    No line breaks after a box that stands in a span with `white-space: nowrap`: the whole of a
    short formula, the last box of a long one.
    """
    if html.count(BOX) <= MOST_BOXES:
        whole = f'<span class="math notranslate nohighlight">{html}</span>'
        return f'<span class="math-whole">{whole}</span>'
    start, end = html.rindex(BOX), len(html) - len("</span></span>")
    last = f'<span class="math-end">{html[start:end]}</span>'
    parts = f"{html[:start]}{last}{html[end:]}"
    return f'<span class="math math-long notranslate nohighlight">{parts}</span>'


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write an inline formula."""
    translator.body.append(inline(_html(node, display=False)))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number and link where it has a label."""
    translator.body.append(
        translator.starttag(node, "div", CLASS="math math-block notranslate nohighlight")
    )
    translator.body.append(_html(node, display=True))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


FONTS = Path(__file__).parents[1] / "book/_static/katex/fonts"
FIRST_FONTS = {"KaTeX_Main-Regular": "normal", "KaTeX_Math-Italic": "italic"}
"""The fonts of nearly every formula, with their styles."""
SCRIPT = "katex/first_fonts.js"


def write_first_fonts(app: Sphinx) -> None:
    """Write a script that hands the first fonts to the page before it is drawn.

    A font that a style sheet names comes after the first frame, and its widths move the text.
    """
    lines = []
    for name, style in FIRST_FONTS.items():
        font = base64.b64encode((FONTS / f"{name}.woff2").read_bytes()).decode()
        data = f'Uint8Array.from(atob("{font}"), (c) => c.charCodeAt(0))'
        family = name.partition("-")[0]
        lines.append(f'document.fonts.add(new FontFace("{family}", {data}, {{style: "{style}"}}));')
    path = Path(app.outdir, "_static", SCRIPT)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name `katex`, and the script with its first fonts."""
    app.connect("builder-inited", write_first_fonts)
    app.add_js_file(SCRIPT)
    app.add_html_math_renderer(
        "katex", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
