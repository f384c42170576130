"""Starting kernels: through Triton the first time, and then again with other addresses.

To start a kernel, Triton binds its arguments anew and looks up what it compiled for their types.
A function that only makes room and starts kernels does the same for all tensors of the same
facts, but for the addresses. So `again` records what the first call starts, and repeats it: for
few tokens the kernels themselves take less time than starting them takes the host.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
import triton

from fastattn_lite.kernels.support import interpreted

Tensor = torch.Tensor
Tensors = tuple[Tensor, ...]
Slot = tuple[int, int, int]
MOST_RECORDED = 256
"""So many calls are kept; then all are forgotten."""
LARGEST_SHARE = 64
"""A call whose rooms together take more than this part of a GPU's memory is not recorded: while it
is, all of them are held. There the kernels take longer than it takes to start them."""
ROOMS_ON_CPU = 2**29
"""Most bytes of them under the interpreter."""
LONGEST_AXIS = 65_535
"""So many programs may stand on an axis of a grid that counts heads or chunks."""
ALIGNED = 256
"""Rooms in scratch memory begin at multiples of so many bytes."""
REPEATS = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 3)
"""Since Triton 3.3 a compiled kernel is started with all its arguments, in their order."""


def launch(
    kernel: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **constants: Any
) -> None:
    """Start a kernel on a grid of programs, on the GPU of its first tensor.

    Triton itself would take the current GPU, whatever the tensors lie on. Its interpreter keeps the
    place of the running program in the language itself, so it runs for one thread at a time.
    """
    with torch.cuda.device_of(first), _interpreter if interpreted() else nullcontext():
        compiled = kernel[grid](first, *arguments, **constants)
    if (recording := _recording.get()) is not None:
        recording.note(compiled, kernel.arg_names, grid, (first, *arguments), constants)


def room(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return memory that a kernel is to write."""
    made = torch.empty(shape, dtype=dtype, device=device)
    if (recording := _recording.get()) is not None:
        recording.add(made)
    return made


def kept(numbers: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers on a device, kept for good.

    Whoever starts kernels again goes on reading them: a repeated call, or a CUDA graph.
    """
    made = torch.tensor(numbers, dtype=dtype, device=device)
    _tables[made.data_ptr()] = made
    return made


@functools.lru_cache(maxsize=8)
def most_bytes(device: torch.device) -> int:
    """Return how many bytes the rooms of a recorded call may take."""
    if device.type != "cuda":
        return ROOMS_ON_CPU
    return torch.cuda.get_device_properties(device).total_memory // LARGEST_SHARE


def precision(dtype: torch.dtype) -> str:
    """Return how float32 is multiplied: exactly, unless the user's torch setting allows tf32.

    Since torch 2.9 there are two ways to set it, and the older one is refused after the newer.
    """
    if dtype != torch.float32:
        return "ieee"
    setting = torch.backends.cuda.matmul
    newer = getattr(setting, "fp32_precision", None)
    allowed = setting.allow_tf32 if newer is None else newer == "tf32"
    return "tf32" if allowed else "ieee"


def again(function: Callable[..., Tensors], tensors: Tensors, *options: Any) -> Tensors:
    """Return function(*tensors, *options), the kernels of a recorded call started at once.

    The function makes rooms, and starts kernels with them, with the given tensors and with tables.
    It returns rooms, and looks at no number of a tensor. A call within another one belongs to it,
    unless torch has made its tensors in between: then it is recorded, and the other one is not.
    """
    if not REPEATS:
        return function(*tensors, *options)
    addresses = [x.data_ptr() for x in tensors]
    if (outer := _recording.get()) is not None:
        if set(addresses) <= set(outer.given):
            return function(*tensors, *options)
        outer.give_up()
    key = (
        function, options, precision(tensors[0].dtype),
        *map(addresses.index, addresses), *(address % 16 for address in addresses),
        *((x.shape, x.stride(), x.dtype, x.device, x.is_neg()) for x in tensors),
    )  # fmt: skip
    if (recorded := _recorded.get(key)) is not None:
        return recorded.start(addresses, tensors[0])
    recording = Recording(addresses)
    token = _recording.set(recording)
    try:
        results = function(*tensors, *options)
    finally:
        _recording.reset(token)
    if (found := recording.finished(results)) is not None:
        if len(_recorded) >= MOST_RECORDED:
            _recorded.clear()
        _recorded[key] = found
    return results


@dataclass(frozen=True)
class Start:
    """A compiled kernel on its grid, with its arguments, and where addresses stand among them.

    A slot is (place among the arguments, which base, bytes from there).
    """

    run: Callable[..., None]
    arguments: tuple[Any, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Recorded:
    """The starts of a call. Their bases: the given tensors, the results, and scratch memory.

    `rooms` are the results and, where there is any, the scratch memory behind them.
    """

    starts: tuple[Start, ...]
    rooms: tuple[tuple[Sequence[int], torch.dtype], ...]
    results: int

    def start(self, addresses: list[int], first: Tensor) -> Tensors:
        """Start the kernels for tensors at these addresses, and return the results."""
        made = [first.new_empty(shape, dtype=dtype) for shape, dtype in self.rooms]
        bases = (*addresses, *(x.data_ptr() for x in made))
        with torch.cuda.device_of(first):
            for start in self.starts:
                arguments = list(start.arguments)
                for place, base, offset in start.slots:
                    arguments[place] = bases[base] + offset
                start.run(*arguments)
        return tuple(made[: self.results])


class Recording:
    """The rooms and the starts of one call, noted while it is made.

    The rooms are held until then: memory that is given back would be handed out again, and nobody
    could tell which room an address means. Where they grow too large, the call is not recorded.
    Bases are counted on, first the given tensors, then the rooms.
    """

    def __init__(self, addresses: list[int]) -> None:
        self.given = addresses
        self.rooms: list[Tensor] = []
        self.starts: list[Start] = []
        self.is_whole = True

    def add(self, made: Tensor) -> None:
        """Note a room."""
        if not self.is_whole:
            return
        self.rooms.append(made)
        if sum(x.nbytes for x in self.rooms) > most_bytes(made.device):
            self.give_up()

    def give_up(self) -> None:
        """Record no more of this call, and hold nothing of it."""
        self.is_whole = False
        self.rooms.clear()
        self.starts.clear()

    def note(
        self, compiled: Any, names: list[str], grid: tuple[int, ...], arguments: tuple[Any, ...],
        constants: dict[str, Any],
    ) -> None:  # fmt: skip
        """Note a start. A kernel that Triton interprets is not compiled, and cannot be repeated."""
        if compiled is None or not self.is_whole:
            self.give_up()
            return
        by_name = {**dict(zip(names, arguments, strict=False)), **constants}
        ordered, slots = [by_name[name] for name in names], list[Slot]()
        for place, x in enumerate(ordered):
            if isinstance(x, Tensor):
                ordered[place] = x.data_ptr()
                if x.data_ptr() in self.given or x.data_ptr() not in _tables:
                    slots.append((place, *self.base_of(x)))
        self.starts.append(Start(compiled[(*grid, 1, 1)[:3]], tuple(ordered), tuple(slots)))

    def base_of(self, x: Tensor) -> tuple[int, int]:
        """Return which base an argument is counted from, and the bytes between."""
        address, first = x.data_ptr(), x.untyped_storage().data_ptr()
        if address in self.given:
            return self.given.index(address), 0
        for count, made in enumerate(self.rooms, len(self.given)):
            if made.data_ptr() == first:
                return count, address - first
        self.give_up()
        return -1, 0

    def finished(self, results: Tensors) -> Recorded | None:
        """Return what repeats the call, or `None` where that cannot be."""
        found = [self.base_of(x) for x in results]
        returned = [base for base, offset in found if offset == 0 and base >= len(self.given)]
        is_plain = len(set(returned)) == len(results) and all(x.is_contiguous() for x in results)
        if not (self.starts and self.is_whole and is_plain):
            return None
        bases, scratch = self.bases(returned)
        starts = []
        for start in self.starts:
            slots = ((place, *bases[base], offset) for place, base, offset in start.slots)
            moved = tuple((place, base, begin + offset) for place, base, begin, offset in slots)
            starts.append(replace(start, slots=moved))
        rooms = [(x.shape, x.dtype) for x in results] + [((scratch,), torch.uint8)] * (scratch > 0)
        return Recorded(tuple(starts), tuple(rooms), len(results))

    def bases(self, returned: list[int]) -> tuple[list[tuple[int, int]], int]:
        """Return where every base lies once the call is repeated, and the bytes of scratch memory.

        What is not returned lies in scratch memory.
        """
        given, end = len(self.given), len(self.given) + len(self.rooms)
        uses = [(base, i) for i, start in enumerate(self.starts) for _, base, _ in start.slots]
        first, last = dict(reversed(uses)), dict(uses)
        begins, size = placed([
            Life(made.nbytes, first.get(base, 0), last.get(base, -1))
            for base, made in enumerate(self.rooms, given)
            if base not in returned
        ])  # fmt: skip
        left, scratch = iter(begins), given + len(returned)
        bases = [(base, 0) for base in range(given)]
        for base in range(given, end):
            is_result = base in returned
            bases.append((given + returned.index(base), 0) if is_result else (scratch, next(left)))
        return bases, size


@dataclass(frozen=True)
class Life:
    """The bytes of a room, and the first and the last start that uses it."""

    size: int
    first: int
    last: int

    def meets(self, other: Life) -> bool:
        """Say whether both are in use at some start."""
        return self.first <= other.last and other.first <= self.last


def placed(lives: list[Life]) -> tuple[list[int], int]:
    """Return where each room begins, and the bytes of all: no two overlap while both are in use.

    The kernels run in the order of their starts, so a room may lie where one lay that is used up.
    """
    begins, ends = list[int](), list[int]()
    for count, life in enumerate(lives):
        taken = sorted((begins[i], ends[i]) for i in range(count) if life.meets(lives[i]))
        size, begin = -(-max(life.size, 1) // ALIGNED) * ALIGNED, 0
        for low, high in taken:
            if begin + size <= low:
                break
            begin = max(begin, high)
        begins.append(begin)
        ends.append(begin + size)
    return begins, max(ends, default=0)


_interpreter = threading.Lock()
_recording: ContextVar[Recording | None] = ContextVar("recording", default=None)
_recorded: dict[tuple[Any, ...], Recorded] = {}
_tables: dict[int, Tensor] = {}
"""The tables of all kernels, by their addresses."""
