// The derivative of a weight by its score: softmax, a Taylor polynomial, and the bound.
import { slopeOfWeight } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { parametersOf } from "../parameters.js";

const { min, max } = parametersOf("GradientBound").score;
const HEIGHT = 0.75;
const POINTS = 161;
const SCORES = Array.from({ length: POINTS }, (_, i) => min + ((max - min) * i) / (POINTS - 1));

const shown = (y) => (Number.isFinite(y) ? Math.max(-HEIGHT, Math.min(HEIGHT, y)) : NaN);

function curves(frame, { order, tokens }) {
  const line = (series, label, height) => ({ kind: "line", series, label, points: SCORES.map((s) => [s, height(s)]) });
  const fast = (s) => slopeOfWeight(order, s, tokens);
  return [
    { ...line("warning", frame.say("bound_line", { order }), (s) => fast(s).bound), at: [min + 0.1, 0.66], anchor: "start" },
    line("warning", undefined, (s) => -fast(s).bound),
    { ...line("exact", frame.say("exact_line"), (s) => slopeOfWeight(null, s, tokens).slope), at: [min + 0.1, 0.55], anchor: "start" },
    { ...line("taylor", frame.say("fast_line", { order }), (s) => fast(s).slope), at: [min + 0.1, 0.44], anchor: "start" },
  ];
}

function here({ order, score, tokens }) {
  return { exact: slopeOfWeight(null, score, tokens), fast: slopeOfWeight(order, score, tokens) };
}

function summary(frame, state) {
  const { exact, fast } = here(state);
  const text = frame.say("summary", {
    order: state.order,
    score: formatNumber(state.score),
    tokens: state.tokens,
    exact: formatNumber(exact.slope),
    fast: formatNumber(fast.slope),
    bound: formatNumber(fast.bound),
  });
  return `${text} ${frame.say(fast.weight > 0 && fast.total > 0 ? "summary_inside" : "summary_outside")}`;
}

export default defineFigure("GradientBound", (frame) => {
  ["order", "score", "tokens"].forEach((key) => frame.slider(key));
  const toScore = (x) => Math.round(10 * Math.min(max, Math.max(min, x))) / 10;
  const plot = frame.plot({ height: 320, label: frame.say("plot"), onDrag: (x) => frame.set({ score: toScore(x) }) });
  plot.node.classList.add("fastattn-wide");
  const readouts = frame.readouts(["slope_exact", "slope_fast", "bound", "total"]);
  return {
    draw(state) {
      const { exact, fast } = here(state);
      plot.draw({
        x: { min, max, label: frame.say("axis_x") },
        y: { min: -HEIGHT, max: HEIGHT, label: frame.say("axis_y") },
        marks: [
          ...curves(frame, state),
          { kind: "points", series: "exact", points: [[state.score, shown(exact.slope)]] },
          { kind: "points", series: "taylor", points: [[state.score, shown(fast.slope)]] },
        ],
        handle: { x: state.score, label: frame.say("handle", { score: formatNumber(state.score) }) },
      });
      readouts.show({
        slope_exact: formatNumber(exact.slope),
        slope_fast: formatNumber(fast.slope),
        bound: formatNumber(fast.bound),
        total: formatNumber(fast.total),
      });
    },
    summary: (state) => summary(frame, state),
  };
});
