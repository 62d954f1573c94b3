"""The heads that solve a problem per episode, forward and backward."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from benchmarks.speed import heads
from benchmarks.speed.heads import Episodes, Head
from benchmarks.speed.peer_comparison.topics import OURS, Comparison, Implementation, Topic
from benchmarks.speed.timing import Candidate
from sla_bench.models.heads.ridge import RidgeHead
from sla_bench.models.heads.svm import SVMHead

TASKS, FEATURES = 8, 2560
# qpth stops after 15 iterations, which in float32 are some percent from the solution.
SINGLE_TOLERANCE = 0.05
LARGE = 20 * 5
"""Support points from which on a quick comparison takes two tasks at a time."""


class Other(NamedTuple):
    """Somebody else's head.

    Args:
        head: the function.
        package: whose version is recorded.
        needs: libraries without which it is left out.
        one_by_one: it is given one task, not the batch: a batch of it takes as many times longer.
        largest: most support points in a task; it is left out above.
    """

    head: Head
    package: str
    needs: tuple[str, ...] = ()
    one_by_one: bool = False
    largest: int = LARGE


OTHERS: dict[str, dict[str, Other]] = {
    "svm": {
        "qpth": Other(heads.qpth_svm, "qpth", ("qpth",)),
        "learn2learn": Other(
            heads.learn2learn_svm, "learn2learn", ("learn2learn", "qpth"), one_by_one=True, largest=LARGE - 1
        ),
    },
    "ridge": {
        "explicit inverse": Other(heads.inverse_ridge, "torch"),
        "qpth": Other(heads.qpth_ridge, "qpth", ("qpth",), largest=LARGE - 1),
    },
}
ABSENT = {
    "svm": {
        "learn2learn": "20-way 5-shot left out: the problem of qpth's row, one task at a time",
        "easyfsl": "has no SVM head",
    },
    "ridge": {
        "qpth": "20-way 5-shot left out: it would take minutes",
        "learn2learn": "has no ridge head",
        "easyfsl": "has no ridge head",
    },
}


def topics(missing: Collection[str], quick: bool = False, features: int = FEATURES) -> list[Topic]:
    """The SVM and the ridge head; `quick`: two tasks instead of eight in the largest setting."""
    return [topic(kind, missing, heads.SETTINGS.values(), quick, features) for kind in OTHERS]


def topic(
    kind: str, missing: Collection[str], settings: Collection[Sequence[int]], quick: bool, features: int
) -> Topic:
    """One head in all settings, forward alone and with the backward pass."""
    comparisons = []
    for ways, shots in settings:
        few = quick and ways * shots >= LARGE
        data = heads.episodes(ways, shots, 2 if few else TASKS, features)
        others = {
            name: other
            for name, other in OTHERS[kind].items()
            if not set(other.needs) & set(missing) and ways * shots <= other.largest
        }
        ours: Head = SVMHead() if kind == "svm" else RidgeHead()
        differences = heads.compare({OURS: ours} | {n: o.head for n, o in others.items()}, data, ways, kind)
        # qpth takes a minute there, nearly all of it forward.
        passes = (True,) if kind == "svm" and ways * shots >= LARGE else (False, True)
        comparisons += [
            comparison(ours, others, differences, data, (ways, shots), backward) for backward in passes
        ]
    return Topic(
        {"svm": "SVM head", "ridge": "ridge head"}[kind],
        "task",
        f"{TASKS} tasks of {features:,}-dimensional embeddings at a time, {heads.QUERIES} queries per class, "
        "in float32; time per task. "
        + {
            "svm": "qpth as in MetaOptNet, 15 iterations. Ours checks a KKT residual of 1e-9 in double. ",
            "ridge": "Explicit inverse as in R2-D2, qpth as in MetaOptNet. Ours solves in double. ",
        }[kind]
        + "On several threads qpth fails where the batched LU factorisation of torch does "
        "(pytorch/pytorch#142815). Difference: of the logits of one task in double, relative to the "
        "largest; gradients within "
        f"{heads.TOLERANCES[kind][1]:.0e}.",
        comparisons,
        ABSENT[kind],
    )


def comparison(
    ours: Head,
    others: Mapping[str, Other],
    differences: Mapping[str, float],
    data: Episodes,
    size: tuple[int, int],
    backward: bool,
) -> Comparison:
    """One setting and pass."""
    (ways, shots), tasks = size, len(data[0])
    implementations = {OURS: Implementation(per_task(ours, data, ways, backward), "sla-bench", 0.0)}
    for name, other in others.items():
        own = tuple(part[:1] for part in data) if other.one_by_one else data
        run = per_task(other.head, own, ways, backward)
        agrees = functools.partial(logits_agree, other.head, ours, own, ways)
        implementations[name] = Implementation(run, other.package, differences[name], agrees)
    which = "with backward" if backward else "forward"
    few = f", {tasks} tasks" if tasks != TASKS else ""
    return Comparison(f"{ways}-way {shots}-shot, {which}{few}", implementations)


def logits_agree(head: Head, ours: Head, data: Episodes, ways: int) -> bool:
    """Whether a head finds our logits of all tasks, as far as float32 allows."""
    found, expected = (heads.run(each, data, ways, False)[0] for each in (head, ours))
    return bool((found - expected).abs().max() <= SINGLE_TOLERANCE * expected.abs().max())


def per_task(head: Head, data: Episodes, ways: int, backward: bool) -> Candidate:
    """A pass over all tasks, which counts them."""

    def once() -> int:
        heads.run(head, data, ways, backward)
        return len(data[0])

    return once
