// Marking the answers of a quiz: pure functions.

/** Whether there is anything to mark: a choice, or a number. */
export function isAnswered(question, answer) {
  if (question.kind === "number") return Number.isFinite(numberFrom(answer));
  return answer.some(Boolean);
}

/**
 * The verdict on an answer, the reasons for it in the words of the quiz, and whether the answer is
 * right as far as it goes but a right option is missing.
 */
export function mark(question, answer) {
  if (question.kind === "number") {
    const correct = Math.abs(numberFrom(answer) - question.answer) <= question.tolerance;
    return { correct, incomplete: false, reasons: [question.feedback[correct ? "correct" : "wrong"]] };
  }
  const correct = question.options.every((option, i) => option.correct === answer[i]);
  const chosen = question.options.filter((_, i) => answer[i]);
  const incomplete = !correct && chosen.every((option) => option.correct);
  return { correct, incomplete, reasons: chosen.map((option) => option.feedback) };
}

/** The number in a text; a comma may stand for the point, and a percent sign divides by 100. */
function numberFrom(text) {
  const plain = text.trim().replace(",", ".").replace("−", "-");
  if (plain === "" || plain === "%") return NaN;
  return plain.endsWith("%") ? Number(plain.slice(0, -1)) / 100 : Number(plain);
}
