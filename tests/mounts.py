"""Small, read-only and temporary file systems for tests."""

import shutil
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def disk(folder, kilobytes):
    """A file system of a fixed size at `folder`, and a function that changes its mount options.

    Skips the test where mounting is not allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={kilobytes}k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not allowed here")

    def remount(changed):
        subprocess.run(["mount", "-o", f"remount,{changed}", str(folder)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
