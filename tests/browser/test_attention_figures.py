"""ErrorVersusOrder, CausalLeak and Quiz on a page without a kernel, opened from disk."""

from __future__ import annotations

import html
import json
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from browser.stage import (
    HEIGHTS,
    REDRAWS,
    Stage,
    check_redraws,
    check_width_and_theme,
    sentence,
    state,
)
from fastattn_lite.figures import CausalLeak, ErrorVersusOrder, Quiz

pytestmark = pytest.mark.browser

SAMPLE = [
    {
        "id": "one",
        "prompt": "Is 1 < 2?",
        "kind": "one",
        "options": [
            {"text": "no", "correct": False, "feedback": "Count again."},
            {"text": "yes", "correct": True, "feedback": "One comes first."},
        ],
    },
    {
        "id": "several",
        "prompt": "Which are even?",
        "kind": "several",
        "options": [
            {"text": "2", "correct": True, "feedback": "2 is even."},
            {"text": "3", "correct": False, "feedback": "3 is odd."},
            {"text": "4", "correct": True, "feedback": "4 is even."},
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
]
SAMPLE_QUIZ = (
    f'<fastattn-figure name="Quiz" state="{html.escape(json.dumps({"questions": SAMPLE}))}">'
)


def own_data() -> ErrorVersusOrder:
    random = np.random.default_rng(1)
    figure = ErrorVersusOrder(radius=2.0, normalization="none")
    figure.set_data(*(random.normal(size=shape) for shape in ((6, 3), (9, 3), (9, 2))))
    return figure


@pytest.mark.parametrize(
    "figure",
    [
        ErrorVersusOrder(),
        ErrorVersusOrder(radius=0.5, normalization="none", dim=2, tokens=16, seed=7),
        ErrorVersusOrder(radius=4, normalization="max", dim=16, tokens=32),
        own_data(),
        CausalLeak(),
        CausalLeak(position=0, change=-2.5),
        CausalLeak(position=9, change=2.2, normalization="unit", seed=3),
        CausalLeak(position=15, change=3, normalization="max", seed=99),
    ],
    ids=repr,
)
def test_the_page_says_what_python_says(stage: Stage, figure: Any) -> None:
    assert sentence(stage.show(figure)) == figure.summary()


@pytest.mark.parametrize("figure", [ErrorVersusOrder(), CausalLeak(), Quiz("intro")], ids=repr)
@pytest.mark.parametrize("width", [375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, figure: Any, width: int, theme: Any) -> None:
    page = stage.show(figure, width=width, color_scheme=theme)
    check_width_and_theme(page, width, theme)
    sizes = page.eval_on_selector_all(
        ".fastattn button, .fastattn input[type=range], .fastattn-bar label, .fastattn-option",
        "nodes => nodes.map((node) => node.getBoundingClientRect().height)",
    )
    assert sizes
    assert min(sizes) >= 24


@pytest.mark.parametrize(
    ("figure", "name", "key", "expected"),
    [
        (ErrorVersusOrder(), "radius", "ArrowRight", 1.25),
        (ErrorVersusOrder(), "dim", "ArrowLeft", 4),
        (ErrorVersusOrder(), "tokens", "End", 128),
        (ErrorVersusOrder(), "seed", "ArrowUp", 1),
        (CausalLeak(), "position", "ArrowLeft", 11),
        (CausalLeak(), "change", "ArrowDown", 0.9),
        (CausalLeak(), "change", "Home", -3),
    ],
)
def test_keys_move_sliders(stage: Stage, figure: Any, name: str, key: str, expected: float) -> None:
    page = stage.show(figure)
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => { heard += 1; })")
    page.locator(f'[data-parameter="{name}"] input').press(key)
    assert state(page, name) == expected
    assert page.evaluate("heard") == 0, "JupyterLab would take the key"
    setattr(figure, name, expected)
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


@pytest.mark.parametrize("figure", [ErrorVersusOrder(), CausalLeak()], ids=repr)
def test_keys_choose_a_normalisation(stage: Stage, figure: Any) -> None:
    page = stage.show(figure)
    page.locator(f'input[value="{figure.normalization}"]').press("ArrowRight")
    options = ["none", "unit", "center", "center+unit", "max"]
    expected = options[options.index(figure.normalization) + 1]
    assert state(page, "normalization") == expected
    figure.normalization = expected
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


def test_the_leak_is_marked_and_gone_under_unit(stage: Stage) -> None:
    page = stage.show(CausalLeak(position=7, seed=1))
    verdict = page.locator(".fastattn-note").nth(1)
    assert verdict.inner_text() == "Leak. Past outputs moved: 6 of 7."
    crosses = page.locator(".fastattn-plot").nth(1).locator(".fastattn-point.fastattn-warning")
    assert crosses.count() == 6
    page.locator('input[value="unit"]').check(force=True)
    page.wait_for_function("document.body.innerText.includes('Past outputs moved: 0 of 7.')")
    assert crosses.count() == 0
    page.locator('[data-parameter="change"] input').fill("30")
    page.wait_for_function("document.body.innerText.includes('Nothing moves')")


@pytest.mark.parametrize("is_touch", [False, True])
def test_a_token_is_dragged(stage: Stage, is_touch: bool) -> None:
    page = stage.show(CausalLeak(position=3, change=0), width=600, has_touch=is_touch)
    box: Any = page.locator(".fastattn-picture").first.bounding_box()
    if is_touch:
        page.touchscreen.tap(box["x"] + box["width"] - 30, box["y"] + 60)
    else:
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 60, steps=4)
        page.mouse.up()
    assert state(page, "position") >= 14
    assert 0.5 < state(page, "change") <= 3
    assert state(page, "change") == pytest.approx(round(state(page, "change"), 1), abs=1e-12)


def test_scores_outside_the_radius_are_told(stage: Stage) -> None:
    page = stage.show(ErrorVersusOrder())
    note = page.locator(".fastattn-note").nth(1)
    assert note.inner_text().startswith("All scores lie in [−1, 1]")
    page.locator('[data-parameter="radius"] input').fill("0")
    page.wait_for_selector(".fastattn-no-promise")
    assert note.inner_text().startswith("Scores reach 0.935, outside [−0.25, 0.25]")
    assert page.locator(".fastattn-note-warning").count() == 1
    assert "are not promised" in page.locator(".fastattn-readouts").inner_text()


def test_the_table_has_every_number(stage: Stage) -> None:
    figure = ErrorVersusOrder()
    page = stage.show(figure)
    page.locator("summary").click()
    rows = page.locator("tbody tr")
    assert rows.count() == 11
    assert rows.nth(2).inner_text().split("\t")[1] == "0.00153 (bound 0.0973)"


def test_a_link_carries_the_state(stage: Stage) -> None:
    page = stage.show(CausalLeak(), address="#CausalLeak.position=5&CausalLeak.normalization=max")
    assert state(page, "position") == 5
    assert state(page, "normalization") == "max"
    page.get_by_role("button", name="Reset").click()
    assert state(page, "position") == 12


@pytest.mark.parametrize("figure", [ErrorVersusOrder, CausalLeak])
def test_the_figure_keeps_its_height(stage: Stage, figure: Any) -> None:
    page = stage.show(figure())
    states = [
        figure(normalization=normalization, seed=seed).state() | {"radius": radius}
        for normalization in ("none", "unit", "center+unit", "max")
        for seed, radius in ((0, 0.25), (7, 8))
    ]
    for width in (420, 560, 800, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert len(set(page.evaluate(HEIGHTS, states))) == 1, width


@pytest.mark.parametrize("figure", [ErrorVersusOrder(), CausalLeak()], ids=repr)
def test_redraw_within_a_frame(stage: Stage, figure: Any) -> None:
    page = stage.show(figure)
    times = page.evaluate(REDRAWS)
    assert len(times) > 30
    check_redraws(page, times)


def verdict_of(page: Page, name: str) -> str:
    return page.locator(f'form[data-question="{name}"] [role=status]').inner_text()


def check(page: Page, name: str) -> None:
    form = page.locator(f'form[data-question="{name}"]')
    form.get_by_role("button", name="Check").click()


def test_quiz_by_mouse(stage: Stage) -> None:
    page = stage.show(SAMPLE_QUIZ)
    check(page, "one")
    assert verdict_of(page, "one") == "Choose or enter an answer first."
    page.get_by_label("no").check()
    check(page, "one")
    assert verdict_of(page, "one").split("\n\n") == ["✗Not yet.", "Count again."]
    page.get_by_label("yes").check()
    check(page, "one")
    assert verdict_of(page, "one").split("\n\n") == ["✓Right.", "One comes first."]
    page.wait_for_function("document.body.innerText.includes('Score: 1 of 3 right.')")
    page.get_by_role("button", name="Try again").first.click()
    assert verdict_of(page, "one") == ""
    assert not page.get_by_label("yes").is_checked()
    page.wait_for_function("document.body.innerText.includes('Score: 0 of 3 right.')")


def test_quiz_with_several_right_answers(stage: Stage) -> None:
    page = stage.show(SAMPLE_QUIZ)
    for label, verdict in [("2", "Right so far"), ("3", "Not yet."), ("4", "Not yet.")]:
        page.get_by_label(label, exact=True).check()
        check(page, "several")
        assert verdict in verdict_of(page, "several")
    page.get_by_label("3", exact=True).uncheck()
    check(page, "several")
    assert "Right." in verdict_of(page, "several")


@pytest.mark.parametrize(
    ("entry", "verdict"),
    [
        ("0.5", "One by two."),
        (" 0,505 ", "One by two."),
        ("50 %", "One by two."),
        ("0.52", "Divide one by two."),
        ("-0.5", "Divide one by two."),
        ("half", "Choose or enter"),
        ("", "Choose or enter"),
        ("%", "Choose or enter"),
    ],
)
def test_quiz_with_a_number(stage: Stage, entry: str, verdict: str) -> None:
    page = stage.show(SAMPLE_QUIZ)
    page.get_by_label("Your answer").fill(entry)
    check(page, "number")
    assert verdict in verdict_of(page, "number")


def test_quiz_by_keyboard_alone(stage: Stage) -> None:
    page = stage.show(SAMPLE_QUIZ)
    for key in ("Tab", "Space", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert verdict_of(page, "one").startswith("✓Right.")
    for key in ("Tab", "Enter"):  # the Check button
        page.keyboard.press(key)
    for key in ("Tab", "Enter"):  # Try again
        page.keyboard.press(key)
    assert verdict_of(page, "one") == ""


def test_two_quizzes_on_a_page_do_not_disturb_each_other(stage: Stage) -> None:
    page = stage.show(SAMPLE_QUIZ + "</fastattn-figure>" + SAMPLE_QUIZ)
    for index in (0, 1):
        page.get_by_label("yes").nth(index).check()
    assert all(page.get_by_label("yes").nth(index).is_checked() for index in (0, 1))


def test_quiz_without_scripts_shows_questions_and_folded_answers(stage: Stage) -> None:
    quiz = Quiz("expansion_truncation")
    context = stage.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(quiz._repr_html_())
    assert page.locator("details").count() == len(quiz.questions)
    assert quiz.questions[0]["prompt"] in page.inner_text("body")
    page.locator("summary").first.click()
    assert "Right." in page.locator("details").first.inner_text()
