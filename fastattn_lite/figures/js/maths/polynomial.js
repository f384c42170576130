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
 * Between two neighbouring roots of f' the function is monotone, so it has at most one root there
 * and bisection finds it. The roots of f' are found in the same way, down to a straight line. No
 * complex numbers, no starting values, nothing to tune. A root that only touches 0 is found where
 * f is exactly 0 at a root of f', otherwise not; no caller needs those.
 */
export function realRoots(coefficients, low, high) {
  if (coefficients.length < 2) return [];
  const stationary = realRoots(derivative(coefficients), low, high);
  const ends = [low, ...stationary, high];
  const roots = stationary.filter((x) => evaluate(coefficients, x) === 0);
  for (let piece = 0; piece + 1 < ends.length; piece += 1) {
    const root = rootBetween(coefficients, ends[piece], ends[piece + 1]);
    if (root !== null) roots.push(root);
  }
  return roots.sort((first, second) => first - second);
}

/** The root of a function that is monotone on [low, high], or null where its sign is constant. */
function rootBetween(coefficients, low, high) {
  const signLow = Math.sign(evaluate(coefficients, low));
  const signHigh = Math.sign(evaluate(coefficients, high));
  if (signLow * signHigh >= 0) return null;
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return middle;
    const sign = Math.sign(evaluate(coefficients, middle));
    if (sign === 0) return middle;
    if (sign === signLow) low = middle;
    else high = middle;
  }
}
