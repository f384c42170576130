"""Quizzes in Python: what a file may say, what is refused, what a page without scripts shows."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from fastattn_lite.figures import Quiz
from fastattn_lite.figures.quiz_content import as_html, load_questions, parse_questions
from tools.notebooks import notebook_paths

SAMPLE: dict[str, Any] = {
    "chapter": "sample",
    "questions": [
        {
            "id": "one",
            "prompt": "1 < 2?",
            "options": [
                {"text": "yes", "correct": True, "feedback": "Right."},
                {"text": "no", "correct": False, "feedback": "Count."},
            ],
        },
        {
            "id": "several",
            "prompt": "Which are even?",
            "kind": "several",
            "options": [
                {"text": "2", "correct": True, "feedback": "Even."},
                {"text": "3", "correct": False, "feedback": "Odd."},
                {"text": "4", "correct": True, "feedback": "Even."},
            ],
        },
        {
            "id": "number",
            "prompt": "A half as a number?",
            "kind": "number",
            "answer": 0.5,
            "tolerance": 0.01,
            "feedback": {"correct": "One by two.", "wrong": "Divide one by two."},
        },
    ],
}


def test_all_three_kinds_are_read() -> None:
    kinds = [question["kind"] for question in parse_questions(SAMPLE)]
    assert kinds == ["one", "several", "number"]


@pytest.mark.parametrize(
    ("question", "changes", "message"),
    [
        (0, {"id": ""}, 'expected a text "id"'),
        (0, {"prompt": None}, "question 'one': expected a text \"prompt\""),
        (0, {"kind": "essay"}, '"kind" must be one of'),
        (0, {"options": []}, "at least two answers"),
        (0, {"options": SAMPLE["questions"][1]["options"]}, "exactly one correct option, got 2"),
        (1, {"options": [SAMPLE["questions"][1]["options"][1]] * 2}, "at least one correct"),
        (0, {"options": [{"text": "x", "correct": "yes", "feedback": "y"}] * 2}, "true or false"),
        (0, {"options": [{"text": "x", "correct": True}] * 2}, 'expected a text "feedback"'),
        (1, {"id": "one"}, "every id must occur once"),
        (2, {"answer": "half"}, 'expected a number "answer"'),
        (2, {"tolerance": True}, 'expected a number "tolerance"'),
        (2, {"feedback": {"correct": "y"}}, 'expected a text "wrong"'),
    ],
)
def test_a_fault_is_named(question: int, changes: dict[str, Any], message: str) -> None:
    content = copy.deepcopy(SAMPLE)
    content["questions"][question] |= changes
    with pytest.raises(ValueError, match=message):
        parse_questions(content)


@pytest.mark.parametrize("content", [[], {}, {"questions": []}, {"questions": "none"}])
def test_a_file_without_questions_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="questions"):
        parse_questions(content)


def test_an_unknown_chapter_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"expansion_truncation.*intro.*got 'nowhere'"):
        Quiz("nowhere")


@pytest.mark.parametrize("chapter", [path.stem for path in notebook_paths()])
def test_the_quizzes_of_the_book_can_be_marked(chapter: str) -> None:
    questions = load_questions(chapter)
    assert len(questions) >= 3
    page = Quiz(chapter)._repr_html_()
    assert f'name="{Quiz.__name__}"' in page
    assert page.count("<details>") == len(questions)


def test_the_fallback_lists_options_and_folds_the_answer() -> None:
    one, several, number = (as_html(question, "Answer") for question in parse_questions(SAMPLE))
    assert "<p>1 &lt; 2?</p><ul><li>yes</li><li>no</li></ul>" in one
    assert "<details><summary>Answer</summary><p>yes Right.</p></details>" in one
    assert "<p>2 Even.</p><p>4 Even.</p>" in several
    assert "<p>0.5. One by two.</p>" in number


def test_the_widget_carries_the_questions_and_nothing_back() -> None:
    quiz = Quiz("intro")
    assert json.loads(json.dumps(quiz.state()))["questions"] == quiz.questions
    assert repr(quiz) == "Quiz('intro')"
    assert quiz.summary().startswith(f"A quiz with {len(quiz.questions)} questions")
    text = quiz.still().texts[0].get_text()
    assert all(option["text"].split()[0] in text for option in quiz.questions[0]["options"])
