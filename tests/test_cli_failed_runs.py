"""After a failed run nothing is printed as if all were well."""

from types import SimpleNamespace

import pytest
from real_formats import write_folder

from sla_bench.cli import run as run_command
from sla_bench.cli.app import run_command_line
from sla_bench.records.launching import News

RUN = ["run", "imbalanced", "--budget", "smoke", "--set", "epochs=1", "--method", "baseline"]


@pytest.fixture
def command(tmp_path):
    write_folder(tmp_path / "photos", classes=3, per_class=6, size=16)
    folders = ["--data-root", str(tmp_path / "d"), "--out", str(tmp_path / "out")]
    return [*RUN, "--dataset", f"folder:{tmp_path / 'photos'}:16", *folders]


@pytest.mark.parametrize(("seeds", "left"), [(["0"], 0), (["0", "1"], 1)])
def test_a_failure_is_counted_and_neither_hint_nor_files_are_told(seeds, left, command, monkeypatch, capsys):
    """The launcher fails the first job, and does the others in this process."""
    from sla_bench.records.jobs import perform
    from sla_bench.training.loop import silent

    def launch(jobs, settings):
        for job in jobs:
            yield News(job, "started")
            if job.run.seed == 0:
                yield News(job, "failed", note="no", exit_code=2)
            else:
                perform(job, silent)
                yield News(job, "done")

    monkeypatch.setattr(run_command, "LAUNCHERS", SimpleNamespace(load=lambda name: launch))
    assert run_command_line([*command, "--seed", *seeds]) == 2
    said = capsys.readouterr()
    assert f"1 of {len(seeds)} runs failed" in said.err
    assert ("show the others" in said.err) == bool(left)
    assert ("baseline" in said.out) == bool(left)
    for word in ("--controls", "leaderboard.csv", "no finished runs"):
        assert word not in said.out
