// Measured error of attention against the order, for each family under its own bound.
import {
  FAMILIES, defaultScale, diameter, measuredError, normalize, outputErrorBound, powerSums, randomTokens,
} from "../maths.js";
import { defineFigure } from "../frame.js";
import { svg } from "../dom.js";
import { formatNumber, formatPercent } from "../format.js";
import { MARKS } from "../marks.js";
import { remembered } from "../remembered.js";

const HIGHEST = 10;
const NAMES = Object.keys(FAMILIES);
const [TOP, BOTTOM] = [10, 1e-16];
/** How far the marks of the first and the last family stand beside their order, and their size: none hides another. */
const WIDE = { aside: 0.17, size: 1 };
const NARROW = { upTo: 480, aside: 0.27, size: 0.7 };
/** The order whose numbers the sentence names. */
const NAMED = 2;

/** Softmax attention, and the sums that give the attention of every polynomial. */
function attend(data, seed, tokens, dim, normalization) {
  const [query, key, value] = data ? [data.query, data.key, data.value] : randomTokens(seed, tokens, dim);
  const [q, k] = normalize(query, key, normalization);
  const sums = powerSums(q, k, value, defaultScale(normalization, query[0].length), HIGHEST);
  return { sums, width: diameter(value), tokens: key.length, dim: key[0].length, isOwn: Boolean(data) };
}

/** For each family and order the coefficients and the bound. */
function expansions(radius) {
  const orders = Array.from({ length: HIGHEST + 1 }, (_, order) => order);
  return NAMES.map((name) => orders.map((order) => {
    const expansion = FAMILIES[name](order, radius);
    return { coefficients: expansion.coefficients, bound: outputErrorBound(expansion) };
  }));
}

/** Errors and bounds as shares of diam(V), and whether the scores let the bounds hold. */
function compare(attended, made, radius) {
  const { sums, width } = attended;
  const reach = Math.max(-sums.smallest, sums.largest);
  return {
    ...attended,
    reach,
    isInside: reach <= radius,
    errors: made.map((family) => family.map(({ coefficients }) => measuredError(coefficients, sums) / width)),
    bounds: made.map((family) => family.map(({ bound }) => bound)),
  };
}

/** The lower end of the axis, in steps of four decades so that it seldom moves. */
function lowest({ errors, bounds }) {
  const shown = [...errors, ...bounds].flat().filter((y) => y > BOTTOM);
  return 10 ** (4 * Math.floor((Math.log10(Math.min(0.1, ...shown)) - 0.3) / 4));
}

function picture(frame, found, width) {
  const { aside, size } = width > 0 && width <= NARROW.upTo ? NARROW : WIDE;
  const bottom = lowest(found);
  const placed = (values, beside = 0) => values.map((y, order) => [order + beside, Math.min(TOP, Math.max(bottom, y))]);
  const lines = NAMES.map((name, i) => ({ kind: "line", series: name, points: placed(found.bounds[i]) }));
  const measured = NAMES.map((name, i) => ({ kind: "points", series: name, size, points: placed(found.errors[i], (i - 1) * aside) }));
  return {
    x: { min: -0.4, max: HIGHEST + 0.4, label: frame.say("axis_order") },
    y: { min: bottom, max: TOP, scale: "log", label: frame.say("axis_error") },
    marks: [{ kind: "rule", y: 1, series: "axis" }, ...lines, ...measured],
  };
}

function showWords(frame, note, readouts, found, { radius }) {
  const { isInside, isOwn, tokens, dim, sums } = found;
  const [smallest, largest] = [formatNumber(sums.smallest), formatNumber(sums.largest)];
  readouts.show({
    scores: frame.say("scores", { smallest, largest }),
    promise: frame.say(isInside ? "promised" : "not_promised"),
    tokens: frame.say(isOwn ? "own_tokens" : "random_tokens", { tokens, dim }),
  });
  const values = { radius: formatNumber(radius), reach: formatNumber(found.reach) };
  note.textContent = frame.say(isInside ? "inside" : "outside", values);
  note.classList.toggle("fastattn-note-warning", !isInside);
}

function summary(frame, found, { radius, normalization }) {
  const { sums, tokens, dim } = found;
  const errors = NAMES.map((name, i) => frame.say("summary_family", {
    family: frame.say(`family.${name}`),
    error: formatPercent(found.errors[i][NAMED]),
    bound: formatPercent(found.bounds[i][NAMED]),
  })).join(", ");
  const scores = { smallest: formatNumber(sums.smallest), largest: formatNumber(sums.largest) };
  const words = { tokens, dim, normalization, radius: formatNumber(radius), errors, order: NAMED, ...scores };
  return `${frame.say("summary", words)} ${frame.say(found.isInside ? "summary_inside" : "summary_outside")}`;
}

/** A piece of each family's line with its mark and its name. */
function legend(frame) {
  const { element } = frame;
  const place = { x: (x) => x, y: () => 9 };
  const items = NAMES.map((series) => element("li", {}, [
    svg("svg", { width: 56, height: 18, "aria-hidden": "true" }, [
      ...MARKS.line({ points: [[0, 0], [56, 0]], series }, place), ...MARKS.points({ points: [[28, 0]], series }, place),
    ]),
    element("span", {}, [frame.say(`family.${series}`)]),
  ]));
  return element("ul", { class: "fastattn-legend fastattn-wide" }, items);
}

/** A folded table with every number of the plot. */
function numbersTable(frame) {
  const { element } = frame;
  const heading = (text, scope) => element("th", { scope }, [text]);
  const heads = [frame.say("table_order"), ...NAMES.map((name) => frame.say(`family.${name}`))];
  const cells = Array.from({ length: HIGHEST + 1 }, () => NAMES.map(() => element("td")));
  const rows = cells.map((row, order) => element("tr", {}, [heading(String(order), "row"), ...row]));
  const head = element("thead", {}, [element("tr", {}, heads.map((text) => heading(text, "col")))]);
  const table = element("table", {}, [head, element("tbody", {}, rows)]);
  const scroll = { class: "fastattn-scroll", tabindex: 0, role: "group", "aria-label": frame.say("table") };
  const node = element("details", { class: "fastattn-wide" }, [
    element("summary", {}, [frame.say("table")]), element("div", scroll, [table]),
  ]);
  const show = ({ errors, bounds }) => cells.forEach((row, order) => row.forEach((cell, i) => {
    const values = { error: formatNumber(errors[i][order]), bound: formatNumber(bounds[i][order]) };
    cell.textContent = frame.say("table_cell", values);
  }));
  return { node, show };
}

export default defineFigure("ErrorVersusOrder", (frame) => {
  for (const key of ["radius", "dim", "tokens"]) frame.slider(key);
  frame.choice("normalization");
  frame.slider("seed");
  frame.watch("data");
  frame.body.append(frame.element("p", { class: "fastattn-note fastattn-wide" }, [frame.say("legend")]), legend(frame));
  const plot = frame.plot({ height: 360, label: frame.say("plot") });
  plot.node.classList.add("fastattn-wide");
  const note = frame.element("p", { class: "fastattn-note fastattn-wide" });
  const table = numbersTable(frame);
  frame.body.append(note, table.node);
  const readouts = frame.readouts(["scores", "promise", "tokens"]);
  const [attended, fitted, compared] = [attend, expansions, compare].map(remembered);
  const find = ({ radius, dim, tokens, normalization, seed }) =>
    compared(attended(frame.model.get("data") ?? null, seed, tokens, dim, normalization), fitted(radius), radius);
  return {
    draw(state) {
      const found = find(state);
      plot.draw(picture(frame, found, plot.node.clientWidth));
      plot.node.classList.toggle("fastattn-no-promise", !found.isInside);
      table.show(found);
      showWords(frame, note, readouts, found, state);
    },
    summary: (state) => summary(frame, find(state), state),
  };
});
