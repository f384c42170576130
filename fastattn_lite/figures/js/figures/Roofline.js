// The roofline of a machine, the intensity of both steps on it, and what stored runs reached.
import log from "../../../results/gpu_design_log.json";
import onH200 from "../../../results/gpu_roofline.json";
import onCpu from "../../../results/cpu_roofline.json";
import { attainable, directWork, intensityOf, leastSeconds, sampleWork, stepWork } from "../maths.js";
import { defineFigure } from "../frame.js";
import { formatNumber, formatPercent } from "../format.js";

const RESULTS = { h100: log, h200: onH200, cpu: onCpu };
const UNIT = { h100: 1e12, h200: 1e12, cpu: 1e9 };
const REACH = { min: 1, max: 1e6 };
const UNITS = [["seconds", 1], ["milliseconds", 1e-3], ["microseconds", 1e-6]];
const ROWS = 11;
const BAR_MARGIN = { top: 4, bottom: 4, left: 132, right: 116 };
const MEASURED = { accumulate: "chebyshev", evaluate: "warning", forward: "accent", softmax: "exact" };

const stepOf = ({ what }) => what.split(":")[0];

/** All that the figure shows, for a state. */
function find({ device, dim, order, tokens }) {
  const { samples, summary } = RESULTS[device];
  const roof = { peak: summary.peak.value, bandwidth: summary.bandwidth.value };
  const bytes = samples[0].number_bytes;
  const works = {
    stored: stepWork(tokens, dim, order, bytes, true),
    fused: stepWork(tokens, dim, order, bytes),
    softmax: directWork(tokens, dim, bytes),
  };
  const measured = samples
    .filter((sample) => sample.dim === dim && sample.order === order && !sample.is_causal)
    .map((sample) => {
      const work = sampleWork(sample);
      const seconds = Math.min(...sample.values);
      const rate = work.flops / seconds;
      const intensity = intensityOf(work);
      return { what: sample.what, step: stepOf(sample), intensity, seconds, rate, share: rate / attainable(roof, intensity) };
    });
  return { roof, ridge: roof.peak / roof.bandwidth, works, measured };
}

function best(measured) {
  return measured.reduce((a, b) => (b.share > a.share ? b : a));
}

function marks(frame, { roof, ridge, works, measured }) {
  const on = (intensity) => [intensity, attainable(roof, intensity)];
  const model = (key, series) => {
    const [x, y] = on(intensityOf(works[key]));
    return [
      { kind: "rule", x, to: y, series },
      { kind: "points", series, points: [[x, y]], label: frame.say(`line_${key}`) },
    ];
  };
  return [
    { kind: "line", series: "exact", points: [REACH.min, ridge, REACH.max].map(on) },
    ...model("stored", "minimax"),
    ...model("fused", "taylor"),
    ...model("softmax", "exact"),
    ...Object.keys(MEASURED).map((step) => ({
      kind: "points", series: MEASURED[step], shape: "cross",
      points: measured.filter((one) => one.step === step).map(({ intensity, rate }) => [intensity, rate]),
    })),
  ];
}

function bars(frame, measured) {
  if (!measured.length) return [{ kind: "text", series: "quiet", text: frame.say("none"), at: [0, ROWS - 1] }];
  return measured.flatMap(({ what, step, seconds, share }, row) => {
    const low = ROWS - 1 - row;
    return [
      { kind: "bar", series: MEASURED[step], from: 0, to: share, low: low + 0.15, high: low + 0.85 },
      { kind: "text", series: "text", text: frame.say(`what.${what}`), at: [-0.015, low + 0.3], anchor: "end" },
      { kind: "text", series: "text", text: frame.say("reached", { share: formatPercent(share), time: formatNumber(1e3 * seconds) }), at: [share + 0.015, low + 0.3] },
    ];
  });
}

function bound(frame, { roof }, work) {
  return frame.say(intensityOf(work) < roof.peak / roof.bandwidth ? "by_memory" : "by_arithmetic");
}

function bestText(frame, { device }, { measured }) {
  if (!measured.length) return frame.say("none");
  const { what, rate, share } = best(measured);
  const words = { what: frame.say(`what.${what}`), rate: formatNumber(rate / UNIT[device]), share: formatPercent(share) };
  return frame.say("best", { ...words, unit: frame.say(`unit.${device}`) });
}

function summary(frame, state) {
  const found = find(state);
  return frame.say("summary", {
    device: frame.say(`device.${state.device}`),
    dim: state.dim,
    order: state.order,
    tokens: formatNumber(state.tokens),
    stored: formatNumber(intensityOf(found.works.stored)),
    stored_bound: bound(frame, found, found.works.stored),
    fused: formatNumber(intensityOf(found.works.fused)),
    fused_bound: bound(frame, found, found.works.fused),
    ridge: formatNumber(found.ridge),
    best: bestText(frame, state, found),
  });
}

/** A time in the largest unit of which it is at least one. */
function inUnits(frame, seconds) {
  const [key, unit] = UNITS.find(([, size]) => seconds >= size) ?? UNITS.at(-1);
  return frame.say(key, { time: formatNumber(seconds / unit) });
}

export default defineFigure("Roofline", (frame) => {
  frame.choice("device");
  ["dim", "order", "tokens"].forEach((key) => frame.slider(key));
  const roofPlot = frame.plot({ height: 320, label: frame.say("plot_roof") });
  const shares = frame.plot({ height: 290, label: frame.say("plot_shares") });
  [roofPlot, shares].forEach((plot) => plot.node.classList.add("fastattn-wide"));
  frame.body.append(frame.element("p", { class: "fastattn-note fastattn-wide" }, [frame.say("hint")]));
  const readouts = frame.readouts(["ridge", "stored", "fused", "least"]);
  return {
    draw(state) {
      const found = find(state);
      const { peak } = found.roof;
      roofPlot.draw({
        x: { ...REACH, scale: "log", label: frame.say("axis_intensity") },
        y: { min: peak / 300, max: 4 * peak, scale: "log", label: frame.say("axis_rate") },
        marks: marks(frame, found),
      });
      shares.draw({ x: { min: 0, max: 1 }, y: { min: 0, max: ROWS }, margin: BAR_MARGIN, marks: bars(frame, found.measured) });
      readouts.show({
        ridge: formatNumber(found.ridge),
        stored: formatNumber(intensityOf(found.works.stored)),
        fused: formatNumber(intensityOf(found.works.fused)),
        least: inUnits(frame, leastSeconds(found.roof, found.works.fused)),
      });
    },
    summary: (state) => summary(frame, state),
  };
});
