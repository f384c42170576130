// The cost model, as in fastattn_lite/complexity.py. A flop is one product or one sum.
import { numberOfFeatures } from "./features.js";

/** Flops of the direct sum, 2 n^2 (d + d_v); half of them where it is causal. */
export function directFlops(tokens, dim, valueDim = dim, isCausal = false) {
  return (isCausal ? 1 : 2) * tokens ** 2 * (dim + valueDim);
}

/** Flops of the fast form, 4 n R (d_v + 1): every token enters the moments and leaves them. */
export function fastFlops(tokens, dim, order, valueDim = dim) {
  return 4 * tokens * numberOfFeatures(dim, order) * (valueDim + 1);
}

/** The number of tokens at which the two are equal. */
export function crossoverTokens(dim, order, valueDim = dim, isCausal = false) {
  return fastFlops(1, dim, order, valueDim) / directFlops(1, dim, valueDim, isCausal);
}

/** Numbers in the moments of one head, R (d_v + 1), for any number of tokens. */
export function momentNumbers(dim, order, valueDim = dim) {
  return numberOfFeatures(dim, order) * (valueDim + 1);
}

/** Numbers in a key-value cache of one head, n (d + d_v). */
export function cacheNumbers(tokens, dim, valueDim = dim) {
  return tokens * (dim + valueDim);
}

/** The number of tokens at which a cache has as many bytes as the moments. */
export function cacheCrossoverTokens(dim, order, cacheBytes = 4, momentBytes = 4) {
  return (momentNumbers(dim, order) * momentBytes) / (cacheNumbers(1, dim) * cacheBytes);
}
