// Both algorithms race in the reader's own browser, on the processor or on the graphics card.
import { crossoverTokens, directFlops, fastFlops, fitPowerLaw, measuredCrossover, meetingTokens } from "../maths.js";
import { button } from "../controls.js";
import { defineFigure } from "../frame.js";
import { formatNumber } from "../format.js";
import { startRace } from "../race/start.js";

/** The two algorithms, and what each is drawn as. */
const SERIES = { direct: "minimax", fast: "taylor" };
/** A fit takes the points of the largest n, because at small n other things than counts decide. */
const FITTED = 5;
/** Operations a second of the counted lines, as long as nothing has been measured. */
const ASSUMED_RATE = 1e9;
const FARTHEST = 1e6;
const NO_RACE = { device: "", dim: 0, order: 0, points: [] };

const COUNTS = {
  direct: (tokens, { dim }) => directFlops(tokens, dim),
  fast: (tokens, { dim, order }) => fastFlops(tokens, dim, order),
};

/** What the race so far says about the settings that are chosen now. */
function evaluated(state, result) {
  const isOwn = result.dim === state.dim && result.order === state.order;
  const points = { direct: [], fast: [] };
  for (const [name, tokens, seconds] of isOwn ? result.points : []) points[name].push([tokens, seconds]);
  const laws = Object.fromEntries(Object.entries(points).map(([name, all]) => [name, fitPowerLaw(all.slice(-FITTED))]));
  return {
    points, laws, isOwn,
    counted: Math.ceil(crossoverTokens(state.dim, state.order)),
    measured: points.fast.length ? measuredCrossover(points.direct, points.fast) : null,
    fitted: crossing(laws),
  };
}

/** Where the fitted lines cross, the steeper one softmax's; null beyond every n of the plot. */
function crossing({ direct, fast }) {
  if (!direct || !fast || direct.exponent <= fast.exponent) return null;
  const tokens = meetingTokens(direct, fast);
  return tokens <= FARTHEST ? tokens : null;
}

/** The counts as seconds, at the rate of the largest point. */
function countedLine(name, state, points) {
  const last = points[name].at(-1);
  const rate = last ? COUNTS[name](last[0], state) / last[1] : ASSUMED_RATE;
  return [32, state.most_tokens].map((tokens) => [tokens, COUNTS[name](tokens, state) / rate]);
}

/** The counted line, with its name as long as there are no points to name. */
function countedMark(frame, name, state, points) {
  const line = countedLine(name, state, points);
  const [tokens, seconds] = line.at(-1);
  return {
    kind: "line", series: "quiet", points: line, at: [tokens, name === "direct" ? seconds * 1.6 : seconds / 4], anchor: "end",
    label: points[name].length ? undefined : frame.say(`counted_${name}`, state),
  };
}

function fittedLine({ factor, exponent }, points, reach) {
  const first = points.slice(-FITTED)[0][0];
  return [first, reach].map((tokens) => [tokens, factor * tokens ** exponent]);
}

function axes(frame, state, { points, fitted }) {
  const all = [...points.direct, ...points.fast];
  const seconds = all.length ? all.map(([, value]) => value) : ["direct", "fast"].flatMap((name) => countedLine(name, state, points).map(([, value]) => value));
  const [low, high] = [Math.min(...seconds), Math.max(...seconds)].map(Math.log10);
  return {
    x: { min: 25, max: 1.25 * Math.max(state.most_tokens, fitted ?? 0), scale: "log", label: frame.say("axis_tokens") },
    y: { min: 10 ** Math.floor(low), max: 10 ** Math.ceil(high + 0.3), scale: "log", label: frame.say("axis_seconds") },
  };
}

function picture(frame, state, found) {
  const { points, laws, fitted } = found;
  const place = axes(frame, state, found);
  const names = Object.keys(SERIES);
  const marks = [
    ...names.map((name) => countedMark(frame, name, state, points)),
    ...names.filter((name) => laws[name]).map((name) => ({ kind: "line", series: SERIES[name], points: fittedLine(laws[name], points[name], Math.max(fitted ?? 0, points[name].at(-1)[0])) })),
    ...names.map((name) => ({ kind: "points", series: SERIES[name], points: points[name], label: frame.say(`label_${name}`, state) })),
  ];
  if (fitted) marks.push(meeting(frame, fitted, laws));
  return { ...place, marks };
}

function meeting(frame, tokens, { fast }) {
  const seconds = fast.factor * tokens ** fast.exponent;
  return {
    kind: "points", series: "accent", shape: "circle", points: [[tokens, seconds]], at: [tokens / 1.2, seconds * 2.5], anchor: "end",
    label: frame.say("crossover_mark", { tokens: formatNumber(Math.round(tokens)) }),
  };
}

function slope(frame, law) {
  if (!law) return frame.say("too_few");
  const [value, low, high] = [law.exponent, law.low, law.high].map((x) => x.toFixed(2).replace("-", "−"));
  return frame.say("slope", { value, low, high });
}

function tokensOr(frame, tokens, key) {
  return tokens === null ? frame.say(key) : formatNumber(Math.round(tokens));
}

function summary(frame, state, result) {
  const { points, laws, counted, fitted, isOwn } = evaluated(state, result);
  const words = { dim: state.dim, order: state.order, counted: formatNumber(counted) };
  if (!isOwn || !result.points.length) return frame.say("summary_before", words);
  const last = (name) => points[name].at(-1) ?? [0, NaN];
  return frame.say("summary", {
    ...words,
    device: frame.say(`device.${result.device}`),
    direct_tokens: formatNumber(last("direct")[0]), direct_seconds: formatNumber(last("direct")[1]),
    fast_tokens: formatNumber(last("fast")[0]), fast_seconds: formatNumber(last("fast")[1]),
    direct_slope: slope(frame, laws.direct), fast_slope: slope(frame, laws.fast),
    fitted: tokensOr(frame, fitted, "not_yet"),
  });
}

/** Start and cancel, the progress, and a sentence on how the race stands. */
function makeDesk(frame) {
  const start = button(frame.say("start"), () => frame.desk.begin());
  const cancel = button(frame.say("cancel"), () => frame.desk.cancel());
  const bar = frame.element("progress", { max: 1, value: 0, "aria-label": frame.say("progress") });
  const words = frame.element("p", { class: "fastattn-note", role: "status" }, [frame.say("ready")]);
  cancel.disabled = true;
  frame.controls.append(frame.element("div", { class: "fastattn-tools fastattn-race" }, [start, cancel, bar]));
  frame.body.append(frame.element("div", { class: "fastattn-wide" }, [words]));
  return { start, cancel, bar, words };
}

/** Runs one race at a time, and puts its points where the figure, and Python, find them. */
function manage(frame, { start, cancel, bar, words }) {
  let stop = null;
  let notes = [];
  const result = () => ({ ...NO_RACE, ...frame.model.get("result") });
  const keep = (changes) => frame.set({ result: { ...result(), ...changes } });
  const say = (text) => { words.textContent = [...notes, text].join(" "); };
  const hear = {
    start: ({ device }) => { keep({ device, points: [] }); bar.value = 0; say(frame.say(`running_${device}`)); },
    point: ({ algorithm, tokens, seconds }) => keep({ points: [...result().points, [algorithm, tokens, seconds]] }),
    progress: ({ share }) => { bar.value = share; },
    note: ({ reason }) => { notes.push(frame.say(`problem_${reason}`)); },
    end: ({ how }) => {
      stop = null;
      start.disabled = false;
      if (document.activeElement === cancel) start.focus();
      cancel.disabled = true;
      if (how === "finished") bar.value = 1;
      say(frame.say(how));
    },
  };
  return {
    begin() {
      const { dim, order, device, most_tokens: most, budget } = frame.state();
      notes = [];
      keep({ ...NO_RACE, dim, order });
      [start.disabled, cancel.disabled] = [true, false];
      cancel.focus();
      stop = startRace({ dim, order, device, most, budget }, (message) => hear[message.kind](message));
    },
    cancel: () => stop?.(),
  };
}

export default defineFigure("BrowserRace", (frame) => {
  ["dim", "order", "most_tokens", "budget"].forEach((key) => frame.slider(key));
  frame.choice("device");
  frame.watch("result");
  frame.desk = manage(frame, makeDesk(frame));
  const plot = frame.plot({ height: 360, label: frame.say("plot") });
  plot.node.classList.add("fastattn-wide");
  const readouts = frame.readouts(["direct_slope", "fast_slope", "counted", "fitted", "measured"]);
  const result = () => ({ ...NO_RACE, ...frame.model.get("result") });
  let racing = "";
  return {
    draw(state) {
      const settings = ["dim", "order", "most_tokens", "budget", "device"].map((key) => state[key]).join();
      if (racing && racing !== settings) frame.desk.cancel();
      racing = settings;
      const found = evaluated(state, result());
      plot.draw(picture(frame, state, found));
      readouts.show({
        direct_slope: slope(frame, found.laws.direct),
        fast_slope: slope(frame, found.laws.fast),
        counted: formatNumber(found.counted),
        fitted: tokensOr(frame, found.fitted, "not_yet"),
        measured: tokensOr(frame, found.measured, "not_yet"),
      });
    },
    summary: (state) => summary(frame, state, result()),
    stop: () => frame.desk.cancel(),
  };
});
