"""python -m tools.gpu_roofline: what the figure Roofline shows of the run gpu_h200.

That run is too long for a page. Its forward passes of 65,536 tokens, not causal, and the two
speeds of its device are written to gpu_roofline.json, beside it.
"""

from __future__ import annotations

import argparse
from typing import Any

from fastattn_lite.gpu_benchmark import GOAL_TOKENS, Plan
from fastattn_lite.results import load_result, save_result
from fastattn_lite.results.store import FOLDER

RUN, NAME = "gpu_h200", "gpu_roofline"
STEPS = {
    "fused": "forward: fused kernels",
    "array": "forward: array path",
    "flash": "softmax: FlashAttention",
    "cudnn": "softmax: cuDNN",
}
SPEEDS = {"peak": "product", "bandwidth": "copy"}
BFLOAT16_BYTES = 2


def extract(run: dict[str, Any]) -> dict[str, Any]:
    """Return the forward passes of a run, named by their steps, under its two speeds."""
    names = {f"{name}, forward": step for name, step in STEPS.items()}
    size = f"{GOAL_TOKENS:,} tokens, {Plan().heads} heads in a call"
    return run | {
        "name": NAME,
        "title": f"Forward passes of {size}, bfloat16",
        "command": f"python -m tools.gpu_roofline, from {RUN}: {run['command']}",
        "samples": [
            sample | {"what": names[sample["what"]], "number_bytes": BFLOAT16_BYTES}
            for sample in run["samples"]
            if sample["what"] in names
            and (sample["tokens"], sample["is_causal"], sample["unit"]) == (GOAL_TOKENS, False, "s")
        ],
        "summary": {speed: run["summary"][found] for speed, found in SPEEDS.items()},
    }


if __name__ == "__main__":
    about = (__doc__ or "").partition(": ")
    argparse.ArgumentParser(prog=about[0], description=about[2]).parse_args()
    print("written:", save_result(extract(load_result(RUN)), FOLDER / f"{NAME}.json"))
