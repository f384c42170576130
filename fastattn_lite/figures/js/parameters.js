// The parameters of every figure, from specs.json: defaults, limits, steps.
import specs from "../specs.json";

/** The parameters of one figure, by name. */
export function parametersOf(figure) {
  return specs[figure];
}

/** The value nearest to `value` that the parameter may have; `fallback` if it makes no sense. */
export function valid(spec, value, fallback = spec.default) {
  if (spec.kind === "boolean") return isBoolean(value) ? String(value) === "true" : fallback;
  if (spec.kind === "choice") return spec.options.includes(value) ? value : fallback;
  const number = value === null || value === "" ? NaN : Number(value);
  if (Number.isNaN(number)) return fallback;
  const clamped = Math.min(spec.max, Math.max(spec.min, number));
  return spec.kind === "integer" ? Math.round(clamped) : clamped;
}

function isBoolean(value) {
  return ["true", "false"].includes(String(value));
}

/** The values a slider steps through. */
export function gridOf(spec) {
  if (spec.grid) return spec.grid;
  const step = spec.step ?? 1;
  const count = Math.round((spec.max - spec.min) / step);
  return Array.from({ length: count + 1 }, (_, i) => Number((spec.min + i * step).toFixed(10)));
}

/** The index of the grid value nearest to `value`, on the scale the grid itself suggests. */
export function nearest(grid, value) {
  const isGeometric = grid[0] > 0 && grid[grid.length - 1] / grid[0] > 50;
  const place = isGeometric ? Math.log : (x) => x;
  let best = 0;
  grid.forEach((candidate, i) => {
    const distance = Math.abs(place(candidate) - place(value));
    if (distance < Math.abs(place(grid[best]) - place(value))) best = i;
  });
  return best;
}
