"""Moments in one file: NumPy's .npz without pickle, so that reading a file runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from array_api_compat import is_torch_array

from fastattn_lite import _files
from fastattn_lite._arrays import Array
from fastattn_lite.factorization import number_of_features
from fastattn_lite.normalization import NORMALIZATIONS

FORMAT = "fastattn_lite moments"
VERSION = 1
FIELDS = ("format", "version", "sums", "order", "dim", "normalization", "scale")
DTYPES = ("float32", "float64")


def as_numpy(array: Array) -> npt.NDArray[Any]:
    """Return the numbers of an array of any library, off its device and off any gradient."""
    return np.asarray(array.detach().cpu() if is_torch_array(array) else array)


def write(path: Path, fields: dict[str, Any]) -> None:
    """Write the fields whole or not at all."""
    _files.write(path, lambda file: np.savez(file, format=FORMAT, version=VERSION, **fields))


def read(path: Path) -> dict[str, Any]:
    """Return the checked fields of a file; `ValueError` says what is wrong with it."""
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
            fields = {name: archive[name] for name in archive.files}
        except Exception as error:  # damage meets zip, zlib, struct or NumPy's own parser
            _refuse(
                path, "a whole file written by Moments.save", f"{type(error).__name__}: {error}"
            )
    _check_fields(path, fields)
    found = {name: fields[name].item() for name in FIELDS if name != "sums"}
    _check_meaning(path, found)
    found["sums"] = _sums(path, fields["sums"], found["order"], found["dim"])
    return found


def _refuse(path: Path, expected: str, got: str) -> NoReturn:
    raise ValueError(f"path: expected {expected} in {path}, got {got}")


def _check_fields(path: Path, fields: dict[str, Any]) -> None:
    """Every field is there, nothing else is, and all but the sums are single entries."""
    names = sorted(fields)
    if names != sorted(FIELDS):
        _refuse(path, f"the fields {', '.join(sorted(FIELDS))}", ", ".join(names) or "none")
    for name in FIELDS:
        if name != "sums" and fields[name].shape != ():
            _refuse(path, f"one entry as {name}", f"the shape {fields[name].shape}")


def _check_meaning(path: Path, found: dict[str, Any]) -> None:
    """Format and version are known, and every entry can be what its name says."""
    if found["format"] != FORMAT:
        _refuse(path, f"the format {FORMAT!r}", repr(found["format"]))
    if found["version"] != VERSION:
        _refuse(path, f"version {VERSION}", f"version {found['version']!r}")
    for name, least in (("order", 0), ("dim", 1)):
        if type(found[name]) is not int or found[name] < least:
            _refuse(path, f"a whole number of at least {least} as {name}", repr(found[name]))
    if found["normalization"] not in NORMALIZATIONS:
        _refuse(path, f"one of {NORMALIZATIONS} as normalization", repr(found["normalization"]))
    if type(found["scale"]) is not float or not np.isfinite(found["scale"]):
        _refuse(path, "a finite number as scale", repr(found["scale"]))


def _sums(path: Path, sums: npt.NDArray[Any], order: int, dim: int) -> npt.NDArray[Any]:
    """Return the sums in this machine's order of bytes; their shape must fit order and dim."""
    sums = sums.astype(sums.dtype.newbyteorder("="), copy=False)
    if sums.dtype.name not in DTYPES:
        _refuse(path, f"sums of type {' or '.join(DTYPES)}", sums.dtype.name)
    rows = sums.shape[-2] if sums.ndim >= 2 else 0
    # There are more features than the order, and than the dimension, which bounds the count.
    is_small = order < rows and (order == 0 or dim < rows)
    if not is_small or rows != number_of_features(dim, order) or sums.shape[-1] < 1:
        _refuse(path, f"sums of order {order} and dimension {dim}", f"the shape {sums.shape}")
    return sums
