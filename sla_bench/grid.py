"""From what the user types to the trainings and evaluations that it means."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Optional, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from sla_bench.budgets import budget
from sla_bench.config import Axis, EvalConfig, FromBudget, RunConfig, SetOnly, Settings, as_user_error
from sla_bench.datasets.named import dataset_named
from sla_bench.errors import UserError, nearest, unknown
from sla_bench.registry import BACKBONES, DATASETS, LEARNERS, METHODS, TRANSFORMS, Registry

DEFAULT_METHODS = ["baseline", "sla"]
_REGISTRIES: dict[str, Registry[Any]] = {
    "dataset": DATASETS,
    "learner": LEARNERS,
    "method": METHODS,
    "transform": TRANSFORMS,
    "backbone": BACKBONES,
}
_PIECES = {"learner": "learner_options", "method": "method_options", "backbone": "backbone_options"}


def has(info: FieldInfo, marker: type) -> bool:
    """Say whether a field carries a marker of config.py."""
    return any(isinstance(m, marker) for m in info.metadata)


def _option_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for model in (RunConfig, EvalConfig):
        for name, info in model.model_fields.items():
            if has(info, SetOnly) or name == "scenario" or name in fields:
                continue
            kind: Any = info.annotation
            if get_origin(kind) in (Union, UnionType):
                kind = next(a for a in get_args(kind) if a is not type(None))
            default: Any = info.default
            if has(info, Axis):
                kind, default = list[kind], ([] if has(info, FromBudget) else [default])
            elif has(info, FromBudget):
                kind, default = Optional[kind], None  # noqa: UP045
            if name == "method":
                default = DEFAULT_METHODS
            shown = info.description or ""
            if has(info, FromBudget):
                shown += " [default: the budget's]"
            fields[name] = (kind, Field(default, description=shown))
    return fields


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


FewShotOptions = create_model("FewShotOptions", __base__=_Options, **_option_fields())
"""The options of `run fewshot`: each field of RunConfig and EvalConfig that has one; axes are lists."""


@dataclass(frozen=True)
class Task:
    """One training and the evaluations that are wanted of it."""

    run: RunConfig
    evaluations: tuple[EvalConfig, ...]


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Turn `["steps=20", "learner.C=1"]` into `{"steps": 20, "learner_options": {"C": 1}}`.

    Raises:
        UserError: not of the form key=value, or no such field.
    """
    known = {n for m in (RunConfig, EvalConfig) for n in m.model_fields} - {"scenario", *_PIECES.values()}
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting!r}: write key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting!r}: {text!r} is not a value") from error
        if isinstance(value, str):
            value = _number(value)
        piece, dot, option = key.partition(".")
        if dot:
            if piece not in _PIECES:
                raise unknown("piece", piece, _PIECES)
            parsed.setdefault(_PIECES[piece], {})[option] = value
        elif key in known:
            parsed[key] = value
        else:
            raise UserError(f"--set {key!r}: no such field; {nearest(key, sorted(known))}")
    return parsed


def _number(text: str) -> float | str:
    # YAML 1.1 reads 1e-3 as a string.
    try:
        return float(text)
    except ValueError:
        return text


def span(options: Mapping[str, Any], settings: Iterable[str] = ()) -> list[Task]:
    """Return the trainings that the options span, without doubles, evaluations of one training joined.

    Args:
        options: as `FewShotOptions.model_dump()`.
        settings: `key=value` texts of `--set`; they win over options and budget.

    Raises:
        UserError: a name or value is wrong, or a method refuses the setting; the sentence says why.
    """
    fixed = parse_settings(settings)
    axes = {name: list(values) for name, values in options.items() if isinstance(values, list)}
    axes["method"] = _expand_methods(axes["method"])
    for name, registry in _REGISTRIES.items():
        for value in axes[name]:
            registry.check(value)
    for name in list(axes):
        if name in fixed:
            axes[name] = [fixed[name]]
    if fixed.get("backbone"):
        axes["backbone"] = [fixed["backbone"]]
    _check_piece_options(axes, fixed)
    scalars = {n: v for n, v in options.items() if n not in axes and v is not None}
    tasks: dict[str, tuple[RunConfig, list[EvalConfig]]] = {}
    order = ("dataset", "backbone", "transform", "learner", "shots", "seed", "method")
    backbones = axes["backbone"] or [None]
    for point in itertools.product(*(backbones if n == "backbone" else axes[n] for n in order)):
        run, evaluation = _resolve(dict(zip(order, point, strict=True)), scalars, fixed)
        check(run, evaluation)
        _check_meaning(run, fixed)
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
            raise UserError(f"--set {name} changes nothing here: it belongs to {other}={value}")
    if run.optimizer == "sgd" and run.nesterov and run.momentum == 0:
        raise UserError("--set nesterov=true needs a momentum above 0")


def _expand_methods(names: list[str]) -> list[str]:
    expanded: list[str] = []
    for name in names:
        if name in ("all", "controls"):
            control = name == "controls"
            group = [n for n, e in METHODS.items() if e.control == control and "fewshot" not in e.refused]
        else:
            if name not in METHODS:
                raise unknown("method", name, ["all", "controls", *METHODS])
            if sentence := METHODS[name].refused.get("fewshot"):
                raise UserError(f"method {name!r} is refused for few-shot: {sentence}")
            group = [name]
        expanded += [n for n in group if n not in expanded]
    return expanded


def _check_piece_options(axes: Mapping[str, list[Any]], fixed: Mapping[str, Any]) -> None:
    for piece, field in _PIECES.items():
        registry = _REGISTRIES[piece]
        chosen = axes[piece] or list(registry)
        taken = {option for name in chosen for option in registry[name].options}
        for option in fixed.get(field, {}):
            if option not in taken:
                known = f"; {nearest(option, sorted(taken))}" if taken else ""
                raise UserError(f"--set {piece}.{option}: not an option of {', '.join(chosen)}{known}")


def _resolve(
    point: Mapping[str, Any], scalars: Mapping[str, Any], fixed: Mapping[str, Any]
) -> tuple[RunConfig, EvalConfig]:
    recipe = budget(fixed.get("budget", scalars["budget"]), point["dataset"])
    learner, method = LEARNERS[point["learner"]], METHODS[point["method"]]
    given = {**{k: v for k, v in point.items() if v is not None}, **scalars, **fixed}
    values = {**recipe, **given}
    for piece, field in _PIECES.items():
        taken = _REGISTRIES[piece][values[piece]].options
        values[field] = {k: v for k, v in fixed.get(field, {}).items() if k in taken}
    values.setdefault("ways", 5)
    if "train_ways" not in given:
        values["train_ways"] = values["ways"]
    if learner.trains_at_test_shots and "train_shots" not in given:
        values["train_shots"] = values["shots"]
    if learner.trains_at_test_shots and "val_shots" not in given:
        values["val_shots"] = values["train_shots"]
    evaluation = _build(EvalConfig, values)
    run_values = dict(values)
    if not method.depends_on_transform:
        run_values["transform"] = None
    return _build(RunConfig, run_values), evaluation


def _build(model: type[Settings], values: Mapping[str, Any]) -> Any:
    fields = {n: values[n] for n in model.model_fields if n in values}
    try:
        return model(**fields)
    except ValidationError as error:
        raise as_user_error(error) from None


def check(run: RunConfig, evaluation: EvalConfig) -> None:
    """Refuse what the data set is known not to serve, before any file is read.

    Raises:
        UserError: a sentence that says what does not fit.
    """
    dataset = dataset_named(run.dataset)
    method, transform = METHODS[run.method], TRANSFORMS[evaluation.transform]
    if dataset.properties.grey and transform.uses_color:
        raise UserError(
            f"transform {evaluation.transform!r} permutes colours, but the images of {run.dataset} are grey; "
            "use rotation or rotation2"
        )
    factor = transform.num_views if method.way_factor else 1
    pool = transform.num_views if method.pools_views else 1
    what = f" (method {run.method} trains with {factor} times the ways)" if factor > 1 else ""
    splits: tuple[tuple[Literal["train", "val", "test"], int, str], ...] = (
        ("train", run.train_ways * factor, f"--train-ways {run.train_ways}{what}"),
        ("val", run.train_ways, f"--train-ways {run.train_ways}"),
        ("test", evaluation.ways, f"--ways {evaluation.ways}"),
    )
    for split, ways, option in splits:
        classes = dataset.classes.get(split)
        available = classes * pool if classes is not None and split == "train" else classes
        if available is not None and ways > available:
            raise UserError(
                f"{run.dataset} has {available} {split} classes, too few for {ways} ways: {option}"
            )


def evaluation_of(run: RunConfig, changes: Mapping[str, Any], settings: Iterable[str]) -> Task:
    """Return the task of evaluating a finished training in another setting.

    Args:
        run: the training.
        changes: fields of EvalConfig that differ from the default of the run's budget.
        settings: `key=value` texts; only fields of EvalConfig.

    Raises:
        UserError: a field that is not of the evaluation, or a wrong value.
    """
    fixed = parse_settings(settings)
    for name in fixed:
        if name not in EvalConfig.model_fields:
            raise UserError(f"--set {name}: it belongs to the training, which is finished")
    recipe = budget(run.budget, run.dataset)
    own = {"transform": run.transform} if run.transform else {}
    values = {"ways": run.train_ways, "shots": run.train_shots, **recipe, **own, **changes, **fixed}
    if run.transform not in (None, values.get("transform", run.transform)):
        raise UserError(f"--set transform: the run was trained with {run.transform}")
    evaluation = _build(EvalConfig, values)
    check(run, evaluation)
    return Task(run, (evaluation,))
