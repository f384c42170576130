"""A stream of chunks: the same sum, in constant memory, without loss of digits, with its bar."""

from __future__ import annotations

import io
import sys
import tracemalloc
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from arrays import LIBRARIES, draw, worst

from fastattn_lite import (
    Moments,
    fast_attention,
    feature_weights,
    kernel_attention,
    monomial_features,
    stream_moments,
    taylor,
)
from fastattn_lite.progress import Progress


def chunked(count: int, size: int = 100, dtype: Any = np.float32) -> Iterator[tuple[Any, Any]]:
    """Yield chunks of tokens that are made only when asked for."""
    random = np.random.default_rng(0)
    for _ in range(count):
        block = random.uniform(0.5, 1, (size, 7)).astype(dtype)
        yield block[:, :4], block[:, 4:]


def error(sums: Any, exact: Any) -> float:
    return float(np.max(np.abs(np.asarray(sums) - exact) / exact))


@pytest.mark.equation("eq-compensated")
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_stream_is_the_whole(name: str) -> None:
    _, key, value = draw(keys=30, lead=(2,))
    cuts = [0, 1, 1, 8, 30]
    pairs = [(key[:, a:b], value[:, a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
    stream = stream_moments((tuple(map(LIBRARIES[name], pair)) for pair in pairs), order=3)
    assert worst(stream.sums, Moments.accumulate(key, value, order=3).sums) < 1e-12


@pytest.mark.equation("eq-compensated")
def test_the_round_off_of_a_stream_does_not_grow() -> None:
    exact = stream_moments(chunked(10_000, 5, np.float64), order=2).sums
    plain = Moments.empty(*next(chunked(1)), order=2)
    wide = Moments.empty(*next(chunked(1, dtype=np.float64)), order=2)
    for key, value in chunked(10_000, 5):
        plain, wide = plain.update(key, value), wide.update(key, value)
    # float32 tokens of the same float64 draws differ by half a unit of round-off each, at random.
    assert error(stream_moments(chunked(10_000, 5), order=2).sums, exact) < 2e-7
    assert error(wide.sums, exact) < 1e-7
    assert error(plain.sums, exact) > 2e-6


def test_one_token_at_a_time_needs_a_wider_state() -> None:
    """Adding 1 to a float32 counter does nothing from 2^24 on; a float64 state goes on."""
    key = value = np.ones((1, 1), dtype=np.float32)
    full = Moments(np.full((2, 2), 2.0**24, dtype=np.float32), 1, 1)
    assert float(full.update(key, value).sums[0, -1]) == 2**24
    wide = Moments(full.sums.astype(np.float64), 1, 1)
    assert wide.update(key, value).sums.dtype == np.float64
    assert float(wide.update(key, value).sums[0, -1]) == 2**24 + 1


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_decoding_keeps_the_wider_state(library: Any) -> None:
    query, key, value = draw()
    first, rest = [
        tuple(library(x[part].astype(dtype)) for x in (query, key, value))
        for part, dtype in ((slice(0, 1), np.float64), (slice(1, None), np.float32))
    ]
    _, state = fast_attention(*first, is_causal=True, return_state=True)
    output, state = fast_attention(*rest, is_causal=True, return_state=True, initial_state=state)
    assert output.dtype == rest[2].dtype
    assert state.sums.dtype == first[0].dtype
    expected = kernel_attention(query, key, value, expansion=taylor(2), is_causal=True)
    assert worst(output, expected[1:]) < 1e-5


@pytest.mark.equation("eq-stream")
def test_token_by_token_gives_the_causal_outputs() -> None:
    query, key, value = draw(queries=9, keys=9)
    expected = kernel_attention(query, key, value, expansion=taylor(2), is_causal=True, scale=1.0)
    state = Moments.empty(key, value, order=2)
    for t in range(9):
        state = state.update(key[t : t + 1], value[t : t + 1])
        assert worst(state.evaluate(query[t : t + 1], taylor(2)), expected[t : t + 1]) < 1e-10


@pytest.mark.equation("eq-prefix")
@pytest.mark.parametrize("size", [1, 3, 4, 11])
def test_a_chunk_meets_its_prefix_and_itself(size: int) -> None:
    query, key, value = draw()
    expected = kernel_attention(query, key, value, expansion=taylor(2), is_causal=True, scale=1.0)
    extended = np.concatenate([value, np.ones((11, 1))], axis=1)
    weighted_query = monomial_features(query, 2) * feature_weights(taylor(2), 3)
    earlier = Moments.empty(key, value, order=2)
    for start in range(0, 11, size):
        part = slice(start, start + size)
        kernel = np.tril(taylor(2)(query[part] @ key[part].T))
        sums = weighted_query[part] @ earlier.sums + kernel @ extended[part]
        assert worst(sums[:, :-1] / sums[:, -1:], expected[part]) < 1e-10
        earlier = earlier.update(key[part], value[part])
    fast = fast_attention(query, key, value, is_causal=True, scale=1.0, chunk_size=size)
    assert worst(fast, expected) < 1e-10


@pytest.mark.equation("eq-merge")
def test_merging_is_commutative_and_has_a_neutral_element() -> None:
    _, key, value = draw(keys=10)
    first, second = (
        Moments.accumulate(key[s], value[s], order=2) for s in (slice(4), slice(4, 10))
    )
    assert np.array_equal((first + second).sums, (second + first).sums)
    assert np.array_equal((first + Moments.empty(key, value, order=2)).sums, first.sums)
    whole = Moments.accumulate(key, value, order=2)
    assert worst((first + second).sums, whole.sums) < 1e-12


def peak(count: int) -> int:
    tracemalloc.start()
    try:
        stream_moments(chunked(count), order=2, tokens=100 * count)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_stream() -> None:
    peak(1)
    short, long = (min(peak(count) for _ in range(3)) for count in (100, 1000))
    assert long < 1.1 * short + 4096, "the least of three: an interpreter allocates, too"


@pytest.mark.parametrize(
    ("chunks", "error_type", "words"),
    [
        ([], ValueError, "chunks: expected at least one pair"),
        ([(np.ones((2, 3)), np.ones((2, 2))), (np.ones((2, 4)), np.ones((2, 2)))], ValueError, "4"),
        ([(np.ones((2, 3)), np.ones((1, 2)))], ValueError, "value: expected one value for each"),
        ([([1.0], [1.0])], TypeError, "key: expected an array"),
    ],
)
def test_a_bad_stream_is_refused(chunks: Any, error_type: Any, words: str) -> None:
    with pytest.raises(error_type, match=words):
        stream_moments(chunks, order=2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    stream_moments(chunked(10), order=1, tokens=1000)
    shown = sys.stderr.getvalue()
    assert shown.count("\r") <= 3, "at most ten times a second"
    assert shown.endswith("[########################] 1,000/1,000 tokens\n")
    stream_moments(chunked(2), order=1)
    assert sys.stderr.getvalue().endswith("200 tokens\n"), "the end is shown though unknown"
    stream_moments(chunked(2), order=1, tokens=300)
    assert sys.stderr.getvalue().endswith("200/300 tokens\n"), "and where it comes too early"
    before = sys.stderr.getvalue()
    stream_moments(chunked(2), order=1, tokens=200, progress=False)
    assert sys.stderr.getvalue() == before


def test_no_bar_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    stream_moments(chunked(2), order=1, tokens=200)
    assert capsys.readouterr() == ("", "")


def test_the_bar_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, data: dict[str, str], *, raw: bool) -> None:
            assert raw
            shown.append(data["text/plain"])

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert display_id
        Handle().update(data, raw=raw)
        return Handle()

    kernel = types.SimpleNamespace(kernel=None)
    parts = {
        "IPython": types.SimpleNamespace(get_ipython=lambda: kernel),
        "IPython.display": types.SimpleNamespace(display=display),
    }
    for name, part in parts.items():
        monkeypatch.setitem(sys.modules, name, part)
    bar = Progress(2)
    bar("first")
    bar("second")
    assert shown == [f"[{'#' * 12}{'.' * 12}] 1/2 first", f"[{'#' * 24}] 2/2 second"]


def test_the_bar_does_not_run_over() -> None:
    bar = Progress(10)
    bar("tokens", 30)
    assert bar.line("tokens") == f"[{'#' * 24}] 30/10 tokens"
    assert Progress(None).line("tokens") == "0 tokens"
    assert Progress(0).line("tokens") == f"[{'.' * 24}] 0/0 tokens"
