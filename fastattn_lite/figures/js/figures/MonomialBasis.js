// f(q.k) as a sum over monomials: the terms, their weights, and the sum that grows to f(q.k).
import { innerProductTerms } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { remembered } from "../remembered.js";

const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const COLUMNS = ["term", "monomial", "merged", "weight", "query", "key", "product", "total"];
/** An odd number of rows, so that one is in the middle. */
const ROWS = 11;
const ROUND_OFF = 1e-12;
const BAR_MARGIN = { top: 4, bottom: 4, left: 76, right: 60 };
/** More marks than this would cover each other. */
const MOST_MARKS = 45;

const variable = (coordinate) => `x${SUBSCRIPTS[coordinate + 1]}`;

/** The monomial in x: equal neighbours as a power, 1 for no factor. */
function nameOf(factors) {
  let name = "";
  for (let start = 0; start < factors.length;) {
    let end = start;
    while (factors[end] === factors[start]) end += 1;
    name += variable(factors[start]) + (end - start > 1 ? SUPERSCRIPTS[end - start] : "");
    start = end;
  }
  return name || "1";
}

function placeOf({ term }, { terms }) {
  return Math.min(term, terms.length);
}

/** The stretches of terms of odd degree. */
function oddBands(terms) {
  const degrees = terms.map(({ factors }) => factors.length);
  return [1, 3].filter((degree) => degrees.includes(degree)).map((degree) => ({
    kind: "band", tone: "inside", from: degrees.indexOf(degree) + 0.5, to: degrees.lastIndexOf(degree) + 1.5,
  }));
}

function sumPicture(frame, state, found) {
  const { terms, value } = found;
  const points = terms.map(({ total }, i) => [i + 1, total]);
  const heights = [0, value, ...terms.map(({ total }) => total)];
  const [low, high] = [Math.min(...heights), Math.max(...heights)];
  const room = 0.16 * (high - low);
  const place = placeOf(state, found);
  const marks = [
    ...oddBands(terms),
    { kind: "rule", y: value, series: "exact", label: frame.say("direct") },
    { kind: "line", series: "taylor", points },
    { kind: "points", series: "taylor", points: points.length > MOST_MARKS ? [] : points },
    { kind: "points", series: "accent", shape: "circle", points: [points[place - 1]] },
  ];
  return {
    x: { min: 0.5, max: terms.length + 0.5, label: frame.say("axis_term") },
    y: { min: low - room, max: high + room, label: frame.say("axis_sum") },
    marks,
    handle: { x: place, label: nameOf(terms[place - 1].factors) },
  };
}

function countsPicture(frame, { minimal, full }) {
  const row = (key, count, low, series) => [
    { kind: "bar", series, from: 0, to: count / full, low, high: low + 0.7 },
    { kind: "text", series: "text", text: frame.say(`basis.${key}`), at: [-0.015, low + 0.2], anchor: "end" },
    { kind: "text", series: "text", text: formatNumber(count), at: [count / full + 0.015, low + 0.2] },
  ];
  return {
    x: { min: 0, max: 1 }, y: { min: 0, max: 2 }, margin: BAR_MARGIN,
    marks: [...row("minimal", minimal, 1.15, "taylor"), ...row("full", full, 0.15, "minimax")],
  };
}

/** The terms around the one that is looked at; a click on a row chooses it. */
function termsTable(frame) {
  const { element } = frame;
  const heads = COLUMNS.map((key) => element("th", { scope: "col" }, [frame.say(`column_${key}`)]));
  const rows = Array.from({ length: ROWS }, () => {
    const cells = COLUMNS.map(() => element("td", {}, ["1"]));
    const row = { cells, term: 1 };
    row.node = element("tr", { onclick: () => frame.set({ term: row.term }) }, cells);
    return row;
  });
  const body = element("tbody", {}, rows.map((row) => row.node));
  const table = element("table", {}, [element("thead", {}, [element("tr", {}, heads)]), body]);
  const box = { class: "fastattn-scroll fastattn-rows fastattn-wide", tabindex: 0, role: "group", "aria-label": frame.say("table") };
  const show = ({ terms }, place) => {
    const start = Math.max(0, Math.min(place - 1 - (ROWS - 1) / 2, terms.length - ROWS));
    rows.forEach((row, i) => fillRow(row, start + i + 1, terms, place));
  };
  return { node: element("div", box, [table]), show };
}

function fillRow(row, number, terms, place) {
  const term = terms[number - 1];
  row.node.classList.toggle("fastattn-unused", !term);
  if (number === place) row.node.setAttribute("aria-current", "true");
  else row.node.removeAttribute("aria-current");
  row.term = term ? number : place;
  if (!term) {
    row.cells.forEach((cell) => { cell.textContent = ""; });
    return;
  }
  const numbers = ["merged", "weight", "query", "key", "product", "total"].map((key) => formatNumber(term[key]));
  [String(number), nameOf(term.factors), ...numbers].forEach((text, i) => {
    if (row.cells[i].textContent !== text) row.cells[i].textContent = text;
  });
}

function showWords(frame, vectors, readouts, found, place) {
  const { query, key, score, terms, value } = found;
  const shown = terms[place - 1];
  const [first, ...rest] = shown.factors;
  const { total } = terms[terms.length - 1];
  const agrees = Math.abs(total - value) <= ROUND_OFF * (1 + Math.abs(value));
  const list = (x) => x.map(formatNumber).join(", ");
  vectors.textContent = frame.say("vectors", { query: list(query), key: list(key), score: formatNumber(score) });
  readouts.show({
    built: shown.factors.length ? frame.say("built", { first: variable(first), rest: nameOf(rest) }) : frame.say("built_one"),
    term: formatNumber(shown.product),
    direct: formatNumber(value),
    agreement: frame.say(agrees ? "agrees" : "differs", { total: formatNumber(total) }),
  });
}

function summary(frame, state, found) {
  const { terms, minimal, full, value } = found;
  const place = placeOf(state, found);
  const { factors, weight, product, total } = terms[place - 1];
  const { dim, order, basis } = state;
  return frame.say("summary", {
    dim, order, basis, minimal, full, term: place, count: terms.length, name: nameOf(factors),
    weight: formatNumber(weight), product: formatNumber(product), total: formatNumber(total), value: formatNumber(value),
  });
}

/** The slider of terms ends at the last term there is. */
function fitSlider(frame, place, count) {
  const node = frame.controls.querySelector('[data-parameter="term"]');
  const input = node.querySelector("input");
  const text = frame.say("term_of", { term: place, count });
  input.max = count - 1;
  input.value = place - 1;
  input.disabled = count === 1;
  input.setAttribute("aria-valuetext", text);
  node.querySelector("output").textContent = text;
}

export default defineFigure("MonomialBasis", (frame) => {
  ["dim", "order"].forEach((key) => frame.slider(key));
  ["coefficients", "basis"].forEach((key) => frame.choice(key));
  ["term", "seed"].forEach((key) => frame.slider(key));
  const vectors = frame.element("p", { class: "fastattn-note fastattn-wide" });
  frame.body.append(vectors);
  const find = remembered((dim, order, coefficients, basis, seed) => innerProductTerms({ dim, order, coefficients, basis, seed }));
  const found = ({ dim, order, coefficients, basis, seed }) => find(dim, order, coefficients, basis, seed);
  const onDrag = (x) => frame.set({ term: Math.min(found(frame.state()).terms.length, Math.max(1, Math.round(x))) });
  const sum = frame.plot({ height: 260, label: frame.say("plot"), onDrag });
  const counts = frame.plot({ height: 84, label: frame.say("bars") });
  [sum, counts].forEach(({ node }) => node.classList.add("fastattn-wide"));
  const table = termsTable(frame);
  frame.body.append(table.node);
  const readouts = frame.readouts(["built", "term", "direct", "agreement"]);
  return {
    draw(state) {
      const result = found(state);
      const place = placeOf(state, result);
      fitSlider(frame, place, result.terms.length);
      sum.draw(sumPicture(frame, state, result));
      counts.draw(countsPicture(frame, result));
      table.show(result, place);
      showWords(frame, vectors, readouts, result, place);
    },
    summary: (state) => summary(frame, state, found(state)),
  };
});
