"""Options, budgets and checks of the few-shot scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sla_bench.config import FewShotEvaluation, FewShotRun
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.objectives.objective import Objective
from sla_bench.registry import DATASETS, LEARNERS, METHODS, TRANSFORMS
from sla_bench.scenarios.fewshot import recipes
from sla_bench.scenarios.form import ScenarioForm, Unit, fast_value, views_in_training

if TYPE_CHECKING:
    from sla_bench.data.base import Split

MOST_VALIDATION_QUERIES = 15
"""Queries of each class in a validation episode, where the classes have so many images."""
_SHOWN = 5


@dataclass(frozen=True)
class Demand:
    """Episodes that a split must be able to give.

    Args:
        split: of the data set.
        ways: classes of an episode.
        shots: support images of each class.
        queries: query images of each class.
        ways_option: what asks for the ways.
        images_option: what asks for the images of a class.
        views: ways that a class can make.
        most: images of a class that are looked at; None: all.
    """

    split: Split
    ways: int
    shots: int
    queries: int
    ways_option: str
    images_option: str
    views: int = 1
    most: int | None = None

    def check(self, dataset: str, sizes: Mapping[str, int]) -> None:
        """Refuse a split that cannot give such episodes.

        Args:
            dataset: its name.
            sizes: images of each class of the split.

        Raises:
            UserError: too few classes, or classes of too few images, by name.
        """
        if self.ways > len(sizes) * self.views:
            times = f" x {self.views} views" if self.views > 1 else ""
            raise UserError(
                f"{dataset} has {len(sizes)} {self.split} classes{times}, too few for {self.ways} ways: "
                f"{self.ways_option} can ask for {len(sizes) * self.views} at most"
            )
        needed = self.shots + self.queries
        if self.most is not None and self.most < needed:
            raise UserError(
                f"{self.shots} shots + {self.queries} queries need {needed} images of each {self.split} "
                f"class, of which this budget takes {self.most}; lower {self.images_option}"
            )
        small = {name: count for name, count in sizes.items() if count < needed}
        if small:
            raise UserError(
                f"{dataset}: {self.shots} shots + {self.queries} queries need {needed} images of each "
                f"{self.split} class; too small: {_named(small)}; lower {self.images_option}, or leave "
                "such classes out"
            )


def validation_ways(run: FewShotRun) -> int:
    """Ways of a validation episode."""
    return run.val_ways or run.train_ways


def validation_queries(smallest: int, shots: int) -> int:
    """Queries of each class in a validation episode: 15, or what the shots leave of the smallest class.

    Args:
        smallest: images of the smallest class.
        shots: support images of each class.
    """
    return max(1, min(MOST_VALIDATION_QUERIES, smallest - shots))


def ways_factor(run: FewShotRun) -> int:
    """By what the method multiplies the ways of training: the number of views, else 1."""
    if run.transform is None or METHODS.load(run.method).multiplies != "ways":
        return 1
    views: int = TRANSFORMS.load(run.transform).num_views
    return views


def training_demand(run: FewShotRun) -> Demand | None:
    """Episodes of the training split; None where the training draws none."""
    if LEARNERS[run.learner].trains_on != "episodes" or run.train == "none":
        return None
    method: Objective = METHODS.load(run.method)
    views = ways_factor(run)
    return Demand(
        "train",
        run.train_ways * views,
        run.train_shots,
        run.train_queries,
        "--train-ways" if views == 1 else f"--train-ways times {views} views",
        "--train-shots or --train-queries",
        views if method.pools_views else 1,
    )


def validation_demand(run: FewShotRun, sizes: Mapping[str, int]) -> Demand:
    """Episodes of the validation split, whose queries follow the sizes of its classes."""
    smallest = min(sizes.values(), default=0)
    smallest = smallest if run.validation_images is None else min(smallest, run.validation_images)
    return Demand(
        "val",
        validation_ways(run),
        run.val_shots,
        validation_queries(smallest, run.val_shots),
        "--val-ways",
        "--val-shots",
        most=run.validation_images,
    )


def test_demand(evaluation: FewShotEvaluation) -> Demand:
    """Episodes of the test split."""
    return Demand(
        "test",
        evaluation.ways,
        evaluation.shots,
        evaluation.queries,
        "--ways",
        "--shots or --queries",
        most=evaluation.images_per_class,
    )


def validation_note(run: FewShotRun, sizes: Mapping[str, int]) -> Iterator[str]:
    """Yield a line where validation has fewer queries than usual."""
    queries = validation_demand(run, sizes).queries
    if queries < MOST_VALIDATION_QUERIES:
        name = min(sizes, key=sizes.__getitem__)
        yield (
            f"{run.dataset}: validation asks {queries} queries of each class, not {MOST_VALIDATION_QUERIES}: "
            f"val class {name!r} has {sizes[name]} images, {run.val_shots} of them shots"
        )


def _named(small: Mapping[str, int]) -> str:
    names = [f"{name!r} ({count})" for name, count in list(small.items())[:_SHOWN]]
    return ", ".join(names) + (f" and {len(small) - _SHOWN:,} more" if len(small) > _SHOWN else "")


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
        """Crops of supports are embedded once, and need a network that no episode changes."""
        if evaluation.support_crops == 1 or not LEARNERS[run.learner].adapts_network:
            return None
        return (
            f"--support-crops {evaluation.support_crops}: learner {run.learner!r} adapts the network to each "
            "episode; leave it out"
        )

    def check(self, run: FewShotRun, evaluation: FewShotEvaluation) -> None:
        """Refuse colours of grey images, and splits with too few classes."""
        super().check(run, evaluation)
        splits: tuple[tuple[_Split, int, str], ...] = (
            ("train", run.train_ways, f"--train-ways {run.train_ways}"),
            ("test", evaluation.ways, f"--ways {evaluation.ways}"),
            ("val", validation_ways(run), f"--val-ways {validation_ways(run)}"),
        )
        for split, ways, option in splits:
            if sentence := _too_few_classes(run.dataset, split, ways, option):
                raise UserError(sentence)

    def check_sizes(
        self,
        run: FewShotRun,
        evaluations: Iterable[FewShotEvaluation],
        sizes_of: Callable[[Split], Mapping[str, int]],
    ) -> list[str]:
        """Refuse classes that cannot serve the episodes of a run."""
        if (demand := training_demand(run)) is not None:
            demand.check(run.dataset, sizes_of("train"))
        # Before validation, whose ways are those of the test.
        for evaluation in evaluations:
            test_demand(evaluation).check(run.dataset, sizes_of("test"))
        validation_demand(run, sizes_of("val")).check(run.dataset, sizes_of("val"))
        return list(validation_note(run, sizes_of("val")))

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
