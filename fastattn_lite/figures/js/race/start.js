// Start a race in a worker, and hear of it.

/**
 * Start. `hear` gets { kind: "start", device }, { kind: "point", algorithm, tokens, seconds },
 * { kind: "progress", share }, { kind: "note", reason } and at last { kind: "end", how }, where `how`
 * is "finished", "cancelled" or "failed". Returns a function that cancels.
 */
export function startRace(settings, hear) {
  let worker = null;
  let isOver = false;
  const end = (how, reason) => {
    if (isOver) return;
    isOver = true;
    worker?.terminate();
    if (reason) hear({ kind: "note", reason });
    hear({ kind: "end", how });
  };
  try {
    worker = workerOf(RACE_WORKER);
    worker.onerror = () => end("failed", "worker");
    worker.onmessage = ({ data }) => {
      if (data.kind === "finished" || data.kind === "failed") end(data.kind, data.reason);
      else hear(data);
    };
    worker.postMessage(settings);
  } catch {
    end("failed", "worker");
  }
  return () => end("cancelled");
}

/** A worker from text, because browsers do not start one from a file of a page opened from disk. */
function workerOf(text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  setTimeout(() => URL.revokeObjectURL(address), 1000);
  return new Worker(address);
}
