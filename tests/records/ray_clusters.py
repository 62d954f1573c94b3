"""Ray clusters of several nodes on this machine, stopped after tests."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_jobs import processes_with

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'sla-bench[ray]'")

MEMORY = 80_000_000


@contextmanager
def ray_folder():
    """A folder for the files of Ray; on leaving, no process that was started inside may be left."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets are bounded
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    try:
        yield folder
        left = survivors(folder)
        assert not left, left
    finally:
        for process in processes_with("RAY_TMPDIR", folder):
            process.kill()
        if before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def survivors(folder, seconds=15):
    """Processes of a `ray_folder` that have not ended after some seconds."""
    end = time.monotonic() + seconds
    while (left := processes_with("RAY_TMPDIR", folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return [p.cmdline() for p in left]


@contextmanager
def cluster(cpus=0):
    """A cluster whose head takes no tasks, or so many; add nodes with `add_node`."""
    from ray.cluster_utils import Cluster

    with ray_folder():
        head = {"num_cpus": cpus, "object_store_memory": MEMORY, "include_dashboard": False}
        started = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield started
        finally:
            started.shutdown()


def add_node(started):
    """A node with room for one run."""
    return started.add_node(num_cpus=1, object_store_memory=MEMORY)


@contextmanager
def node_that_sees_nothing_of(hidden: Path, started):
    """A node with room for one run, on which `hidden` is an empty folder of its own.

    Skips the test where the system does not allow mounts of one's own.
    """
    namespace = ["unshare", "--mount", "--uts", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("mounts of one's own (unshare) are not allowed here")
    start = f"ray start --address={started.address} --num-cpus=1 --object-store-memory={MEMORY} --block"
    script = f"mount -t tmpfs none '{hidden}' && hostname elsewhere && exec {start}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    node = subprocess.Popen(
        [*namespace, "sh", "-c", script],
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        node.terminate()
        node.wait(30)
