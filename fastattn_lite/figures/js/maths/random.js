// Random numbers that fastattn_lite/figures/random.py repeats: the same seed, the same tokens.

/** The generator mulberry32 (Tommy Ettinger, public domain), with Box and Muller's normals. */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  function uniform() {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  function normal() {
    const length = Math.sqrt(-2 * Math.log(1 - uniform()));
    return length * Math.cos(2 * Math.PI * uniform());
  }
  function normals(rows, columns) {
    return Array.from({ length: rows }, () => Array.from({ length: columns }, normal));
  }
  return { uniform, normal, normals };
}
