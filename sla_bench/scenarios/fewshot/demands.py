"""Episodes that the splits of a data set must give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sla_bench.config import FewShotEvaluation, FewShotRun
from sla_bench.errors import UserError
from sla_bench.objectives.objective import Objective
from sla_bench.registry import LEARNERS, METHODS, TRANSFORMS

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
            named = ", ".join(f"{name!r} ({count})" for name, count in list(small.items())[:_SHOWN])
            more = f" and {len(small) - _SHOWN:,} more" if len(small) > _SHOWN else ""
            raise UserError(
                f"{dataset}: {self.shots} shots + {self.queries} queries need {needed} images of each "
                f"{self.split} class; too small: {named}{more}; lower {self.images_option}, or leave "
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
