"""Options, budgets and checks of the few-shot scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sla_bench.config import FewShotEvaluation, FewShotRun
from sla_bench.data.folder_names import PREFIX, canonical_dataset, parse
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError, first_names
from sla_bench.objectives.objective import Objective
from sla_bench.registry import DATASETS, LEARNERS, METHODS
from sla_bench.scenarios.fewshot import recipes
from sla_bench.scenarios.fewshot.demands import (
    test_demand,
    training_demand,
    validation_demand,
    validation_note,
    validation_ways,
    ways_factor,
)
from sla_bench.scenarios.form import ScenarioForm, Unit, fast_value, views_in_training

if TYPE_CHECKING:
    from sla_bench.data.base import Split


class FewShotForm(ScenarioForm[FewShotRun, FewShotEvaluation]):
    """Episodes: ways and shots of training and validation follow from the test's."""

    run = FewShotRun
    evaluation = FewShotEvaluation
    order = ("dataset", "backbone", "weights", "train", "transform", "learner", "shots", "seed", "method")
    default_methods = ("baseline", "sla")
    length = "steps"
    follows = frozenset(
        {"train_ways", "train_shots", "val_ways", "val_shots", "episodes", "jackknife_episodes"}
    )

    def budgets(self, name: str, dataset: str, piece: str | None) -> dict[str, Any]:
        """A learner may have a recipe of its own."""
        entry = LEARNERS[piece or FewShotRun.model_fields["learner"].default]
        like = DATASETS.like(dataset)
        if name == "pretrained" and piece in recipes.BY_LEARNER:
            raise UserError(
                f"--budget pretrained has no recipe for the learner {piece}, which adapts the network; take "
                "another learner, or --train all --budget smoke or paper"
            )
        if name == "fast":
            if piece in recipes.BY_LEARNER:
                raise UserError(
                    f"--budget fast has no recipe for the learner {piece}; take --budget quick or paper"
                )
            ways = fast_value(recipes.FAST_WAYS, dataset, self.scenario)
            if entry.trains_on == "classes":
                return {**recipes.FAST_ON_CLASSES, **recipes.FAST_BY_DATASET.get(like, {})}
            more_ways = {"train_ways": ways} if piece == "protonet" and ways is not None else {}
            return {**recipes.FAST_ON_EPISODES, **more_ways}
        tables = {
            "smoke": recipes.SMOKE,
            "quick": recipes.QUICK,
            "pretrained": recipes.PRETRAINED,
            "paper": {**recipes.PAPER, **recipes.PAPER_BY_DATASET.get(like, {})},
        }
        own = recipes.BY_LEARNER[piece](name, like) if piece and piece in recipes.BY_LEARNER else {}
        return {**tables[name], **own}

    def complete(self, values: dict[str, Any], given: Mapping[str, Any]) -> None:
        """Ways and shots that the user did not give."""
        learner = LEARNERS[values["learner"]]
        self.complete_test(values["dataset"], values)
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

    def complete_test(self, dataset: str, values: dict[str, Any]) -> None:
        """The one name of another data set, a folder without a size at that of the training's images."""
        if (name := values.get("test_dataset")) is None:
            return
        name = canonical_dataset(DATASETS.check(name))
        if name.startswith(PREFIX) and (folder := parse(name.removeprefix(PREFIX))).size is None:
            folder = replace(folder, size=dataset_named(dataset).properties.size)
            name = canonical_dataset(f"{PREFIX}{folder}")
        values["test_dataset"] = None if name == dataset else name

    def refusal(self, run: FewShotRun) -> str | None:
        """Methods about episodes, or about a classifier, need such learners; some need many classes."""
        method: Objective = METHODS.load(run.method)
        if _trains_on_episodes(run) and method.classifier_only:
            able = [name for name, entry in LEARNERS.items() if entry.trains_on == "classes"]
            return (
                f"method {run.method!r} is about a classifier of fixed classes, and learner {run.learner!r} "
                f"is trained on episodes; take --learner {', '.join(able[:-1])} or {able[-1]}"
            )
        if not _trains_on_episodes(run) and method.not_on_classes:
            return (
                f"method {run.method!r} is about episodes, and the backbone of learner {run.learner!r} is "
                "trained without them, as a classifier of the training classes"
            )
        if method.multiplies != "ways" or run.transform is None:
            return super().refusal(run)
        views = ways_factor(run)
        option = f"--train-ways {run.train_ways} (method {run.method} trains with {views} times the ways)"
        pool = views if method.pools_views else 1
        return _too_few_classes(run.dataset, "train", run.train_ways * views, option, pool)

    def test_refusal(self, run: FewShotRun, evaluation: FewShotEvaluation) -> str | None:
        """Crops of supports need a network that no episode changes, another data set one that was trained."""
        if evaluation.support_crops > 1 and LEARNERS[run.learner].adapts_network:
            return (
                f"--support-crops {evaluation.support_crops}: learner {run.learner!r} adapts the network to "
                "each episode; leave it out"
            )
        if evaluation.test_dataset is None or run.weights is None:
            return super().test_refusal(run, evaluation)
        return (
            f"--test-dataset {evaluation.test_dataset} is for networks that were trained here; a pretrained "
            f"network is tested on it by --dataset {evaluation.test_dataset}"
        )

    def check(self, run: FewShotRun, evaluation: FewShotEvaluation) -> None:
        """Refuse colours of grey images, and splits with too few classes."""
        super().check(run, evaluation)
        splits: tuple[tuple[str, _Split, int, str], ...] = (
            (run.dataset, "train", run.train_ways, f"--train-ways {run.train_ways}"),
            (evaluation.test_dataset or run.dataset, "test", evaluation.ways, f"--ways {evaluation.ways}"),
            (run.dataset, "val", validation_ways(run), f"--val-ways {validation_ways(run)}"),
        )
        for name, split, ways, option in splits:
            if sentence := _too_few_classes(name, split, ways, option):
                raise UserError(sentence)

    def check_sizes(
        self,
        run: FewShotRun,
        evaluations: Iterable[FewShotEvaluation],
        sizes_of: Callable[[str, Split], Mapping[str, int]],
    ) -> list[str]:
        """Refuse classes that cannot serve the episodes of a run, or that its training has seen."""
        if (demand := training_demand(run)) is not None:
            demand.check(run.dataset, sizes_of(run.dataset, "train"))
        val = sizes_of(run.dataset, "val")
        # Before validation, whose ways are those of the test.
        for evaluation in evaluations:
            name = evaluation.test_dataset or run.dataset
            test_demand(evaluation).check(name, sizes_of(name, "test"))
            seen = {*sizes_of(run.dataset, "train"), *val} & {*sizes_of(name, "test")}
            if evaluation.test_dataset and seen:
                raise UserError(
                    f"--test-dataset {name}: the training has seen {len(seen)} of its test classes by name "
                    f"({first_names(sorted(seen))}), so they are not new; take another data set"
                )
        validation_demand(run, val).check(run.dataset, val)
        return list(validation_note(run, val))

    def relative_images(self, run: FewShotRun) -> float:
        """Those of episodes of upright images and ordinary ways, or of batches of a classifier."""
        return float(run.steps * (run.batch_size or run.batch_episodes * _episode_images(run)))

    def unit(self, run: FewShotRun) -> Unit:
        """An episode; for the backbone of a classifier an image."""
        if not _trains_on_episodes(run):
            return super().unit(run)
        return Unit("one episode", _episode_images(run) * ways_factor(run) * views_in_training(run))

    def units(self, run: FewShotRun) -> int:
        """Episodes; for the backbone of a classifier images, as many as episodes have or its own."""
        if run.batch_size is not None:
            return run.batch_size
        return run.batch_episodes * (1 if _trains_on_episodes(run) else classifier_batch(run))

    def departures(
        self, run: FewShotRun, test: FewShotEvaluation, recipe: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Training ways and validation shots that do not follow the test."""
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

    def train_shots(self, run: FewShotRun) -> int | None:
        """None for the backbone of a classifier."""
        return run.train_shots if _trains_on_episodes(run) else None

    def evaluation_like_training(self, run: FewShotRun) -> dict[str, Any]:
        """The ways of validation and the shots of training."""
        return {"ways": validation_ways(run), "shots": run.train_shots}

    def trial(self, run: FewShotRun) -> dict[str, Any]:
        """Each run is validated."""
        del run
        return {}


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


def _episode_images(run: FewShotRun) -> int:
    """Images through the network of an episode of upright images and ordinary ways."""
    passes = 1
    if LEARNERS[run.learner].adapts_network:
        passes += int(run.learner_options.get("inner_steps", 0))
    return run.train_ways * (passes * run.train_shots + run.train_queries)


def _trains_on_episodes(run: FewShotRun) -> bool:
    return LEARNERS[run.learner].trains_on == "episodes"


def classifier_batch(run: FewShotRun) -> int:
    """Images of an episode, which are a batch where a classifier is trained instead."""
    return run.train_ways * (run.train_shots + run.train_queries)


FORM = FewShotForm()
