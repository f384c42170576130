"""The kernels run on a GPU where there is one, otherwise in Triton's interpreter, on the CPU."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
