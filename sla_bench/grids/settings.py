"""Settings and lists of values, written as texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from sla_bench.data.folder_names import OPTIONS as DATA_OPTIONS
from sla_bench.errors import UserError, nearest, unknown
from sla_bench.scenarios.form import Form, field_called

MOST_VALUES = 10_000
"""Of one range."""
_RANGE = re.compile(r"(\d+)(?:\.\.|-)(\d+)")
_NUMBERS = re.compile(r"[\s,]+")


def written_out(kind: type, values: Iterable[Any]) -> list[Any]:
    """Write lists and ranges out; anything else stays as it is, for whoever checks types.

    Numbers may be joined by commas or blanks, whole numbers also be a range, both ends in it. Names may be
    joined by commas; one that holds a path is left alone.

    Args:
        kind: int, float or str, the type of one value.
        values: texts as they were typed, among values that are none.

    Raises:
        ValueError: a range that falls, or spans more than 10,000 values.

    >>> written_out(int, ["0..3", "7,9", 5])
    [0, 1, 2, 3, '7', '9', 5]
    >>> written_out(str, ["baseline,sla", "folder:a,b"])
    ['baseline', 'sla', 'folder:a,b']
    """
    return [one for value in values for one in _parts(kind, value)]


def _parts(kind: type, value: Any) -> list[Any]:
    if not isinstance(value, str):
        return [value]
    if kind is str:
        return [value] if ":" in value or "/" in value else _joined(value.split(","), value)
    parts = _joined(_NUMBERS.split(value.strip()), value)
    return [one for part in parts for one in (_range(part) if kind is int else [part])]


def _joined(parts: list[str], value: str) -> list[str]:
    """The parts, unless one is missing: then the text is a mistake, which is shown as it was written."""
    parts = [part.strip() for part in parts]
    return parts if all(parts) else [value]


def _range(text: str) -> list[Any]:
    match = _RANGE.fullmatch(text)
    if match is None:
        return [text]
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < MOST_VALUES:
        raise ValueError(
            f"{text!r} is not a range: write FIRST..LAST, at most {MOST_VALUES:,} values, as 0..4"
        )
    return list(range(first, last + 1))


PIECES = ("learner", "loss", "method", "backbone", "mix")
DATA = "data"
"""Piece of the settings that change the name of a folder of images: `data.flip`."""


def parse_settings(form: Form, settings: Iterable[str]) -> dict[str, Any]:
    """Turn `["steps=20", "learner.C=1"]` into `{"steps": 20, "learner_options": {"C": 1}}`.

    Raises:
        UserError: not of the form key=value, or no such field.
    """
    pairs = []
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            raise UserError(f"--set {setting!r}: write key=value, as epochs=5")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting!r}: {text!r} is not a value") from error
        pairs.append((key, _number(value) if isinstance(value, str) else value))
    return place_settings(form, pairs)


def place_settings(form: Form, settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Turn `[("steps", 20), ("learner.C", 1)]` into `{"steps": 20, "learner_options": {"C": 1}}`.

    Raises:
        UserError: no such field, or no such piece.
    """  # noqa: DOC501
    fields = {n for m in (form.run, form.evaluation) for n in m.model_fields}
    pieces = [piece for piece in PIECES if piece in fields]
    known = fields - {"scenario", *map(options_field, pieces)}
    placed: dict[str, Any] = {}
    for key, value in settings:
        piece, dot, option = key.partition(".")
        if dot:
            if piece not in (*pieces, DATA):
                raise unknown("piece", piece, [*pieces, DATA])
            if piece == DATA and option not in DATA_OPTIONS:
                raise UserError(f"--set {key}: no such option of a folder; {nearest(option, DATA_OPTIONS)}")
            placed.setdefault(options_field(piece), {})[option] = value
        elif key in known:
            placed[key] = value
        elif key in DATA_OPTIONS:
            raise UserError(
                f"--set {key!r}: no such field; did you mean '{DATA}.{key}', an option of folder:PATH?"
            )
        else:
            meant = field_called(key, known)
            near = f"did you mean {meant!r}?" if meant else nearest(key, sorted(known))
            raise UserError(f"--set {key!r}: no such field; {near}")
    return placed


def options_field(piece: str) -> str:
    """The field of a run that holds the options of a piece."""
    return f"{piece}_options"


def _number(text: str) -> float | str:
    # YAML 1.1 reads 1e-3 as a string.
    try:
        return float(text)
    except ValueError:
        return text
