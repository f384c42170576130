// Stored measurements against n: points, fitted slopes, the models, the crossover.
import { crossoverTokens, fitPowerLaw, measuredCrossover } from "../maths.js";
import { svg } from "../dom.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { SHAPES } from "../marks.js";
import { parametersOf } from "../parameters.js";

const { fit_from: FIT_FROM } = parametersOf("ComplexityScaling");
/** The colours that the lines take in turn; the signs are shifted by one after each turn. */
const COLORS = ["taylor", "minimax", "chebyshev", "warning", "exact"];
const SIGNS = Object.keys(SHAPES);
const UNITS = { time: "s", memory: "byte" };
const NUMBER_BYTES = 4;
/** Memory is shown from here on, so that the table of pairs crosses the picture. */
const LEAST_MEMORY_TOKENS = 256;

/** Kinds that visit all pairs. */
const QUADRATIC = ["softmax", "pairs"];

/** Every line: an implementation on one machine, with its points in the case chosen now. */
function linesOf(state, all) {
  const found = new Map(all.map(({ line, source, kind }) => [line, { source, kind }]));
  return [...found].map(([name, { source, kind }], place) => {
    const turn = Math.floor(place / COLORS.length);
    const points = pointsOf(state, all, name);
    const used = points.filter(([n]) => n >= state.fit_from);
    return {
      name, source, kind, place, points, used, law: fitPowerLaw(used), series: COLORS[place % COLORS.length],
      shape: SIGNS[(place + turn) % SIGNS.length], isHidden: Math.floor(state.hidden / 2 ** place) % 2 === 1,
    };
  });
}

function pointsOf({ dim, order, is_causal: isCausal, is_trained: isTrained, quantity }, all, name) {
  const found = all.find((series) => series.line === name && series.dim === dim && [null, order].includes(series.order)
    && series.is_causal === isCausal && series.is_trained === isTrained && series.unit === UNITS[quantity]);
  return found?.points ?? [];
}

const isShown = ({ points, isHidden }) => points.length > 0 && !isHidden;

/** The least value at each n over the lines of one kind on one machine. */
function fastest(lines, source, kind) {
  const least = new Map();
  for (const { points } of lines.filter((line) => isShown(line) && line.kind === kind && line.source === source)) {
    for (const [n, value] of points) least.set(n, Math.min(value, least.get(n) ?? Infinity));
  }
  return [...least];
}

/** By machine from which n on the fast form is faster; null where that was not measured. */
function crossoversOf({ quantity }, lines, machines) {
  return machines.map((source) => {
    const [softmax, fast] = ["softmax", "fast"].map((kind) => fastest(lines, source, kind));
    const isCommon = softmax.some(([n]) => fast.some(([other]) => other === n));
    return { source, tokens: quantity === "time" && isCommon ? measuredCrossover(softmax, fast) : null };
  });
}

function extent(state, lines) {
  const places = lines.filter(isShown).flatMap(({ points }) => points);
  if (!places.length) return { x: [100, 1e5], y: [1e-4, 1] };
  const tokens = places.map(([n]) => n);
  const values = places.flatMap(([, ...ends]) => ends);
  const least = state.quantity === "memory" ? LEAST_MEMORY_TOKENS : Math.min(...tokens);
  const x = [Math.min(least, ...tokens) / 1.5, Math.max(...tokens) * 1.5];
  if (state.quantity === "memory") values.push(...memoryModels(state).flatMap(({ bytes }) => x.map(bytes)));
  return { x, y: [10 ** Math.floor(Math.log10(Math.min(...values)) - 0.05), 10 ** Math.ceil(Math.log10(Math.max(...values)) + 0.05)] };
}

function memoryModels({ dim }) {
  return [
    { key: "model_table", bytes: (n) => NUMBER_BYTES * n ** 2 },
    { key: "model_inputs", bytes: (n) => 4 * NUMBER_BYTES * n * dim },
  ];
}

function models(frame, state, lines, [from, to]) {
  if (!state.show_model) return [];
  if (state.quantity === "memory") {
    return memoryModels(state).map(({ key, bytes }) => ({
      kind: "line", series: "quiet", label: frame.say(key), points: [from, to].map((n) => [n, bytes(n)]),
    }));
  }
  return lines.filter((line) => isShown(line) && line.points.length > 1).map(({ points, kind }) => {
    const [tokens, value] = points.at(-1);
    return { kind: "line", series: "quiet", points: [from, to].map((n) => [n, value * (n / tokens) ** (QUADRATIC.includes(kind) ? 2 : 1)]) };
  });
}

function picture(frame, state, lines, crossings) {
  const { x, y } = extent(state, lines);
  const shown = lines.filter(isShown);
  const marks = [
    ...models(frame, state, lines, x),
    ...shown.filter(({ law }) => law).map(({ law, used, series }) => ({
      kind: "line", series, points: [used[0][0], used.at(-1)[0]].map((n) => [n, law.factor * n ** law.exponent]),
    })),
    ...shown.flatMap(({ points, series }) => points.map(([n, ...ends]) => ({ kind: "line", series, points: ends.map((value) => [n, value]) }))),
    ...shown.map(({ points, series, shape }) => ({ kind: "points", series, shape, points })),
  ];
  for (const { source, tokens } of crossings.filter((crossing) => crossing.tokens !== null)) {
    const label = frame.say("crossover_on", { source, tokens: formatNumber(Math.round(tokens)) });
    marks.push({ kind: "rule", x: tokens, series: "accent", label, anchor: "end" });
  }
  if (!shown.length) marks.push({ kind: "text", series: "text", text: frame.say("empty"), at: [3e3, 1e-2], anchor: "middle" });
  return {
    x: { min: x[0], max: x[1], scale: "log", label: frame.say("axis_tokens") },
    y: { min: y[0], max: y[1], scale: "log", label: frame.say(`axis_${state.quantity}`) },
    marks,
    handle: { x: state.fit_from, label: frame.say("handle", { tokens: formatNumber(state.fit_from) }) },
  };
}

const decimals = (number) => number.toFixed(2).replace("-", "−");

function slope(frame, law) {
  if (!law) return frame.say("too_few");
  const [value, low, high] = [law.exponent, law.low, law.high].map(decimals);
  return frame.say("slope", { value, low, high });
}

/** The smallest and the largest slope of the lines of one kind. */
function slopesOf(frame, kind, shown) {
  const found = shown.filter((line) => line.kind === kind && line.law).map(({ law }) => law.exponent);
  if (!found.length) return "";
  const [low, high] = [Math.min(...found), Math.max(...found)].map(decimals);
  return frame.say(low === high ? `slope_of_${kind}` : `slopes_of_${kind}`, { low, high });
}

function summary(frame, state, lines, machines) {
  const shown = lines.filter(isShown);
  const form = frame.say(state.is_causal ? "causal" : "full");
  const words = { dim: state.dim, order: state.order, form: state.is_trained ? frame.say("trained", { form }) : form };
  if (!shown.length) return frame.say("summary_none", words);
  const slopes = ["softmax", "fast"].map((kind) => slopesOf(frame, kind, shown)).filter(Boolean);
  const crossings = crossoversOf(state, lines, machines).filter(({ tokens }) => tokens !== null)
    .map(({ source, tokens }) => frame.say("crossover_on", { source, tokens: formatNumber(Math.round(tokens)) }));
  return frame.say(`summary_${state.quantity}`, {
    ...words, count: shown.length, fit_from: formatNumber(state.fit_from), slopes: slopes.join("; ") || frame.say("no_slopes"),
    crossover: crossings.join("; ") || frame.say("none"), counted: formatNumber(counted(state)),
  });
}

const counted = ({ dim, order, is_causal: isCausal }) => Math.ceil(crossoverTokens(dim, order, dim, isCausal));

/** One row for each line: a switch with its sign, its slope, its last point. */
function makeTable(frame, all) {
  const rows = linesOf({ ...frame.state() }, all).map((line) => {
    const toggle = frame.element("input", { type: "checkbox", onchange: () => {
      const { hidden } = frame.state();
      frame.set({ hidden: hidden + (toggle.checked ? -1 : 1) * 2 ** line.place });
    } });
    const sign = svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, [
      svg("path", { d: SHAPES[line.shape], class: `fastattn-point fastattn-${line.series}` }),
    ]);
    const cells = [frame.element("td"), frame.element("td")];
    const name = frame.element("label", { class: "fastattn-toggle" }, [toggle, sign, frame.element("span", {}, [line.name])]);
    return { toggle, cells, node: frame.element("tr", {}, [frame.element("td", {}, [name]), ...cells]) };
  });
  addTable(frame, "fastattn-lines", ["head_line", "head_slope", "head_last"], rows);
  return rows;
}

function addTable(frame, name, keys, rows) {
  const head = keys.map((key) => frame.element("th", { scope: "col" }, [frame.say(key)]));
  const table = frame.element("table", { class: name }, [frame.element("thead", {}, [frame.element("tr", {}, head)]), frame.element("tbody", {}, rows.map(({ node }) => node))]);
  frame.body.append(frame.element("div", { class: "fastattn-scroll fastattn-wide", tabindex: 0, role: "region", "aria-label": frame.say(keys[0]) }, [table]));
}

/** One row for each result: its crossover, and where, when, with what and how it was measured. */
function makeSources(frame) {
  const rows = (frame.model.get("sources") ?? []).map(({ source, title, details, command }) => {
    const cell = frame.element("td");
    const about = frame.element("td", {}, [`${title}. ${details} `, frame.element("code", {}, [command])]);
    return { source, cell, node: frame.element("tr", {}, [about, cell]) };
  });
  addTable(frame, "fastattn-sources", ["head_source", "head_crossover"], rows);
  return rows;
}

function showCrossovers(frame, rows, crossings) {
  for (const { source, cell } of rows) {
    const { tokens } = crossings.find((crossing) => crossing.source === source);
    cell.textContent = tokens === null ? frame.say("absent") : formatNumber(Math.round(tokens));
  }
}

function showTable(frame, { quantity }, rows, lines) {
  lines.forEach(({ points, law, isHidden }, place) => {
    const { toggle, cells } = rows[place];
    toggle.checked = !isHidden;
    const [tokens, value] = points.at(-1) ?? [];
    const last = tokens && frame.say("at", { tokens: formatNumber(tokens), value: frame.say(`unit_${quantity}`, { value: formatNumber(value) }) });
    cells[0].textContent = points.length ? slope(frame, law) : frame.say("absent");
    cells[1].textContent = last ?? frame.say("absent");
  });
}

export default defineFigure("ComplexityScaling", (frame) => {
  ["fit_from", "dim", "order"].forEach((key) => frame.slider(key));
  frame.choice("quantity");
  ["is_causal", "is_trained", "show_model"].forEach((key) => frame.toggle(key));
  const all = frame.model.get("series") ?? [];
  const nearest = (x) => FIT_FROM.grid.reduce((best, n) => (Math.abs(Math.log(n / x)) < Math.abs(Math.log(best / x)) ? n : best));
  const plot = frame.plot({ height: 380, label: frame.say("plot"), onDrag: (x) => frame.set({ fit_from: nearest(x) }) });
  plot.node.classList.add("fastattn-wide");
  const rows = makeTable(frame, all);
  const sources = makeSources(frame);
  const machines = [...new Set(sources.map(({ source }) => source))];
  const readouts = frame.readouts(["counted", "shown"]);
  return {
    draw(state) {
      const lines = linesOf(state, all);
      const crossings = crossoversOf(state, lines, machines);
      plot.draw(picture(frame, state, lines, crossings));
      showTable(frame, state, rows, lines);
      showCrossovers(frame, sources, crossings);
      readouts.show({ counted: formatNumber(counted(state)), shown: String(lines.filter(isShown).length) });
    },
    summary: (state) => summary(frame, state, linesOf(state, all), machines),
  };
});
