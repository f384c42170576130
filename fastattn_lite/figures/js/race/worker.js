// A race, in a worker of its own, so that the page stays free: on the GPU where that works.
import { raceOnCpu } from "./cpu.js";
import { raceOnGpu } from "./gpu.js";
import { Problem } from "./problem.js";

const RACES = { gpu: raceOnGpu, cpu: raceOnCpu };
/** What is said of an error that no one foresaw. */
const UNFORESEEN = { gpu: "failed", cpu: "worker" };

self.onmessage = ({ data: { device, ...settings } }) => race(device, settings);

const tell = (message) => self.postMessage(message);

/** What the GPU cannot do the CPU does; where the CPU cannot either, the race has failed. */
async function race(device, settings) {
  tell({ kind: "start", device });
  try {
    await RACES[device](settings, tell);
    tell({ kind: "finished" });
  } catch (error) {
    const reason = error instanceof Problem ? error.message : UNFORESEEN[device];
    if (device === "cpu") {
      tell({ kind: "failed", reason });
    } else {
      tell({ kind: "note", reason });
      race("cpu", settings);
    }
  }
}
