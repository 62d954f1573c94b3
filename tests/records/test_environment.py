import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sla_bench
from sla_bench.records.environment import code_revision

PACKAGE = Path(sla_bench.__file__).parent


def git(folder, *words):
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def clone(tmp_path):
    """A repository that holds this package, all of it committed."""
    folder = tmp_path / "clone"
    shutil.copytree(PACKAGE, folder / "sla_bench", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


def test_code_with_local_changes_says_so_and_makes_no_records_of_committed_code(clone, tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("scenario: fewshot\nbudget: smoke\ncommitted_code: true\n")
    commit = git(clone, "rev-parse", "HEAD")
    assert commit.startswith(code_revision(clone / "sla_bench"))
    with (clone / "sla_bench" / "errors.py").open("a") as file:
        file.write("# another line\n")
    code_revision.cache_clear()
    assert code_revision(clone / "sla_bench") == f"{commit[:7]}-dirty"
    done = subprocess.run(
        [sys.executable, "-m", "sla_bench", "run", str(grid), "--out", str(tmp_path / "out")],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"this code has local changes ({commit[:7]}-dirty)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_code_that_no_repository_holds_has_no_commit(clone, tmp_path):
    (tmp_path / "alone").mkdir()
    assert code_revision(tmp_path / "alone") == "unknown"
    # As in an environment within the repository of something else.
    installed = clone / "environment" / "sla_bench"
    shutil.copytree(clone / "sla_bench", installed)
    assert code_revision(installed) == "unknown"
