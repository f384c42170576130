/** A function that keeps its last result and computes anew only when an argument has changed. */
export function remembered(make) {
  let last = null;
  return (...values) => {
    if (!last || values.some((value, i) => value !== last.values[i])) last = { values, result: make(...values) };
    return last.result;
  };
}
