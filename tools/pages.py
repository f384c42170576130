"""Sphinx extension: small repairs of the HTML that the theme and its extensions write."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

# sphinx-proof gives the body of every theorem the same id, and so every proof.
PROOF_ID = re.compile(
    r'(<(?:section class="\w+-content"|div class="proof admonition")) id="[a-z-]+">'
)
# The entries of a bibliography have a role of their own, deprecated and not for lists.
CITATION_LIST = '<div role="list" class="citation-list">'
# A long name in the text, such as package.module.function: on a phone it may break after a dot.
NAME = re.compile(r'<span class="pre">([\w.]{20,})</span>')


def repair(body: str) -> str:
    """Return the body without repeated ids and misplaced roles, with long names that can break."""
    body = PROOF_ID.sub(r"\1>", body)
    body = NAME.sub(lambda name: name[0].replace(".", ".<wbr>"), body)
    body = body.replace(CITATION_LIST, '<div class="citation-list">')
    return body.replace(' role="doc-biblioentry"', "")


def _repair_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Repair one page before its template is filled."""
    del app, page, template, doctree
    if "body" in context:
        context["body"] = repair(context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the repairs to every page."""
    app.connect("html-page-context", _repair_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
