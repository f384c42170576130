// One query among keys in the plane: the weight of every key under exp and under f_p.
// The twin of fastattn_lite/figures/kernel_sum.py.
import { attentionScores, attentionWeights, distance, kernelAttention, softmaxAttention } from "./attention.js";
import { taylor } from "./expansion.js";
import { randomNumbers } from "./random.js";

/** Scores are q . k itself. */
const SCALE = 1;

/** Weights and outputs of the query; the value of a key is its own place. */
export function kernelSum({ query_x: x, query_y: y, order, tokens, seed }) {
  const key = randomNumbers(seed).normals(tokens, 2);
  const query = [[x, y]];
  const expansion = taylor(order);
  const [exactOutput] = softmaxAttention(query, key, key, { scale: SCALE });
  const [fastOutput] = kernelAttention(query, key, key, { expansion, scale: SCALE });
  const [fast] = attentionWeights(query, key, { expansion, scale: SCALE });
  return {
    key, expansion, fast, exactOutput, fastOutput,
    scores: attentionScores(query, key, SCALE)[0],
    exact: attentionWeights(query, key, { scale: SCALE })[0],
    apart: distance(exactOutput, fastOutput),
    negative: fast.filter((weight) => weight < 0).length,
  };
}

/** The corners of the smallest convex polygon around points of the plane, against the clock. */
export function convexHull(points) {
  const sorted = [...points].sort(([a, b], [c, d]) => a - c || b - d);
  const lower = chain(sorted);
  const upper = chain(sorted.reverse());
  return [...lower.slice(0, -1), ...upper.slice(0, -1)];
}

function chain(sorted) {
  const corners = [];
  for (const point of sorted) {
    while (corners.length > 1 && turn(corners[corners.length - 2], corners[corners.length - 1], point) <= 0) corners.pop();
    corners.push(point);
  }
  return corners;
}

/** Twice the area of a triangle, positive where its corners go against the clock. */
function turn([ax, ay], [bx, by], [cx, cy]) {
  return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
}
