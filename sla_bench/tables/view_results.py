"""Results by view: predictions of every head, by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sla_bench.evaluation.crossed_error import strata_of
from sla_bench.evaluation.statistics import MeanInterval, mean_interval, paired_relative_gain
from sla_bench.evaluation.view_metrics import all_agree, pair_agreement, recognised_views
from sla_bench.records.analyses import AnalysisRecord, read_analyses
from sla_bench.records.store import RunRecord
from sla_bench.tables.cells import method_rank, told_batch
from sla_bench.tables.row_key import at_batch, of_members, setting_key
from sla_bench.tables.table_texts import training_words
from sla_bench.words import one_line

OWN, ANY = "own transformation", "any transformation"


@dataclass(frozen=True)
class HeadViews:
    """One head of one method, S seeds on T test images in M views.

    Args:
        name: as in "DA", "SLA", "SLA+SD teacher".
        taught: "upright", "invariant" or "joint".
        is_sla: of label augmentation.
        labels: (T,) true classes.
        classes: (S, T, M) class of each view; of a joint head by the columns of the view's transformation.
        aggregated: (S, T) class of the mean over the views.
        joint: (S, T, M) class * M + transformation of each view; None: not a joint head.
        recognised: (S, T, M) which view each view was taken for; None: nothing tells it.
        probes: name of a head that was fitted on the embeddings of upright images -> (S, T) class of each.
    """

    name: str
    taught: str
    is_sla: bool
    labels: np.ndarray
    classes: np.ndarray
    aggregated: np.ndarray
    joint: np.ndarray | None
    recognised: np.ndarray | None
    probes: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.classes)

    @property
    def is_joint(self) -> bool:
        """It has a column for each class under each transformation."""
        return self.joint is not None

    @cached_property
    def accuracies(self) -> list[MeanInterval]:
        """Accuracy on each view, (M,)."""
        return self._by_view(self.classes)

    @cached_property
    def accuracies_of_all_columns(self) -> list[MeanInterval]:
        """The same of a joint head whose largest logit over all its columns names the class."""
        assert self.joint is not None
        return self._by_view(self.joint // self.joint.shape[-1])

    @cached_property
    def aggregated_accuracy(self) -> MeanInterval:
        """Accuracy of the mean over the views."""
        return self._interval(self._aggregated_hits)

    @cached_property
    def probe_accuracies(self) -> dict[str, MeanInterval]:
        """Accuracy of each probe."""
        return {name: self._interval(classes == self.labels) for name, classes in self.probes.items()}

    @cached_property
    def agreement(self) -> MeanInterval:
        """Share of pairs of views that are read as one class."""
        return self._interval(self._agreement)

    @cached_property
    def unanimity(self) -> MeanInterval:
        """Share of images of which all views are read as one class."""
        return self._interval(all_agree(self.classes))

    @cached_property
    def gain(self) -> MeanInterval:
        """Accuracy of the mean over the views minus that of the upright view, of fractions."""
        differences = self._aggregated_hits.astype(np.float64) - self._upright_hits
        return mean_interval(differences, strata=self._strata, share=False)

    @cached_property
    def relative_gain(self) -> MeanInterval | None:
        """The same divided by the accuracy of the upright view; None where that is zero."""
        if not self._upright_hits.any():
            return None
        return paired_relative_gain(self._upright_hits, self._aggregated_hits, strata=self._strata)

    @cached_property
    def recognised_share(self) -> float:
        """Share of views that were taken for what they are, 0..1."""
        assert self.recognised is not None
        return float((self.recognised == np.arange(self.recognised.shape[-1])).mean())

    @cached_property
    def by_class(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each class among the test images: agreement of pairs and gain, means over seeds and images."""
        gains = self._aggregated_hits.astype(np.float64) - self._upright_hits
        counts = np.bincount(self.labels)
        present = counts > 0

        def means(values: np.ndarray) -> np.ndarray:
            found: np.ndarray = (np.bincount(self.labels, values.mean(0)))[present] / counts[present]
            return found

        return means(self._agreement), means(gains)

    @property
    def _upright_hits(self) -> np.ndarray:
        hits: np.ndarray = self.classes[:, :, 0] == self.labels
        return hits

    @property
    def _aggregated_hits(self) -> np.ndarray:
        hits: np.ndarray = self.aggregated == self.labels
        return hits

    @cached_property
    def _agreement(self) -> np.ndarray:
        return pair_agreement(self.classes)

    @cached_property
    def _strata(self) -> np.ndarray | None:
        return strata_of(self.labels)

    def _by_view(self, classes: np.ndarray) -> list[MeanInterval]:
        hits = classes == self.labels[:, None]
        return [self._interval(hits[:, :, j]) for j in range(hits.shape[2])]

    def _interval(self, values: np.ndarray) -> MeanInterval:
        return mean_interval(values, strata=self._strata)


@dataclass(frozen=True)
class ViewSetting:
    """Heads that were read on the same views of the same test images, trained alike.

    Args:
        title: data set, setting, learner and training.
        class_names: (N,).
        view_names: (M,) as in "90°".
        view_turns: (M,) counter-clockwise quarter turns.
        heads: at least one, methods as registered.
    """

    title: str
    class_names: Sequence[str]
    view_names: Sequence[str]
    view_turns: Sequence[int]
    heads: Sequence[HeadViews]

    @property
    def one_seed(self) -> bool:
        """An interval covers the sampling of test images only."""
        return any(head.seeds == 1 for head in self.heads)

    @property
    def turns(self) -> bool:
        """Some views differ in how the image is turned."""
        return len(set(self.view_turns)) > 1


def view_settings(records: Iterable[RunRecord]) -> list[ViewSetting]:
    """Sort the analyses of records into settings: data, classes, training and views are the same in each.

    Of the analyses of a setting that saw different test images, those that most trainings have are kept.

    Args:
        records: of any scenarios; those without analyses add nothing.
    """
    found: dict[tuple[object, ...], list[tuple[dict[str, Any], AnalysisRecord]]] = {}
    for analysis in read_analyses(records):
        key = setting_key(analysis.run, analysis.evaluation)
        found.setdefault(tuple(key.values()), []).append((key, analysis))
    return [
        _setting(own[0][0], _same_images([analysis for _, analysis in own]))
        for _, own in sorted(found.items(), key=lambda item: str(item[0]))
    ]


def _same_images(analyses: list[AnalysisRecord]) -> list[AnalysisRecord]:
    def images(analysis: AnalysisRecord) -> tuple[int, str]:
        return len(analysis.samples["labels"]), analysis.evaluation.data_hash

    counts = Counter(map(images, analyses))
    usual = max(counts, key=lambda size: (counts[size], size))
    return [analysis for analysis in analyses if images(analysis) == usual]


def _setting(key: dict[str, Any], analyses: list[AnalysisRecord]) -> ViewSetting:
    heads: dict[str, dict[int, tuple[AnalysisRecord, str]]] = {}
    # Run ids are hashes: their order says nothing.
    for analysis in sorted(analyses, key=_place):
        config = analysis.run.config
        for head in analysis.heads:
            name = at_batch(of_members(head, config), told_batch(analysis.run))
            heads.setdefault(name, {})[config.seed] = analysis, head
    words = (one_line(key["dataset"]), key["setting"], key["learner"], training_words(key))
    first = analyses[0]
    return ViewSetting(
        title=", ".join(words),
        class_names=[one_line(name) for name in first.run.done["class_names"]],
        view_names=first.views.names,
        view_turns=first.views.turns,
        heads=[_head(name, list(seeds.values())) for name, seeds in heads.items()],
    )


def _place(analysis: AnalysisRecord) -> tuple[int, int, int]:
    config = analysis.run.config
    return method_rank(config.method), config.members, config.seed


def _head(name: str, seeds: list[tuple[AnalysisRecord, str]]) -> HeadViews:
    def stacked(kind: str) -> np.ndarray | None:
        arrays = [analysis.samples.get(f"{kind}/{head}") for analysis, head in seeds]
        return None if any(a is None for a in arrays) else np.stack([a for a in arrays if a is not None])

    told = [recognised_views(analysis.samples, head) for analysis, head in seeds]
    classes, aggregated = stacked("classes"), stacked("aggregated")
    assert classes is not None
    assert aggregated is not None
    analysis, head = seeds[0]
    names = [name.partition("/")[2] for name in analysis.samples if name.startswith("probes/")]
    probed = all("probes" in one.heads[own] for one, own in seeds)
    return HeadViews(
        name=name,
        taught=analysis.heads[head]["taught"],
        is_sla=analysis.evaluation.asked.is_sla,
        labels=analysis.samples["labels"],
        classes=classes,
        aggregated=aggregated,
        joint=stacked("joint"),
        recognised=np.stack([t for t in told if t is not None]) if told[0] is not None else None,
        probes={n: np.stack([a.samples[f"probes/{n}"] for a, _ in seeds]) for n in names} if probed else {},
    )
