// Start a race and hear of it: on the GPU where it can run, otherwise on the CPU in a worker.
import { GpuProblem, raceOnGpu } from "./gpu.js";

/**
 * Start. `hear` gets { kind: "start", device }, { kind: "point", algorithm, tokens, seconds },
 * { kind: "progress", share }, { kind: "note", reason } and at last { kind: "end", how }, where `how`
 * is "finished", "cancelled" or "failed". Returns a function that cancels.
 */
export function startRace({ device, dim, order, most, budget }, hear) {
  let isOver = false;
  let stopWorker = () => {};
  const tell = (message) => { if (!isOver) hear(message); };
  const end = (how) => {
    if (isOver) return;
    hear({ kind: "end", how });
    isOver = true;
    stopWorker();
  };
  const settings = { dim, order, most, budget };
  const onCpu = () => {
    tell({ kind: "start", device: "cpu" });
    stopWorker = inWorker(settings, tell, end);
  };
  if (device === "gpu") {
    tell({ kind: "start", device: "gpu" });
    raceOnGpu({ ...settings, tell, isOver: () => isOver }).then(() => end("finished"), (error) => {
      if (isOver) return;
      tell({ kind: "note", reason: error instanceof GpuProblem ? error.message : "failed" });
      onCpu();
    });
  } else {
    onCpu();
  }
  return () => end("cancelled");
}

/** A worker from text, because browsers do not start one from a file of a page opened from disk. */
function inWorker(settings, tell, end) {
  const fail = (reason) => {
    tell({ kind: "note", reason });
    end("failed");
  };
  const address = URL.createObjectURL(new Blob([RACE_WORKER], { type: "text/javascript" }));
  try {
    const worker = new Worker(address);
    worker.onerror = () => fail("worker");
    worker.onmessage = ({ data }) => {
      if (data.kind === "finished") end("finished");
      else if (data.kind === "failed") fail(data.reason);
      else tell(data);
    };
    worker.postMessage(settings);
    return () => worker.terminate();
  } catch {
    fail("worker");
    return () => {};
  } finally {
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
}
