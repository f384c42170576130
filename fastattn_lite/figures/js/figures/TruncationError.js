// f against exp, and the logarithm of their ratio, whose oscillation bounds the error of attention.
import { FAMILIES, evaluate, isPositive, logRatio, maxError, oscillation, outputErrorBound, turningPoints } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber, formatPercent } from "../format.js";
import { parametersOf } from "../parameters.js";

const RADIUS = parametersOf("TruncationError").radius;
const MARGIN_OF_VIEW = 1.5;
const STEPS = 300;
const PADDING = 0.14;
/** Where log(f/exp) falls without bound because f reaches 0, it is cut off here. */
const UNBOUNDED_LOW = -2;

function range(low, high) {
  return Array.from({ length: STEPS + 1 }, (_, i) => low + ((high - low) * i) / STEPS);
}

/** The stretches of the grid on which f < 0, as [from, to]. */
function negativeStretches(xs, values) {
  const stretches = [];
  xs.forEach((x, i) => {
    if (!(values[i] < 0)) return;
    if (i > 0 && values[i - 1] < 0) stretches[stretches.length - 1][1] = x;
    else stretches.push([x, x]);
  });
  return stretches.filter(([from, to]) => to > from);
}

function padded(low, high) {
  const room = PADDING * (high - low || 1e-16);
  return { min: low - room, max: high + room };
}

/** Everything the two plots and the numbers need, computed once. */
function analyse({ order, family, radius }) {
  const expansion = FAMILIES[family](order, radius);
  const xs = range(-MARGIN_OF_VIEW * radius, MARGIN_OF_VIEW * radius);
  const values = xs.map((x) => evaluate(expansion.coefficients, x));
  const isBounded = isPositive(expansion);
  const inside = turningPoints(expansion).map((x) => logRatio(expansion, x)).filter(Number.isFinite);
  return {
    expansion, xs, values,
    ratios: xs.map((x) => logRatio(expansion, x)),
    negative: negativeStretches(xs, values),
    low: isBounded ? Math.min(0, ...inside) : UNBOUNDED_LOW,
    high: Math.max(0, ...inside),
    lowest: Math.min(...inside), highest: Math.max(...inside),
    oscillation: oscillation(expansion),
    bound: outputErrorBound(expansion),
    error: maxError(expansion),
    isPositive: isBounded,
  };
}

function shared(frame, { radius }, { negative }) {
  const warning = frame.say("negative");
  return {
    marks: [
      { kind: "band", from: -radius, to: radius, tone: "inside" },
      ...negative.map(([from, to]) => ({ kind: "band", from, to, tone: "warning", label: warning })),
    ],
    x: { min: -MARGIN_OF_VIEW * radius, max: MARGIN_OF_VIEW * radius, label: frame.say("axis_score") },
    handle: [{ x: -radius }, { x: radius, label: frame.say("handle", { radius: formatNumber(radius) }) }],
  };
}

function valuePlot(frame, state, found) {
  const { marks, x, handle } = shared(frame, state, found);
  const inside = found.values.filter((_, i) => Math.abs(found.xs[i]) <= state.radius);
  const top = Math.exp(state.radius);
  return {
    x, handle,
    y: { ...padded(Math.min(0, ...inside), Math.max(top, ...inside)), label: frame.say("axis_value") },
    marks: [
      ...marks,
      { kind: "rule", y: 0, series: "axis" },
      { kind: "line", series: "exact", label: frame.say("exact"), points: found.xs.map((s) => [s, Math.exp(s)]) },
      { kind: "line", series: state.family, label: frame.say(`family.${state.family}`), points: found.xs.map((s, i) => [s, found.values[i]]) },
    ],
  };
}

function ratioPlot(frame, state, found) {
  const { marks, x, handle } = shared(frame, state, found);
  const isBounded = Number.isFinite(found.oscillation);
  const label = frame.say("oscillation_mark", { oscillation: formatNumber(found.oscillation) });
  return {
    x, handle,
    y: { ...padded(found.low, found.high), label: frame.say("axis_ratio") },
    marks: [
      ...marks,
      { kind: "rule", y: 0, series: "axis" },
      { kind: "line", series: state.family, points: found.xs.map((s, i) => [s, found.ratios[i]]) },
      ...(isBounded ? oscillationMarks(state, found, label) : []),
    ],
  };
}

function oscillationMarks({ radius }, { lowest, highest }, label) {
  return [
    { kind: "rule", y: lowest, series: "accent" },
    { kind: "rule", y: highest, series: "accent" },
    { kind: "bracket", x: 1.38 * radius, from: lowest, to: highest, series: "accent", label },
  ];
}

function positivity(frame, { expansion, isPositive: isPositiveInside }) {
  if (!isPositiveInside) return frame.say("positive_nowhere");
  return frame.say(isPositive(expansion, Infinity) ? "positive_everywhere" : "positive_inside");
}

function summary(frame, state, found) {
  const isBounded = Number.isFinite(found.oscillation);
  const text = frame.say(isBounded ? "summary" : "summary_unbounded", {
    family: frame.say(`family.${state.family}`),
    order: state.order,
    radius: formatNumber(state.radius),
    bound: formatPercent(found.bound),
    oscillation: formatNumber(found.oscillation),
    error: formatNumber(found.error),
  });
  if (isBounded) return text;
  const isNegative = found.values.some((value, i) => value < 0 && Math.abs(found.xs[i]) <= state.radius);
  return `${text} ${frame.say(isNegative ? "summary_weights" : "summary_zero")}`;
}

export default defineFigure("TruncationError", (frame) => {
  frame.slider("order");
  frame.choice("family");
  frame.slider("radius");
  const toRadius = (x) => Number(Math.min(RADIUS.max, Math.max(RADIUS.min, Math.abs(x))).toPrecision(2));
  const onDrag = (x) => frame.set({ radius: toRadius(x) });
  const value = frame.plot({ height: 300, label: frame.say("plot_value"), onDrag });
  const ratio = frame.plot({ height: 300, label: frame.say("plot_ratio"), onDrag });
  const readouts = frame.readouts(["bound", "oscillation", "error", "positive"]);
  let found;
  return {
    draw(state) {
      found = analyse(state);
      value.draw(valuePlot(frame, state, found));
      ratio.draw(ratioPlot(frame, state, found));
      readouts.show({
        bound: formatPercent(found.bound),
        oscillation: formatNumber(found.oscillation),
        error: formatNumber(found.error),
        positive: positivity(frame, found),
      });
    },
    summary: (state) => summary(frame, state, found),
  };
});
