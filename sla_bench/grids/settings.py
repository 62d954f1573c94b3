"""Settings from `--set key=value` and from `set:` of a grid file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from sla_bench.data.folder_names import OPTIONS as DATA_OPTIONS
from sla_bench.errors import UserError, nearest, unknown
from sla_bench.scenarios.form import Form, field_called

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
