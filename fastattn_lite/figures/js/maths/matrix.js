// What an attention matrix is like, as in fastattn_lite/matrix.py. Matrices are arrays of rows.
import { derivative, evaluate, realRoots } from "./polynomial.js";

/** H_i = -sum_j w_ij log w_ij, where 0 log 0 is 0; NaN for a row with a negative weight. */
export function rowEntropy(weights) {
  return weights.map((row) => -row.reduce((sum, weight) => sum + (weight === 0 ? 0 : weight * Math.log(weight)), 0));
}

/** Delta_i = sum_j w_ij |i - j|. */
export function attentionDistance(weights) {
  return weights.map((row, i) => row.reduce((sum, weight, j) => sum + weight * Math.abs(i - j), 0));
}

/** chi = max f / min f on [low, high], exp for f where `expansion` is null; Infinity unless f > 0. */
export function ratioLimit(expansion, low, high) {
  if (!expansion) return Math.exp(high - low);
  const { coefficients } = expansion;
  const turning = realRoots(derivative(coefficients), low, high);
  const values = [low, ...turning, high].map((x) => evaluate(coefficients, x));
  const least = Math.min(...values);
  return least > 0 ? Math.max(...values) / least : Infinity;
}

const EPSILON = 2 ** -52;
const MOST_SWEEPS = 30;

/**
 * The singular values, largest first: columns are turned in pairs until all are at right angles
 * (Jacobi's method, one-sided); then their lengths are the singular values.
 */
export function singularValues(matrix) {
  const columns = matrix[0].map((_, c) => matrix.map((row) => row[c]));
  for (let sweep = 0; sweep < MOST_SWEEPS; sweep += 1) {
    let turned = false;
    for (let a = 0; a < columns.length; a += 1) {
      for (let b = a + 1; b < columns.length; b += 1) turned = makeOrthogonal(columns[a], columns[b]) || turned;
    }
    if (!turned) break;
  }
  return columns.map((column) => Math.sqrt(inner(column, column))).sort((first, second) => second - first);
}

/** Turn two columns in their plane; false where they were at right angles to round-off. */
function makeOrthogonal(first, second) {
  const [alpha, beta, gamma] = [inner(first, first), inner(second, second), inner(first, second)];
  if (Math.abs(gamma) <= EPSILON * Math.sqrt(alpha * beta)) return false;
  const zeta = (beta - alpha) / (2 * gamma);
  const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
  const cosine = 1 / Math.sqrt(1 + tangent * tangent);
  const sine = cosine * tangent;
  for (let i = 0; i < first.length; i += 1) {
    const [x, y] = [first[i], second[i]];
    first[i] = cosine * x - sine * y;
    second[i] = sine * x + cosine * y;
  }
  return true;
}

function inner(first, second) {
  let sum = 0;
  for (let i = 0; i < first.length; i += 1) sum += first[i] * second[i];
  return sum;
}

/**
 * How many singular values exceed the largest times size times 2^-52, numpy's rule; NaN where an
 * entry is not finite.
 */
export function matrixRank(matrix) {
  if (!matrix.every((row) => row.every(Number.isFinite))) return NaN;
  const sizes = singularValues(matrix);
  const tolerance = sizes[0] * Math.max(matrix.length, matrix[0].length) * EPSILON;
  return sizes.filter((size) => size > tolerance).length;
}
