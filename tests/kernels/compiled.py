"""Compile, for a GPU that need not be there, every kernel that a call would launch.

    python tests/kernels/compiled.py <capability> <dtype> <dim> <order> <causal> <form>

It prints a line for each: its name, the bytes of shared memory that a program takes, and how
many products may still read what is being overwritten.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fastattn_lite.kernels import backward, forward, operator, settings, states

NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32", torch.int32: "i32"}
OPTIONS = ("num_warps", "num_stages", "maxnreg")
SHARED = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024}
"""Bytes of shared memory that a program may take, by capability (CUDA programming guide)."""


def compiler(capability: int):
    """Return what takes the place of a launch."""
    target, done = GPUTarget("cuda", capability, 32), set[str]()

    def compile_instead(kernel: Any, _grid: Any, *arguments: Any, **constants: Any) -> None:
        options = {name: constants.pop(name) for name in OPTIONS if name in constants}
        signature, aligned = dict.fromkeys(kernel.arg_names, "constexpr"), {}
        for place, (name, value) in enumerate(zip(kernel.arg_names, arguments, strict=False)):
            is_special = name not in kernel.do_not_specialize
            if is_special and is_one(value):
                constants[name] = value
                continue
            signature[name] = kind(value)
            if is_special and is_aligned(value):
                aligned[(place,)] = [["tt.divisibility", 16]]
        source = ASTSource(kernel, signature, constants, aligned)
        if (key := f"{kernel.__name__}{signature}{constants}") not in done:
            done.add(key)
            made = triton.compile(source, target=target, options=options)
            print(kernel.__name__, made.metadata.shared, hazards(made.asm["ttgir"]), flush=True)

    return compile_instead


def hazards(program: str) -> int:
    """Count products that may still run while their operands are overwritten (Triton's GPU code).

    Either a product reads registers and a wait leaves any product under way; or a tile in shared
    memory is read by a product in a branch and by something else of the same loop outside: then
    it has too few copies, and the next tile is loaded over it.
    """
    lines, found, loops, branches = program.splitlines(), 0, 0, 0
    inside, outside = set[tuple[int, str]](), set[tuple[int, str]]()
    for place, line in enumerate(lines):
        if "scf.for" in line:  # names and branches are counted anew: both belong to a loop
            loops, branches = loops + 1, 0
        branches += line.count("scf.if") - (branches > 0 and bool(re.match(r"\s*}( loc|$)", line)))
        if product := re.search(r"(%\S+) = ttng.warp_group_dot (%\S+), (%\w+)", line):
            (inside if branches else outside).add((loops, product[3]))
            in_registers = re.search(r": tensor<[^>]*>> \*|: tensor<[^*]*\* !ttg", line)
            if in_registers and "isAsync = true" in line:
                following = "\n".join(lines[place + 1 : place + 3])
                found += bool(re.search(r"dot_wait .*pendings = [1-9]", following))
        elif load := re.search(r"ttg.local_load (%\w+)", line):
            outside.add((loops, load[1]))
    return found + len(inside & outside)


def kind(value: Any) -> str:
    """Return the type of an argument as Triton spells it."""
    if isinstance(value, torch.Tensor):
        return "*" + NAMES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def is_one(value: Any) -> bool:
    """Say whether a launch would compile the number in, as it does with strides of 1."""
    return type(value) is int and value == 1


def is_aligned(value: Any) -> bool:
    """Say whether a launch would promise that the argument is divisible by 16."""
    return isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0)


def main(capability: str, dtype: str, dim: str, order: str, causal: str, form: str) -> None:
    """Call the operator forward and backward on tensors without values."""
    for module in (states, forward, backward):
        module.launch = compiler(int(capability))
    for module in (forward, backward):
        module.takes_pairs = lambda *_: form == "pairs"
    settings.shared_memory = lambda _device: SHARED[int(capability)]
    settings.limits_registers = lambda _device: int(capability) >= 90
    tokens = torch.empty((2, 4_096, int(dim)), dtype=getattr(torch, dtype))
    options = ((1.0, 0.5, 0.25, 0.1)[: int(order) + 1], 1.0, causal == "causal")
    output, normaliser = operator.forward(tokens, tokens, tokens, *options)
    operator.backward(output, output, normaliser, tokens, tokens, tokens, *options)


if __name__ == "__main__":
    main(*sys.argv[1:])
