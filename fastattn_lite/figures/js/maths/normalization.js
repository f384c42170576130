// The score radius, as in fastattn_lite/normalization.py. Matrices are arrays of rows.
import { dot } from "./attention.js";

/** The names that a normalisation takes. */
export const NORMALIZATIONS = ["none", "unit", "center", "center+unit", "max"];

/** Those that use a statistic over all tokens and so leak the future of a causal row. */
export const OVER_ALL_TOKENS = ["center", "center+unit", "max"];

/** [query, key] as the named convention maps them. */
export function normalize(query, key, normalization) {
  const keys = normalization.startsWith("center") ? centered(key) : key;
  if (normalization.endsWith("unit")) return [unit(query), unit(keys)];
  if (normalization === "max") return [byLargestNorm(query), byLargestNorm(key)];
  return [query, keys];
}

/** 1 where the convention bounds |q.k| by 1, otherwise 1/sqrt(d). */
export function defaultScale(normalization, dim) {
  return ["none", "center"].includes(normalization) ? 1 / Math.sqrt(dim) : 1;
}

function centered(rows) {
  const mean = rows[0].map((_, c) => rows.reduce((sum, row) => sum + row[c], 0) / rows.length);
  return rows.map((row) => row.map((x, c) => x - mean[c]));
}

/** Each token divided by its length; a zero token stays 0. */
function unit(rows) {
  return rows.map((row) => divided(row, Math.sqrt(dot(row, row))));
}

function byLargestNorm(rows) {
  const largest = Math.max(...rows.map((row) => Math.sqrt(dot(row, row))));
  return rows.map((row) => divided(row, largest));
}

function divided(row, length) {
  return length > 0 ? row.map((x) => x / length) : row;
}
