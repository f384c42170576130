// Measured errors of attention for many polynomials at once, by the direct sum.
import { attentionScores } from "./attention.js";
import { randomNumbers } from "./random.js";

const VALUE_DIM = 8;

/** Queries, keys and values [query, key, value] of a seed. */
export function randomTokens(seed, tokens, dim) {
  const random = randomNumbers(seed);
  return [random.normals(tokens, dim), random.normals(tokens, dim), random.normals(tokens, VALUE_DIM)];
}

/**
 * Everything that the errors need, in n_q n_k steps: for every query i and power l the sums
 * sum_j s_ij^l [v_j, 1], softmax attention, and the range of the scores. Any polynomial of degree
 * at most `highest` then takes a short combination of the sums, so that a slider redraws at once.
 */
export function powerSums(query, key, value, scale, highest) {
  const width = value[0].length + 1;
  const values = value.map((v) => Float64Array.from([...v, 1]));
  let [smallest, largest] = [Infinity, -Infinity];
  const rows = attentionScores(query, key, scale).map((scores) => {
    const sums = Array.from({ length: highest + 1 }, () => new Float64Array(width));
    const top = Math.max(...scores);
    const softmax = new Float64Array(width);
    scores.forEach((score, j) => {
      smallest = Math.min(smallest, score);
      largest = Math.max(largest, score);
      addScaled(softmax, Math.exp(score - top), values[j]);
      for (let l = 0, power = 1; l <= highest; l += 1, power *= score) {
        addScaled(sums[l], power, values[j]);
      }
    });
    return { sums, output: quotient(softmax) };
  });
  return { rows, smallest, largest };
}

/** The largest distance, over the queries, of attention with this polynomial to softmax's. */
export function measuredError(coefficients, { rows }) {
  let worst = 0;
  for (const { sums, output } of rows) {
    const normalizer = combined(coefficients, sums, output.length);
    let square = 0;
    for (let c = 0; c < output.length; c += 1) {
      square += (combined(coefficients, sums, c) / normalizer - output[c]) ** 2;
    }
    worst = Math.max(worst, Math.sqrt(square));
  }
  return worst;
}

/** sum_l a_l sums[l][c]: entry c of the attention of the polynomial, before it is divided. */
function combined(coefficients, sums, c) {
  let total = 0;
  for (let l = 0; l < coefficients.length; l += 1) total += coefficients[l] * sums[l][c];
  return total;
}

function addScaled(total, factor, vector) {
  for (let c = 0; c < total.length; c += 1) total[c] += factor * vector[c];
}

/** The first entries divided by the last one. */
function quotient(total) {
  const last = total.length - 1;
  return total.subarray(0, last).map((x) => x / total[last]);
}
