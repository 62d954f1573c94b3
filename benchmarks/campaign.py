r"""Run grids in a clone until a given time; archive their records.

Example:
    python benchmarks/campaign.py ../campaign tune benchmarks/matched.yaml \
        --at v0.1.0 --archive records.zip --until 17:30 -- --workers 2 --threads 1
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
Command = Sequence[str | Path]


def seconds_until(text: str, now: datetime) -> float:
    """Return the seconds from `now` to the next time of day ("17:30"), or of a number of minutes ("90").

    Raises:
        ValueError: the text is neither a time of day nor a number.
    """
    if ":" not in text:
        return 60 * float(text)
    hour, minute = map(int, text.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return ((then - now) % timedelta(days=1)).total_seconds()


def clone(at: str, folder: Path) -> None:
    """Clone this repository at a tag or commit, unless the folder holds that commit already.

    Raises:
        SystemExit: the commit is unknown, or the folder holds another commit.
    """
    commit = _git(ROOT, "rev-parse", "--verify", f"{at}^{{commit}}")
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        _git(ROOT, "clone", "--quiet", "--no-checkout", str(ROOT), str(part))
        _git(part, "checkout", "--quiet", "--detach", commit)
        part.rename(folder)
    if (there := _git(folder, "rev-parse", "HEAD")) != commit:
        _leave(f"{folder} holds commit {there[:7]}, {at} is {commit[:7]}; name another folder")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S607
    if done.returncode:
        _leave(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _leave(message: str) -> NoReturn:
    print(f"campaign: {message}", file=sys.stderr)
    sys.exit(2)


def environment(code: Path, folder: Path) -> Path:
    """Install a clone and its packages into an environment, unless that is complete; return the interpreter.

    Raises:
        SystemExit: the installation failed; pip has said why.
    """
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        install = [python, "-m", "pip", "install", "--quiet", "--editable", code]
        for command in ([sys.executable, "-m", "venv", folder], install):
            if subprocess.run(command, check=False).returncode:
                _leave(f"{' '.join(map(str, command))} failed")
        complete.touch()
    return python


def run_until(end: float, command: Command, folder: Path) -> int | None:
    """Run a command at low priority until its end or a given time, at which the command gets SIGTERM.

    Args:
        end: the time, by `time.monotonic()`.
        command: program and arguments.
        folder: working directory.

    Returns:
        The exit code of the command; None if the command was stopped, or never started.
    """
    if (seconds := end - time.monotonic()) <= 0:
        return None
    # The timeout of coreutils stops the command even if this process is killed.
    process = subprocess.Popen(["timeout", f"{seconds:.3f}", "nice", *command], cwd=folder)  # noqa: S607
    try:
        code = process.wait()
    finally:
        process.terminate()
        process.wait()
    return None if code and time.monotonic() >= end else code


def exchange(product: Command, archive: Path, folder: Path, results: Path) -> int:
    """Import the archive, then export all records to the same archive; return the exit code.

    An archive that can't be imported is not replaced. Records that others have added to the archive are kept.
    """
    code = 0
    if archive.exists():
        code = subprocess.run(
            [*product, "import", archive, "--out", results], cwd=folder, check=False
        ).returncode
    tested, tried = results.glob("*/runs/*/evaluations/*/metrics.json"), results.glob("*/tuning.csv")
    if code or not any((*tested, *tried)):
        return code
    export = [*product, "export", archive, "--only-tables", "--out", results]
    return subprocess.run(export, cwd=folder, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Set up, import, run the grids one after the other, export; return the highest exit code."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, further = _options(arguments[:cut]), arguments[cut + 1 :]
    end = time.monotonic() + options.until
    folder, archive = options.folder.resolve(), options.archive.resolve()
    code, results = folder / "code", folder / "results"
    folder.mkdir(parents=True, exist_ok=True)
    clone(options.at, code)
    python = Path(sys.executable) if options.these_packages else environment(code, folder / "venv")

    product = [python, "-m", "sla_bench"]
    if failed := exchange(product, archive, code, results):
        return failed
    codes = [0]
    try:
        for file in options.files:
            where = ["--out", results, "--data-root", options.data_root.expanduser().resolve()]
            ended = run_until(end, [*product, options.command, file, *where, *further], code)
            if ended is None:
                print("campaign: the time is over; the same command resumes")
                break
            codes.append(ended)
    finally:
        codes.append(exchange(product, archive, code, results))
    return max(codes)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", type=_outside, help="for clone, environment and results; outside this repository")
    add("command", choices=("run", "tune"), help="command for the grids; -- OPTIONS at the end go to it")
    add("files", nargs="+", metavar="GRID", help="grid files; relative paths are of the clone")
    add("--at", required=True, help="tag or commit of the clone")
    add(
        "--archive",
        type=Path,
        required=True,
        help="NAME.zip: imported before, exported after the runs",
    )
    add(
        "--until",
        type=_seconds,
        required=True,
        metavar="HH:MM|MINUTES",
        help="next time of day, or minutes from now",
    )
    data = os.environ.get("SLA_BENCH_DATA", ROOT / "datasets")
    add("--data-root", type=Path, default=data, help="data files; default: $SLA_BENCH_DATA or datasets/ here")
    add("--these-packages", action="store_true", help="use this interpreter's packages, install nothing")
    return parser.parse_args(arguments)


def _outside(text: str) -> Path:
    if (path := Path(text).expanduser()).resolve().is_relative_to(ROOT):
        raise argparse.ArgumentTypeError(f"{text} is in this repository; name a folder outside")
    return path


def _seconds(text: str) -> float:
    try:
        return seconds_until(text, datetime.now().astimezone())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a time, as 17:30, or minutes, as 90") from None


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    # A second SIGTERM must not interrupt the export.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
