"""Attention of order 2 in two small Triton kernels, made to be read.

    S_r = sum_j k_jr k_j v_j^T,   g_r = sum_j k_jr k_j     for r = 0 (k_j0 = 1), 1, ..., d
    F_i = sum_j v_j + sum_r weight_r q_ir S_r^T q_i,   G_i = n + sum_r weight_r q_ir g_r . q_i
    weight_0 = scale,   weight_r = scale^2 / 2

The first kernel makes the states S_r and g_r, the second the outputs F_i / G_i. No table of
features is ever stored. The kernels that the package uses are built on the same two loops; they
stand beside this file.
"""
# pyright: basic, reportArgumentType=false

import torch
import triton
import triton.language as tl

from fastattn_lite.kernels.launch import launch


@triton.jit
def accumulate_kernel(
    key, value, states, counts, tokens, scale,
    D: tl.constexpr, E: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write one row of the state, weight_r S_r / n and weight_r g_r / n: program (row, head)."""
    row, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    t, c, e = tl.arange(0, BLOCK), tl.arange(0, D), tl.arange(0, E)
    key += head * tokens * D
    value += head * tokens * E
    state = tl.zeros([D, E], tl.float32)
    count = tl.zeros([D], tl.float32)
    for start in range(0, tokens, BLOCK):
        token = (start + t).to(tl.int64)
        there = token < tokens
        k = tl.load(key + token[:, None] * D + c[None, :], mask=there[:, None], other=0.0)
        v = tl.load(value + token[:, None] * E + e[None, :], mask=there[:, None], other=0.0)
        k_r = tl.load(key + token * D + row - 1, mask=there & (row > 0), other=1.0)
        scaled = k * k_r[:, None]
        state = tl.dot(tl.trans(scaled), v, state, input_precision="ieee")
        count += tl.sum(scaled.to(tl.float32), 0)
    weight = tl.where(row > 0, scale * scale / 2, scale) / tokens
    place = head * (D + 1) + row
    at = place * D * E + c[:, None] * E + e[None, :]
    tl.store(states + at, (state * weight).to(states.dtype.element_ty))
    tl.store(counts + place * D + c, count * weight)


@triton.jit
def evaluate_kernel(
    query, states, counts, mean, output, tokens,
    D: tl.constexpr, E: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the outputs of BLOCK queries: program (block, head)."""
    block, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    token = (block * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    c, e = tl.arange(0, D), tl.arange(0, E)
    there = token < tokens
    query += head * tokens * D
    states += head * (D + 1) * D * E + c[:, None] * E + e[None, :]
    counts += head * (D + 1) * D + c
    q = tl.load(query + token[:, None] * D + c[None, :], mask=there[:, None], other=0.0)
    numerator = tl.zeros([BLOCK, E], tl.float32) + tl.load(mean + head * E + e)[None, :]
    numerator = tl.dot(q, tl.load(states), numerator, input_precision="ieee")
    denominator = 1.0 + tl.sum(q * tl.load(counts)[None, :], 1)
    for row in range(1, D + 1):
        q_r = tl.load(query + token * D + row - 1, mask=there, other=0.0)
        scaled = q * q_r[:, None]
        state = tl.load(states + row * D * E)
        numerator = tl.dot(scaled, state, numerator, input_precision="ieee")
        denominator += tl.sum(scaled * tl.load(counts + row * D)[None, :], 1)
    output += head * tokens * E + token[:, None] * E + e[None, :]
    result = (numerator / denominator[:, None]).to(output.dtype.element_ty)
    tl.store(output, result, mask=there[:, None])


def teaching_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float, block: int = 64
) -> torch.Tensor:
    """Return attention with f(s) = 1 + s + s^2/2 over all keys, on a GPU or in the interpreter.

    Formula: o_i = F_i / G_i with the rows of the module's docstring; everything is divided by n.
    Shapes: query (h, n_q, d), key (h, n, d), value (h, n, d_v) to (h, n_q, d_v); d and d_v are
    powers of two from 16 on, all three of one dtype. Sums are taken in float32.
    Cost: 4 h n (d + 1) d (d_v + 1) flops where n_q = n; h (d + 1) d (d_v + 1) numbers of state.
    Raises `ValueError` where a shape does not fit, `TypeError` where the types differ.
    Equation: eq-rows (chapter gpu_evaluation).
    """
    check(query, key, value)
    (heads, tokens, dim), width = key.shape, value.shape[2]
    query, key, value = (x.contiguous() for x in (query, key, value))
    states = torch.empty((heads, dim + 1, dim, width), dtype=key.dtype, device=key.device)
    counts = torch.empty((heads, dim + 1, dim), dtype=torch.float32, device=key.device)
    mean = value.mean(dim=1, dtype=torch.float32)
    output = torch.empty((*query.shape[:2], width), dtype=value.dtype, device=value.device)
    sizes = {"D": dim, "E": width, "BLOCK": block}
    grid = (triton.cdiv(query.shape[1], block), heads)
    accumulating = (key, value, states, counts, tokens, scale)
    launch(accumulate_kernel, (dim + 1, heads), *accumulating, **sizes)
    launch(evaluate_kernel, grid, query, states, counts, mean, output, query.shape[1], **sizes)
    return output


def check(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
    """Raise an error that says what is wrong with the shapes or types, if anything is."""
    tokens = (query, key, value)
    shapes, types = [tuple(x.shape) for x in tokens], [x.dtype for x in tokens]
    is_fitting = [len(shape) for shape in shapes] == [3, 3, 3] and key.shape[1] > 0
    if not is_fitting or (query.shape[::2], value.shape[:2]) != (key.shape[::2], key.shape[:2]):
        wanted = "(h, n_q, d), (h, n, d), (h, n, d_v) with n > 0"
        raise ValueError(f"query, key and value: expected {wanted}, got {shapes}")
    for name, size in (("query and key", key.shape[2]), ("value", value.shape[2])):
        if size < 16 or size & (size - 1):
            raise ValueError(f"{name}: expected a power of two from 16 on as last size, got {size}")
    if len(set(types)) > 1:
        raise TypeError(f"query, key and value: expected one dtype, got {types}")
