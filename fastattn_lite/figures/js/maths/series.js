// Chebyshev series: sum_l series[l] T_l(t) on [-1, 1].

/** The modified Bessel function I_k(x), k = 0, 1, ..., x >= 0; every term is positive. */
export function besselI(k, x) {
  let term = 1;
  for (let factor = 1; factor <= k; factor += 1) term *= x / 2 / factor;
  let sum = term;
  for (let m = 1; term > 1e-18 * sum; m += 1) {
    term *= (x / 2) ** 2 / (m * (m + k));
    sum += term;
  }
  return sum;
}

/** T_0(t), ..., T_order(t). */
export function chebyshevValues(t, order) {
  const values = [1, t];
  for (let l = 2; l <= order; l += 1) values.push(2 * t * values[l - 1] - values[l - 2]);
  return values.slice(0, order + 1);
}

/** The same polynomial in powers of t: T_l = 2 t T_{l-1} - T_{l-2}, run backwards (Clenshaw). */
export function inPowers(series) {
  let next = [0];
  let current = [0];
  for (let l = series.length - 1; l >= 1; l -= 1) {
    [current, next] = [combined(2, current, next, series[l]), current];
  }
  return combined(1, current, next, series[0]).slice(0, series.length);
}

/** factor * t * first - second + constant, in powers of t. */
function combined(factor, first, second, constant) {
  const result = new Array(first.length + 1).fill(0);
  first.forEach((a, power) => { result[power + 1] += factor * a; });
  second.forEach((a, power) => { result[power] -= a; });
  result[0] += constant;
  return result;
}
