// Before anything is timed: what an implementation computes, against the direct sum of maths.js.
import { kernelAttention, softmaxAttention } from "../maths/attention.js";
import { taylor } from "../maths/expansion.js";
import { raceTokens } from "../maths/race.js";

/** Not a multiple of any block, and more than one block. */
export const CHECK_TOKENS = 83;

/** Tokens to check with, and by algorithm the outputs that the direct sum gives for them. */
export function expectedOutputs(dim, order) {
  const tokens = raceTokens(CHECK_TOKENS, dim, Float32Array);
  const [query, key, value] = tokens.map((numbers) => rowsOf(numbers, dim));
  return {
    tokens,
    direct: softmaxAttention(query, key, value).flat(),
    fast: kernelAttention(query, key, value, { expansion: taylor(order) }).flat(),
  };
}

/** The largest difference of each algorithm from the direct sum; `algorithms` are plain functions. */
export function differences(dim, order, algorithms) {
  const expected = expectedOutputs(dim, order);
  return Object.entries(algorithms).map(([name, run]) => (
    { name, difference: largestDifference(run(CHECK_TOKENS, expected.tokens), expected[name]) }
  ));
}

/** The largest difference of two lists; NaN where one of them holds no number. */
export function largestDifference(found, expected) {
  if (found.length !== expected.length) return NaN;
  return expected.reduce((largest, x, i) => {
    const difference = Math.abs(found[i] - x);
    return difference > largest || Number.isNaN(difference) ? difference : largest;
  }, 0);
}

function rowsOf(numbers, dim) {
  return Array.from({ length: numbers.length / dim }, (_, i) => [...numbers.subarray(i * dim, (i + 1) * dim)]);
}
