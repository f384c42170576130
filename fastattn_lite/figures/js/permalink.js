// The state of the figures in the address: #CostRace.tokens=4096&CostRace.order=3
import { valid } from "./parameters.js";

/** The valid parameters of figure `key` in a hash; nothing else of it is trusted. */
export function readHash(hash, key, specs) {
  const state = {};
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const [figure, parameter] = name.split(".");
    if (figure !== key || !Object.hasOwn(specs, parameter)) continue;
    const value = valid(specs[parameter], text, undefined);
    if (value !== undefined) state[parameter] = value;
  }
  return state;
}

/** The hash with the state of figure `key` in it; other figures' entries stay. */
export function writeHash(hash, key, state) {
  const entries = [...new URLSearchParams(hash.replace(/^#/, ""))]
    .filter(([name]) => name.includes(".") && !name.startsWith(`${key}.`));
  for (const [name, value] of Object.entries(state)) entries.push([`${key}.${name}`, String(value)]);
  return `#${new URLSearchParams(entries)}`;
}

/** The line of Python that makes this state. */
export function pythonLine(figure, state, specs) {
  const literal = (name) => {
    if (specs[name].kind === "boolean") return state[name] ? "True" : "False";
    return JSON.stringify(state[name]);
  };
  return `${figure}(${Object.keys(state).map((name) => `${name}=${literal(name)}`).join(", ")})`;
}
