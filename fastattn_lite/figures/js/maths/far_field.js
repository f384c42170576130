// Sources on a line, expanded about the middles of cells: the twin of figures/far_field.py.
import { randomNumbers } from "./random.js";

export const SOURCES = 24;
/** A target is far from a cell at this many half-widths from its middle, or more. */
const FAR = 2;
/** So many terms of the series of exp are added up for what was cut off. */
const TAIL = 80;

/** The sources of a seed on [-radius, radius], with their charges, in cells of equal width. */
export function farField({ kernel, radius, centers, seed }) {
  const random = randomNumbers(seed);
  const source = Array.from({ length: SOURCES }, () => radius * (2 * random.uniform() - 1));
  const charge = Array.from({ length: SOURCES }, () => 0.5 + random.uniform());
  const middles = Array.from({ length: centers }, (_, m) => radius * ((2 * m + 1) / centers - 1));
  const cell = source.map((z) => Math.min(Math.floor(((z / radius + 1) * centers) / 2), centers - 1));
  const held = middles.map((_, m) => charge.reduce((sum, rho, j) => sum + (cell[j] === m ? rho : 0), 0));
  const total = charge.reduce((sum, rho) => sum + rho, 0);
  return { kernel, source, charge, middles, cell, held, total, halfWidth: radius / centers };
}

/** Whether a target uses the expansion about this centre; a Gauss kernel is never near. */
export function isFar({ kernel, halfWidth }, y, center) {
  return kernel === "gauss" || Math.abs(y - center) >= FAR * halfWidth - 1e-12;
}

/** The error at a target, divided by the sum of the charges: what was cut off is added up. */
export function farFieldError(cells, y, order) {
  const left = cells.kernel === "gauss" ? gaussLeft : inverseLeft;
  let sum = 0;
  cells.source.forEach((z, j) => {
    const center = cells.middles[cells.cell[j]];
    if (isFar(cells, y, center)) sum += cells.charge[j] * left(y - center, z - center, order);
  });
  return Math.abs(sum) / cells.total;
}

/** The bound of the chapter at a target, divided by the sum of the charges. */
export function farFieldBound(cells, y, order) {
  const bound = cells.kernel === "gauss" ? improvedGaussBound : multipoleBound;
  const { middles, held, halfWidth, total } = cells;
  return middles.reduce((sum, center, m) => (
    isFar(cells, y, center) ? sum + held[m] * bound(order, halfWidth, Math.abs(y - center)) : sum), 0) / total;
}

function inverseLeft(distance, offset, order) {
  const share = offset / distance;
  return share ** (order + 1) / (Math.abs(distance) * (1 - share));
}

function gaussLeft(distance, offset, order) {
  return expTail(2 * distance * offset, order) * Math.exp(-(distance ** 2) - offset ** 2);
}

/** exp(x) without its Taylor polynomial of that order. */
function expTail(x, order) {
  let term = 1;
  for (let degree = 1; degree <= order + 1; degree += 1) term *= x / degree;
  let total = term;
  for (let degree = order + 2; degree <= order + TAIL; degree += 1) {
    term *= x / degree;
    total += term;
  }
  return total;
}

/** (1/(D - r)) (r/D)^(p+1), for each unit of charge. */
export function multipoleBound(order, radius, distance) {
  return (radius / distance) ** (order + 1) / (distance - radius);
}

/** (2 s t)^(p+1)/(p+1)! exp(-(t-s)^2) for a target at distance t and the worst source. */
export function improvedGaussBound(order, radius, distance) {
  const s = Math.min(radius, (distance + Math.sqrt(distance ** 2 + 2 * (order + 1))) / 2);
  let size = 1;
  for (let degree = 1; degree <= order + 1; degree += 1) size *= (2 * s * distance) / degree;
  return size * Math.exp(-((distance - s) ** 2));
}
