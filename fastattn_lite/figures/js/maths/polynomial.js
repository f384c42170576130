// Polynomials in powers of x: coefficients[l] belongs to x^l.

/** f(x) by Horner's rule. */
export function evaluate(coefficients, x) {
  let result = coefficients[coefficients.length - 1];
  for (let power = coefficients.length - 2; power >= 0; power -= 1) {
    result = result * x + coefficients[power];
  }
  return result;
}

/** The coefficients of f'; a constant has the derivative [0]. */
export function derivative(coefficients) {
  const slope = coefficients.slice(1).map((a, index) => a * (index + 1));
  return slope.length > 0 ? slope : [0];
}

/** The coefficients of f(scale * t) in powers of t. */
export function stretched(coefficients, scale) {
  return coefficients.map((a, power) => a * scale ** power);
}

/**
 * The real roots in (low, high), ascending.
 *
 * Between two neighbouring roots of f' the function is monotone, so it has at most one root there,
 * and it is found between them. The roots of f' are found in the same way, down to a straight
 * line. No complex numbers, no starting values, nothing to tune. A root that only touches 0 is
 * found where f is exactly 0 at a root of f', otherwise not; no caller needs those.
 */
export function realRoots(coefficients, low, high) {
  if (coefficients.length < 2) return [];
  const slope = derivative(coefficients);
  const stationary = realRoots(slope, low, high);
  const ends = [low, ...stationary, high];
  const roots = stationary.filter((x) => evaluate(coefficients, x) === 0);
  for (let piece = 0; piece + 1 < ends.length; piece += 1) {
    const root = rootBetween(coefficients, slope, ends[piece], ends[piece + 1]);
    if (root !== null) roots.push(root);
  }
  return roots.sort((first, second) => first - second);
}

const MOST_STEPS = 200;

/**
 * The root of a function that is monotone on [low, high], or null where its sign is constant.
 * Newton's step where it stays between the ends, which close in on the root; otherwise the middle.
 */
function rootBetween(coefficients, slope, low, high) {
  const signLow = Math.sign(evaluate(coefficients, low));
  if (signLow * Math.sign(evaluate(coefficients, high)) >= 0) return null;
  let x = (low + high) / 2;
  for (let step = 0; step < MOST_STEPS; step += 1) {
    const value = evaluate(coefficients, x);
    if (value === 0) return x;
    if (Math.sign(value) === signLow) low = x;
    else high = x;
    const newton = x - value / evaluate(slope, x);
    const next = newton > low && newton < high ? newton : (low + high) / 2;
    if (next === x || next <= low || next >= high) return x;
    x = next;
  }
  return x;
}
