// The causal leak: change one token and see which outputs of causal attention move.
import { kernelAttention } from "./attention.js";
import { taylor } from "./expansion.js";
import { defaultScale, normalize } from "./normalization.js";
import { randomNumbers } from "./random.js";

export const TOKENS = 16;
const DIM = 4;

/** What counts as moved: more than the round-off of the sums. */
export const MOVED = 1e-12;

/** Random tokens [query, key, value] of the seed, and the direction in which one will be moved. */
export function tokensOf(seed) {
  const random = randomNumbers(seed);
  const width = 2 * DIM + 1;
  return { rows: random.normals(TOKENS, width), direction: random.normals(1, width)[0] };
}

/** The scalar outputs of causal FAST attention of order 2 under a normalisation. */
export function causalOutputs(rows, normalization) {
  const part = (from, to) => rows.map((row) => row.slice(from, to));
  const [query, key] = normalize(part(0, DIM), part(DIM, 2 * DIM), normalization);
  const scale = defaultScale(normalization, DIM);
  const value = part(2 * DIM, 2 * DIM + 1);
  const options = { expansion: taylor(2), isCausal: true, scale };
  return kernelAttention(query, key, value, options).map(([output]) => output);
}

/** Outputs before and after the change, and which of the outputs before `position` moved. */
export function leak({ seed, position, change, normalization }) {
  const { rows, direction } = tokensOf(seed);
  const changed = rows.map((row, i) => (
    i === position ? row.map((x, c) => x + change * direction[c]) : row
  ));
  const before = causalOutputs(rows, normalization);
  const after = causalOutputs(changed, normalization);
  const moved = before.map((output, i) => Math.abs(after[i] - output) > MOVED);
  const leaked = moved.slice(0, position).filter(Boolean).length;
  return { before, after, moved, leaked };
}
