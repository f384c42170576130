// Work of a step and the two speeds of a machine, as in fastattn_lite/roofline.py.
import { directFlops, momentNumbers } from "./complexity.js";
import { numberOfFeatures } from "./features.js";

const MOMENT_BYTES = 4;

/** Flops and bytes of one step of one head; with stored features these pass through memory. */
export function stepWork(tokens, dim, order, numberBytes, isStored = false) {
  const moments = momentNumbers(dim, order);
  const features = isStored ? 2 * numberBytes * tokens * numberOfFeatures(dim, order) : 0;
  const bytes = numberBytes * tokens * 2 * dim + MOMENT_BYTES * moments + features;
  return { flops: 2 * tokens * moments, bytes };
}

/** Flops and bytes of direct attention of one head in one fused kernel. */
export function directWork(tokens, dim, numberBytes, isCausal = false) {
  return { flops: directFlops(tokens, dim, dim, isCausal), bytes: 4 * numberBytes * tokens * dim };
}

/** Flops for each byte. */
export function intensityOf({ flops, bytes }) {
  return flops / bytes;
}

/** The largest rate of a step of this intensity. */
export function attainable({ peak, bandwidth }, intensity) {
  return Math.min(peak, intensity * bandwidth);
}

/** The time that no program can beat. */
export function leastSeconds({ peak, bandwidth }, { flops, bytes }) {
  return Math.max(flops / peak, bytes / bandwidth);
}

/** The work of all heads of a stored sample whose name begins with its step. */
export function sampleWork(sample) {
  const [step, design] = sample.what.split(":");
  const { tokens, dim, order } = sample;
  const one = step === "softmax"
    ? directWork(tokens, dim, sample.number_bytes, sample.is_causal)
    : stepWork(tokens, dim, order, sample.number_bytes, design.includes("features stored"));
  const times = sample.heads * (step === "forward" ? 2 : 1);
  return { flops: times * one.flops, bytes: times * one.bytes };
}
