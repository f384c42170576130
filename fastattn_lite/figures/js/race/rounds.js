// The course of a race: both algorithms in turn over growing n, as long as they stay in their time.
import { raceAlgorithms } from "../maths/race.js";

/** Repeats of a short run go on until this much time has passed; the least time counts. */
const ENOUGH_SECONDS = 0.06;
const [FEWEST_REPEATS, MOST_REPEATS] = [2, 12];

/** n = 32, 64, 128, ... up to `most`. */
export function raceSizes(most) {
  const sizes = [];
  for (let tokens = 32; tokens <= most; tokens *= 2) sizes.push(tokens);
  return sizes;
}

/**
 * Time every algorithm at every size: `time(algorithm, tokens)` gives the seconds of one run, `tell`
 * hears of points and progress. An algorithm leaves when its next run would take more than `budget`
 * seconds by the growth of its count.
 */
export async function runRounds({ most, budget, time, tell }) {
  const sizes = raceSizes(most);
  const latest = {};
  const steps = raceAlgorithms.length * sizes.length;
  let done = 0;
  for (const tokens of sizes) {
    for (const { name, power } of raceAlgorithms) {
      if (!(latest[name] * 2 ** power > budget)) {
        latest[name] = await leastTime(() => time(name, tokens));
        tell({ kind: "point", algorithm: name, tokens, seconds: latest[name] });
      }
      done += 1;
      tell({ kind: "progress", share: done / steps });
    }
  }
}

async function leastTime(once) {
  let [least, spent] = [Infinity, 0];
  for (let repeat = 0; repeat < MOST_REPEATS && (repeat < FEWEST_REPEATS || spent < ENOUGH_SECONDS); repeat += 1) {
    const seconds = await once();
    spent += seconds;
    least = Math.min(least, seconds);
  }
  // A clock that was made coarse can show no time at all.
  return Math.max(least, 1e-6);
}
