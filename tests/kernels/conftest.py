"""Where Triton has no wheel, every file here is skipped, said why; what the others share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from triton_here import why_no_triton

from fastattn_lite import attention as calls


class Skipped(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self) -> list[pytest.Item]:
        """Say why."""
        pytest.skip(why_no_triton() or "", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Skipped | None:
    """Return the file as one that is skipped, or leave it to pytest."""
    return Skipped.from_parent(parent, path=module_path) if why_no_triton() else None


@pytest.fixture(scope="session", autouse=True)
def patched_once() -> Iterator[None]:
    """Let Triton's interpreter patch its language once a launch.

    By itself it patches again, without effect, at every call of a helper: a fifth of the time.
    """
    from triton import language
    from triton.runtime import interpreter

    patch = interpreter._patch_lang  # only Triton's own code has a name for this

    def once(function: Any) -> Any:
        seen = [x for x in (language, language.core) if x in function.__globals__.values()]
        is_plain = any(language.core.is_builtin(module.load) for module in seen)
        return patch(function) if is_plain else interpreter._LangPatchScope()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(interpreter, "_patch_lang", once)
        yield


class Launches:
    """A kernel that computes nothing: it notes on whose tensor's GPU each launch happens.

    With several GPUs Triton would take the current one, wherever the tensors lie.
    """

    def __init__(self) -> None:
        self.current: list[torch.Tensor] = []
        self.places: list[torch.Tensor] = []

    @contextmanager
    def device_of(self, tensor: torch.Tensor) -> Iterator[None]:
        """Take the place of `torch.cuda.device_of`."""
        self.current.append(tensor)
        yield
        self.current.pop()

    def __getitem__(self, grid: tuple[int, ...]):
        """Return what starts the kernel on a grid."""
        return lambda *_, **__: self.places.append(self.current[-1])


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    """Return a kernel that notes its launches, with the switch between GPUs recorded only."""
    noted = Launches()
    monkeypatch.setattr(torch.cuda, "device_of", noted.device_of)
    return noted


@pytest.fixture(params=["moments", "pairs"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take every problem by its moments, then every one by its scores, whatever is faster."""
    from fused import take

    take(monkeypatch, request.param)
    return request.param


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """Return the calls that are known to be taken by the kernels, none at the start of a test."""
    monkeypatch.setattr(calls, "_known", {})
    return calls._known


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """Return the calls whose kernels are started again, none at the start of a test."""
    from fastattn_lite.kernels import launch

    monkeypatch.setattr(launch, "_recorded", {})
    return launch._recorded
