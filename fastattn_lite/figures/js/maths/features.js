// Step 2, factorization, as in fastattn_lite/factorization.py.

/** R = C(d+p, p): the monomials of degree at most `order` in `dim` variables. */
export function numberOfFeatures(dim, order) {
  let count = 1;
  for (let l = 1; l <= order; l += 1) count = Math.round((count * (dim + l)) / l);
  return count;
}

/** The multi-indices |a| <= order in graded-lexicographic order: by degree, then x_1 before x_2. */
export function multiIndices(dim, order) {
  const all = [];
  for (let degree = 0; degree <= order; degree += 1) all.push(...ofDegree(dim, degree));
  return all;
}

function ofDegree(dim, degree) {
  if (dim === 1) return [[degree]];
  const result = [];
  for (let first = degree; first >= 0; first -= 1) {
    for (const rest of ofDegree(dim - 1, degree - first)) result.push([first, ...rest]);
  }
  return result;
}

/** The weight a_|a| |a|!/a! of every monomial in f(q.k), in the order of `multiIndices`. */
export function featureWeights(coefficients, dim) {
  return multiIndices(dim, coefficients.length - 1).map((powers) => {
    const degree = powers.reduce((sum, power) => sum + power, 0);
    const product = powers.reduce((sum, power) => sum * factorial(power), 1);
    return (coefficients[degree] * factorial(degree)) / product;
  });
}

function factorial(n) {
  return n < 2 ? 1 : n * factorial(n - 1);
}
