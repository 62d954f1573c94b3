import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_analyses import VIEWS, samples_of, write_analyses

from sla_bench.config import PROTOCOL_VERSION
from sla_bench.evaluation.view_metrics import head_metrics
from sla_bench.records.analyses import (
    ANALYSIS_VERSION,
    Analysis,
    analyses_of,
    perform_analysis,
    read_analyses,
    read_analysis,
)
from sla_bench.records.jobs import Fingerprints
from sla_bench.records.pruning import leftovers
from sla_bench.training.loop import silent


@pytest.fixture
def store(tmp_path):
    return write_analyses(tmp_path, methods=("sla", "baseline"))


def only(store, method="sla"):
    (found,) = [a for a in read_analyses(store.records()) if a.run.config.method == method]
    return found


def test_what_is_written_is_read_again(store):
    analysis = only(store)
    expected = samples_of("SLA", 0)
    assert analysis.samples.keys() == expected.keys()
    assert all(np.array_equal(analysis.samples[name], expected[name]) for name in expected)
    assert analysis.views == VIEWS
    assert analysis.heads["SLA"] == {"taught": "joint", **head_metrics(expected, "SLA")}
    about = json.loads((analysis.folder / "metrics.json").read_text())
    assert (about["version"], about["protocol"]) == (ANALYSIS_VERSION, PROTOCOL_VERSION)
    assert analysis.folder.parent.name == "analyses"
    assert analysis.folder.name == analysis.evaluation.folder.name


def another_version(about):
    about["version"] = ANALYSIS_VERSION + 1


def other_data(about):
    about["data_hash"] = "other"


def no_heads(about):
    del about["heads"]


@pytest.mark.parametrize("change", [another_version, other_data, no_heads])
def test_one_that_does_not_fit_is_not_there(store, change):
    analysis = only(store)
    about = json.loads((analysis.folder / "metrics.json").read_text())
    change(about)
    (analysis.folder / "metrics.json").write_text(json.dumps(about))
    assert read_analysis(analysis.run, analysis.evaluation) is None
    assert len(list(read_analyses(store.records()))) == 1


@pytest.mark.parametrize("name", ["metrics.json", "samples.npz"])
def test_one_that_is_cut_or_incomplete_is_not_there_and_can_be_pruned(store, name):
    analysis = only(store)
    path = analysis.folder / name
    path.write_bytes(path.read_bytes()[:-30])
    assert read_analysis(analysis.run, analysis.evaluation) is None
    path.unlink()
    assert read_analysis(analysis.run, analysis.evaluation) is None
    found = [(left.path, left.why) for left in leftovers(store)]
    assert found == ([(analysis.folder, "unfinished analysis")] if name == "metrics.json" else [])


def test_each_views_are_read_once_on_the_largest_test(store):
    run = only(store).run
    (one,) = run.evaluations
    tests = [("rotation", 5), ("rotation", None), ("rotation", 9), ("color_perm", 3), ("color_perm", 2)]
    evaluations = tuple(
        replace(one, config=one.config.model_copy(update={"transform": t, "images_per_class": n}))
        for t, n in tests
    )
    found = analyses_of([replace(run, evaluations=evaluations)])
    assert [(a.evaluation.config.transform, a.evaluation.config.images_per_class) for a in found] == [
        ("color_perm", 3),
        ("rotation", None),
    ]


@pytest.mark.parametrize("order", [(0, 4, 2), (4, 2, 0)])
def test_tests_that_differ_in_their_seed_are_analysed_once(store, order):
    run = only(store).run
    (one,) = run.evaluations
    seeds = tuple(
        replace(one, config=one.config.model_copy(update={"test_seed": seed}), data_hash=str(seed))
        for seed in order
    )
    (found,) = analyses_of([replace(run, evaluations=seeds)])
    assert found.evaluation.config.test_seed == 0


def test_what_is_recorded_when_the_run_is_claimed_is_not_read_again(store, tmp_path):
    analysis, nowhere = only(store), tmp_path / "nowhere"
    before = (analysis.folder / "metrics.json").stat().st_mtime_ns
    perform_analysis(
        Analysis(analysis.run, analysis.evaluation),
        nowhere,
        torch.device("cpu"),
        Fingerprints(nowhere),
        silent,
    )
    assert (analysis.folder / "metrics.json").stat().st_mtime_ns == before
