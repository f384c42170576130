"""Read the questions of a quiz, and refuse a file that a page could not mark."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from typing import Any, NotRequired, TypedDict, cast

KINDS = ("one", "several", "number")
"""One right option, several right options, or a number to enter; "one" where nothing is said."""


class Option(TypedDict):
    """An answer to choose, and what the reader is told who chooses it."""

    text: str
    correct: bool
    feedback: str


class Question(TypedDict):
    """A question of one of the KINDS; a number has an answer and a tolerance, others options."""

    id: str
    prompt: str
    kind: str
    options: NotRequired[list[Option]]
    answer: NotRequired[float]
    tolerance: NotRequired[float]
    feedback: NotRequired[dict[str, str]]


def load_questions(chapter: str) -> list[Question]:
    """Return the questions of a chapter from quizzes/<chapter>.json.

    Raises `ValueError` for a chapter without a quiz and for a file with a fault, naming both the
    question and the fault.
    """
    folder = resources.files("fastattn_lite.figures") / "quizzes"
    names = sorted(entry.name.removesuffix(".json") for entry in folder.iterdir())
    if chapter not in names:
        raise ValueError(f"chapter: expected one of {names}, got {chapter!r}")
    return parse_questions(json.loads((folder / f"{chapter}.json").read_text(encoding="utf-8")))


def parse_questions(content: Any) -> list[Question]:
    """Return the questions of a quiz that was read from JSON; `ValueError` names a fault."""
    listed = cast("dict[str, Any]", content).get("questions") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ValueError('quiz: expected an object with a list "questions" that is not empty')
    parsed = [_question(entry) for entry in cast("list[Any]", listed)]
    names = [question["id"] for question in parsed]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"quiz: every id must occur once, these occur again: {repeated}")
    return parsed


def as_html(question: Question, answer: str) -> str:
    """Return the question as plain HTML, the right answer folded under the word `answer`."""
    options = question.get("options", [])
    listed = "".join(f"<li>{escape(option['text'])}</li>" for option in options)
    right = [f"{option['text']} {option['feedback']}" for option in options if option["correct"]]
    if question["kind"] == "number":
        right = [f"{question.get('answer'):g}. {question.get('feedback', {})['correct']}"]
    folded = "".join(f"<p>{escape(text)}</p>" for text in right)
    return (
        f"<p>{escape(question['prompt'])}</p>"
        + (f"<ul>{listed}</ul>" if listed else "")
        + f"<details><summary>{escape(answer)}</summary>{folded}</details>"
    )


def _question(entry: Any) -> Question:
    name = _text(entry, "id", "a question")
    where = f"question {name!r}"
    kind = entry.get("kind", "one")
    if kind not in KINDS:
        raise ValueError(f'{where}: "kind" must be one of {KINDS}, got {kind!r}')
    question: Question = {"id": name, "prompt": _text(entry, "prompt", where), "kind": kind}
    if kind == "number":
        question["answer"] = _number(entry, "answer", where)
        question["tolerance"] = _number(entry, "tolerance", where)
        verdicts = ("correct", "wrong")
        feedback = entry.get("feedback")
        question["feedback"] = {key: _text(feedback, key, f"{where}, feedback") for key in verdicts}
    else:
        question["options"] = _options(entry, kind, where)
    return question


def _options(entry: dict[str, Any], kind: str, where: str) -> list[Option]:
    listed = entry.get("options")
    if not isinstance(listed, list) or len(cast("list[Any]", listed)) < 2:
        raise ValueError(f'{where}: expected a list "options" of at least two answers')
    options = [_option(option, where) for option in cast("list[Any]", listed)]
    right = sum(option["correct"] for option in options)
    if right == 0 or (kind == "one" and right > 1):
        expected = "exactly one" if kind == "one" else "at least one"
        raise ValueError(f"{where}: expected {expected} correct option, got {right}")
    return options


def _option(entry: Any, where: str) -> Option:
    where = f"{where}, an option"
    text, feedback = _text(entry, "text", where), _text(entry, "feedback", where)
    correct = entry.get("correct")
    if not isinstance(correct, bool):
        raise ValueError(f'{where}: "correct" must be true or false, got {correct!r}')
    return {"text": text, "correct": correct, "feedback": feedback}


def _text(entry: Any, key: str, where: str) -> str:
    text = cast("dict[str, Any]", entry).get(key) if isinstance(entry, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'{where}: expected a text "{key}", got {text!r}')
    return text


def _number(entry: dict[str, Any], key: str, where: str) -> float:
    number = entry.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f'{where}: expected a number "{key}", got {number!r}')
    return float(number)
