// The mathematics of the figures: pure functions, named as in the book and in Python.
// tests/test_maths_js.py holds them to the Python package.
export { derivative, evaluate, realRoots } from "./maths/polynomial.js";
export {
  FAMILIES, chebyshev, custom, isPositive, logRatio, maxError, minimax, oscillation,
  outputErrorBound, taylor, turningPoints,
} from "./maths/expansion.js";
export {
  attentionScores, attentionWeights, diameter, distance, kernelAttention, softmaxAttention,
} from "./maths/attention.js";
export { attentionMatrices } from "./maths/attention_matrix.js";
export { attentionDistance, matrixRank, ratioLimit, rowEntropy, singularValues } from "./maths/matrix.js";
export { NORMALIZATIONS, OVER_ALL_TOKENS, defaultScale, normalize } from "./maths/normalization.js";
export { featureWeights, multiIndices, numberOfFeatures } from "./maths/features.js";
export {
  cacheCrossoverTokens, cacheNumbers, crossoverTokens, directFlops, fastFlops, momentNumbers,
} from "./maths/complexity.js";
export {
  SOURCES, farField, farFieldBound, farFieldError, improvedGaussBound, isFar, multipoleBound,
} from "./maths/far_field.js";
export { attainable, directWork, intensityOf, leastSeconds, sampleWork, stepWork } from "./maths/roofline.js";
export { convexHull, kernelSum } from "./maths/kernel_sum.js";
export { slopeOfWeight } from "./maths/gradient.js";
export { MOVED, TOKENS, leak } from "./maths/leak.js";
export { STREAM_TOKENS, mergeTokens } from "./maths/merging.js";
export { measuredError, powerSums, randomTokens } from "./maths/measured.js";
export { innerProductTerms } from "./maths/terms.js";
export { randomNumbers } from "./maths/random.js";
export { fitPowerLaw, measuredCrossover, meetingTokens, studentQuantile } from "./maths/scaling.js";
export { fastRace, featureRecipe, raceTokens, softmaxRace } from "./maths/race.js";
