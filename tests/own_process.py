"""Python in a separate process, with the package and test modules."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_python(*arguments, timeout):
    """Run `python ARGUMENTS` on one thread; what it says is captured, as text."""
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
