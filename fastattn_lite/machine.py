"""What a measurement must say of where it was taken: machine, versions, commit."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from fastattn_lite import __version__
from fastattn_lite._arrays import physical_memory

LIBRARIES = ("numpy", "torch")
"""The array libraries that are measured, the optional one last."""
PACKAGES = (
    "numpy",
    "scipy",
    "array-api-compat",
    "torch",
    "triton",
    "flash-linear-attention",
    "matplotlib",
    "anywidget",
)
HERE = Path(__file__).parent


def installed(library: str) -> Any:
    """Return the module of an optional library, or None where it is not installed."""
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        return None


def versions() -> dict[str, str]:
    """Return the version of Python, of this package and of each installed library it can use.

    That of this package ends with the digest of its code, which no two edits share.
    """
    found = {"python": platform.python_version(), "fastattn_lite": f"{__version__}+{digest()}"}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def digest() -> str:
    """Return a short digest of the package's modules: their names and what they hold."""
    found = hashlib.sha256()
    for path in sorted(HERE.rglob("*.py")):
        found.update(f"{path.relative_to(HERE).as_posix()} {path.stat().st_size} ".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def device() -> dict[str, Any]:
    """Return the machine as a stored result describes it."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "memory_gib": round(physical_memory() / 2**30, 1),
        "threads": {name: threads(name) for name in LIBRARIES if installed(name)},
    }


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads(library: str) -> int:
    """Return how many threads a library takes for matrix products on the CPU.

    NumPy does not say; its products follow OPENBLAS_NUM_THREADS or OMP_NUM_THREADS, or take
    every core.
    """
    if library == "torch":
        return int(installed("torch").get_num_threads())
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable, "").isdigit():
            return min(cores(), max(1, int(os.environ[variable])))
    return cores()


def accelerators() -> list[str]:
    """Return the names of the accelerators that torch sees."""
    torch = installed("torch")
    if torch is None:
        return []
    found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found + (["Apple MPS"] if torch.backends.mps.is_available() else [])


def accelerator() -> dict[str, Any]:
    """Return the GPU that torch takes as a stored result describes it; there must be one."""
    cuda = installed("torch").cuda
    about = cuda.get_device_properties(cuda.current_device())
    return {
        "name": about.name,
        "memory_gib": round(about.total_memory / 2**30, 1),
        "capability": f"{about.major}.{about.minor}",
        "driver": _driver(),
    }


def accelerator_versions() -> dict[str, str]:
    """Return the versions of CUDA and cuDNN that torch was built with."""
    torch = installed("torch")
    return {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return (done.stdout.split() or ["unknown"])[0] if done.returncode == 0 else "unknown"


def commit() -> str:
    """Return the git commit of this package's code, "unknown" where it is not under git.

    "-modified" follows where a module of the package differs from that commit.
    """
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return "unknown"
    changes = _git("status", "--porcelain", "--untracked-files=all", "--", "*.py")
    return f"{_git('rev-parse', 'HEAD')}{'' if changes == '' else '-modified'}"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
