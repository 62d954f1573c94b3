"""Output files of commands: links, pipes, devices, the standard output."""

import io
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from made_up_records import write_records
from own_process import run_python
from PIL import Image

from sla_bench.cli.app import run_command_line
from sla_bench.errors import UserError
from sla_bench.records.files import check_output, write_output

TEXT = b"new\n"
WRITE = (
    "import sys; from pathlib import Path; from sla_bench.records.files import write_output, words_beside\n"
    "print('before')\n"
    "write_output(Path(sys.argv[1]), lambda file: file.write(b'new'))\n"
    "print('after', file=words_beside(Path(sys.argv[1])))\n"
)


def write(path, text=TEXT):
    write_output(path, lambda file: file.write(text))


@pytest.fixture
def results(tmp_path):
    write_records(tmp_path / "results", {"baseline": 0.5, "SLA+AG": 0.6})
    return tmp_path / "results"


def test_a_link_stays_and_its_target_is_replaced_whole(tmp_path):
    (tmp_path / "shared").mkdir()
    real = tmp_path / "shared" / "real.csv"
    real.write_text("old")
    (tmp_path / "first.csv").symlink_to("shared/second.csv")
    (tmp_path / "shared" / "second.csv").symlink_to(real)
    with real.open() as reader:
        write(tmp_path / "first.csv")
        assert reader.read() == "old"
    assert (tmp_path / "first.csv").is_symlink()
    assert (tmp_path / "shared" / "second.csv").is_symlink()
    assert real.read_bytes() == TEXT
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"real.csv", "second.csv"}


def test_a_writer_that_fails_leaves_the_target_as_it_was(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")

    def fail(file):
        file.write(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_output(tmp_path / "link", fail)
    assert (tmp_path / "real").read_text() == "old"


def test_a_link_to_itself_and_folders_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "there").symlink_to(tmp_path)
    for path, sentence in ((tmp_path / "loop", "link to itself"), (tmp_path, "could not write")):
        with pytest.raises(UserError, match=sentence):
            write(path)
    for path in (tmp_path, tmp_path / "there"):
        with pytest.raises(UserError, match=rf"--out {path} is a folder"):
            check_output(path, "--out")


def test_a_named_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        got = []
        reader = threading.Thread(target=lambda got=got: got.append(pipe.read_bytes()))
        reader.start()
        check_output(path, "--out")
        write(path, TEXT * 100_000)
        reader.join(timeout=30)
        assert got == [TEXT * 100_000]
    assert pipe.is_fifo()


def test_devices_stay():
    before = Path(os.devnull).stat()
    write(Path(os.devnull))
    assert Path(os.devnull).stat().st_rdev == before.st_rdev


@pytest.mark.parametrize("path", ["-", "/dev/fd/1"])
def test_the_standard_output_gets_the_bytes_in_order(path, tmp_path):
    """A pipe, and a file: what is printed before stays, and what comes after does not overwrite it."""
    done = run_python("-c", WRITE, path, timeout=60)
    assert (done.stdout, done.stderr) == ("before\nnew", "after\n")
    with (tmp_path / "file").open("wb") as file:
        subprocess.run([sys.executable, "-c", WRITE, path], stdout=file, stderr=file, check=True, timeout=60)
    assert (tmp_path / "file").read_text() == "before\nnewafter\n"


def test_an_open_descriptor_is_written_to():
    read, write_end = os.pipe()
    code = f"{WRITE}\n"
    done = subprocess.run(
        [sys.executable, "-c", code, f"/dev/fd/{write_end}"],
        pass_fds=[write_end],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    os.close(write_end)
    with os.fdopen(read, "rb") as file:
        assert file.read() == b"new"
    assert done.stdout == "before\nafter\n"


def command(*arguments, **how):
    words = [sys.executable, "-m", "sla_bench", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, timeout=120, check=False, **how)


def test_an_export_to_the_standard_output_is_the_archive_and_nothing_else(results, tmp_path):
    done = command("export", "-", "--out", results)
    assert done.returncode == 0
    assert run_command_line(["export", str(tmp_path / "x.zip"), "--out", str(results)]) == 0
    assert done.stdout == (tmp_path / "x.zip").read_bytes()
    assert zipfile.ZipFile(io.BytesIO(done.stdout)).testzip() is None
    assert b"2 runs" in done.stderr


@pytest.mark.parametrize("words", [["fewshot", "standard"], ["fewshot,standard"]])
def test_an_export_takes_scenarios_at_once(words, results, tmp_path, capsys):
    common = ["--out", str(results), "--scenario"]
    assert run_command_line(["export", str(tmp_path / "x.zip"), *common, *words]) == 2
    assert "no finished runs" in capsys.readouterr().err
    assert run_command_line(["export", *common, "fewshot", str(tmp_path / "x.zip")]) == 0
    assert (tmp_path / "x.zip").exists()
    assert run_command_line(["export", *common, "fewshot"]) == 2
    assert "NAME.zip" in capsys.readouterr().err


def test_the_report_follows_a_link_and_prints_itself(results, tmp_path):
    (tmp_path / "page.html").write_text("old")
    (results / "report.html").symlink_to(tmp_path / "page.html")
    assert run_command_line(["report", "--out", str(results)]) == 0
    assert (results / "report.html").is_symlink()
    page = (tmp_path / "page.html").read_bytes()
    assert page.lower().startswith(b"<!doctype html>")
    done = command("report", "--out", results, "--file=-")
    assert (done.returncode, done.stdout) == (0, page)
    assert run_command_line(["report", "--out", str(results), "--file", str(tmp_path / "own.html")]) == 0
    assert (tmp_path / "own.html").read_bytes() == page


def test_a_contact_sheet_goes_where_it_is_sent(tmp_path, capsys):
    from real_formats import write_cifar10

    write_cifar10(tmp_path)
    info = ["datasets", "info", "cifar10", "--data-root", str(tmp_path), "--sheet"]
    (tmp_path / "link.jpg").symlink_to("real.jpg")
    assert run_command_line([*info, str(tmp_path / "link.jpg")]) == 0
    assert Image.open(tmp_path / "real.jpg").format == "JPEG"
    done = command(*info, "-")
    assert Image.open(io.BytesIO(done.stdout)).format == "PNG"
    assert b"10 classes" in done.stderr
    capsys.readouterr()
    assert run_command_line([*info, str(tmp_path / "sheet.txt")]) == 2
    assert "ends in .png" in capsys.readouterr().err


def test_records_never_follow_a_link(results, tmp_path):
    """A results folder from elsewhere may hold links; only the file that is asked for follows one."""
    (tmp_path / "outside").write_text("mine")
    table = results / "fewshot" / "leaderboard.csv"
    table.unlink(missing_ok=True)
    table.symlink_to(tmp_path / "outside")
    assert run_command_line(["leaderboard", "--out", str(results)]) == 0
    assert (tmp_path / "outside").read_text() == "mine"
