import os
import subprocess
import sys

import pytest
from tiny_jobs import tiny_command, tiny_jobs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')", "Ray is not installed: "),
        ("import no_such_part", "no_such_part"),
    ],
)
def test_without_ray_one_line_says_how_to_get_it(module, reason, tmp_path):
    tiny_jobs(tmp_path / "data", tmp_path / "out")
    (tmp_path / "ray.py").write_text(module)
    arguments = tiny_command(tmp_path / "data", tmp_path / "out", "--launcher", "ray")
    done = subprocess.run(
        [sys.executable, "-m", "sla_bench", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert reason in line
    assert "pip install 'sla-bench[ray]'" in line
