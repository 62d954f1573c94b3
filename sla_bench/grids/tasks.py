"""Options become trainings and evaluations."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Optional, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from sla_bench.config import EvalConfig, RunConfig, Settings
from sla_bench.data.folder_names import canonical_dataset
from sla_bench.entries import Registry
from sla_bench.errors import UserError, as_user_error, nearest, unknown
from sla_bench.fields import Adds, Axis, FromBudget, FromDataset, FromOthers, SetOnly, fields_with, has
from sla_bench.grids.settings import DATA, PIECES, options_field, parse_settings, written_out
from sla_bench.objectives.objective import GROUPS, Objective
from sla_bench.registry import (
    BACKBONES,
    DATASETS,
    LEARNERS,
    LOSSES,
    METHODS,
    MIXES,
    SCENARIOS,
    STAGE_TWO,
    TRANSFORMS,
)
from sla_bench.scenarios import pretraining
from sla_bench.scenarios.form import BUDGETS, Form, batch_refusal, with_whole_batch

REGISTRIES: dict[str, Registry[Any]] = {
    "dataset": DATASETS,
    "learner": LEARNERS,
    "loss": LOSSES,
    "method": METHODS,
    "transform": TRANSFORMS,
    "backbone": BACKBONES,
    "mix": MIXES,
    "stage_two": STAGE_TWO,
}


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@functools.cache
def options_model(form: Form) -> type[BaseModel]:
    """The options of `run SCENARIO`: each field of its run and evaluation that has one; axes are lists.

    A text among the values of an axis may stand for several, see `written_out`.
    """
    fields: dict[str, Any] = {}
    for model in (form.run, form.evaluation):
        for name, info in model.model_fields.items():
            if has(info, SetOnly) or name == "scenario" or name in fields:
                continue
            kind: Any = info.annotation
            if get_origin(kind) in (Union, UnionType):
                kind = next(a for a in get_args(kind) if a is not type(None))
            default: Any = info.default
            filled_in = has(info, FromBudget) or has(info, FromDataset)
            if has(info, Axis):
                several = BeforeValidator(functools.partial(written_out, kind))
                empty = filled_in or has(info, Adds) or has(info, FromOthers)
                kind, default = list[kind], ([] if empty else [default])
                kind = Annotated[kind, several]
            elif filled_in or default is None:
                kind, default = Optional[kind], None  # noqa: UP045
            if name == "method":
                default = list(form.default_methods)
            shown = info.description or ""
            if filled_in:
                shown += f" [default: the {'budget' if has(info, FromBudget) else 'data set'}'s]"
            fields[name] = (kind, Field(default, description=shown))
    return create_model(f"{form.scenario.capitalize()}Options", __base__=_Options, **fields)


@dataclass(frozen=True)
class Task:
    """One training and the evaluations that are wanted of it."""

    run: RunConfig
    evaluations: tuple[EvalConfig, ...]


def form_of(scenario: str) -> Form:
    """Return what a scenario asks for.

    Raises:
        UserError: no such scenario.
    """
    form: Form = SCENARIOS.load(scenario, "form")
    return form


def recipe_values(form: Form, name: str, dataset: str, learner: str | None = None) -> dict[str, Any]:
    """Return a scenario's recipe for a data set: field of its run or evaluation -> value.

    Args:
        form: of the scenario.
        name: of the budget.
        dataset: its name.
        learner: few-shot head or loss, which may have a recipe of its own; None where there is none.

    Raises:
        UserError: no such budget or learner, or the budget has no recipe for the data set or the learner.
    """  # noqa: DOC501
    if name not in BUDGETS:
        raise unknown("budget", name, BUDGETS)
    return form.budgets(name, dataset, learner)


def recipe_of(run: RunConfig) -> dict[str, Any]:
    """Return the recipe of a run's budget, data set, and learner or loss; see `recipe_values`."""
    return recipe_values(form_of(run.scenario), run.budget, run.dataset, learner_or_loss(vars(run)))


def learner_or_loss(values: Mapping[str, Any]) -> str | None:
    """The few-shot head or the loss among the fields of a run; None where there is neither."""
    return values.get("learner") or values.get("loss")


def span(form: Form, options: Mapping[str, Any], settings: Iterable[str] = ()) -> list[Task]:
    """Return the trainings that the options span, without doubles, evaluations of one training joined.

    Args:
        form: of the scenario.
        options: as the `model_dump()` of its options.
        settings: `key=value` texts of `--set`; they win over options and budget.

    Raises:
        UserError: a name or value is wrong, or a method refuses the setting; the sentence says why.
    """
    return join(points(form, options, parse_settings(form, settings)))


Point = tuple[RunConfig, EvalConfig]
"""One training and one evaluation of it."""


def points(
    form: Form,
    options: Mapping[str, Any],
    fixed: Mapping[str, Any],
    left_out: Callable[[RunConfig, EvalConfig], bool] = lambda run, evaluation: False,
) -> Iterator[Point]:
    """Yield what the options span, point by point; a training comes as often as it is evaluated.

    Args:
        form: of the scenario.
        options: as the `model_dump()` of its options.
        fixed: as from `place_settings`; it wins over options and budget.
        left_out: says of a point that it is not wanted, before it is asked whether it makes sense.

    Raises:
        UserError: as `span`, or every method of the groups is refused.
    """
    axes = {name: list(options[name]) for name in form.order}
    by_name = [fixed["method"]] if "method" in fixed else axes["method"]
    axes["method"] = expand_methods(form.scenario, axes["method"])
    axes |= {name: [fixed[name]] for name in form.order if name in fixed}
    _check_names(axes)
    fixed = _name_data_sets(axes, fixed)
    scalars = {n: v for n, v in options.items() if n not in axes and v is not None}
    resolved, yielded, refused = [], False, ""
    for part in _parts(form, axes, fixed):
        # An axis that says nothing leaves its field to the budget.
        for values in itertools.product(*(part[name] or [None] for name in form.order)):
            point = {n: v for n, v in zip(form.order, values, strict=True) if v is not None}
            given = {**scalars, **point, **fixed}
            run, evaluation = _resolve(form, given, fixed)
            resolved.append(run)
            if left_out(run, evaluation):
                continue
            sentences = (
                form.refusal(run),
                pretraining.refusal(run),
                form.test_refusal(run, evaluation),
                batch_refusal(form, run),
            )
            if sentence := next(filter(None, sentences), None):
                if run.method in by_name:
                    raise UserError(sentence)
                refused = sentence
                continue
            form.check(run, evaluation)
            yielded = True
            _check_meaning(run, fixed)
            yield with_whole_batch(form, run), evaluation
            yield from (_resolve(form, {**given, **twin}, fixed) for twin in pretraining.frozen_twins(run))
    if refused and not yielded:
        raise UserError(refused)
    _check_piece_options(resolved, fixed)


def _check_names(axes: Mapping[str, list[Any]]) -> None:
    for name in axes:
        if name in REGISTRIES:
            for value in axes[name]:
                REGISTRIES[name].check(value)


def _name_data_sets(axes: dict[str, list[Any]], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Write the options of the data into the names of the data sets; returns the other fixed values."""
    options = fixed.get(options_field(DATA), {})
    axes["dataset"] = [canonical_dataset(name, options) for name in axes["dataset"]]
    named = {"dataset": axes["dataset"][0]} if "dataset" in fixed else {}
    return {name: value for name, value in fixed.items() if name != options_field(DATA)} | named


def _parts(
    form: Form, axes: Mapping[str, list[Any]], fixed: Mapping[str, Any]
) -> Iterator[dict[str, list[Any]]]:
    """Yield the axes of each product: what is asked for, then what single options add to it."""
    fields = {
        name: model.model_fields[name]
        for model in (form.run, form.evaluation)
        for name in fields_with(model, Adds)
        if name not in fixed
    }
    plain = {**axes, **{name: [info.default] for name, info in fields.items()}}
    yield plain
    for name, info in fields.items():
        (marker,) = (m for m in info.metadata if isinstance(m, Adds))
        if axes[name]:
            yield {**plain, **{n: [value] for n, value in marker.others.items()}, name: axes[name]}


def join(found: Iterable[Point]) -> list[Task]:
    """Return each training once, in the order of its first point, with all its evaluations."""
    tasks: dict[str, tuple[RunConfig, list[EvalConfig]]] = {}
    for run, evaluation in found:
        _, wanted = tasks.setdefault(run.digest(), (run, []))
        if evaluation not in wanted:
            wanted.append(evaluation)
    return [Task(run, tuple(evaluations)) for run, evaluations in tasks.values()]


# field -> (another field, the value of it that gives the first a meaning)
_MEANINGFUL_WITH = {
    "momentum": ("optimizer", "sgd"),
    "nesterov": ("optimizer", "sgd"),
    "milestones": ("schedule", "steps"),
}


def _check_meaning(run: RunConfig, fixed: Mapping[str, Any]) -> None:
    for name, (other, value) in _MEANINGFUL_WITH.items():
        if name in fixed and getattr(run, other) != value:
            raise UserError(f"--set {name} has no effect unless {other}={value}")
    if "decay_biases" in fixed and run.weight_decay == 0:
        raise UserError("--set decay_biases has no effect unless weight_decay is above 0")
    if run.optimizer == "sgd" and run.nesterov and run.momentum == 0:
        raise UserError("--set nesterov=true needs a momentum above 0")


def expand_methods(scenario: str, names: list[str]) -> list[str]:
    """Return the methods that are meant, names of groups written out, each once.

    Raises:
        UserError: an unknown method, or one that the scenario refuses.
    """  # noqa: DOC501
    expanded: list[str] = []
    for name in names:
        if name in GROUPS:
            group = [n for n in METHODS if not method_refusal(n, scenario) and METHODS.load(n).group == name]
        else:
            if name not in METHODS:
                raise unknown("method", name, [*GROUPS, *METHODS])
            if sentence := method_refusal(name, scenario):
                raise UserError(f"method {name!r} is refused for {SCENARIOS[scenario].subject}: {sentence}")
            group = [name]
        expanded += [n for n in group if n not in expanded]
    return expanded


def method_refusal(name: str, scenario: str) -> str:
    """Say why a scenario can't use a method, in a sentence; empty where it can."""
    method: Objective = METHODS.load(name)
    return method.not_on_classes if SCENARIOS[scenario].fixed_classes else method.not_on_episodes


def _check_piece_options(runs: Iterable[RunConfig], fixed: Mapping[str, Any]) -> None:
    """Refuse options that no chosen learner, loss, ... takes."""
    for piece in PIECES:
        if not (given := fixed.get(options_field(piece))):
            continue
        chosen = list(dict.fromkeys(getattr(run, piece) for run in runs))
        taken = {option for name in chosen for option in REGISTRIES[piece][name].options}
        for option in given:
            if option not in taken:
                known = f"; {nearest(option, sorted(taken))}" if taken else ""
                raise UserError(f"--set {piece}.{option}: not an option of {', '.join(chosen)}{known}")


def _resolve(form: Form, given: Mapping[str, Any], fixed: Mapping[str, Any]) -> tuple[RunConfig, EvalConfig]:
    given = pretraining.with_budget(given)
    recipe = recipe_values(form, given["budget"], given["dataset"], learner_or_loss(given))
    values = {**recipe, **given}
    for piece in PIECES:
        if piece in values:
            field, taken = options_field(piece), REGISTRIES[piece][values[piece]].options
            chosen = {k: v for k, v in fixed.get(field, {}).items() if k in taken}
            values[field] = {**recipe.get(field, {}), **chosen}
    form.complete(values, given)
    pretraining.complete(form.scenario, values, given)
    evaluation: EvalConfig = _build(form.evaluation, values)
    if not METHODS.load(values["method"]).depends_on_transform:
        values["transform"] = None
    run: RunConfig = _build(form.run, values)
    return run, evaluation


def _build(model: type[Settings], values: Mapping[str, Any]) -> Any:
    fields = {n: values[n] for n in model.model_fields if n in values}
    try:
        return model(**fields)
    except ValidationError as error:
        raise as_user_error(error, fields_with(model, SetOnly)) from None


def evaluation_of(run: RunConfig, changes: Mapping[str, Any], settings: Iterable[str]) -> Task:
    """Return the task of evaluating a finished training in another setting.

    Args:
        run: the training.
        changes: fields of the evaluation that differ from the default of the run's budget.
        settings: `key=value` texts; only fields of the evaluation.

    Raises:
        UserError: a field that is not of the evaluation, or a wrong value.
    """
    form = form_of(run.scenario)
    fixed = parse_settings(form, settings)
    fields = form.evaluation.model_fields
    for name in fixed:
        if name not in fields:
            raise UserError(
                f"--set {name.removesuffix('_options')}: the training is finished, only its test can change"
            )
    for name in changes:
        if name not in fields:
            raise UserError(f"--{name.replace('_', '-')}: an evaluation of {run.scenario} has no such option")
    recipe = recipe_of(run)
    own = {"transform": run.transform} if run.transform else {}
    values = {**form.evaluation_like_training(run), **recipe, **own, **changes, **fixed}
    if run.transform not in (None, values.get("transform", run.transform)):
        raise UserError(f"--set transform: the run was trained with {run.transform}")
    form.complete_test(run.dataset, values)
    evaluation: EvalConfig = _build(form.evaluation, values)
    if sentence := form.test_refusal(run, evaluation):
        raise UserError(sentence)
    form.check(run, evaluation)
    return Task(run, (evaluation,))
