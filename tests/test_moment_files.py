"""Moments survive being saved, loaded, pickled and copied; a damaged file says what is wrong."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arrays import LIBRARIES, draw, worst

from fastattn_lite import Moments, fast_attention


def made(**options: Any) -> Moments:
    _, key, value = draw(lead=(2,))
    return Moments.accumulate(key, value, order=2, **options)


def same(left: Moments, right: Moments) -> bool:
    kinds = [(m.order, m.dim, m.key_map, m.sums.dtype, m.sums.shape) for m in (left, right)]
    return kinds[0] == kinds[1] and np.array_equal(left.sums, right.sums, equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LIBRARIES)
def test_saved_and_loaded_in_every_library(name: str, dtype: Any, tmp_path: Path) -> None:
    _, key, value = (LIBRARIES[name](x.astype(dtype)) for x in draw(lead=(2, 1)))
    moments = Moments.accumulate(key, value, order=3)
    moments.save(tmp_path / "state.npz")
    plain = Moments.load(tmp_path / "state.npz")
    assert type(plain.sums) is np.ndarray
    assert plain.sums.dtype == dtype
    assert worst(plain.sums, moments.sums) == 0
    loaded = Moments.load(str(tmp_path / "state.npz"), like=key)
    assert type(loaded.sums) is type(moments.sums)
    assert loaded.sums.dtype == moments.sums.dtype
    assert loaded.kind() == moments.kind()
    assert worst((loaded + moments).sums, 2 * np.asarray(moments.sums)) == 0


def test_the_treatment_of_the_keys_is_kept(tmp_path: Path) -> None:
    query, key, value = draw()
    _, state = fast_attention(query, key, value, normalization="unit", return_state=True)
    state.save(tmp_path / "state")
    loaded = Moments.load(tmp_path / "state")
    assert same(loaded, state)
    again = fast_attention(
        query, key, value, normalization="unit", initial_state=loaded, is_causal=True
    )
    expected = fast_attention(
        query, key, value, normalization="unit", initial_state=state, is_causal=True
    )
    assert np.array_equal(again, expected)
    with pytest.raises(ValueError, match="normalization 'unit'"):
        loaded + Moments.accumulate(key, value, order=2)


def test_a_stream_goes_on_after_loading_as_if_nothing_had_happened(tmp_path: Path) -> None:
    _, key, value = draw(keys=40)
    whole = Moments.empty(key, value, order=2)
    for token in range(40):
        if token == 17:
            whole.save(tmp_path / "state.npz")
        whole = whole.update(key[token : token + 1], value[token : token + 1])
    resumed = Moments.load(tmp_path / "state.npz")
    for token in range(17, 40):
        resumed = resumed.update(key[token : token + 1], value[token : token + 1])
    assert same(resumed, whole)


def test_numbers_that_are_none_are_kept(tmp_path: Path) -> None:
    moments = made()
    moments.sums[0, 0, 0], moments.sums[0, 1, 1] = np.nan, -np.inf
    moments.save(tmp_path / "state.npz")
    assert same(Moments.load(tmp_path / "state.npz"), moments)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("way", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_pickled_and_copied(name: str, way: Any) -> None:
    _, key, value = map(LIBRARIES[name], draw())
    moments = Moments.accumulate(key, value, order=2)
    again = way(moments)
    assert again.kind() == moments.kind()
    assert worst(again.sums, moments.sums) == 0


def test_a_gradient_is_left_behind(tmp_path: Path) -> None:
    key = torch.ones((3, 2), requires_grad=True)
    Moments.accumulate(key, key, order=1).save(tmp_path / "state.npz")
    assert float(Moments.load(tmp_path / "state.npz").sums[0, -1]) == 3


def test_the_old_file_stays_where_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.npz"
    made().save(path)
    before = path.read_bytes()

    def fails(file: Any, **_: Any) -> None:
        file.write(b"half a file")
        raise OSError("the disk is full")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="full"):
        made(chunk_size=1).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def fields_of(moments: Moments) -> dict[str, Any]:
    return {
        "format": "fastattn_lite moments",
        "version": 1,
        "sums": moments.sums,
        "order": moments.order,
        "dim": moments.dim,
        "normalization": "none",
        "scale": 1.0,
    }


FAULTS = [
    ({"sums": None}, "the fields .* got dim, format, .*order"),
    ({"more": 1}, "the fields .* got dim, format, more"),
    ({"format": "something else"}, "the format 'fastattn_lite moments' .* 'something else'"),
    ({"version": 2}, "version 1 .* got version 2"),
    ({"order": -1}, "at least 0 as order"),
    ({"order": 2.0}, "a whole number .* as order"),
    ({"order": 3}, "sums of order 3 and dimension 3 .* shape"),
    ({"order": 2**62}, "sums of order"),
    ({"dim": 0}, "at least 1 as dim"),
    ({"dim": 10**9}, "and dimension 1000000000"),
    ({"dim": [3, 3]}, "one entry as dim"),
    ({"normalization": "l2"}, "as normalization .* got 'l2'"),
    ({"scale": np.nan}, "a finite number as scale"),
    ({"scale": "1"}, "a finite number as scale"),
    ({"sums": np.zeros(10)}, "sums of order 2"),
    ({"sums": np.zeros((10, 0))}, r"shape \(10, 0\)"),
    ({"sums": np.zeros((10, 3), dtype=int)}, "type float32 or float64 .* int64"),
    ({"sums": np.zeros((10, 3), dtype=np.float16)}, "type float32 or float64 .* float16"),
    ({"sums": np.array([[None]])}, "a whole file"),
]


@pytest.mark.parametrize(("change", "words"), FAULTS, ids=lambda part: str(part)[:30])
def test_a_wrong_field_is_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    fields = {name: x for name, x in (fields_of(made()) | change).items() if x is not None}
    np.savez(tmp_path / "state.npz", **fields)
    with pytest.raises(ValueError, match=f"(?s)path: expected .*{words}") as caught:
        Moments.load(tmp_path / "state.npz")
    assert "state.npz" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"no archive at all", pickle.dumps(made()), b"PK\x03\x04", b"\x93NUMPY"]
)
def test_what_is_no_file_of_moments_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.npz").write_bytes(content)
    with pytest.raises(ValueError, match="path: expected a whole file"):
        Moments.load(tmp_path / "state.npz")


def test_a_lone_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "state.npy", np.zeros((10, 3)))
    with pytest.raises(ValueError, match="path: expected a whole file"):
        Moments.load(tmp_path / "state.npy")


def test_damage_is_found_or_harmless(tmp_path: Path) -> None:
    """Cut off anywhere the file is refused; with any one byte wrong it is refused or the same."""
    path = tmp_path / "state.npz"
    moments = made()
    moments.save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="path: expected"):
            Moments.load(path)
    refused, unharmed = 0, 0
    for place in range(0, len(content), 11):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            loaded = Moments.load(path)
        except ValueError as error:
            refused += str(error).startswith("path: expected")
        else:
            assert same(loaded, moments), place
            unharmed += 1
    assert refused > 50
    assert refused + unharmed == len(range(0, len(content), 11))


def test_another_order_of_bytes_is_read(tmp_path: Path) -> None:
    moments = made()
    fields = fields_of(moments) | {"sums": moments.sums.astype(">f8")}
    np.savez(tmp_path / "state.npz", **fields)
    assert same(Moments.load(tmp_path / "state.npz"), moments)


def test_no_file_is_no_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Moments.load(tmp_path / "state.npz")
    made().save(tmp_path / "state.npz")
    with pytest.raises(TypeError, match="like: expected an array"):
        Moments.load(tmp_path / "state.npz", like="numpy")
