"""Setting, recipe and departures that were asked for, kept in records."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict

from sla_bench.config import EvalConfig, RunConfig, Settings, columns
from sla_bench.fields import Added, Column, FromBudget, Part, fields_with, has
from sla_bench.grids.settings import PIECES, options_field
from sla_bench.grids.tasks import form_of, learner_or_loss, recipe_values
from sla_bench.objectives.objective import Objective
from sla_bench.registry import METHODS, SCENARIOS
from sla_bench.scenarios.form import Form

_TOLD_ELSEWHERE = (
    *("scenario", "dataset", "learner", "loss", "transform", "backbone", "budget", "seed", "test_seed"),
    *("method", "ensemble", "batch_images", "stage_two", "weights", "allow_seen_classes"),
)
"""Fields that have columns or are in the name of a row, and seeds."""
_OPTIONS = {options_field(piece): piece for piece in PIECES}
"""Field with the options of a piece -> the piece."""

Value = bool | int | float | str | None


class Asked(BaseModel):
    """Setting, recipe and departures of a training and a test; no later recipe changes them.

    Args:
        setting: field that is part of the setting -> its value, and its words.
        columns: column -> value, one for each field that has one.
        budget: name of the recipe.
        recipe: hash of the recipe: two of one name may differ.
        departures: field -> value where it is not the recipe's; of options of a piece those that differ.
        is_sla: self-supervised label augmentation, and not a baseline or control.
        more_images: a control with M times the ways, and so the distinct images.
        averages_views: rows that are means over views (+TTA) or crops.
        hidden: rows that no table shows: means over views that the head was never trained on.
    """

    model_config = ConfigDict(frozen=True)

    setting: dict[str, tuple[Value, str]]
    columns: dict[str, Value]
    budget: str
    recipe: str
    departures: dict[str, Any]
    is_sla: bool = False
    more_images: bool = False
    averages_views: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def words(self, without: Collection[str] = ()) -> str:
        """The setting as in "5-way 1-shot", some parts left out."""
        return " ".join(words for name, (_, words) in self.setting.items() if words and name not in without)

    def label(self, without: Collection[str] = ()) -> str:
        """The budget and its departures as in "quick, steps=200", some fields left out."""
        return ", ".join([self.budget, *self._departures(without)])

    def _departures(self, without: Collection[str]) -> Iterator[str]:
        for name, value in self.departures.items():
            if name not in without:
                options = {name: value}
                if name in _OPTIONS:
                    options = {f"{_OPTIONS[name]}.{option}": value[option] for option in sorted(value)}
                yield from (f"{option}={chosen}" for option, chosen in options.items())


def asked_of(run: RunConfig, test: EvalConfig | None = None) -> Asked:
    """Work out what was asked for, by the recipes of this version.

    Args:
        run: the training.
        test: its test; None: that of its budget.

    Raises:
        UserError: the budget, the learner or the loss is not known here.
    """
    form = form_of(run.scenario)
    recipe, recipe_hash = _recipe_of(run)
    test = test or form.evaluation(**{n: recipe[n] for n in form.evaluation.model_fields if n in recipe})
    return Asked(
        setting=_setting(run, test),
        columns={
            "learner": learner_or_loss(vars(run)) or "ce",
            "transform": test.transform,
            "backbone": run.backbone,
            "train_shots": form.train_shots(run),
            **{name: getattr(run, name, default) for name, default in columns().items()},
        },
        budget=run.budget,
        recipe=recipe_hash,
        departures=_departures(form, run, test, recipe),
        **_rows_of(run),
    )


def check_recipe(run: RunConfig) -> None:
    """Refuse a budget, learner or loss that is not known here.

    Raises:
        UserError: so it is.
    """
    _recipe_of(run)


def _setting(run: RunConfig, test: EvalConfig) -> dict[str, tuple[Value, str]]:
    found: dict[str, tuple[Value, str]] = {}
    for config in (run, test):
        for name in fields_with(type(config), Part):
            info, value = type(config).model_fields[name], getattr(config, name)
            (part,) = (marker for marker in info.metadata if isinstance(marker, Part))
            if value in part.alone:
                return {**{n: (v, "") for n, (v, _) in found.items()}, name: (value, part.alone[value])}
            words = part.words.format(part.called.get(value, value))
            found[name] = value, "" if part.silent and value == info.default else words
    return found


def _departures(form: Form, run: RunConfig, test: EvalConfig, recipe: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for of_budget in (True, False):
        for config in (run, test):
            values = vars(config)
            usual = {n: recipe.get(n, v) for n, v in _defaults(type(config), form.follows, of_budget).items()}
            found |= {name: values[name] for name in usual if values[name] != usual[name]}
        found |= form.departures(run, test, recipe) if of_budget else {}
    for name in _OPTIONS:
        usual = recipe.get(name, {})
        chosen = getattr(run, name, {})
        if options := {n: v for n, v in chosen.items() if n not in usual or usual[n] != v}:
            found[name] = options
    return found


def _rows_of(run: RunConfig) -> dict[str, Any]:
    """Facts about the rows of a method; none where it is not known here."""
    if run.method not in METHODS:
        return {}
    method: Objective = METHODS.load(run.method)
    ensemble = f" ens-{run.members}" if run.members > 1 else ""
    turned = [f"{row}{ensemble}" for row, read in method.reads.items() if read.mode == "tta"]
    unknown = SCENARIOS[run.scenario].fixed_classes and not method.knows_views
    return {
        "is_sla": method.augments_labels,
        "more_images": method.multiplies == "ways",
        "averages_views": (*turned, f"{method.crops_row}{ensemble}"),
        "hidden": tuple(turned) if unknown else (),
    }


# Asked of each of thousands of records: what depends on their kind only is found once.


@functools.cache
def _defaults(model: type[Settings], follows: frozenset[str], of_budget: bool) -> Mapping[str, Any]:
    """Field that is told as a departure -> its default; of the budget's fields, or of the others."""
    apart = {*fields_with(model, Column), *fields_with(model, Part), *follows, *_TOLD_ELSEWHERE, *_OPTIONS}
    return {
        name: info.get_default(call_default_factory=True)
        for name, info in model.model_fields.items()
        if name not in apart and has(info, FromBudget) == of_budget
    }


def _recipe_of(run: RunConfig) -> tuple[Mapping[str, Any], str]:
    return _recipe(run.scenario, run.budget, run.dataset, learner_or_loss(vars(run)))


@functools.cache
def _recipe(scenario: str, budget: str, dataset: str, learner: str | None) -> tuple[Mapping[str, Any], str]:
    """A recipe and its hash, of which a field that is younger than some records is no part at its default."""
    form = form_of(scenario)
    recipe = recipe_values(form, budget, dataset, learner)
    fields = {**form.run.model_fields, **form.evaluation.model_fields}
    young = {*fields_with(form.run, Added), *fields_with(form.evaluation, Added)}
    content = {n: v for n, v in recipe.items() if n not in young or v != fields[n].default}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return MappingProxyType(recipe), digest[:8]
