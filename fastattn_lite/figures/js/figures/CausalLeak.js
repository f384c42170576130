// Change one token of a causal row and see which outputs move, and which of them must not.
import { TOKENS, leak } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { parametersOf } from "../parameters.js";

const CHANGE = parametersOf("CausalLeak").change;
const ACROSS = { min: -0.6, max: TOKENS - 0.4 };
/** The axis of movements; what did not move stands at its lower end. */
const [LOW, HIGH] = [1e-6, 10];

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

/** The place of the pointer as a token and its change, in the steps of the sliders. */
function toParameters(x, y) {
  return {
    position: clamp(Math.round(x), 0, TOKENS - 1),
    change: Number(clamp(Math.round(y / CHANGE.step) * CHANGE.step, CHANGE.min, CHANGE.max).toFixed(1)),
  };
}

function pastBand(frame, position) {
  if (position === 0) return [];
  return [{ kind: "band", from: ACROSS.min, to: position - 0.5, tone: "inside", series: "accent", label: frame.say("past") }];
}

function tokensPicture(frame, { position, change }) {
  const others = Array.from({ length: TOKENS }, (_, i) => [i, 0]).filter(([i]) => i !== position);
  const isRight = position > TOKENS / 2;
  return {
    x: { ...ACROSS, label: frame.say("axis_token") },
    y: { min: CHANGE.min - 0.6, max: CHANGE.max + 0.6, label: frame.say("axis_change") },
    marks: [
      { kind: "rule", y: 0, series: "axis" },
      { kind: "points", series: "quiet", shape: "circle", points: others },
      { kind: "line", series: "accent", points: [[position, 0], [position, change]] },
      { kind: "points", series: "accent", shape: "circle", points: [[position, change]] },
      {
        kind: "text", series: "accent", text: frame.say("handle", { position, change: formatNumber(change) }),
        at: [position + (isRight ? -0.5 : 0.5), change], anchor: isRight ? "end" : "start",
      },
    ],
  };
}

/** Three kinds of outputs: those that did not move, those that may move, and the leaks. */
function movementPicture(frame, { position }, { before, after, moved }) {
  const points = before.map((output, i) => [i, clamp(Math.abs(after[i] - output), LOW, HIGH)]);
  const kinds = [
    ["quiet", "circle", (i) => !moved[i]],
    ["exact", "square", (i) => moved[i] && i >= position],
    ["warning", "cross", (i) => moved[i] && i < position],
  ];
  const marks = kinds.flatMap(([series, shape, isOfThisKind]) => {
    const these = points.filter(([i]) => isOfThisKind(i));
    const stems = these.map(([i, y]) => ({ kind: "rule", x: i, from: LOW, to: y, series }));
    return [...stems, { kind: "points", series, shape, points: these }];
  });
  return {
    x: { ...ACROSS, label: frame.say("axis_token") },
    y: { min: LOW / 3, max: HIGH, scale: "log", label: frame.say("axis_movement") },
    marks: [...pastBand(frame, position), ...marks],
  };
}

/** What the three kinds of marks mean, with the count of each. */
function legend(frame) {
  const { element } = frame;
  const signs = { still: ["●", "quiet"], allowed: ["■", "exact"], leaked: ["✖", "warning"] };
  const items = Object.entries(signs).map(([key, [sign, color]]) => element("li", {}, [
    element("span", { class: `fastattn-sign-${color}`, "aria-hidden": "true" }, [sign]), ` ${frame.say(key)}`,
  ]));
  return element("ul", { class: "fastattn-legend fastattn-wide" }, items);
}

function showWords(frame, verdict, readouts, state, { before, after, moved, leaked }) {
  const { position: past, change, normalization } = state;
  const leaks = before.map((output, i) => (moved[i] && i < past ? Math.abs(after[i] - output) : 0));
  readouts.show({
    moved: frame.say("moved", { leaked, past }),
    largest: formatNumber(Math.max(...leaks)),
    scope: frame.say(`scope.${normalization}`),
  });
  const outcome = leaked > 0 ? "verdict_leak" : "verdict_tight";
  verdict.textContent = frame.say(change === 0 ? "verdict_unmoved" : outcome, { leaked, past });
  verdict.classList.toggle("fastattn-note-warning", leaked > 0);
}

export default defineFigure("CausalLeak", (frame) => {
  frame.slider("position");
  frame.slider("change");
  frame.choice("normalization");
  frame.slider("seed");
  const onDrag = (x, y) => frame.set(toParameters(x, y));
  frame.body.append(frame.element("p", { class: "fastattn-note fastattn-wide" }, [frame.say("hint")]));
  const row = frame.plot({ height: 170, label: frame.say("plot_tokens"), onDrag });
  row.node.classList.add("fastattn-wide", "fastattn-free");
  const verdict = frame.element("p", { class: "fastattn-note fastattn-wide" });
  frame.body.append(verdict);
  const outputs = frame.plot({ height: 260, label: frame.say("plot_movement") });
  outputs.node.classList.add("fastattn-wide");
  frame.body.append(legend(frame));
  const readouts = frame.readouts(["moved", "largest", "scope"]);
  let found;
  return {
    draw(state) {
      found = leak(state);
      row.draw(tokensPicture(frame, state));
      outputs.draw(movementPicture(frame, state, found));
      showWords(frame, verdict, readouts, state, found);
    },
    summary({ position, change, normalization }) {
      return frame.say("summary", {
        position, normalization, last: TOKENS - 1, change: formatNumber(change), leaked: found.leaked, past: position,
      });
    },
  };
});
