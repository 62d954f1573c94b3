"""Marks on the fields of a run: where each shows up."""

# Options, keys of a grid file and fields of a record are the fields of the models in `config.py`.

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class Axis:
    """Marks a field whose option may be given several times; a command spans the product."""


class Adds:
    """Marks an axis whose option adds to the product of the other options; `--set` fixes its value.

    Args:
        others: fields of the added trainings.
    """

    def __init__(self, **others: Any) -> None:
        self.others = others


class SetOnly:
    """Marks a field without an option, changed by `--set name=value`."""


class FromBudget:
    """Marks a field whose default is the budget's."""


class FromDataset:
    """Marks a field whose default is the data set's."""


class FromOthers:
    """Marks a field whose default follows from other fields."""


class Added:
    """Marks a field that some records lack: at its default the field does not change a run's id."""


class Column:
    """Marks a field with a column of its own in every table; a scenario without the field has its default."""


class Part:
    """Marks a field that is part of a setting, as in "5-way 1-shot".

    Args:
        words: format of its value, as in "{}-way".
        silent: the default is left out of the words.
        called: value -> its words in the format.
        alone: value -> words that are the whole setting.
    """

    def __init__(
        self, words: str, silent: bool = False, called: Mapping[str, str] | None = None, **alone: str
    ) -> None:
        self.words, self.silent, self.called, self.alone = words, silent, called or {}, alone


class OfMethod:
    """Marks a field that some methods read and the baseline does not."""


def has(info: FieldInfo, marker: type) -> bool:
    """Say whether a field carries a marker."""
    return any(isinstance(m, marker) for m in info.metadata)


@functools.cache
def fields_with(model: type[BaseModel], marker: type) -> tuple[str, ...]:
    """Names of the fields that carry a marker."""
    return tuple(name for name, info in model.model_fields.items() if has(info, marker))
