"""Topics, settings, and the implementations compared in each setting."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.speed.timing import Candidate

OURS = "sla_bench"
PEERS = {"learn2learn": "learn2learn", "easyfsl": "easyfsl", "qpth": "qpth.qp"}
"""Library -> the module that has to be there."""


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Implementation:
    """One way to do the work of a setting.

    Args:
        run: does some of it.
        package: the installed package whose version is recorded.
        difference: of its result from ours, checked to be small; what it measures is said by the topic.
        agrees: whether its result is right on the threads that are set now; it may also raise a
            RuntimeError. For those that can go wrong on several.
    """

    run: Candidate
    package: str
    difference: float
    agrees: Callable[[], bool] = _always


@dataclass(frozen=True)
class Comparison:
    """One setting; ours is the first of its implementations.

    Args:
        setting: in a few words.
        implementations: name -> implementation.
    """

    setting: str
    implementations: Mapping[str, Implementation]


@dataclass(frozen=True)
class Topic:
    """Comparisons of one kind of work.

    Args:
        what: the work.
        unit: what one time is the time of.
        about: what all settings have in common, and what the difference is; sentences.
        comparisons: at least one.
        without: library -> why it stands in no comparison.
    """

    what: str
    unit: str
    about: str
    comparisons: list[Comparison]
    without: Mapping[str, str] = field(default_factory=dict)


def missing_peers() -> dict[str, str]:
    """Peer -> why it can't be imported, for those that can't."""
    missing = {}
    for name, module in PEERS.items():
        try:
            # Some print notices for users of packages that they need.
            with contextlib.redirect_stderr(io.StringIO()):
                importlib.import_module(module)
        except ImportError as error:
            missing[name] = str(error)
    return missing


def checked(what: str, difference: float, allowed: float) -> float:
    """Return a difference.

    Raises:
        SystemExit: it exceeds what is allowed, or is not a number.
    """
    if not difference <= allowed:
        raise SystemExit(f"{what} differs from ours by {difference:.1e}, allowed {allowed:.0e}")
    return difference
