// A query dragged among keys in the plane: the weight of every key under exp and under f_p.
import { convexHull, evaluate, kernelSum } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { parametersOf } from "../parameters.js";

const SPECS = parametersOf("KernelSum");
const REACH = 3.3;
/** The radius of a disc of weight 1, in pixels; a weight beyond MOST is drawn as MOST. */
const RADIUS = 34;
const MOST = 1.5;
const STEPS = 200;

/** A coordinate of the pointer in the steps of its slider. */
function stepped({ min, max, step }, value) {
  return Number(Math.min(max, Math.max(min, Math.round(value / step) * step)).toFixed(1)) || 0;
}

function largest(weights) {
  return weights.indexOf(Math.max(...weights));
}

function place(frame, [x, y]) {
  return frame.say("place", { x: formatNumber(x), y: formatNumber(y) });
}

/** Discs for exp, rings for the polynomial; a ring of a negative weight warns. */
function keyMarks({ key, exact, fast }) {
  const sized = (weights) => key.map((point, j) => [...point, Math.min(Math.abs(weights[j]), MOST)]);
  const rings = sized(fast);
  return [
    { kind: "discs", series: "exact", radius: RADIUS, points: sized(exact) },
    { kind: "discs", series: "exact", radius: 2, points: key.map((point) => [...point, 1]) },
    { kind: "discs", series: "taylor", isRing: true, radius: RADIUS, points: rings.filter((_, j) => !(fast[j] < 0)) },
    { kind: "discs", series: "warning", isRing: true, radius: RADIUS, points: rings.filter((_, j) => fast[j] < 0) },
  ];
}

function planePicture(frame, { query_x: x, query_y: y }, found) {
  const hull = convexHull(found.key);
  const axis = { min: -REACH, max: REACH };
  return {
    hasEqualUnits: true,
    x: { ...axis, label: frame.say("axis_across") },
    y: { ...axis, label: frame.say("axis_up") },
    handle: { x, y, label: frame.say("handle") },
    marks: [
      { kind: "line", series: "axis", points: [...hull, hull[0]] },
      ...keyMarks(found),
      { kind: "line", series: "accent", points: [[0, 0], [x, y]] },
      { kind: "points", series: "exact", shape: "diamond", points: [found.exactOutput] },
      { kind: "points", series: "taylor", shape: "square", points: [found.fastOutput] },
    ],
  };
}

/** Weight against score: the two kernels as curves, each divided by its own sum over the keys. */
function curvePicture(frame, { order }, { scores, exact, fast, expansion }) {
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const first = largest(exact);
  const sum = scores.reduce((total, score) => total + evaluate(expansion.coefficients, score), 0);
  const grid = Array.from({ length: STEPS + 1 }, (_, i) => low + ((high - low) * i) / STEPS);
  const room = 0.08 * (high - low || 1);
  const heights = [0, ...exact, ...fast].map((weight) => Math.max(-MOST, Math.min(MOST, weight)));
  const [bottom, top] = [Math.min(...heights), Math.max(...heights)];
  const at = (weights) => scores.map((score, j) => [score, weights[j]]);
  return {
    x: { min: low - room, max: high + room, label: frame.say("axis_score") },
    y: { min: bottom - 0.06 * (top - bottom), max: top + 0.14 * (top - bottom), label: frame.say("axis_weight") },
    marks: [
      { kind: "rule", y: 0, series: "axis" },
      { kind: "line", series: "exact", label: frame.say("exact_curve"), points: grid.map((s) => [s, exact[first] * Math.exp(s - scores[first])]) },
      { kind: "line", series: "taylor", label: frame.say("fast_curve", { order }), points: grid.map((s) => [s, evaluate(expansion.coefficients, s) / sum]) },
      { kind: "points", series: "exact", shape: "circle", points: at(exact) },
      { kind: "points", series: "taylor", shape: "square", points: at(fast).filter(([, weight]) => !(weight < 0)) },
      { kind: "points", series: "warning", shape: "cross", points: at(fast).filter(([, weight]) => weight < 0) },
    ],
  };
}

/** What every kind of mark means. */
function legend(frame) {
  const { element } = frame;
  const signs = [
    ["key_exact", "●", "exact"], ["key_fast", "○", "taylor"], ["key_negative", "✖", "warning"],
    ["key_output_exact", "◆", "exact"], ["key_output_fast", "■", "taylor"], ["key_hull", "▱", "axis"],
  ];
  const items = signs.map(([key, sign, color]) => element("li", {}, [
    element("span", { class: `fastattn-sign-${color}`, "aria-hidden": "true" }, [sign]), ` ${frame.say(key)}`,
  ]));
  return element("ul", { class: "fastattn-legend fastattn-wide" }, items);
}

function summary(frame, { query_x: x, query_y: y, order, tokens }, found) {
  const first = largest(found.exact);
  const text = frame.say("summary", {
    x: formatNumber(x), y: formatNumber(y), tokens, order,
    exact: formatNumber(found.exact[first]), fast: formatNumber(found.fast[first]),
    exact_output: place(frame, found.exactOutput), fast_output: place(frame, found.fastOutput),
    apart: formatNumber(found.apart),
  });
  const { negative } = found;
  return negative ? `${text} ${frame.say("summary_negative", { order, negative })}` : text;
}

export default defineFigure("KernelSum", (frame) => {
  for (const key of ["query_x", "query_y", "order", "tokens", "seed"]) frame.slider(key);
  frame.body.append(frame.element("p", { class: "fastattn-note fastattn-wide" }, [frame.say("hint")]));
  const onDrag = (x, y) => frame.set({ query_x: stepped(SPECS.query_x, x), query_y: stepped(SPECS.query_y, y) });
  const plane = frame.plot({ height: 400, label: frame.say("plane"), onDrag });
  plane.node.classList.add("fastattn-free");
  const curve = frame.plot({ height: 400, label: frame.say("curve") });
  frame.body.append(legend(frame));
  const readouts = frame.readouts(["exact", "fast", "apart", "negative"]);
  let found;
  return {
    draw(state) {
      found = kernelSum(state);
      const first = largest(found.exact);
      plane.draw(planePicture(frame, state, found));
      curve.draw(curvePicture(frame, state, found));
      readouts.show({
        exact: formatNumber(found.exact[first]),
        fast: formatNumber(found.fast[first]),
        apart: formatNumber(found.apart),
        negative: frame.say("negative", { negative: found.negative, tokens: state.tokens }),
      });
    },
    summary: (state) => summary(frame, state, found),
  };
});
