// Axes: from numbers to pixels and back, and where the ticks stand.
import { formatNumber, power } from "./format.js";

/** A scale from [min, max] to [from, to] in pixels; `scale` is "linear" or "log". */
export function makeScale({ min, max, scale = "linear" }, from, to) {
  const inner = scale === "log" ? Math.log10 : (value) => value;
  const outer = scale === "log" ? (value) => 10 ** value : (value) => value;
  const low = inner(min);
  const span = inner(max) - low || 1;
  const place = (value) => from + ((inner(value) - low) / span) * (to - from);
  place.invert = (pixel) => outer(low + ((pixel - from) / (to - from)) * span);
  return place;
}

/** About `count` ticks as [value, text]. */
export function ticks({ min, max, scale = "linear" }, count) {
  return scale === "log" ? logTicks(min, max, count) : linearTicks(min, max, count);
}

function linearTicks(min, max, count) {
  const rough = (max - min) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5].find((multiple) => multiple * unit >= rough) ?? 10);
  const result = [];
  for (let i = Math.ceil(min / step - 1e-9); i * step <= max + 1e-9 * step; i += 1) {
    result.push([i * step, formatNumber(i === 0 ? 0 : Number((i * step).toPrecision(12)))]);
  }
  return result;
}

function logTicks(min, max, count) {
  const first = Math.ceil(Math.log10(min) - 1e-9);
  const last = Math.floor(Math.log10(max) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first + 1) / count));
  const result = [];
  for (let exponent = first; exponent <= last; exponent += every) {
    result.push([10 ** exponent, power(exponent)]);
  }
  return result;
}
