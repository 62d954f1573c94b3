import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime

import pytest
from documented import ROOT

from benchmarks import campaign

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
# Half a second after it was asked to end, it has left something.
PATIENT = [
    "sh",
    "-c",
    "trap 'sleep 0.5; touch stopped; exit 143' TERM; touch started; while :; do sleep 0.1; done",
]


# Builds a package of one empty module, without a download.
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "made_up-1-py3-none-any.whl", "made_up-1.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("made_up.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: made-up\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12:01", 30),
        ("17:30", 5.5 * 3600 - 30),
        ("12:00", 24 * 3600 - 30),
        ("00:00", 12 * 3600 - 30),
        ("90", 5400),
        ("0.5", 30),
    ],
)
def test_time_is_until_the_next_such_time_of_day_or_for_some_minutes(text, seconds):
    assert campaign.seconds_until(text, NOON) == seconds


@pytest.mark.parametrize("text", ["", "noon", "25:00", "12:60", "12:00:00", "1h"])
def test_an_invalid_time_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        campaign.seconds_until(text, NOON)


def started(folder):
    until = time.monotonic() + 20
    while not (folder / "started").exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_command_is_told_to_stop_in_time_and_waited_for(tmp_path):
    begun = time.monotonic()
    assert campaign.run_until(begun + 3, PATIENT, tmp_path) is None
    assert (tmp_path / "stopped").exists()
    assert 3.5 <= time.monotonic() - begun < 30


def test_a_command_that_ends_in_time_has_its_exit_code_and_none_is_started_late(tmp_path):
    fails = [sys.executable, "-c", "import os, sys; sys.exit(os.nice(0) + 22)"]
    niceness = min(os.nice(0) + 10, 19)
    assert campaign.run_until(time.monotonic() + 60, fails, tmp_path) == niceness + 22
    late = [sys.executable, "-c", "open('late', 'w')"]
    assert campaign.run_until(time.monotonic() - 1, late, tmp_path) is None
    assert not (tmp_path / "late").exists()


def test_a_command_ends_with_the_campaign(tmp_path):
    """By a checkpoint where the campaign is asked to end; in time where it is killed."""
    code = (
        "import signal, sys, time; from pathlib import Path; from benchmarks import campaign\n"
        "signal.signal(signal.SIGTERM, campaign._terminated)\n"
        "campaign.run_until(time.monotonic() + 4, sys.argv[2:], Path(sys.argv[1]))"
    )
    for asked in (signal.SIGTERM, signal.SIGKILL):
        folder = tmp_path / asked.name
        folder.mkdir()
        process = subprocess.Popen([sys.executable, "-c", code, str(folder), *PATIENT], cwd=ROOT)
        started(folder)
        process.send_signal(asked)
        assert process.wait(20) == (143 if asked == signal.SIGTERM else -signal.SIGKILL)
        if asked == signal.SIGTERM:
            assert (folder / "stopped").exists()
        until = time.monotonic() + 20
        while not (folder / "stopped").exists():
            assert time.monotonic() < until
            time.sleep(0.05)


def git(folder, *words):
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with the commits `first` and `second`, and a change that is in neither."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for name in ("first", "second"):
        (folder / "code.py").write_text(name)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", name)
        git(folder, "tag", name)
    (folder / "code.py").write_text("local")
    monkeypatch.setattr(campaign, "ROOT", folder)
    return folder


def test_a_clone_is_of_the_tag_without_local_changes_and_made_once(repository, tmp_path, capsys):
    folder = tmp_path / "campaign" / "code"
    # What a clone that was killed has left.
    (folder.with_suffix(".part") / ".git").mkdir(parents=True)
    campaign.clone("first", folder)
    assert (folder / "code.py").read_text() == "first"
    assert git(folder, "describe", "--always", "--dirty", "--tags") == "first"
    (folder / "kept").touch()
    campaign.clone(git(repository, "rev-parse", "first"), folder)
    assert (folder / "kept").exists()
    for at, fragment in (("second", "name another folder"), ("third", "git rev-parse")):
        with pytest.raises(SystemExit):
            campaign.clone(at, folder)
        assert fragment in capsys.readouterr().err


@pytest.mark.slow
def test_an_environment_is_made_until_it_is_whole_and_then_used(tmp_path, capsys):
    """The clone is a package without dependencies, first one that can't be built."""
    code, folder = tmp_path / "code", tmp_path / "venv"
    code.mkdir()
    with pytest.raises(SystemExit) as left:
        campaign.environment(code, folder)
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith(f"-m pip install --quiet --editable {code} failed\n")
    (code / "backend.py").write_text(BACKEND)
    (code / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        "[project]\nname = 'made-up'\nversion = '1'\n"
    )
    for _ in range(2):
        python = campaign.environment(code, folder)
        subprocess.run([python, "-c", "import made_up"], check=True)
        # Nothing is built the second time.
        (code / "backend.py").unlink(missing_ok=True)


GIVEN = ["run", "grid.yaml", "--at", "HEAD", "--archive", "records.zip", "--until"]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([str(ROOT / "campaign"), *GIVEN, "17:30"], "is in this repository; name a folder outside"),
        (["../campaign", *GIVEN, "late"], "'late': write a time, as 17:30, or minutes, as 90"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(arguments, fragment, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        campaign.main(arguments)
    assert left.value.code == 2
    assert fragment in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


GRID = """
committed_code: true
scenario: imbalanced
budget: smoke
ratio: 10
max_class_size: 40
method: baseline
seed: 0..3
set: {epochs: 2}
"""


@pytest.mark.campaign
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_a_campaign_that_is_stopped_killed_and_moved_goes_on_and_loses_nothing(tmp_path, request):
    (tmp_path / "grid.yaml").write_text(GRID)
    archive, commit = tmp_path / "records.zip", git(ROOT, "rev-parse", "HEAD")

    def start(folder, until="60"):
        where = [str(tmp_path / folder), "run", str(tmp_path / "grid.yaml"), "--at", commit]
        options = ["--archive", str(archive), "--until", until, "--data-root", str(tmp_path / "data")]
        command = [sys.executable, str(ROOT / "benchmarks" / "campaign.py"), *where, *options]
        process = subprocess.Popen([*command, "--these-packages", "--", "--workers", "1"])
        request.addfinalizer(process.terminate)
        return process

    def recorded():
        with zipfile.ZipFile(archive) as file:
            names = [name for name in file.namelist() if name.endswith("/environment.json")]
            return {name.split("/")[2]: json.loads(file.read(name))["code"] for name in names}

    def wait_for_runs(folder, number):
        until = time.monotonic() + 1800
        while len(list((tmp_path / folder / "results").glob("*/runs/*/evaluations/*/metrics.json"))) < number:
            assert time.monotonic() < until
            time.sleep(0.05)

    process = start("first")
    wait_for_runs("first", 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == 143
    kept = recorded()
    assert 1 <= len(kept) < 4
    process = start("first")
    wait_for_runs("first", len(kept) + 1)
    process.kill()
    process.wait()
    # The time of 0.001 minutes is over at once: records that were not exported are now.
    assert start("first", "0.001").wait(600) == 0
    later = recorded()
    assert kept.keys() < later.keys()
    assert start("second").wait(3600) == 0
    assert later.keys() <= recorded().keys()
    assert len(recorded()) == 4
    (code,) = set(recorded().values())
    assert git(ROOT, "rev-parse", f"{code}^{{commit}}") == commit
