// Power laws through measured points, as in fastattn_lite/scaling.py, and where two series cross.

const CONFIDENCE = 0.95;

/** How many points a fit needs: with two, nothing tells how far chance can have moved the slope. */
export const FEWEST_POINTS = 3;

/** The law c n^e through points [n, value], with the interval of e; null for too few points. */
export function fitPowerLaw(points, confidence = CONFIDENCE) {
  const logs = points.map(([n, value]) => [Math.log(n), Math.log(value)]);
  const count = logs.length;
  const mean = (place) => logs.reduce((sum, pair) => sum + pair[place], 0) / count;
  const [meanX, meanY] = [mean(0), mean(1)];
  const products = (f) => logs.reduce((sum, [x, y]) => sum + f(x - meanX, y - meanY), 0);
  const spread = products((x) => x * x);
  if (count < FEWEST_POINTS || !(spread > 0)) return null;
  const exponent = products((x, y) => x * y) / spread;
  const scatter = products((x, y) => (y - exponent * x) ** 2);
  const reach = studentQuantile((1 + confidence) / 2, count - 2) * Math.sqrt(scatter / ((count - 2) * spread));
  return { factor: Math.exp(meanY - exponent * meanX), exponent, low: exponent - reach, high: exponent + reach };
}

/** The n at which two power laws have the same value. */
export function meetingTokens(first, second) {
  return Math.exp(Math.log(second.factor / first.factor) / (first.exponent - second.exponent));
}

/**
 * The n from which the first series stays the slower one, between two common sizes straight in the
 * logarithms. Null where it is faster at the largest; the smallest size where it is never faster.
 */
export function measuredCrossover(slow, fast) {
  const other = new Map(fast);
  const ratios = slow.filter(([n]) => other.has(n)).map(([n, value]) => [n, value / other.get(n)]);
  ratios.sort(([a], [b]) => a - b);
  const last = ratios.findLastIndex(([, ratio]) => ratio < 1);
  if (last === ratios.length - 1) return null;
  if (last < 0) return ratios[0][0];
  const [[left, below], [right, above]] = [ratios[last], ratios[last + 1]];
  const share = Math.log(below) / (Math.log(below) - Math.log(above));
  return left * (right / left) ** share;
}

/** The t below which Student's law with whole degrees of freedom has the given share, above 1/2. */
export function studentQuantile(share, freedom) {
  let [low, high] = [0, Math.PI / 2];
  for (let step = 0; step < 60; step += 1) {
    const middle = (low + high) / 2;
    if (shareWithin(middle, freedom) < 2 * share - 1) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom) * Math.tan((low + high) / 2);
}

/**
 * The share of Student's law within -t..t, for t = sqrt(freedom) tan(angle): finite sums of powers of
 * the cosine (Abramowitz and Stegun, 26.7.3 and 26.7.4).
 */
function shareWithin(angle, freedom) {
  const [sine, cosine] = [Math.sin(angle), Math.cos(angle)];
  const isOdd = freedom % 2 === 1;
  let term = isOdd ? cosine : 1;
  let sum = freedom === 1 ? 0 : term;
  for (let power = isOdd ? 3 : 2; power <= freedom - 2; power += 2) {
    term *= (cosine * cosine * (power - 1)) / power;
    sum += term;
  }
  return isOdd ? (2 / Math.PI) * (angle + sine * sum) : sine * sum;
}
