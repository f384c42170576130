"""The kernels compile for GPUs that are not there, fit their shared memory, and wait for products.

The interpreter takes programs that the compiler refuses, and has no products that run on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import compiled
import pytest

SCRIPT = Path(compiled.__file__)
EVERYWHERE = [
    pytest.param(80, "float16", 16, 2, "full", "moments"),
    pytest.param(90, "bfloat16", 64, 2, "causal", "moments"),
    pytest.param(89, "bfloat16", 128, 2, "full", "moments"),
    pytest.param(89, "bfloat16", 128, 2, "full", "pairs"),
]
ALL = [
    pytest.param(capability, dtype, dim, order, mask, form, marks=pytest.mark.slow)
    for capability in (89, 90)
    for dtype in ("bfloat16", "float32")
    for dim, order in ((64, 2), (128, 2), (32, 3))
    for mask in ("full", "causal")
    for form in ("moments", "pairs")
]


@pytest.mark.parametrize(
    ("capability", "dtype", "dim", "order", "mask", "form"), [*EVERYWHERE, *ALL]
)
def test_every_kernel_compiles_fits_and_waits(capability, dtype, dim, order, mask, form):
    given = [str(x) for x in (capability, dtype, dim, order, mask, form)]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, SCRIPT, *given], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made = [line.split() for line in done.stdout.splitlines()]
    assert len(made) >= 3
    for kernel, size, hazards in made:
        assert int(size) <= compiled.SHARED[capability], kernel
        assert hazards == "0", kernel
