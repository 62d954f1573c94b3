"""The machine behind a result, and the memory of its workers."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sla_bench.errors import UserError

_PACKAGE = Path(__file__).parent.parent
_GIT_SECONDS = 30
_UNKNOWN = "unknown"
_PACKAGES = ("sla-bench", "torch", "torchvision", "numpy", "scipy", "pandas", "pillow", "matplotlib")


def describe(threads: int, device: str) -> dict[str, Any]:
    """Return versions, hardware, threads and the code's revision, for the record."""
    import torch

    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _cpuinfo("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "bf16_instructions": has_bf16_instructions(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "device": device,
        **gpu,
        "versions": dict(_versions()),
        "code": code_revision(),
    }


def has_bf16_instructions() -> bool | None:
    """Whether the processor computes in bfloat16 itself; None where that can't be read.

    Without them torch emulates, and bf16 is several times slower than fp32 instead of faster.
    """
    # Called "flags" on x86 and "Features" on ARM.
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return None if flags is None else any(flag.endswith("bf16") for flag in flags.split())


def has_gpu_driver() -> bool:
    """Whether the driver of an NVIDIA GPU is loaded; torch, which takes seconds to load, says more."""
    return any(Path(path).exists() for path in ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"))


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for package in _PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return tuple(found)


@cache
def _cpuinfo(key: str) -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return None


@cache
def code_revision(package: Path = _PACKAGE) -> str:
    """Commit of the code, from `git describe`; "-dirty" marks local changes; "unknown" without a clone.

    Args:
        package: folder of the code.
    """

    def git(*words: str) -> str:
        command = ["git", *words]
        return subprocess.run(
            command, cwd=package, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        ).stdout.strip()

    try:
        # An installed package may lie inside the repository of another project.
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("describe", "--always", "--dirty")
    except (OSError, subprocess.SubprocessError):
        return _UNKNOWN


def check_committed(file: Path) -> None:
    """Refuse to run a grid of `committed_code: true` with uncommitted code.

    Args:
        file: the grid.

    Raises:
        UserError: the code has local changes, or the commit of the code is unknown.
    """
    code = code_revision()
    if code == _UNKNOWN:
        state, remedy = "the commit of this code is unknown", "run it in a clone of the repository"
    elif code.endswith("-dirty"):
        state, remedy = f"this code has local changes ({code})", "commit or stash them"
    else:
        return
    raise UserError(
        f"{file} asks for committed code (committed_code: true), but {state}; {remedy}, or add --allow-dirty"
    )


# glibc maps blocks above 32 MiB anew at each allocation and gives freed memory back at once; activations of a
# batch with four views are such blocks (134 MB for Conv-4), and new pages take a fifth of a training step.
# Pages of 2 MiB (glibc 2.35 and later) save another tenth.
_KEEPING = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def let_workers_keep_memory() -> None:
    """Set what glibc reads when a process starts; values that the user has set stay. Ignored elsewhere."""
    for name, size in _KEEPING.items():
        os.environ.setdefault(name, size)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        # Not glibc: it keeps less in the first place.
        return
