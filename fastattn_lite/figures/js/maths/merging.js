// Tokens in chunks, their moments, and the merges that make one sum; as in figures/merging.py.
import { randomNumbers } from "./random.js";

export const STREAM_TOKENS = 24;

/** The moments of order 1 of tokens [key, value]: sums of [1, k] times [v, 1], row by row. */
function momentsOf(tokens) {
  const sums = [0, 0, 0, 0];
  for (const [key, value] of tokens) {
    [value, 1, key * value, key].forEach((term, i) => { sums[i] += term; });
  }
  return sums;
}

const plus = (left, right) => left.map((x, i) => x + right[i]);

/** Each next chunk is added to what there is. */
function inSequence(count) {
  return Array.from({ length: count - 1 }, (_, i) => [i === 0 ? 0 : count + i - 1, i + 1]);
}

/** Neighbours first, then neighbouring pairs, and so on. */
function asATree(count) {
  const pairs = [];
  let row = Array.from({ length: count }, (_, i) => i);
  while (row.length > 1) {
    const above = [];
    for (let i = 0; i + 1 < row.length; i += 2) {
      pairs.push([row[i], row[i + 1]]);
      above.push(count + pairs.length - 1);
    }
    row = [...above, ...row.slice(row.length - (row.length % 2))];
  }
  return pairs;
}

/** Any two of what there is, drawn at random. */
function shuffled(count, random) {
  const pool = Array.from({ length: count }, (_, i) => i);
  const pairs = [];
  const take = () => pool.splice(Math.floor(random.uniform() * pool.length), 1)[0];
  while (pool.length > 1) {
    pairs.push([take(), take()]);
    pool.push(count + pairs.length - 1);
  }
  return pairs;
}

const PAIRS = { sequence: inSequence, tree: asATree, shuffled };

/** Chunks first, then one node for each merge; the last node holds all tokens that arrived. */
export function mergeTokens({ devices, arrived, merge, seed }) {
  const random = randomNumbers(seed);
  const tokens = random.normals(STREAM_TOKENS, 2);
  const edges = Array.from({ length: devices + 1 }, (_, i) => Math.floor((i * STREAM_TOKENS) / devices));
  const nodes = edges.slice(1).map((last, i) => ({
    place: (edges[i] + last - 1) / 2, level: 0, chain: 0, children: [],
    sums: momentsOf(tokens.slice(edges[i], Math.max(edges[i], Math.min(last, arrived)))),
  }));
  PAIRS[merge](devices, random).forEach((children, step) => {
    const [left, right] = children.map((child) => nodes[child]);
    nodes.push({
      place: (left.place + right.place) / 2,
      level: merge === "tree" ? 1 + Math.max(left.level, right.level) : step + 1,
      chain: 1 + Math.max(left.chain, right.chain),
      sums: plus(left.sums, right.sums), children,
    });
  });
  const whole = momentsOf(tokens.slice(0, arrived));
  const last = nodes[nodes.length - 1];
  const difference = Math.max(...last.sums.map((x, i) => Math.abs(x - whole[i])));
  return { edges, nodes, whole, last, difference };
}
