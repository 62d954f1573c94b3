"""From recorded analyses to what tables and pictures of views are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from sla_bench.harness.analyses import AnalysisRecord, read_analyses
from sla_bench.harness.store import RunRecord
from sla_bench.registry import SCENARIOS
from sla_bench.reporting.cells import method_rank, told_batch
from sla_bench.reporting.reading import Reading
from sla_bench.reporting.row_names import at_batch
from sla_bench.reporting.table_texts import training_words
from sla_bench.reporting.view_results import HeadViews, ViewSetting
from sla_bench.streams import one_line
from sla_bench.view_metrics import recognised_views


def view_settings(records: Iterable[RunRecord]) -> list[ViewSetting]:
    """Sort the analyses of records into settings: data, classes, training and views are the same in each.

    Of the analyses of a setting that saw different test images, those that most trainings have are kept.

    Args:
        records: of any scenarios; those without analyses add nothing.
    """
    found: dict[tuple[object, ...], list[tuple[dict[str, Any], AnalysisRecord]]] = {}
    for analysis in read_analyses(records):
        reading: Reading = SCENARIOS.load(analysis.run.config.scenario, "reading")
        key = reading.setting_key(analysis.run, analysis.evaluation)
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
        reading: Reading = SCENARIOS.load(config.scenario, "reading")
        members = reading.members(config)
        for head in analysis.heads:
            name = at_batch(head if members == 1 else f"{head} ens-{members}", told_batch(analysis.run))
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
    reading: Reading = SCENARIOS.load(config.scenario, "reading")
    return method_rank(config.method), reading.members(config), config.seed


def _head(name: str, seeds: list[tuple[AnalysisRecord, str]]) -> HeadViews:
    def stacked(kind: str) -> np.ndarray | None:
        arrays = [analysis.samples.get(f"{kind}/{head}") for analysis, head in seeds]
        return None if any(a is None for a in arrays) else np.stack([a for a in arrays if a is not None])

    told = [recognised_views(analysis.samples, head) for analysis, head in seeds]
    classes, aggregated = stacked("classes"), stacked("aggregated")
    assert classes is not None
    assert aggregated is not None
    analysis, head = seeds[0]
    return HeadViews(
        name=name,
        taught=analysis.heads[head]["taught"],
        labels=analysis.samples["labels"],
        classes=classes,
        aggregated=aggregated,
        joint=stacked("joint"),
        recognised=np.stack([t for t in told if t is not None]) if told[0] is not None else None,
    )
