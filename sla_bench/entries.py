"""Entries of the registries, and the lazy import of what they name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from sla_bench.errors import UserError, nearest, unknown
from sla_bench.words import existing_near, from_home


@dataclass(frozen=True)
class Entry:
    """A piece of code that users choose by name.

    Args:
        target: its place below the registry's home, `"module:attribute"`.
        summary: a few words for help and listings.
        options: names that `--set KIND.NAME=` may set.
        needs_learn2learn: it needs that library, which is optional (`peers.py`).
    """

    target: str
    summary: str
    options: tuple[str, ...] = ()
    needs_learn2learn: bool = False


@dataclass(frozen=True)
class ScenarioEntry(Entry):
    """A scenario: `target` trains and evaluates, `form` describes its options, `reading` its records.

    Args:
        form: place of its options and budgets.
        reading: place of the reading of its records.
        subject: its field, for sentences.
        by: the kind of split, as in `Dataset.load`; by images the classes are fixed, and `target` is a
            `ClassifierScenario`.
    """

    form: str = ""
    reading: str = ""
    subject: str = ""
    by: Literal["classes", "images"] = "classes"

    @property
    def fixed_classes(self) -> bool:
        """Training and test have the same classes."""
        return self.by == "images"

    @property
    def training_splits(self) -> tuple[Literal["train", "val", "trainval"], ...]:
        """The splits that a training sees."""
        return ("trainval",) if self.fixed_classes else ("train", "val")


@dataclass(frozen=True)
class LearnerEntry(Entry):
    """A few-shot head.

    Args:
        trains_at_test_shots: its training shots are the test's by default.
        trains_on: the training of its backbone: on episodes, with the head; or on the classes of the training
            split, with the method's classifier and without the head.
        adapts_network: it takes the network, and images instead of embeddings.
    """

    trains_at_test_shots: bool = False
    adapts_network: bool = False
    trains_on: Literal["episodes", "classes"] = "episodes"


@dataclass(frozen=True)
class PackagedWeights:
    """Pretrained weights in a Python package.

    Args:
        module: that holds the file.
        file: its path in the module's folder.
        sha256: of the file.
        network: the name of its network in timm.
        trained_on: data of the pretraining.
        extra: of this package, which brings the other.
    """

    module: str
    file: str
    sha256: str
    network: str
    trained_on: str
    extra: str


@dataclass(frozen=True)
class Argument:
    """The text after the colon of a name.

    Args:
        placeholder: its name in messages and lists.
        known: its allowed values, each with the entry of the same registry whose recipes and published values
            apply; empty: any text.
        like: entry of the same registry whose recipes apply to any other text; empty: its own.
    """

    placeholder: str
    known: Mapping[str, str] = field(default_factory=dict)
    like: str = ""


EntryT = TypeVar("EntryT", bound=Entry)


class Registry(Mapping[str, EntryT], Generic[EntryT]):
    """Read-only table of one kind of piece.

    Args:
        kind: of piece, for messages.
        home: the package whose modules the entries name.
        entries: name -> piece.
        arguments: names that carry an argument after a colon, as in `folder:PATH`.
    """

    def __init__(
        self,
        kind: str,
        home: str,
        entries: Mapping[str, EntryT],
        arguments: Mapping[str, Argument] | None = None,
    ) -> None:
        self.kind, self._home = kind, home
        self._entries = dict(entries)
        self.arguments = dict(arguments or {})

    def __getitem__(self, name: str) -> EntryT:
        base = name.partition(":")[0]
        if base not in self._entries:
            raise self._unknown(name)
        return self._entries[base]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.partition(":")[0] in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, name: str) -> str:
        """Return the name if it is known.

        Raises:
            UserError: unknown name or argument (with the nearest right one), or a missing or superfluous
                argument.
        """
        base, colon, argument = name.partition(":")
        if base not in self._entries:
            raise self._unknown(name)
        taken = self.arguments.get(base)
        if taken is None and colon:
            raise UserError(f"{self.kind} {base!r} takes no argument, got {name!r}")
        if taken is None:
            return name
        names = [f"{base}:{known}" for known in taken.known]
        if not argument:
            written = " or ".join(names) or f"{base}:{taken.placeholder}"
            raise UserError(f"{self.kind} {base!r} needs an argument: write {written}")
        if names and name not in names:
            raise UserError(f"unknown {self.kind} {name!r}; {nearest(name, names)}")
        return name

    def _unknown(self, name: str) -> UserError:
        """The error for an unknown name; a path may lack the word before its colon."""
        for base, argument in self.arguments.items():
            path, colon, rest = name.partition(":")
            meant = path if from_home(path).exists() else existing_near(from_home(path))
            if argument.placeholder == "PATH" and meant is not None and (meant == path or os.sep in path):
                likely = f"{base}:{meant}{colon}{rest}"
                return UserError(f"unknown {self.kind} {name!r}; did you mean {likely!r}?")
            if argument.placeholder == "PATH" and os.sep in path:
                return UserError(f"unknown {self.kind} {name!r}; {base}:PATH is a folder, there is no {path}")
        return unknown(self.kind, name, self._entries)

    def names(self) -> list[str]:
        """All valid names; a free argument is shown by its placeholder."""
        return [
            f"{base}:{argument}" if argument else base
            for base in self._entries
            for argument in self._written(base)
        ]

    def like(self, name: str) -> str:
        """The entry whose recipes and published values apply to this name; most often the name itself."""
        base, _, argument = name.partition(":")
        taken = self.arguments.get(base)
        return name if taken is None else taken.known.get(argument, taken.like or name)

    def _written(self, base: str) -> tuple[str, ...]:
        taken = self.arguments.get(base)
        return ("",) if taken is None else tuple(taken.known) or (taken.placeholder,)

    def load(self, name: str, what: str = "target") -> Any:
        """Import the piece and return it; without an attribute, the module itself.

        Args:
            name: of the entry.
            what: the field of the entry with the place of the piece.
        """
        place, _, attribute = getattr(self[self.check(name)], what).partition(":")
        target = f"{self._home}.{place}"
        # A grid asks ten thousand times, and `import_module` takes the import lock each time.
        module = sys.modules.get(target) or importlib.import_module(target)
        return getattr(module, attribute) if attribute else module
