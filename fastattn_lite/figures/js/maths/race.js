// Both forms of attention over typed arrays, for the race. They share one blocked product of
// matrices, so that neither is written with more care than the other. Rows follow each other; a
// value has as many numbers as a key.
import { multiIndices } from "./features.js";
import { randomNumbers } from "./random.js";

/** The two that race, and how their count grows: like n to this power. */
export const raceAlgorithms = [{ name: "direct", power: 2 }, { name: "fast", power: 1 }];

/** Rows taken at a time: their scores or features stay near the processor. */
const ROWS = 64;
/** The tokens that are drawn at random; more tokens repeat them, which changes no time. */
const DRAWN = 2048;

/** Queries, keys and values of n tokens, numbers in (-1, 1), as `Kind` (a typed array). */
export function raceTokens(tokens, dim, Kind = Float64Array, seed = 1) {
  return [0, 1, 2].map((which) => {
    const random = randomNumbers(3 * seed + which);
    const drawn = Math.min(tokens, DRAWN) * dim;
    const numbers = new Kind(tokens * dim);
    for (let i = 0; i < drawn; i += 1) numbers[i] = 2 * random.uniform() - 1;
    for (let done = drawn; done < numbers.length; done += drawn) {
      numbers.set(numbers.subarray(0, Math.min(drawn, numbers.length - done)), done);
    }
    return numbers;
  });
}

/**
 * For every monomial of degree at most `order`: the monomial it is made from, and the coordinate it
 * is multiplied by; -1 for the constant 1. One multiplication a feature.
 */
export function featureRecipe(dim, order) {
  const all = multiIndices(dim, order);
  const place = new Map(all.map((powers, index) => [powers.join(), index]));
  const [parent, coordinate] = [new Int32Array(all.length), new Int32Array(all.length)];
  all.forEach((powers, index) => {
    const last = powers.findLastIndex((power) => power > 0);
    coordinate[index] = last;
    parent[index] = last < 0 ? -1 : place.get(powers.map((power, c) => power - (c === last ? 1 : 0)).join());
  });
  return { parent, coordinate, count: all.length };
}

/** The weights of f(scale q.k) for Taylor's f: scale^l / a! for a monomial of degree l. */
export function raceWeights(dim, order, scale) {
  const factorials = [1, 1, 2, 6];
  return Float64Array.from(multiIndices(dim, order), (powers) => {
    const degree = powers.reduce((sum, power) => sum + power, 0);
    return scale ** degree / powers.reduce((product, power) => product * factorials[power], 1);
  });
}

/** Softmax attention, block by block with a running maximum; the table of pairs is never stored. */
export function softmaxRace(query, key, value, tokens, dim) {
  const output = new Float64Array(tokens * dim);
  const scores = new Float64Array(ROWS * ROWS);
  const [top, total] = [new Float64Array(ROWS), new Float64Array(ROWS)];
  const scale = 1 / Math.sqrt(dim);
  for (let first = 0; first < tokens; first += ROWS) {
    const rows = Math.min(ROWS, tokens - first);
    top.fill(-Infinity);
    total.fill(0);
    for (let start = 0; start < tokens; start += ROWS) {
      const columns = Math.min(ROWS, tokens - start);
      scores.fill(0);
      addProduct(scores, 0, ROWS, query, first * dim, dim, 1, key, start * dim, 1, dim, rows, columns, dim);
      kernelOfBlock(scores, rows, columns, scale, top, total, output, first * dim, dim);
      addProduct(output, first * dim, dim, scores, 0, ROWS, 1, value, start * dim, dim, 1, rows, dim, columns);
    }
    for (let i = 0; i < rows; i += 1) scaleRow(output, (first + i) * dim, dim, 1 / total[i]);
  }
  return output;
}

/** Scores become exp(score - top); what a larger top makes of the sums so far is put right. */
function kernelOfBlock(scores, rows, columns, scale, top, total, output, offset, dim) {
  for (let i = 0; i < rows; i += 1) {
    const row = i * ROWS;
    let largest = top[i];
    for (let j = 0; j < columns; j += 1) largest = Math.max(largest, scale * scores[row + j]);
    if (largest > top[i]) {
      const factor = Math.exp(top[i] - largest);
      total[i] *= factor;
      scaleRow(output, offset + i * dim, dim, factor);
      top[i] = largest;
    }
    let sum = 0;
    for (let j = 0; j < columns; j += 1) {
      const kernel = Math.exp(scale * scores[row + j] - largest);
      scores[row + j] = kernel;
      sum += kernel;
    }
    total[i] += sum;
  }
}

function scaleRow(numbers, offset, length, factor) {
  for (let c = offset; c < offset + length; c += 1) numbers[c] *= factor;
}

/** Attention with Taylor's polynomial: moments of all keys, then every query meets them. */
export function fastRace(query, key, value, tokens, dim, order, recipe = featureRecipe(dim, order)) {
  const width = dim + 1;
  const moments = new Float64Array(recipe.count * width);
  const features = new Float64Array(ROWS * recipe.count);
  const extended = new Float64Array(ROWS * width);
  for (let start = 0; start < tokens; start += ROWS) {
    const rows = Math.min(ROWS, tokens - start);
    fillFeatures(features, key, start * dim, rows, dim, recipe);
    withOnes(extended, value, start * dim, rows, dim);
    addProduct(moments, 0, width, features, 0, ROWS, 1, extended, 0, width, 1, recipe.count, width, rows);
  }
  raceWeights(dim, order, 1 / Math.sqrt(dim)).forEach((weight, r) => scaleRow(moments, r * width, width, weight));
  const output = new Float64Array(tokens * dim);
  for (let start = 0; start < tokens; start += ROWS) {
    const rows = Math.min(ROWS, tokens - start);
    fillFeatures(features, query, start * dim, rows, dim, recipe);
    extended.fill(0);
    addProduct(extended, 0, width, features, 0, 1, ROWS, moments, 0, width, 1, rows, width, recipe.count);
    divideByLast(output, start * dim, extended, rows, dim);
  }
  return output;
}

/** One row for each feature, one column for each token of the block. */
function fillFeatures(features, tokens, offset, rows, dim, { parent, coordinate, count }) {
  features.fill(1, 0, ROWS);
  for (let r = 1; r < count; r += 1) {
    const [row, from, token] = [r * ROWS, parent[r] * ROWS, offset + coordinate[r]];
    for (let i = 0; i < rows; i += 1) features[row + i] = features[from + i] * tokens[token + i * dim];
  }
}

function withOnes(extended, value, offset, rows, dim) {
  for (let i = 0; i < rows; i += 1) {
    for (let c = 0; c < dim; c += 1) extended[i * (dim + 1) + c] = value[offset + i * dim + c];
    extended[i * (dim + 1) + dim] = 1;
  }
}

function divideByLast(output, offset, sums, rows, dim) {
  for (let i = 0; i < rows; i += 1) {
    const total = sums[i * (dim + 1) + dim];
    for (let c = 0; c < dim; c += 1) output[offset + i * dim + c] = sums[i * (dim + 1) + c] / total;
  }
}

/**
 * C += A B for blocks of three arrays, C of size m x n, inner length `inner`. Each factor comes with
 * an offset and its steps from row to row and from column to column (C's last step is 1). Four
 * columns of two rows are summed at a time, so that each number read serves several products.
 */
export function addProduct(c, offsetC, stepC, a, offsetA, rowA, columnA, b, offsetB, rowB, columnB, m, n, inner) {
  const [evenM, fourN, twoB, threeB] = [m - (m % 2), n - (n % 4), 2 * columnB, 3 * columnB];
  for (let i = 0; i < evenM; i += 2) {
    const startA = offsetA + i * rowA;
    const startC = offsetC + i * stepC;
    for (let j = 0; j < fourN; j += 4) {
      let pa = startA;
      let pb = offsetB + j * columnB;
      let c00 = 0, c01 = 0, c02 = 0, c03 = 0, c10 = 0, c11 = 0, c12 = 0, c13 = 0;
      for (let k = 0; k < inner; k += 1) {
        const a0 = a[pa];
        const a1 = a[pa + rowA];
        const b0 = b[pb];
        const b1 = b[pb + columnB];
        const b2 = b[pb + twoB];
        const b3 = b[pb + threeB];
        c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
        c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
        pa += columnA;
        pb += rowB;
      }
      const p = startC + j;
      c[p] += c00; c[p + 1] += c01; c[p + 2] += c02; c[p + 3] += c03;
      c[p + stepC] += c10; c[p + stepC + 1] += c11; c[p + stepC + 2] += c12; c[p + stepC + 3] += c13;
    }
  }
  for (let i = 0; i < m; i += 1) {
    for (let j = i < evenM ? fourN : 0; j < n; j += 1) {
      let sum = 0;
      for (let k = 0; k < inner; k += 1) sum += a[offsetA + i * rowA + k * columnA] * b[offsetB + k * rowB + j * columnB];
      c[offsetC + i * stepC + j] += sum;
    }
  }
}
