// Attention by the direct sum, as in fastattn_lite/reference.py. Matrices are arrays of rows.
import { evaluate } from "./polynomial.js";

/** s_ij = scale * q_i . k_j. */
export function attentionScores(query, key, scale = 1 / Math.sqrt(query[0].length)) {
  return query.map((q) => key.map((k) => scale * dot(q, k)));
}

/** The weights A_ij = f(s_ij) / sum_j f(s_ij), with exp for f where `expansion` is null. */
export function attentionWeights(query, key, { expansion = null, isCausal = false, scale } = {}) {
  return attentionScores(query, key, scale).map((row, i) => {
    const seen = isCausal ? row.slice(0, i + 1) : row;
    const largest = Math.max(...seen);
    const kernel = row.map((score, j) => {
      if (j >= seen.length) return 0;
      return expansion ? evaluate(expansion.coefficients, score) : Math.exp(score - largest);
    });
    const total = kernel.reduce((sum, weight) => sum + weight, 0);
    return kernel.map((weight) => weight / total);
  });
}

/** o_i = sum_j A_ij v_j with exp. */
export function softmaxAttention(query, key, value, { isCausal = false, scale } = {}) {
  return product(attentionWeights(query, key, { isCausal, scale }), value);
}

/** o_i = sum_j A_ij v_j with the polynomial f in place of exp. */
export function kernelAttention(query, key, value, { expansion, isCausal = false, scale }) {
  return product(attentionWeights(query, key, { expansion, isCausal, scale }), value);
}

/** The largest distance between two rows. */
export function diameter(value) {
  let largest = 0;
  for (let i = 0; i < value.length; i += 1) {
    for (let j = 0; j < i; j += 1) largest = Math.max(largest, distance(value[i], value[j]));
  }
  return largest;
}

/** The Euclidean distance of two vectors. */
export function distance(first, second) {
  let sum = 0;
  for (let c = 0; c < first.length; c += 1) sum += (first[c] - second[c]) ** 2;
  return Math.sqrt(sum);
}

/** The inner product of two vectors. */
export function dot(first, second) {
  let sum = 0;
  for (let c = 0; c < first.length; c += 1) sum += first[c] * second[c];
  return sum;
}

function product(weights, value) {
  return weights.map((row) => value[0].map((_, c) => {
    let sum = 0;
    for (let j = 0; j < row.length; j += 1) sum += row[j] * value[j][c];
    return sum;
  }));
}
