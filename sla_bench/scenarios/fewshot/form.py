"""Options, budgets and checks of the few-shot scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from sla_bench.config import EvalConfig, FewShotEvaluation, FewShotRun, RunConfig
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.objectives.objective import Objective
from sla_bench.registry import DATASETS, LEARNERS, METHODS, TRANSFORMS
from sla_bench.scenarios import fast
from sla_bench.scenarios.fewshot.episode_sizes import (
    test_demand,
    training_demand,
    validation_demand,
    validation_note,
    validation_ways,
)
from sla_bench.scenarios.form import Form, Unit, check_colors, image_unit, views_in_training

if TYPE_CHECKING:
    from sla_bench.data.base import Split

_SMOKE: dict[str, Any] = {
    **fast.PLAIN,
    "backbone": "conv4-32",
    "train_shots": 5,
    "train_queries": 10,
    "val_shots": 5,
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "milestones": {},
    "selection": "validation",
    "steps": 80,
    "batch_size": None,
    "batch_episodes": 1,
    "label_smoothing": 0.0,
    "validations": 2,
    "validation_episodes": 200,
    "validation_images": 30,
    "episodes": 200,
    "jackknife_episodes": 0,
    "images_per_class": 40,
}

_QUICK: dict[str, Any] = {
    **_SMOKE,
    "backbone": "conv4",
    "steps": 800,
    "validations": 5,
    "validation_episodes": 2000,
    "validation_images": 100,
    "episodes": 2000,
    "jackknife_episodes": 10_000,
    "images_per_class": None,
}

# MetaOptNet, train.py and section 4.1 of arXiv 1904.03758: 60 epochs of 1,000 batches of 8 episodes; the
# factors change at the start of the 20th, 40th and 50th epoch.
_PAPER: dict[str, Any] = {
    **_QUICK,
    "backbone": "resnet12",
    "train_shots": 15,
    "train_queries": 6,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "schedule": "steps",
    "milestones": {"19/60": 0.06, "39/60": 0.012, "49/60": 0.0024},
    "steps": 60_000,
    "batch_episodes": 8,
    "validations": 60,
    "validation_images": None,
}
_PAPER_BY_DATASET: dict[str, dict[str, Any]] = {
    "mini_imagenet": {"label_smoothing": 0.1},
    "tiered_imagenet": {"train_shots": 10},
    "cifar_fs": {"train_shots": 5},
    # MetaOptNet does not use it; a class has 20 images.
    "omniglot": {"train_shots": 10},
}


def _budgets(name: str, dataset: str, learner: str | None) -> dict[str, Any]:
    entry = LEARNERS[learner or FewShotRun.model_fields["learner"].default]
    if name == "fast":
        if entry.recipe:
            raise UserError(
                f"--budget fast has no recipe for the learner {learner}; take --budget quick or paper"
            )
        return fast.fewshot(dataset, entry.trains_on, learner)
    tables = {
        "smoke": _SMOKE,
        "quick": _QUICK,
        "paper": {**_PAPER, **_PAPER_BY_DATASET.get(DATASETS.like(dataset), {})},
    }
    own = LEARNERS.load(learner, "recipe")(name, DATASETS.like(dataset)) if learner and entry.recipe else {}
    return {**tables[name], **own}


def usual_train_ways(recipe: Mapping[str, Any], ways: int) -> int:
    """Ways of training where the user gives none: the test's, or the recipe's where these are more.

    Args:
        recipe: of the budget.
        ways: of the test.
    """
    if recipe["batch_size"] is not None:
        # A classifier in batches of its own trains on no episodes.
        default: int = FewShotRun.model_fields["train_ways"].default
        return default
    own: int = recipe.get("train_ways", 0)
    return max(own, ways)


def _complete(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    learner = LEARNERS[values["learner"]]
    values.setdefault("ways", FewShotEvaluation.model_fields["ways"].default)
    _complete_batch(values, given)
    if "train_ways" not in given:
        values["train_ways"] = usual_train_ways(values, values["ways"])
    # Older records validate with the ways of training and lack the field: None says the same.
    val_ways = given.get("val_ways", values["ways"])
    values["val_ways"] = None if val_ways == values["train_ways"] else val_ways
    if learner.trains_at_test_shots and "train_shots" not in given:
        values["train_shots"] = values["shots"]
    if learner.trains_at_test_shots and "val_shots" not in given:
        values["val_shots"] = values["train_shots"]


def _complete_batch(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    if values["batch_size"] is None:
        return
    if LEARNERS[values["learner"]].trains_on == "episodes":
        raise UserError(
            f"--set batch_size={values['batch_size']} is for classifiers, and learner {values['learner']!r} "
            "trains on episodes; take --set batch_episodes"
        )
    for name in ("train_ways", "train_shots", "train_queries", "batch_episodes"):
        if name in given:
            raise UserError(
                f"{name} has no effect where a classifier is trained in batches of {values['batch_size']} "
                "images; take --set batch_size"
            )


_Split = Literal["train", "val", "test"]


def _check(run: RunConfig, evaluation: EvalConfig) -> None:
    assert isinstance(run, FewShotRun)
    assert isinstance(evaluation, FewShotEvaluation)
    check_colors(run, evaluation)
    splits: tuple[tuple[_Split, int, str], ...] = (
        ("train", run.train_ways, f"--train-ways {run.train_ways}"),
        ("test", evaluation.ways, f"--ways {evaluation.ways}"),
        ("val", validation_ways(run), f"--val-ways {validation_ways(run)}"),
    )
    for split, ways, option in splits:
        if sentence := _too_few_classes(run.dataset, split, ways, option):
            raise UserError(sentence)


def _too_few_classes(dataset: str, split: _Split, ways: int, option: str, pool: int = 1) -> str | None:
    """Say that a split has too few classes, as far as it is known before files are read.

    Args:
        dataset: its name.
        split: of which `ways` classes are drawn.
        ways: classes of an episode.
        option: what asks for them.
        pool: ways that a class makes.
    """
    classes = dataset_named(dataset).classes.get(split)
    if classes is None or ways <= classes * pool:
        return None
    return f"{dataset} has {classes * pool} {split} classes, too few for {ways} ways: {option}"


def _refusal(run: RunConfig) -> str | None:
    assert isinstance(run, FewShotRun)
    method: Objective = METHODS.load(run.method)
    if LEARNERS[run.learner].trains_on != "episodes" and method.not_on_classes:
        return (
            f"method {run.method!r} is about episodes, and the backbone of learner {run.learner!r} is "
            "trained without them, as a classifier of the training classes"
        )
    if method.multiplies != "ways" or run.transform is None:
        return None
    views = TRANSFORMS[run.transform].num_views
    option = f"--train-ways {run.train_ways} (method {run.method} trains with {views} times the ways)"
    pool = views if method.pools_views else 1
    return _too_few_classes(run.dataset, "train", run.train_ways * views, option, pool)


def _relative_images(run: RunConfig) -> float:
    assert isinstance(run, FewShotRun)
    return float(run.steps * (run.batch_size or run.batch_episodes * _episode_images(run)))


def _episode_images(run: FewShotRun) -> int:
    """Images through the network of an episode of upright images and ordinary ways."""
    passes = 1
    if LEARNERS[run.learner].adapts_network:
        passes += int(run.learner_options.get("inner_steps", 0))
    return run.train_ways * (passes * run.train_shots + run.train_queries)


def _trains_on_episodes(run: FewShotRun) -> bool:
    return LEARNERS[run.learner].trains_on == "episodes"


def _unit(run: RunConfig) -> Unit:
    assert isinstance(run, FewShotRun)
    if not _trains_on_episodes(run):
        return image_unit(run)
    more_ways = METHODS.load(run.method).multiplies == "ways" and run.transform is not None
    ways_factor = TRANSFORMS[run.transform].num_views if more_ways else 1  # type: ignore[index]
    return Unit("one episode", _episode_images(run) * ways_factor * views_in_training(run))


def _units(run: RunConfig) -> int:
    """Episodes of a step; for the backbone of a classifier images, as many as episodes have or its own."""
    assert isinstance(run, FewShotRun)
    if run.batch_size is not None:
        return run.batch_size
    return run.batch_episodes * (1 if _trains_on_episodes(run) else classifier_batch(run))


def classifier_batch(run: FewShotRun) -> int:
    """Images of an episode, which are a batch where a classifier is trained instead."""
    return run.train_ways * (run.train_shots + run.train_queries)


def _evaluation_like_training(run: RunConfig) -> dict[str, Any]:
    assert isinstance(run, FewShotRun)
    return {"ways": validation_ways(run), "shots": run.train_shots}


def _check_sizes(
    run: RunConfig, evaluations: Iterable[EvalConfig], sizes_of: Callable[[Split], Mapping[str, int]]
) -> list[str]:
    assert isinstance(run, FewShotRun)
    if (demand := training_demand(run)) is not None:
        demand.check(run.dataset, sizes_of("train"))
    # Before validation, whose ways are those of the test.
    for evaluation in evaluations:
        assert isinstance(evaluation, FewShotEvaluation)
        test_demand(evaluation).check(run.dataset, sizes_of("test"))
    validation_demand(run, sizes_of("val")).check(run.dataset, sizes_of("val"))
    return list(validation_note(run, sizes_of("val")))


def _departures(run: RunConfig, test: EvalConfig, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Training ways and validation shots that do not follow the test."""
    assert isinstance(run, FewShotRun)
    assert isinstance(test, FewShotEvaluation)
    learner, found = LEARNERS[run.learner], {}
    if run.train_ways != usual_train_ways({**recipe, "batch_size": run.batch_size}, test.ways):
        found["train_ways"] = run.train_ways
    if learner.trains_on == "classes" and run.train_shots != recipe["train_shots"]:
        # The size of a batch follows from it.
        found["train_shots"] = run.train_shots
    if validation_ways(run) != test.ways:
        found["val_ways"] = validation_ways(run)
    if run.val_shots != (run.train_shots if learner.trains_at_test_shots else recipe["val_shots"]):
        found["val_shots"] = run.val_shots
    return found


def _train_shots(run: RunConfig) -> int | None:
    assert isinstance(run, FewShotRun)
    return run.train_shots if _trains_on_episodes(run) else None


FORM = Form(
    run=FewShotRun,
    evaluation=FewShotEvaluation,
    order=("dataset", "backbone", "transform", "learner", "shots", "seed", "method"),
    default_methods=("baseline", "sla"),
    budgets=_budgets,
    complete=_complete,
    check=_check,
    refusal=_refusal,
    relative_images=_relative_images,
    unit=_unit,
    units=_units,
    length="steps",
    follows=frozenset(
        {"train_ways", "train_shots", "val_ways", "val_shots", "episodes", "jackknife_episodes"}
    ),
    departures=_departures,
    train_shots=_train_shots,
    trial=lambda run: {},
    evaluation_like_training=_evaluation_like_training,
    check_sizes=_check_sizes,
)
