r"""Runs grids in a clone of this repository until a given time, and keeps their records in an archive.

    python benchmarks/campaign.py ../campaign run benchmarks/reference.yaml \
        --at v0.1.0 --archive records.zip --until 17:30 -- --workers 2

Grids are run one after the other, each seed by seed, at low priority. The same command goes on where the
records end, in the same folder or, from the archive, in another one. What stands behind -- goes to `run` or
`tune`.
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
    """Return the seconds from `now` to the next time of day, "HH:MM"; or those of some minutes, "90".

    Raises:
        ValueError: the text is neither.
    """
    if ":" not in text:
        return 60 * float(text)
    hour, minute = map(int, text.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return ((then - now) % timedelta(days=1)).total_seconds()


def clone(at: str, folder: Path) -> None:
    """Clone this repository at a tag or commit, unless it is there.

    Raises:
        SystemExit: no such commit, or the folder holds another one.
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
    """Install a clone with its packages into an environment, unless it is there; return its interpreter.

    Raises:
        SystemExit: it can't be installed; pip has said why.
    """
    python, whole = folder / "bin" / "python", folder / "whole"
    if not whole.exists():
        install = [python, "-m", "pip", "install", "--quiet", "--editable", code]
        for command in ([sys.executable, "-m", "venv", folder], install):
            if subprocess.run(command, check=False).returncode:
                _leave(f"{' '.join(map(str, command))} failed")
        whole.touch()
    return python


def run_until(end: float, command: Command, folder: Path) -> int | None:
    """Run a command at low priority; one that takes longer gets SIGTERM, and its end is waited for.

    Args:
        end: by `time.monotonic()`.
        command: it leaves a checkpoint when it gets SIGTERM.
        folder: where it runs.

    Returns:
        Its exit code; None: it was stopped, or the time was over before.
    """
    if (seconds := end - time.monotonic()) <= 0:
        return None
    # coreutils' timeout keeps the time even where this process is killed.
    process = subprocess.Popen(["timeout", f"{seconds:.3f}", "nice", *command], cwd=folder)  # noqa: S607
    try:
        code = process.wait()
    finally:
        process.terminate()
        process.wait()
    return None if code and time.monotonic() >= end else code


def exchange(product: Command, archive: Path, folder: Path, results: Path) -> int:
    """Import the archive where it is there, then export to it what is recorded; return the exit code.

    An archive that can't be imported stays as it is; records that others have added to it stay in it.
    """
    code = 0
    if archive.exists():
        code = subprocess.run(
            [*product, "import", archive, "--out", results], cwd=folder, check=False
        ).returncode
    if code or not any(results.glob("*/runs/*/evaluations/*/metrics.json")):
        return code
    export = [*product, "export", archive, "--only-tables", "--out", results]
    return subprocess.run(export, cwd=folder, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Set up, import, run, export; return the highest exit code."""
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
                print("campaign: stopped in time; the same command goes on")
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
    add("folder", type=_outside, help="for clone, environment and results; outside of this repository")
    add("command", choices=("run", "tune"), help="what is done with the grids")
    add("files", nargs="+", metavar="GRID", help="grid files, those of the clone by their relative paths")
    add("--at", required=True, help="tag or commit of the clone")
    add(
        "--archive",
        type=Path,
        required=True,
        help="NAME.zip: records that are imported, and exported at the end",
    )
    add(
        "--until",
        type=_seconds,
        required=True,
        metavar="HH:MM|MINUTES",
        help="the next such time, or for so long",
    )
    data = os.environ.get("SLA_BENCH_DATA", ROOT / "datasets")
    add("--data-root", type=Path, default=data, help="data files; default: $SLA_BENCH_DATA or datasets/ here")
    add("--these-packages", action="store_true", help="use this interpreter's packages, install nothing")
    return parser.parse_args(arguments)


def _outside(text: str) -> Path:
    if (path := Path(text).expanduser()).resolve().is_relative_to(ROOT):
        raise argparse.ArgumentTypeError(f"{text} is in this repository; name a folder outside of it")
    return path


def _seconds(text: str) -> float:
    try:
        return seconds_until(text, datetime.now().astimezone())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a time, as 17:30, or minutes, as 90") from None


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    # What follows, the export, must not be cut short by another one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
