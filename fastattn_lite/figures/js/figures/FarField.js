// Sources on a line, expanded about the middles of cells: the error along the line and its bound.
import { SOURCES, farField, farFieldBound, farFieldError, isFar } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { parametersOf } from "../parameters.js";

const SPECS = parametersOf("FarField");
const STEPS = 240;
const HIGHEST = 12;
/** The ends of the axis of the error, and the height at which the sources are drawn. */
const [LOWEST, HIGHEST_SHOWN, FLOOR] = [1e-16, 10, 6e-16];

/** What can stand on a logarithmic axis. */
function shown(height) {
  return height > 0 ? height : NaN;
}

function grid() {
  const { min, max } = SPECS.target;
  return Array.from({ length: STEPS + 1 }, (_, i) => min + ((max - min) * i) / STEPS);
}

/** The stretches of the line from which some cell is near. */
function nearBands(frame, cells) {
  if (cells.kernel === "gauss") return [];
  const reach = 2 * cells.halfWidth;
  const from = cells.middles[0] - reach;
  const to = cells.middles[cells.middles.length - 1] + reach;
  return [{ kind: "band", tone: "warning", from, to, label: frame.say("near_band") }];
}

function errorAxis(frame) {
  return { min: LOWEST, max: HIGHEST_SHOWN, scale: "log", label: frame.say("axis_error") };
}

function linePicture(frame, { order, target }, cells) {
  const places = grid();
  const { min, max } = SPECS.target;
  return {
    x: { min, max, label: frame.say("axis_target") },
    y: errorAxis(frame),
    handle: { x: target, label: frame.say("handle") },
    marks: [
      ...nearBands(frame, cells),
      { kind: "line", series: "minimax", label: frame.say("bound"), points: places.map((y) => [y, shown(farFieldBound(cells, y, order))]) },
      { kind: "line", series: "taylor", label: frame.say("error"), points: places.map((y) => [y, shown(farFieldError(cells, y, order))]) },
      { kind: "points", series: "exact", shape: "circle", points: cells.source.map((z) => [z, FLOOR]) },
      { kind: "points", series: "accent", shape: "diamond", points: cells.middles.map((c) => [c, FLOOR]) },
    ],
  };
}

function orderPicture(frame, { order, target }, cells) {
  const orders = Array.from({ length: HIGHEST + 1 }, (_, p) => p);
  const bound = orders.map((p) => [p, shown(farFieldBound(cells, target, p))]);
  const error = orders.map((p) => [p, shown(farFieldError(cells, target, p))]);
  return {
    x: { min: -0.4, max: HIGHEST + 0.4, label: frame.say("axis_order") },
    y: errorAxis(frame),
    marks: [
      { kind: "rule", x: order, series: "accent" },
      { kind: "line", series: "minimax", points: bound },
      { kind: "points", series: "minimax", points: bound },
      { kind: "line", series: "taylor", points: error },
      { kind: "points", series: "taylor", points: error },
    ],
  };
}

/** What the figure says in numbers, at the target. */
function found(cells, { order, target }) {
  const far = cells.middles.filter((center) => isFar(cells, target, center)).length;
  const near = cells.cell.filter((m) => !isFar(cells, target, cells.middles[m])).length;
  return {
    near, far, numbers: far * (order + 1),
    error: formatNumber(farFieldError(cells, target, order)),
    bound: formatNumber(farFieldBound(cells, target, order)),
  };
}

/** What every kind of mark means. */
function legend(frame) {
  const { element } = frame;
  const signs = [["key_error", "■", "taylor"], ["key_bound", "◆", "minimax"], ["key_source", "●", "exact"], ["key_center", "◆", "accent"]];
  const items = signs.map(([key, sign, color]) => element("li", {}, [
    element("span", { class: `fastattn-sign-${color}`, "aria-hidden": "true" }, [sign]), ` ${frame.say(key)}`,
  ]));
  return element("ul", { class: "fastattn-legend fastattn-wide" }, items);
}

function onGrid({ min, max, step }, value) {
  return Number(Math.min(max, Math.max(min, Math.round(value / step) * step)).toFixed(1)) || 0;
}

export default defineFigure("FarField", (frame) => {
  frame.choice("kernel");
  for (const key of ["order", "radius", "centers", "target", "seed"]) frame.slider(key);
  const onDrag = (x) => frame.set({ target: onGrid(SPECS.target, x) });
  const line = frame.plot({ height: 340, label: frame.say("line"), onDrag });
  const orders = frame.plot({ height: 340, label: frame.say("orders") });
  frame.body.append(legend(frame));
  const readouts = frame.readouts(["error", "bound", "near", "far"]);
  let cells;
  return {
    draw(state) {
      cells = farField(state);
      line.draw(linePicture(frame, state, cells));
      orders.draw(orderPicture(frame, state, cells));
      const { error, bound, near, numbers } = found(cells, state);
      readouts.show({
        error, bound, near: frame.say("near_count", { near, sources: SOURCES }), far: formatNumber(numbers),
      });
    },
    summary: (state) => frame.say("summary", {
      ...found(cells, state), kernel: frame.say(`kernel.${state.kernel}`), sources: SOURCES,
      centers: state.centers, half_width: formatNumber(cells.halfWidth), order: state.order,
      target: formatNumber(state.target),
    }),
  };
});
