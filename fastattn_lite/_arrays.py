"""What every step asks of its inputs, in one place: array library, floating type, shapes.

The package runs on any library that follows the Python array API standard (NumPy, torch,
array-api-strict); `namespace` finds the one that the caller uses.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array, is_torch_array

CACHE_LINE = 64
"""Bytes of a processor's cache line."""
Array = Any
"""An array of NumPy, torch or any library that follows the array API standard."""


def namespace(**arrays: Array) -> Any:
    """Return the array library shared by the named arguments, which must be real and floating.

    Raises `TypeError` where an argument is no array, holds no real floating-point numbers, or
    comes from another library than the first; `ValueError` where the devices differ.
    """
    first_name, first = next(iter(arrays.items()))
    common = _library(first_name, first)
    place = device(first)
    for name, array in arrays.items():
        xp = common if type(array) is type(first) else _library(name, array)
        if not _is_real_floating(xp, array.dtype):
            raise TypeError(f"{name}: expected real floating-point numbers, got {array.dtype}")
        if xp is not common:
            raise TypeError(
                f"{name}: expected the array library of {first_name} "
                f"({type(first).__name__}), got {type(array).__name__}"
            )
        if array is not first and (found := device(array)) != place:
            raise ValueError(f"{name}: expected the device of {first_name} ({place}), got {found}")
    return common


def _library(name: str, array: Array) -> Any:
    """Return the array library of an argument; `TypeError` where it is no plain array."""
    try:
        xp = array_namespace(array)
    except TypeError:
        raise TypeError(
            f"{name}: expected an array (NumPy, torch, ...), got {type(array).__name__}"
        ) from None
    if isinstance(array, np.matrix | np.ma.MaskedArray):
        raise TypeError(f"{name}: expected a plain array, got {type(array).__name__}")
    return xp


@functools.cache
def _is_real_floating(xp: Any, dtype: Any) -> bool:
    return bool(xp.isdtype(dtype, "real floating"))


def accumulation_dtype(xp: Any, *arrays: Array) -> Any:
    """Return the type to compute in: that of the widest input, but at least float32."""
    return _common_dtype(xp, *(array.dtype for array in arrays), xp.float32)


@functools.cache
def _common_dtype(xp: Any, *dtypes: Any) -> Any:
    return xp.result_type(*dtypes)


def check_token_axes(**arrays: Array) -> None:
    """Raise `ValueError` unless every argument has at least the axes (tokens, features)."""
    for name, array in arrays.items():
        if array.ndim < 2:
            raise ValueError(
                f"{name}: expected the shape (..., tokens, features), got {tuple(array.shape)}"
            )


def broadcast_lead(*arrays: Array, names: str) -> tuple[int, ...]:
    """Return the common shape of all axes before the last two (batch, heads, ...)."""
    leads = [tuple(array.shape[:-2]) for array in arrays]
    if all(lead == leads[0] for lead in leads):
        return leads[0]
    rank = max(len(lead) for lead in leads)
    padded = [(1,) * (rank - len(lead)) + lead for lead in leads]
    common: list[int] = []
    for sizes in zip(*padded, strict=True):
        size = next((size for size in sizes if size != 1), 1)
        if any(other not in (1, size) for other in sizes):
            raise ValueError(f"{names}: expected leading axes that broadcast, got {leads}")
        common.append(size)
    return tuple(common)


def check_attention_inputs(query: Array, key: Array, value: Array, *, is_causal: bool) -> Any:
    """Check the three inputs of attention against each other and return their array library."""
    xp = namespace(query=query, key=key, value=value)
    check_query_and_key(query, key)
    check_token_axes(value=value)
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"value: expected one value for each of the {key.shape[-2]} keys, "
            f"got the shape {tuple(value.shape)}"
        )
    broadcast_lead(query, key, value, names="query, key, value")
    check_mask(query, key, is_causal)
    return xp


def check_query_and_key(query: Array, key: Array) -> None:
    """Raise `ValueError` unless query and key are token arrays of one dimension d >= 1."""
    check_token_axes(query=query, key=key)
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"key: expected the dimension of query ({query.shape[-1]}), "
            f"got {key.shape[-1]} (shape {tuple(key.shape)})"
        )
    if query.shape[-1] == 0:
        raise ValueError("query: expected a dimension of at least 1, got 0")
    broadcast_lead(query, key, names="query, key")


def check_mask(query: Array, key: Array, is_causal: bool) -> None:
    """Raise an error unless `is_causal` is a flag, and queries as many as keys where it is set."""
    if check_flag("is_causal", is_causal) and query.shape[-2] != key.shape[-2]:
        raise ValueError(
            "is_causal: expected as many queries as keys, "
            f"got {query.shape[-2]} queries and {key.shape[-2]} keys"
        )


def check_flag(name: str, flag: Any) -> bool:
    """Return `flag` as a bool, or raise an error that names the argument.

    Python takes anything for true or false, "no" for true.
    """
    if not isinstance(flag, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {flag!r}")
    return bool(flag)


def check_count(name: str, number: Any, *, least: int) -> int:
    """Return `number` as an int, or raise an error that names the argument."""
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(f"{name}: expected a whole number, got {number!r}")
    whole = int(number.__index__())
    if whole < least:
        raise ValueError(f"{name}: expected at least {least}, got {whole}")
    return whole


def check_real(name: str, number: Any, *, positive: bool = False) -> float:
    """Return `number` as a finite float, or raise an error that names the argument."""
    try:
        if isinstance(number, str | bytes | bool):
            raise TypeError
        real = float(number)
    except OverflowError:
        real = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a real number, got {number!r}") from None
    if not math.isfinite(real) or (positive and real <= 0):
        wanted = "a finite number above 0" if positive else "a finite number"
        raise ValueError(f"{name}: expected {wanted}, got {real}")
    return real


def check_points(axes: int, **arrays: Array) -> dict[str, Any]:
    """Return the named NumPy arrays in float64, which must have `axes` axes and be finite.

    Raises `TypeError` where an argument is no NumPy array of real floating-point numbers,
    `ValueError` where it has other axes or holds a number that is not finite.
    """
    namespace(**arrays)
    shape = "(" + ", ".join(("points", "dim")[:axes]) + ("," if axes == 1 else "") + ")"
    for name, array in arrays.items():
        if not is_numpy_array(array):
            raise TypeError(f"{name}: expected a NumPy array, got {type(array).__name__}")
        if array.ndim != axes:
            raise ValueError(f"{name}: expected the shape {shape}, got {array.shape}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name}: expected finite numbers, got nan or infinity")
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def check_memory(what: str, numbers: int, info: Any, like: Array | None = None) -> None:
    """Raise `ValueError`, saying how many GiB it needs, where `numbers` would fill the memory.

    `info` is the `finfo` or `iinfo` of their type; they will lie where the array `like` does.
    """
    needed = numbers * info.bits / 8 / 2**30
    place, size = memory_of(like)
    if needed > size / 2**30:
        raise ValueError(
            f"order: {what} would need {needed:,.1f} GiB, and this {place} has "
            f"{size / 2**30:,.1f} GiB: choose a smaller order or dimension"
        )


def memory_of(like: Array | None) -> tuple[str, int]:
    """Return in a word where an array lies, and how many bytes there are."""
    if is_torch_array(like) and like.is_cuda:
        import torch

        if torch.cuda.is_available():  # a fake tensor's GPU need not be there
            return "GPU", torch.cuda.get_device_properties(like.device).total_memory
    return "machine", physical_memory()


@functools.cache
def physical_memory() -> int:
    """Return the bytes of main memory (64 GiB is assumed where the system does not say)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 64 * 2**30


def check_someone_to_attend_to(query: Array, key: Array) -> None:
    """Raise `ValueError` where there are queries but no key: a mean over nothing."""
    if key.shape[-2] == 0 and query.shape[-2] > 0:
        raise ValueError(f"key: expected at least one key for {query.shape[-2]} queries, got none")


def contiguous(xp: Any, x: Array) -> Array:
    """Return a copy of x whose last axis is contiguous in memory."""
    return xp.reshape(xp.reshape(x, (-1,), copy=True), x.shape)


def can_write_in_place(x: Array) -> bool:
    """Say whether results may be written with `out=`.

    Not where torch records gradients, compiles, or transforms functions (vmap, jvp, ...).
    """
    if not is_torch_array(x):
        return is_numpy_array(x)
    return not (is_compiling() or x.requires_grad or is_transformed(x))


def is_compiling() -> bool:
    """Say whether torch.compile follows this call."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def is_transformed(x: Array) -> bool:
    """Say whether torch.func (vmap, grad, jvp, ...) or forward differentiation holds a tensor."""
    import torch

    try:
        x.untyped_storage()
    except NotImplementedError:  # what torch.func hands out has no memory of its own
        return True
    forward_ad: Any = torch.autograd.forward_ad
    # outside of every level there are no tangents, and asking takes long
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None


def records_gradients(*arrays: Array) -> bool:
    """Say whether torch notes a function of these for a backward pass, or compiles it."""
    if not is_torch_array(arrays[0]):
        return False
    import torch

    if is_compiling():
        return True
    recorded = torch.is_grad_enabled() and any(x.requires_grad for x in arrays)
    return recorded and not any(map(is_transformed, arrays))


def is_plain(*arrays: Array) -> bool:
    """Say whether these are torch tensors of which nothing is asked but the result."""
    torch = sys.modules.get("torch")
    if torch is None or any(type(x) is not torch.Tensor for x in arrays):
        return False
    return not (is_watched() or any(map(is_transformed, arrays)) or records_gradients(*arrays))


def is_watched() -> bool:
    """Say whether torch does more than compute: it traces or transforms, or a mode looks on.

    Be it for other tensors. torch keeps one note of modes for all threads, which is wrong where
    another one has just left its own, and a stack for each, which lacks some modes.
    """
    torch: Any = sys.modules["torch"]
    # torch has no public names for what this thread is inside of
    modes = torch.utils._python_dispatch
    transform = torch._C._functorch.peek_interpreter_stack()
    mode = modes._get_current_dispatch_mode()
    is_seen = torch.jit.is_tracing() or modes.is_in_torch_dispatch_mode() or mode is not None
    return is_seen or transform is not None


def stands_for_itself(x: Array) -> bool:
    """Say whether a torch tensor holds its numbers, and no class of its own computes with it."""
    torch: Any = sys.modules["torch"]
    return type(x).__torch_dispatch__ is torch.Tensor.__torch_dispatch__


def full_precision(x: Array) -> AbstractContextManager[Any]:
    """Return a context in which torch.autocast rounds nothing on the device of x."""
    if is_torch_array(x):
        import torch

        if torch.amp.is_autocast_available(x.device.type):
            return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def room(xp: Any, shape: tuple[int, ...], like: Array) -> Array:
    """Return an array for results, with the type and the device of another one.

    It begins at a cache line, as torch's own do: where NumPy's begin inside of one, every wide
    store falls on two lines and products of rows take 1.4 times as long.
    """
    if not is_numpy_array(like):
        return xp.empty(shape, dtype=like.dtype, device=device(like))
    size = math.prod(shape)
    numbers = np.empty(size + CACHE_LINE // like.itemsize, dtype=like.dtype)
    skipped = -numbers.ctypes.data % CACHE_LINE // like.itemsize
    return np.reshape(numbers[skipped : skipped + size], shape)


def multiply_into(x: Array) -> Any:
    """Return the library's own `multiply`, whose `out=` needs no wrapper around short products."""
    return np.multiply if is_numpy_array(x) else sys.modules["torch"].multiply


def chunks(tokens: int, chunk_size: int | None, default: int) -> Iterator[slice]:
    """Yield slices of `chunk_size` tokens, or of `default`; one empty slice for no token."""
    size = default if chunk_size is None else check_count("chunk_size", chunk_size, least=1)
    for start in range(0, max(tokens, 1), size):
        yield slice(start, min(start + size, tokens))
