"""Feeds almost valid files to a reader in limited memory."""

# `fuzzing.py READER COUNT SEED` prints the numbers of inputs tried, refused and read, the peak of memory and
# the longest time, as JSON. It ends at the first input with another outcome than `UserError` in a printable
# line, or with too much memory or time, and names the kept input.

import faulthandler
import json
import logging
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import mutations as m
from fuzzed_readers import READERS
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from sla_bench.errors import UserError

SECONDS = 20
"""Of the processor, for one input."""
MEGABYTES = 700
"""More than the process had before the first input."""
ADDRESSES = 12 << 30


def megabytes():
    # Not `ru_maxrss`, which a process inherits from the one that starts it.
    (line,) = [ln for ln in Path("/proc/self/status").read_text().splitlines() if ln.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


class TooMuch(KeyboardInterrupt):
    """Of time or memory: neither a reader nor hypothesis takes it for an error of its own."""


def hang(*_):
    raise TooMuch(f"more than {SECONDS} seconds")


def campaign(name, count, number, root):
    """Run it and return the counts."""
    reader = READERS[name]
    files = [(path, path.read_bytes()) for path in reader.prepare(root / "good")]
    for path, _ in files:
        reader.read(path)  # what is not changed is read
    seen = {"tried": 0, "refused": 0, "read": 0, "seconds": 0.0}
    before = megabytes()

    def try_one(path):
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        seen["tried"] += 1
        message = ""
        try:
            reader.read(path)
            seen["read"] += 1
        except UserError as error:
            seen["refused"] += 1
            message = str(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        assert message.isprintable() or not message, "a message that cannot be printed"
        assert len(message) <= 4000
        seen["seconds"] = max(seen["seconds"], time.process_time() - started)
        if megabytes() - before > MEGABYTES:
            raise TooMuch(f"took {megabytes() - before} MB")

    @seed(number)
    @settings(
        max_examples=count, deadline=None, database=None, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, len(files) - 1), m.edits(reader.tokens), st.integers(0, 2), m.VALUES)
    def run(which, changes, level, value):
        path, good = files[which]
        content = good
        if reader.tree and level:
            content = m.in_json(good, changes, value) if path.suffix == ".json" else m.edited(good, changes)
        elif reader.inner is not None and level and path.suffix != ".pkl":
            content = reader.inner(good, changes)
        else:
            content = m.edited(good, changes)
        path.write_bytes(content)
        try:
            try_one(path)
        except BaseException:
            (root / f"failed-{path.name}").write_bytes(content)
            raise
        finally:
            path.write_bytes(good)

    run()
    return {**seen, "megabytes": megabytes() - before, "seconds": round(seen["seconds"], 2)}


def main(name, count, number):
    faulthandler.enable()
    warnings.simplefilter("ignore")
    logging.disable()
    signal.signal(signal.SIGPROF, hang)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        try:
            print(json.dumps({"reader": name, **campaign(name, int(count), int(number), Path(folder))}))  # noqa: T201
        except BaseException:  # noqa: BLE001 - all that escapes a reader is a finding
            traceback.print_exc()
            kept = Path(tempfile.mkdtemp(prefix="fuzzing-failed-"))
            for path in Path(folder).glob("failed-*"):
                path.rename(kept / path.name)
            print(f"the input is in {kept}", file=sys.stderr)  # noqa: T201
            sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
