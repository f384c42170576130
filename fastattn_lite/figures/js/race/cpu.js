// The race on the CPU.
import { featureRecipe, fastRace, raceTokens, softmaxRace } from "../maths/race.js";
import { differences } from "./checking.js";
import { Problem } from "./problem.js";
import { runRounds } from "./rounds.js";

/** What round-off may do to an output of float64. */
const TOLERANCE = 1e-9;
const WARM_UP_SECONDS = 0.15;
/** Clocks of browsers are coarse, so short runs are timed several at a time. */
const SHORTEST_MILLISECONDS = 5;

/** Race on the CPU; `tell` hears of points and progress. */
export async function raceOnCpu(settings, tell) {
  try {
    await course(settings, tell);
  } catch (error) {
    throw error instanceof RangeError ? new Problem("cpu_memory") : error;
  }
}

async function course({ dim, order, most, budget }, tell) {
  const recipe = featureRecipe(dim, order);
  const algorithms = {
    direct: (tokens, [query, key, value]) => softmaxRace(query, key, value, tokens, dim),
    fast: (tokens, [query, key, value]) => fastRace(query, key, value, tokens, dim, order, recipe),
  };
  if (differences(dim, order, algorithms).some(({ difference }) => !(difference < TOLERANCE))) {
    throw new Problem("cpu_wrong");
  }
  const inputs = remembering((tokens) => raceTokens(tokens, dim));
  warmUp(algorithms, inputs(64));
  const time = (name, tokens) => secondsOf(algorithms[name], tokens, inputs(tokens));
  await runRounds({ most, budget, time, tell });
}

/** Browsers translate what runs often; only then does its time say something. */
function warmUp(algorithms, tokens) {
  for (const run of Object.values(algorithms)) {
    const start = performance.now();
    while (performance.now() - start < 1000 * WARM_UP_SECONDS) run(64, tokens);
  }
}

function secondsOf(run, tokens, inputs) {
  for (let calls = 1; ; calls *= 4) {
    const start = performance.now();
    for (let call = 0; call < calls; call += 1) run(tokens, inputs);
    const milliseconds = performance.now() - start;
    if (milliseconds > SHORTEST_MILLISECONDS) return milliseconds / (1000 * calls);
  }
}

function remembering(make) {
  let last = {};
  return (tokens) => {
    if (last.tokens !== tokens) last = { tokens, made: make(tokens) };
    return last.made;
  };
}
