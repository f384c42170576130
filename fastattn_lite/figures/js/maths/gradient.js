// The derivative of one attention weight, as in fastattn_lite/figures/gradient_bound.py.
import { taylor } from "./expansion.js";
import { derivative, evaluate } from "./polynomial.js";

/**
 * What one key of this score weighs beside n - 1 keys of score 0: A = f(s)/G, its derivative
 * dA/ds = f'(s)/G (1 - A), and the bound |f'(s)/f(s)|/4. `order` null is exp.
 */
export function slopeOfWeight(order, score, tokens) {
  const coefficients = order === null ? null : taylor(order).coefficients;
  const kernel = coefficients ? evaluate(coefficients, score) : Math.exp(score);
  const change = coefficients ? evaluate(derivative(coefficients), score) : kernel;
  const others = tokens - 1;
  const total = kernel + others;
  const bound = change === 0 ? 0 : Math.abs(change / kernel) / 4;
  if (total === 0) return { total, weight: NaN, slope: NaN, bound };
  return { total, weight: kernel / total, slope: (change * others) / total ** 2, bound };
}
