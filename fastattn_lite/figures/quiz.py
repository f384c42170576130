"""The quiz of a chapter, which marks its answers on the page itself."""

from __future__ import annotations

import textwrap
from typing import Any

import traitlets
from matplotlib.figure import Figure as Picture

from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.quiz_content import as_html, load_questions
from fastattn_lite.figures.words import say

NAME = "Quiz"


class Quiz(Figure):
    """The questions of a chapter, from quizzes/<chapter>.json, marked without a kernel.

    Answers stay on the page: nothing is stored or sent. Raises `ValueError` for a chapter that
    has no quiz or whose file has a fault.
    """

    chapter: Any = traitlets.Unicode().tag(parameter=True)
    questions: Any = traitlets.Any().tag(sync=True, parameter=True)

    def __init__(self, chapter: str) -> None:
        super().__init__(chapter=chapter, questions=load_questions(chapter))

    def __repr__(self) -> str:
        """Return the line of Python that makes this quiz."""
        return f"{NAME}({self.chapter!r})"

    def summary(self) -> str:
        """Return the number of questions and their texts."""
        prompts = " ".join(question["prompt"] for question in self.questions)
        return say(NAME, "summary", questions=len(self.questions), prompts=prompts)

    def _fallback(self) -> str:
        """Return the questions with their answers folded."""
        answer = say(NAME, "answer")
        listed = "".join(f"<li>{as_html(question, answer)}</li>" for question in self.questions)
        return f"<ol>{listed}</ol>"

    def _draw(self, picture: Picture) -> None:
        """Write the questions and their options."""
        lines: list[str] = []
        for number, question in enumerate(self.questions, start=1):
            lines += textwrap.wrap(f"{number}. {question['prompt']}", 95)
            options = question.get("options", [])
            lines += [f"      ○  {option['text']}" for option in options] + [""]
        picture.set_size_inches(8, 0.3 + 0.165 * len(lines))
        text = "\n".join(lines)
        picture.text(0.02, 0.98, text, va="top", fontsize=9, parse_math=False)
