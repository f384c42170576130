// Operations of softmax attention (n²) and of a factorized order (n), side by side.
import { crossoverTokens, directFlops, fastFlops, numberOfFeatures } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { parametersOf } from "../parameters.js";

const { min, max } = parametersOf("CostRace").tokens;
const POINTS = [min, max];
const BAR_MARGIN = { top: 4, bottom: 4, left: 76, right: 92 };

function costs({ tokens, dim, order, is_causal: isCausal }) {
  return {
    direct: directFlops(tokens, dim, dim, isCausal),
    fast: fastFlops(tokens, dim, order),
    crossover: crossoverTokens(dim, order, dim, isCausal),
  };
}

function curves(frame, state) {
  const points = POINTS.map((tokens) => [tokens, costs({ ...state, tokens })]);
  const { direct, fast, crossover } = costs(state);
  const marks = [
    { kind: "line", series: "minimax", label: frame.say("direct"), points: points.map(([n, cost]) => [n, cost.direct]) },
    { kind: "line", series: "taylor", label: frame.say("fast", state), points: points.map(([n, cost]) => [n, cost.fast]) },
    { kind: "points", series: "minimax", shape: "circle", points: [[state.tokens, direct]] },
    { kind: "points", series: "taylor", shape: "square", points: [[state.tokens, fast]] },
  ];
  if (crossover >= min && crossover <= max) marks.push(...meeting(frame, state, crossover));
  return marks;
}

function meeting(frame, state, crossover) {
  const cost = costs({ ...state, tokens: crossover }).fast;
  const isRight = crossover > 2e4;
  return [
    { kind: "rule", x: crossover, to: cost },
    {
      kind: "points", series: "accent", shape: "diamond", points: [[crossover, cost]], at: [crossover * (isRight ? 0.8 : 1.25), cost / 4.5],
      anchor: isRight ? "end" : "start", label: frame.say("crossover_mark", { tokens: formatNumber(Math.ceil(crossover)) }),
    },
  ];
}

function bars(frame, { order }, { direct, fast }) {
  const largest = Math.max(direct, fast);
  const row = (name, value, low, series, label) => [
    { kind: "bar", series, from: 0, to: value / largest, low, high: low + 0.7 },
    { kind: "text", series: "text", text: label, at: [-0.015, low + 0.2], anchor: "end" },
    { kind: "text", series: "text", text: formatNumber(value), at: [value / largest + 0.015, low + 0.2] },
  ];
  return [
    ...row("direct", direct, 1.15, "minimax", frame.say("bar_direct")),
    ...row("fast", fast, 0.15, "taylor", frame.say("bar_fast", { order })),
  ];
}

function summary(frame, state) {
  const { direct, fast, crossover } = costs(state);
  const text = frame.say(fast <= direct ? "summary_faster" : "summary_slower", {
    tokens: formatNumber(state.tokens),
    dim: state.dim,
    order: state.order,
    direct: formatNumber(direct),
    fast: formatNumber(fast),
    ratio: formatNumber(Math.max(direct / fast, fast / direct)),
    crossover: formatNumber(Math.ceil(crossover)),
  });
  return state.is_causal ? `${text} ${frame.say("summary_causal")}` : text;
}

export default defineFigure("CostRace", (frame) => {
  ["tokens", "dim", "order"].forEach((key) => frame.slider(key));
  frame.toggle("is_causal");
  const toTokens = (x) => Math.round(Math.min(max, Math.max(min, x)));
  const race = frame.plot({ height: 320, label: frame.say("plot"), onDrag: (x) => frame.set({ tokens: toTokens(x) }) });
  const side = frame.plot({ height: 84, label: frame.say("bars") });
  side.node.classList.add("fastattn-wide");
  race.node.classList.add("fastattn-wide");
  const readouts = frame.readouts(["direct", "fast_label", "crossover", "features"]);
  return {
    draw(state) {
      const cost = costs(state);
      race.draw({
        x: { min, max, scale: "log", label: frame.say("axis_x") },
        y: { min: 1e3, max: 1e16, scale: "log", label: frame.say("axis_y") },
        marks: curves(frame, state),
        handle: { x: state.tokens, label: frame.say("handle", { tokens: formatNumber(state.tokens) }) },
      });
      side.draw({ x: { min: 0, max: 1 }, y: { min: 0, max: 2 }, margin: BAR_MARGIN, marks: bars(frame, state, cost) });
      readouts.show({
        direct: formatNumber(cost.direct),
        fast_label: formatNumber(cost.fast),
        crossover: formatNumber(Math.ceil(cost.crossover)),
        features: formatNumber(numberOfFeatures(state.dim, state.order)),
      });
    },
    summary: (state) => summary(frame, state),
  };
});
