// The attention matrix of a text under exp and under a polynomial, of the same scores.
// The twin of fastattn_lite/figures/attention_matrix.py.
import { attentionScores, attentionWeights } from "./attention.js";
import { FAMILIES } from "./expansion.js";
import { numberOfFeatures } from "./features.js";
import { attentionDistance, matrixRank, ratioLimit, rowEntropy } from "./matrix.js";

/** The least and the largest radius that an expansion is made for. */
const RADII = [0.05, 20];

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** One of the two matrices and what describes it. */
function describe(weights, ratio) {
  return {
    weights, ratio,
    rank: matrixRank(weights),
    entropy: mean(rowEntropy(weights)),
    distance: mean(attentionDistance(weights)),
  };
}

/** Both matrices; the radius of the expansion is that of the scores that occur. */
export function attentionMatrices({ query, key, order, family, temperature, is_causal: isCausal }) {
  const seen = attentionScores(query, key, 1 / temperature)
    .flatMap((row, i) => (isCausal ? row.slice(0, i + 1) : row));
  const [low, high] = [Math.min(...seen), Math.max(...seen)];
  const radius = Math.min(Math.max(-low, high, RADII[0]), RADII[1]);
  const expansion = FAMILIES[family](order, radius);
  const side = (f) => describe(
    attentionWeights(query, key, { expansion: f, isCausal, scale: 1 / temperature }),
    ratioLimit(f, low, high),
  );
  const [exact, fast] = [side(null), side(expansion)];
  const difference = fast.weights.map((row, i) => row.map((weight, j) => weight - exact.weights[i][j]));
  return {
    expansion, low, high, exact, fast, difference,
    features: numberOfFeatures(query[0].length, order),
    moved: Math.max(...difference.map((row) => row.reduce((sum, x) => sum + Math.abs(x), 0) / 2)),
    negative: fast.weights.flat().filter((weight) => weight < 0).length,
  };
}
