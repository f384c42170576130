// Tokens flow into moments; the moments of chunks or devices merge in any order; memory stays.
import { STREAM_TOKENS, cacheCrossoverTokens, cacheNumbers, mergeTokens, momentNumbers } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { parametersOf } from "../parameters.js";

const { min, max } = parametersOf("MomentStream").tokens;
const CACHE_BYTES = { float32: 4, bfloat16: 2 };
const MOMENT_BYTES = 4;
/** The colours and signs that the devices take in turn. */
const DEVICES = ["taylor", "chebyshev", "minimax", "warning"];
/** Two labels with sums, face to face, have room in a device as wide as this, in pixels. */
const ROOM_FOR_SUMS = 200;
/** Right of this token the words stand on the left of their node. */
const FAR_RIGHT = 0.8 * STREAM_TOKENS;
const ACROSS = { min: -0.8, max: STREAM_TOKENS + 0.6 };
const STREAM_MARGIN = { bottom: 12, left: 8, right: 8 };
const BYTES = { min: 10, max: 1e10 };

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

function memory({ tokens, dim, order, cache }) {
  return {
    cacheBytes: cacheNumbers(tokens, dim) * CACHE_BYTES[cache],
    momentBytes: momentNumbers(dim, order) * MOMENT_BYTES,
    crossover: cacheCrossoverTokens(dim, order, CACHE_BYTES[cache], MOMENT_BYTES),
  };
}

/** The tokens of one device, and the line from them to its moments. */
function deviceMarks(device, { edges, nodes, last }, arrived) {
  const series = DEVICES[device % DEVICES.length];
  const [first, end] = [edges[device], edges[device + 1]];
  const top = last.level + 1;
  const places = Array.from({ length: end - first }, (_, i) => [first + i, top]);
  const isHere = ([token]) => token < arrived;
  const under = top - 0.3;
  const { place } = nodes[device];
  return [
    { kind: "line", series: "axis", points: [[first - 0.3, under], [end - 0.7, under]] },
    { kind: "line", series: "axis", points: [[place, under], [place, last.level]] },
    { kind: "points", series, points: places.filter(isHere) },
    { kind: "points", series: "axis", shape: "circle", points: places.filter((each) => !isHere(each)) },
  ];
}

/** The lines from what a node merges. */
function mergeLines({ place, level, children }, { nodes, last }) {
  return children.map((child) => ({
    kind: "line", series: "axis", points: [[nodes[child].place, last.level - nodes[child].level], [place, last.level - level]],
  }));
}

/** One node and what it holds. */
function nodeMarks(frame, node, last, hasRoom) {
  const height = last.level - node.level;
  const words = { count: Math.round(node.sums[1]), total: formatNumber(node.sums[0]) };
  const key = hasRoom || node === last ? "node_sum" : "node_count";
  const isLeft = node.place > (node === last ? STREAM_TOKENS / 2 : FAR_RIGHT);
  return [
    { kind: "points", series: "accent", shape: "circle", points: [[node.place, height]] },
    {
      kind: "text", series: "text", text: frame.say(key, words), at: [node.place + (isLeft ? -0.5 : 0.5), height + 0.1],
      anchor: isLeft ? "end" : "start",
    },
  ];
}

function streamPicture(frame, { devices, arrived }, found, width) {
  const hasRoom = width / devices > ROOM_FOR_SUMS;
  const marks = [
    ...found.nodes.flatMap((node, i) => (i < devices ? deviceMarks(i, found, arrived) : [])),
    ...found.nodes.flatMap((node) => mergeLines(node, found)),
    ...found.nodes.flatMap((node) => nodeMarks(frame, node, found.last, hasRoom)),
  ];
  return {
    x: ACROSS, y: { min: -0.5, max: found.last.level + 1.4 }, margin: STREAM_MARGIN, marks,
    handle: { x: arrived - 0.5, label: frame.say("handle_arrived", { arrived }) },
  };
}

function memoryPicture(frame, state, { crossover, momentBytes }) {
  const ends = [min, max].map((tokens) => [tokens, memory({ ...state, tokens })]);
  const marks = [
    { kind: "line", series: "minimax", label: frame.say("line_cache"), points: ends.map(([n, { cacheBytes }]) => [n, cacheBytes]) },
    { kind: "line", series: "taylor", label: frame.say("line_moments", state), points: ends.map(([n]) => [n, momentBytes]) },
  ];
  if (crossover >= min && crossover <= max) marks.push(...meeting(frame, crossover, momentBytes));
  return {
    x: { min, max, scale: "log", label: frame.say("axis_tokens") },
    y: { ...BYTES, scale: "log", label: frame.say("axis_bytes") },
    marks,
    handle: { x: state.tokens, label: frame.say("handle_tokens", { tokens: formatNumber(state.tokens) }) },
  };
}

function meeting(frame, crossover, bytes) {
  const isRight = crossover > 2e4;
  return [
    { kind: "rule", x: crossover, to: bytes },
    {
      kind: "points", series: "accent", shape: "diamond", points: [[crossover, bytes]], at: [crossover * (isRight ? 0.8 : 1.25), bytes / 6],
      anchor: isRight ? "end" : "start", label: frame.say("crossover_mark", { tokens: formatNumber(Math.ceil(crossover)) }),
    },
  ];
}

function sumOf(frame, sums) {
  return frame.say("node_sum", { count: Math.round(sums[1]), total: formatNumber(sums[0]) });
}

function showWords(frame, readouts, { last, whole, difference }, { cacheBytes, momentBytes, crossover }) {
  const bytes = (count) => frame.say("bytes", { bytes: formatNumber(count) });
  readouts.show({
    total: sumOf(frame, last.sums),
    whole: sumOf(frame, whole),
    agree: frame.say(difference === 0 ? "agree_exactly" : "agree_round_off"),
    chain: String(last.chain),
    cache: bytes(cacheBytes),
    moments: bytes(momentBytes),
    crossover: formatNumber(Math.ceil(crossover)),
  });
}

function summary(frame, state, { last }, { cacheBytes, momentBytes, crossover }) {
  return frame.say("summary", {
    ...state,
    all: STREAM_TOKENS,
    merge: frame.say(`merge.${state.merge}`),
    count: Math.round(last.sums[1]),
    total: formatNumber(last.sums[0]),
    chain: last.chain,
    tokens: formatNumber(state.tokens),
    cache_bytes: formatNumber(cacheBytes),
    moment_bytes: formatNumber(momentBytes),
    crossover: formatNumber(Math.ceil(crossover)),
  });
}

export default defineFigure("MomentStream", (frame) => {
  ["devices", "arrived"].forEach((key) => frame.slider(key));
  frame.choice("merge");
  frame.slider("seed");
  ["tokens", "dim", "order"].forEach((key) => frame.slider(key));
  frame.choice("cache");
  frame.body.append(frame.element("p", { class: "fastattn-note fastattn-wide" }, [frame.say("hint")]));
  const onArrive = (x) => frame.set({ arrived: clamp(Math.round(x + 0.5), 0, STREAM_TOKENS) });
  const stream = frame.plot({ height: 330, label: frame.say("plot_stream"), onDrag: onArrive });
  const onDrag = (x) => frame.set({ tokens: Math.round(clamp(x, min, max)) });
  const bytes = frame.plot({ height: 300, label: frame.say("plot_memory"), onDrag });
  for (const plot of [stream, bytes]) plot.node.classList.add("fastattn-wide");
  const readouts = frame.readouts(["total", "whole", "agree", "chain", "cache", "moments", "crossover"]);
  return {
    draw(state) {
      const [found, needed] = [mergeTokens(state), memory(state)];
      stream.draw(streamPicture(frame, state, found, stream.node.clientWidth));
      bytes.draw(memoryPicture(frame, state, needed));
      showWords(frame, readouts, found, needed);
    },
    summary: (state) => summary(frame, state, mergeTokens(state), memory(state)),
  };
});
