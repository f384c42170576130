// The full attention matrix of a text under exp and under a polynomial, as shades, and one row.
import { attentionMatrices } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber, formatPercent } from "../format.js";
import { remembered } from "../remembered.js";

const MAP_MARGIN = { top: 92, right: 6, bottom: 6, left: 70 };
const ROW_MARGIN = { top: 92, right: 6, bottom: 12, left: 52 };
const HEIGHT = 360;

function rowOf({ token }, words) {
  return Math.min(token, words.length - 1);
}

/** The outline of the row that is looked at. */
function outline(row, count) {
  const corners = [[0, row], [count, row], [count, row + 1], [0, row + 1], [0, row]];
  return { kind: "line", series: "accent", points: corners };
}

function mapPicture(words, row, title, cells) {
  const count = words.length;
  return {
    hasEqualUnits: true,
    isTapped: true,
    margin: MAP_MARGIN,
    x: { min: 0, max: count, names: words },
    y: { min: count, max: 0, names: words, title },
    marks: [...cells, outline(row, count)],
  };
}

/** Shades of a matrix of weights; negative weights in a colour of their own. */
function weightCells(weights, series, most) {
  return [
    { kind: "cells", series, rows: weights.map((row) => row.map((weight) => Math.max(0, weight) / most)) },
    { kind: "cells", series: "warning", rows: weights.map((row) => row.map((weight) => Math.max(0, -weight) / most)) },
  ];
}

/** Shades of a difference: whole squares for more weight, small squares for less. */
function differenceCells(difference) {
  const most = largest(difference) || 1;
  const part = (sign) => difference.map((row) => row.map((x) => Math.max(0, sign * x) / most));
  return [
    { kind: "cells", series: "taylor", rows: part(1) },
    { kind: "cells", series: "minimax", rows: part(-1), size: 0.6 },
  ];
}

function largest(table) {
  return table.reduce((most, row) => row.reduce((m, x) => (Math.abs(x) > m ? Math.abs(x) : m), most), 0);
}

function rowPicture(frame, words, row, family, { exact, fast }) {
  const places = (weights) => weights.map((weight, j) => [j + 0.5, weight]);
  const both = [...exact.weights[row], ...fast.weights[row]].filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...both), Math.max(...both)];
  const room = 0.08 * (high - low || 1);
  const [exactPlaces, fastPlaces] = [exact, fast].map(({ weights }) => places(weights[row]));
  return {
    margin: ROW_MARGIN,
    x: { min: 0, max: words.length, names: words },
    y: { min: low - (low < 0 ? room : 0), max: high + room, label: frame.say("row_title", { word: words[row] }) },
    marks: [
      { kind: "rule", y: 0, series: "axis" },
      { kind: "rule", x: row + 0.5, series: "accent" },
      { kind: "points", series: "exact", shape: "circle", points: exactPlaces },
      { kind: "points", series: family, shape: "square", points: fastPlaces.filter(([, weight]) => !(weight < 0)) },
      { kind: "points", series: "warning", shape: "cross", points: fastPlaces.filter(([, weight]) => weight < 0) },
    ],
  };
}

/** What every kind of mark means. */
function legend(frame) {
  const { element } = frame;
  const signs = [
    ["key_exact", "●", "exact"], ["key_fast", "■", "quiet"], ["key_more", "■", "taylor"],
    ["key_less", "▪", "minimax"], ["key_negative", "✖", "warning"],
  ];
  const items = signs.map(([key, sign, color]) => element("li", {}, [
    element("span", { class: `fastattn-sign-${color}`, "aria-hidden": "true" }, [sign]), ` ${frame.say(key)}`,
  ]));
  return element("ul", { class: "fastattn-legend fastattn-wide" }, items);
}

function showNumbers(frame, readouts, { exact, fast, moved }) {
  const both = (make) => frame.say("both", { exact: formatNumber(make(exact)), fast: formatNumber(make(fast)) });
  readouts.show({
    rank: both(({ rank }) => rank),
    looked: both(({ entropy }) => Math.exp(entropy)),
    distance: both(({ distance }) => distance),
    ratio: both(({ ratio }) => ratio),
    moved: formatPercent(moved),
  });
}

function summary(frame, state, words, found) {
  const { exact, fast, low, high, features, moved, negative } = found;
  const row = rowOf(state, words);
  const weights = exact.weights[row];
  const first = weights.indexOf(Math.max(...weights));
  const text = frame.say("summary", {
    tokens: words.length, mask: frame.say(`mask_${state.is_causal}`), low: formatNumber(low), high: formatNumber(high),
    family: frame.say(`family.${state.family}`), order: state.order, features: formatNumber(features),
    exact_rank: formatNumber(exact.rank), rank: formatNumber(fast.rank), moved: formatPercent(moved),
    word: words[row], first: words[first], exact: formatNumber(weights[first]), fast: formatNumber(fast.weights[row][first]),
  });
  return negative ? `${text} ${frame.say("summary_negative", { negative: formatNumber(negative) })}` : text;
}

/** The slider of rows ends at the last token there is, and says its word. */
function fitSlider(frame, row, words) {
  const node = frame.controls.querySelector('[data-parameter="token"]');
  const input = node.querySelector("input");
  const text = frame.say("token_of", { word: words[row] });
  input.max = words.length - 1;
  input.value = row;
  input.style.setProperty("--fastattn-filled", `${(100 * row) / (words.length - 1)}%`);
  input.setAttribute("aria-valuetext", text);
  node.querySelector("output").textContent = text;
}

/** The four plots of the figure; a press in a matrix chooses its row. */
function makePlots(frame) {
  const words = () => frame.model.get("tokens").words;
  const onDrag = (_, y) => frame.set({ token: Math.max(0, Math.min(words().length - 1, Math.floor(y))) });
  const map = (key) => frame.plot({ height: HEIGHT, label: frame.say(key), onDrag });
  const plots = { exact: map("plot_exact"), fast: map("plot_fast"), difference: map("plot_difference") };
  plots.row = frame.plot({ height: HEIGHT, label: frame.say("plot_row") });
  frame.body.append(legend(frame));
  return plots;
}

function drawPlots(frame, plots, state, words, found) {
  const { exact, fast, difference } = found;
  const row = rowOf(state, words);
  const most = largest([...exact.weights, ...fast.weights]);
  const family = frame.say(`family.${state.family}`);
  const title = frame.say("map_fast", { family, order: state.order });
  plots.exact.draw(mapPicture(words, row, frame.say("map_exact"), weightCells(exact.weights, "exact", most)));
  plots.fast.draw(mapPicture(words, row, title, weightCells(fast.weights, state.family, most)));
  plots.difference.draw(mapPicture(words, row, frame.say("map_difference"), differenceCells(difference)));
  plots.row.draw(rowPicture(frame, words, row, state.family, found));
}

export default defineFigure("AttentionMatrix", (frame) => {
  frame.slider("order");
  frame.choice("family");
  frame.slider("temperature");
  frame.toggle("is_causal");
  frame.slider("token");
  frame.watch("tokens");
  frame.body.append(frame.element("p", { class: "fastattn-note fastattn-wide" }, [frame.say("hint")]));
  const plots = makePlots(frame);
  const readouts = frame.readouts(["rank", "looked", "distance", "ratio", "moved"]);
  const find = remembered((tokens, order, family, temperature, isCausal) =>
    attentionMatrices({ ...tokens, order, family, temperature, is_causal: isCausal }));
  const found = ({ order, family, temperature, is_causal: isCausal }) =>
    find(frame.model.get("tokens"), order, family, temperature, isCausal);
  return {
    draw(state) {
      const { words } = frame.model.get("tokens");
      fitSlider(frame, rowOf(state, words), words);
      drawPlots(frame, plots, state, words, found(state));
      showNumbers(frame, readouts, found(state));
    },
    summary: (state) => summary(frame, state, frame.model.get("tokens").words, found(state)),
  };
});
