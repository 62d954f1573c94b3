import subprocess
import sys

import pytest

from sla_bench.harness.locks import RunClaimedError, claim

HOLD = """
import sys, time
from pathlib import Path
from sla_bench.harness.locks import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_is_claimed_once_and_a_killed_owner_loses_it(tmp_path):
    path = tmp_path / "run" / ".lock"
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(RunClaimedError), claim(path):
        pass
    owner.kill()
    owner.wait()
    with claim(path):
        pass
    with claim(path):
        pass
