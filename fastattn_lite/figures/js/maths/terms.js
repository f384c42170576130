// f(q.k) written out in monomials, as in fastattn_lite/figures/monomial_basis.py: the same
// operations in the same sequence, so that both print the same digits.
import { featureWeights, multiIndices, numberOfFeatures } from "./features.js";
import { evaluate } from "./polynomial.js";
import { randomNumbers } from "./random.js";

const COEFFICIENTS = {
  taylor: (degree) => 1 / factorial(degree),
  ones: () => 1,
  alternating: (degree) => (-1) ** degree,
};

/**
 * q, k, f(q.k), the two counts, and every term: its factors (coordinates from 0), how many ordered
 * products it stands for, its weight, its monomial at q and at k, and the sum up to it.
 */
export function innerProductTerms({ dim, order, coefficients: choice, basis, seed }) {
  const coefficients = Array.from({ length: order + 1 }, (_, degree) => COEFFICIENTS[choice](degree));
  const [query, key] = randomNumbers(seed).normals(2, dim).map((row) => row.map((x) => (Math.floor(8 * x + 0.5) || 1) / 10));
  const score = query.reduce((sum, q, i) => (i ? sum + q * key[i] : q * key[i]), 0);
  let total = 0;
  const terms = parts(dim, order, coefficients, basis).map(([factors, merged, weight]) => {
    const [q, k] = [monomial(factors, query), monomial(factors, key)];
    const product = weight * q * k;
    total += product;
    return { factors, merged, weight, query: q, key: k, product, total };
  });
  const full = coefficients.reduce((sum, _, degree) => sum + dim ** degree, 0);
  return { query, key, score, value: evaluate(coefficients, score), terms, minimal: numberOfFeatures(dim, order), full };
}

/** For every term its factors, the number of ordered products merged in it, and its weight. */
function parts(dim, order, coefficients, basis) {
  if (basis === "full") {
    return coefficients.flatMap((a, degree) => ordered(dim, degree).map((factors) => [factors, 1, a]));
  }
  const merged = featureWeights(new Array(order + 1).fill(1), dim);
  const weights = featureWeights(coefficients, dim);
  return multiIndices(dim, order).map((powers, r) => [
    powers.flatMap((power, i) => new Array(power).fill(i)), merged[r], weights[r],
  ]);
}

/** Every ordered choice of `degree` coordinates. */
function ordered(dim, degree) {
  if (degree === 0) return [[]];
  const rest = ordered(dim, degree - 1);
  return Array.from({ length: dim }, (_, i) => rest.map((factors) => [i, ...factors])).flat();
}

/** The first factor times the product of the others. */
function monomial(factors, x) {
  return factors.reduceRight((product, i) => x[i] * product, 1);
}

function factorial(n) {
  return n < 2 ? 1 : n * factorial(n - 1);
}
