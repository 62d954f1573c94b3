"""Common operations of this and other libraries, timed side by side: results/speed.csv, .md, .png and .svg.

    python benchmarks/speed/peers.py --quick         # a few minutes
    python benchmarks/speed/peers.py                 # six to ten minutes
    tox -e speed                                     # in an environment that has all of the libraries

learn2learn 0.2.0, easyfsl 1.5.0 and qpth are compared where they can be imported. All results are checked to
be equal before anything is timed. Implementations of a setting run in turn, in one process; training steps in
two that take turns, because how freed memory is kept is decided when a process starts.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.peer_comparison import (
    classifier_steps,
    episode_evaluation,
    episode_sampling,
    episode_steps,
    fewshot_heads,
    long_tail,
)
from benchmarks.speed.peer_comparison.measured import Effort, Row, absent, failures, measure
from benchmarks.speed.peer_comparison.picture import bars_of, speed_figure
from benchmarks.speed.peer_comparison.tables import csv_text, markdown_text
from benchmarks.speed.peer_comparison.topics import Topic, missing_peers
from sla_bench.errors import UserError
from sla_bench.records.files import write_atomically
from sla_bench.tables.figures import style

FULL = Effort(rounds=7, seconds=0.1, limit=4.0, once=20.0)
QUICK = Effort(rounds=3, seconds=0.05, limit=1.0, once=4.0)
TOPICS: dict[str, Callable[[Collection[str], bool], list[Topic]]] = {
    "sampling": lambda missing, _: [episode_sampling.topic(missing)],
    "evaluation": lambda missing, quick: [
        episode_evaluation.topic(missing, episode_evaluation.QUICK if quick else episode_evaluation.FULL)
    ],
    "heads": fewshot_heads.topics,
    "long-tail": lambda _, quick: [long_tail.topic(500 if quick else long_tail.LARGEST)],
    "training": lambda missing, quick: [
        classifier_steps.topic(classifier_steps.QUICK if quick else classifier_steps.FULL),
        episode_steps.topic(missing),
    ],
}


def compare(names: Collection[str], threads: Collection[int], quick: bool) -> tuple[list[Row], list[Topic]]:
    """Check all, then time all: the rows, topic after topic, and the topics."""
    torch.set_num_threads(1)
    missing = missing_peers()
    topics = []
    for name in names:
        _tell(f"checking that results are equal: {name}")
        topics += TOPICS[name](missing, quick)
    _tell("checking that results are equal on several threads")
    failed = {
        (topic.what, comparison.setting, count): failures(comparison, count) if count > 1 else {}
        for topic in topics
        for comparison in topic.comparisons
        for count in threads
    }
    rows: list[Row] = []
    for topic in topics:
        for comparison in topic.comparisons:
            for count in threads:
                _tell(f"{topic.what}, {comparison.setting}, threads: {count}")
                wrong = failed[topic.what, comparison.setting, count]
                rows += measure(topic, comparison, count, QUICK if quick else FULL, wrong)
        rows += absent(topic)
    return rows, topics


def write(rows: list[Row], topics: list[Topic], folder: Path) -> str:
    """Write table and picture into a folder; returns the Markdown.

    Raises:
        UserError: they can't be written; what was there before is untouched.
    """
    notes = [
        f"{name} is left out, because it can't be imported here ({reason}); `tox -e speed` has it."
        for name, reason in missing_peers().items()
    ]
    text = markdown_text(rows, {topic.what: topic.about for topic in topics}, notes)
    write_atomically(folder / "speed.csv", lambda file: file.write(csv_text(rows).encode()))
    write_atomically(folder / "speed.md", lambda file: file.write(text.encode()))
    if bars_of(rows):
        style.save(speed_figure(rows), folder / "speed")
    return text


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller settings and fewer repetitions")
    parser.add_argument(
        "--threads", type=int, action="append", help="repeat for several (1, and as many as there are cores)"
    )
    parser.add_argument("--topic", choices=list(TOPICS), action="append", help="repeat for several (all)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the files (results)")
    options = parser.parse_args()
    threads = list(dict.fromkeys(options.threads or (1, len(os.sched_getaffinity(0)))))
    if min(threads) < 1:
        parser.error(f"--threads has to be at least 1, got {min(threads)}")
    try:
        print(write(*compare(options.topic or list(TOPICS), threads, options.quick), options.out))
    except UserError as error:
        raise SystemExit(str(error)) from None


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
