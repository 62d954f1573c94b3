"""What a figure was computed with."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("sla-bench", "torch", "torchvision", "numpy", "scipy", "pandas", "pillow", "matplotlib")


def describe(threads: int, device: str) -> dict[str, Any]:
    """Return versions, hardware, threads and the code's revision, for the record."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "bf16_instructions": has_bf16_instructions(),
        "threads": threads,
        "device": device,
        "versions": dict(_versions()),
        "code": _revision(),
    }


def has_bf16_instructions() -> bool | None:
    """Whether the processor computes in bfloat16 itself; None where that can't be read.

    Without them torch emulates, and bf16 is several times slower than fp32 instead of faster.
    """
    # Called "flags" on x86 and "Features" on ARM.
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return None if flags is None else any(flag.endswith("bf16") for flag in flags.split())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for package in _PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return tuple(found)


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor()


@cache
def _cpuinfo(key: str) -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return None


@cache
def _revision() -> str:
    package = Path(__file__).parent.parent
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"],  # noqa: S607 - where git is differs
            cwd=package,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
