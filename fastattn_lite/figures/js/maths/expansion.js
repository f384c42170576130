// Step 1, truncation: polynomials in place of exp. The twin of fastattn_lite/expansion.py.
import { derivative, evaluate, realRoots, stretched } from "./polynomial.js";
import { besselI, chebyshevValues, inPowers } from "./series.js";
import { solve } from "./linear.js";

const MOST_EXCHANGES = 40;
const GRID_POINTS = 2049;

/** An expansion: the polynomial `coefficients` that stands for exp on [-radius, radius]. */
export function custom(coefficients, radius = 1, name = "custom") {
  return { name, order: coefficients.length - 1, radius, coefficients };
}

/** The Taylor polynomial of exp about 0: a_l = 1/l!. */
export function taylor(order, radius = 1) {
  let factorial = 1;
  const coefficients = [1];
  for (let l = 1; l <= order; l += 1) {
    factorial *= l;
    coefficients.push(1 / factorial);
  }
  return custom(coefficients, radius, "taylor");
}

/** The Chebyshev series I_0(B) + 2 sum_l I_l(B) T_l(x/B) of exp on [-B, B], cut after `order`. */
export function chebyshev(order, radius = 1) {
  const series = Array.from({ length: order + 1 }, (_, l) => (l ? 2 : 1) * besselI(l, radius));
  return custom(stretched(inPowers(series), 1 / radius), radius, "chebyshev");
}

/**
 * The polynomial with the smallest oscillation of log(f/exp) on [-radius, radius].
 *
 * Remez's exchange: make f/exp - 1 equal to +e, -e, +e, ... at order + 2 points, move the points to
 * where f/exp - 1 really turns, and repeat until its largest size is e.
 */
export function minimax(order, radius = 1) {
  let points = Array.from({ length: order + 2 }, (_, i) => Math.cos((Math.PI * i) / (order + 1)));
  let { coefficients, level } = equalErrors(points, radius);
  for (let exchange = 0; exchange < MOST_EXCHANGES; exchange += 1) {
    points = turningPoints(custom(stretched(coefficients, 1 / radius), radius))
      .map((x) => x / radius);
    const worst = Math.max(...points.map((t) => relativeError(coefficients, t, radius)));
    if (worst - level <= 1e-10 * level + 1e-15 || points.length !== order + 2) break;
    ({ coefficients, level } = equalErrors(points, radius));
  }
  return custom(stretched(coefficients, 1 / radius), radius, "minimax");
}

/** The three ways to choose the coefficients, by name. */
export const FAMILIES = { taylor, chebyshev, minimax };

/** The polynomial in t = x/radius whose relative error at the points is e, -e, e, ..., and |e|. */
function equalErrors(points, radius) {
  const order = points.length - 2;
  const system = points.map((t, i) => [
    ...chebyshevValues(t, order).map((value) => value * Math.exp(-radius * t)),
    i % 2 ? -1 : 1,
  ]);
  const solution = solve(system, points.map(() => 1));
  return { coefficients: inPowers(solution.slice(0, -1)), level: Math.abs(solution[order + 1]) };
}

function relativeError(coefficients, t, radius) {
  return Math.abs(evaluate(coefficients, t) * Math.exp(-radius * t) - 1);
}

/** log(f(x)/exp(x)), NaN where f < 0. */
export function logRatio(expansion, x) {
  return Math.log(evaluate(expansion.coefficients, x)) - x;
}

/**
 * Where f/exp can be largest or smallest on [-radius, radius], ascending: the ends and the real
 * roots of f' - f, because (f/exp)' = (f' - f)/exp.
 */
export function turningPoints({ coefficients, radius }) {
  const slope = derivative(coefficients);
  const difference = coefficients.map((a, power) => (slope[power] ?? 0) - a);
  const inside = realRoots(stretched(difference, radius), -1, 1).map((t) => t * radius);
  return [-radius, ...inside, radius];
}

/** Whether f > 0 on [-radius, radius]; Infinity asks for every x. */
export function isPositive({ coefficients, radius: ownRadius }, radius = ownRadius) {
  const nonzero = withoutTrailingZeros(coefficients);
  if (nonzero.length === 0) return false;
  const leading = nonzero[nonzero.length - 1];
  let reach = radius;
  if (radius === Infinity) {
    if (nonzero.length % 2 === 0 || leading < 0) return false;
    // All roots lie within Cauchy's bound.
    reach = 1 + Math.max(0, ...nonzero.slice(0, -1).map((a) => Math.abs(a / leading)));
  }
  const stationary = realRoots(derivative(stretched(nonzero, reach)), -1, 1);
  return [-1, 0, 1, ...stationary].every((t) => evaluate(nonzero, t * reach) > 0);
}

function withoutTrailingZeros(coefficients) {
  let length = coefficients.length;
  while (length > 0 && coefficients[length - 1] === 0) length -= 1;
  return coefficients.slice(0, length);
}

/** osc = max log(f/exp) - min log(f/exp) on [-radius, radius]; Infinity unless f > 0 there. */
export function oscillation(expansion) {
  if (!isPositive(expansion)) return Infinity;
  const ratios = turningPoints(expansion).map((x) => logRatio(expansion, x));
  return Math.max(...ratios) - Math.min(...ratios);
}

/** The largest total-variation distance to the softmax weights: tanh(osc/4), at most 1. */
export function outputErrorBound(expansion) {
  return Math.tanh(oscillation(expansion) / 4);
}

/** The largest |f(x) - exp(x)| on [-radius, radius], on a fine grid and the turning points. */
export function maxError(expansion) {
  const { coefficients, radius } = expansion;
  const error = (x) => Math.abs(evaluate(coefficients, x) - Math.exp(x));
  let largest = Math.max(...turningPoints(expansion).map(error));
  for (let i = 0; i < GRID_POINTS; i += 1) {
    largest = Math.max(largest, error(radius * Math.cos((Math.PI * i) / (GRID_POINTS - 1))));
  }
  return largest;
}
