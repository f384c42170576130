// A quiz that marks its answers on the page itself. Nothing is stored and nothing is sent.
import { defineFigure } from "../frame.js";
import { uniqueId } from "../dom.js";
import { isAnswered, mark } from "../marking.js";

/** The fields of a question, and a function that reads what the reader has entered. */
function fields(frame, question) {
  const { element } = frame;
  const row = (...children) => element("label", { class: "fastattn-option" }, children);
  if (question.kind === "number") {
    const entry = element("input", { type: "text", inputmode: "decimal", autocomplete: "off" });
    return { rows: [row(element("span", {}, [frame.say("number")]), entry)], answer: () => entry.value };
  }
  const name = uniqueId("question");
  const type = question.kind === "several" ? "checkbox" : "radio";
  const boxes = question.options.map((_, i) => element("input", { type, name, value: i }));
  const rows = question.options.map((option, i) => row(boxes[i], element("span", {}, [option.text])));
  return { rows, answer: () => boxes.map((box) => box.checked) };
}

/** Say in words and with a sign, not by colour alone, whether the answer is right, and why. */
function showFeedback(frame, place, verdict) {
  const { element } = frame;
  if (verdict === null) {
    place.replaceChildren(element("p", {}, [frame.say("unanswered")]));
    return;
  }
  const { correct, incomplete, reasons } = verdict;
  const outcome = correct ? "right" : incomplete ? "incomplete" : "wrong";
  const sign = element("span", { class: "fastattn-sign", "aria-hidden": "true" }, [correct ? "✓" : "✗"]);
  place.replaceChildren(
    element("p", { class: "fastattn-outcome" }, [sign, frame.say(outcome)]),
    ...reasons.map((reason) => element("p", {}, [reason])),
  );
}

/** One question with its answers, two buttons and the verdict; calls `onVerdict` when marked. */
function questionForm(frame, question, number, onVerdict) {
  const { element } = frame;
  const { rows, answer } = fields(frame, question);
  const feedback = element("div", { class: "fastattn-feedback", role: "status" });
  const hint = question.kind === "several" ? ` ${frame.say("several")}` : "";
  const fieldset = element("fieldset", {}, [element("legend", {}, [`${number}. ${question.prompt}${hint}`]), ...rows]);
  const form = element("form", { novalidate: true, "data-question": question.id });
  const show = (verdict) => {
    form.dataset.verdict = verdict ? String(verdict.correct) : "";
    onVerdict(verdict ? verdict.correct : null);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const verdict = isAnswered(question, answer()) ? mark(question, answer()) : null;
    showFeedback(frame, feedback, verdict);
    show(verdict);
  });
  form.addEventListener("reset", () => {
    feedback.replaceChildren();
    show(null);
  });
  const buttons = [
    element("button", { type: "submit" }, [frame.say("check")]),
    element("button", { type: "reset" }, [frame.say("again")]),
  ];
  form.append(fieldset, element("div", { class: "fastattn-tools" }, buttons), feedback);
  return form;
}

export default defineFigure("Quiz", (frame) => {
  const questions = frame.model.get("questions") ?? [];
  const verdicts = questions.map(() => null);
  const forms = questions.map((question, i) => questionForm(frame, question, i + 1, (verdict) => {
    verdicts[i] = verdict;
    frame.changed();
  }));
  const list = frame.element("ol", { class: "fastattn-questions fastattn-wide" });
  list.append(...forms.map((form) => frame.element("li", {}, [form])));
  frame.body.append(list);
  return {
    summary: () => frame.say("score", {
      right: verdicts.filter((verdict) => verdict === true).length, questions: questions.length,
    }),
  };
}, { toolbar: false });
