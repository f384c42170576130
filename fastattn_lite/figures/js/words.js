// Every word a reader sees comes from one catalogue, which Python reads too.
import catalogue from "../strings/en.json";

/** The text `key` of a figure (or of "common"), its {holes} filled from `values`. */
export function say(section, key, values = {}) {
  const text = catalogue[section]?.[key];
  if (text === undefined) throw new Error(`strings: no "${key}" under "${section}"`);
  return text.replace(/\{(\w+)\}/g, (_, hole) => values[hole]);
}
