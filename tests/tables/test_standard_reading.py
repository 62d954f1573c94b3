import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up_records import tune_rates
from matplotlib.text import Text
from spanned import tasks_of

from sla_bench.evaluation.class_metrics import classification_metrics
from sla_bench.evaluation.statistics import mean_interval
from sla_bench.records.store import Store
from sla_bench.tables.class_results import class_results
from sla_bench.tables.figures import style
from sla_bench.tables.figures.curves import learning_curves_figure
from sla_bench.tables.files import histories, write_leaderboard, write_plots
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.markdown import markdown
from sla_bench.tables.run_list import list_runs
from sla_bench.tables.summaries import primary_contrasts
from sla_bench.tables.table_texts import rows_of
from sla_bench.tables.terminal import label
from sla_bench.training.long_tail import GROUP_NAMES

CLASSES, PER_CLASS = 4, 50
LABELS = np.repeat(np.arange(CLASSES), PER_CLASS)
ROWS = {
    "baseline": ["baseline", "baseline+crops"],
    "sla": ["SLA+AG", "SLA+SI"],
    "sla+sd": ["SLA+SD"],
    "baseline-xM": ["baseline-xM", "baseline-xM+crops"],
    "ens-M": ["ens-M"],
}
ACCURACY = {
    "baseline": 0.5,
    "baseline+crops": 0.55,
    "SLA+AG": 0.62,
    "SLA+SI": 0.56,
    "SLA+SD": 0.6,
    "baseline-xM": 0.57,
    "baseline-xM+crops": 0.59,
    "ens-M": 0.58,
}


def predictions(row, seed):
    rng = np.random.default_rng([seed, sorted(ACCURACY).index(row)])
    wrong = (LABELS + rng.integers(1, CLASSES, len(LABELS))) % CLASSES
    return np.where(rng.random(len(LABELS)) < ACCURACY[row], LABELS, wrong)


def write(
    out,
    methods=tuple(ROWS),
    seeds=(0, 1, 2),
    settings=(),
    groups=(1, 1, 1, 1),
    labels=LABELS,
    data="made up",
    **options,
):
    store = Store(out, "standard")
    for task in tasks_of("standard", settings, method=list(methods), seed=list(seeds), **options):
        run, (evaluation,) = task.run, task.evaluations
        run_id = run.digest(data="made up")
        history = [
            {"member": 0, "step": s, "train_loss": 1.0, "train_accuracy": s / 20, "val_accuracy": s / 30}
            for s in (5, 10)
        ]
        views = 1 if run.method == "baseline" else 4
        summary = {"train_images": 10 * views, "train_seconds": 1.0, "parameters": 10, "best_step": [10]}
        summary |= {"class_names": list("abcd"), "class_counts": [45] * 4, "groups": list(groups)}
        store.write_run(run_id, run, None, history, {}, summary)
        samples, metrics = {"labels": labels}, {}
        for row in ROWS[run.method]:
            found = predictions(row, run.seed)[: len(labels)]
            confidence, nll = np.full(len(labels), 0.5), np.full(len(labels), 0.7)
            name = row if run.ensemble == 1 else f"{row} ens-{run.ensemble}"
            samples |= {f"predictions/{name}": found, f"confidence/{name}": confidence, f"nll/{name}": nll}
            metrics[name] = {
                **classification_metrics(found, confidence, nll, labels, np.array(groups), list(GROUP_NAMES)),
                "query_passes": run.ensemble,
                "shown": True,
            }
        eval_id = evaluation.digest(data=data)
        store.write_evaluation(run_id, eval_id, evaluation, metrics, samples, data)
    return store


def test_a_class_with_one_test_image_widens_intervals_and_loses_no_table(tmp_path):
    labels = np.where(LABELS == 3, 2, LABELS)
    labels[-1] = 3
    seldom = leaderboard(write(tmp_path / "seldom", labels=labels).records())
    drawn_over_all = seldom[(seldom["metric"] == "accuracy") & (seldom["method"] == "SLA+AG")]
    assert drawn_over_all["gain_ci95_low"].notna().all()
    hits = np.stack([predictions("SLA+AG", seed) == labels for seed in range(3)])
    assert drawn_over_all["ci95_low"].iloc[0] == pytest.approx(100 * mean_interval(hits).low, abs=1e-3)


def test_rows_meet_the_references_of_the_protocol(tmp_path):
    table = leaderboard(write(tmp_path).records())
    found = table[table["metric"] == "accuracy"].groupby("method")["reference"].agg(set).to_dict()
    assert found["SLA+AG"] == {"baseline", "baseline-xM+crops", "ens-M"}
    assert found["SLA+SI"] == found["SLA+SD"] == {"baseline", "baseline-xM"}
    assert found["ens-M"] == found["baseline+crops"] == {"baseline"}
    assert set(table["setting"]) == {"full"}
    assert set(table["learner"]) == {"ce"}


def test_of_records_without_crops_the_longer_baseline_stands_in_and_turned_views_are_left_out(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(ROWS, "baseline-xM", ["baseline-xM", "baseline-xM+TTA"])
    monkeypatch.setitem(ACCURACY, "baseline-xM+TTA", 0.3)
    table = leaderboard(write(tmp_path).records())
    found = table[table["metric"] == "accuracy"].groupby("method")["reference"].agg(set).to_dict()
    assert found["SLA+AG"] == {"baseline", "baseline-xM", "ens-M"}
    assert "baseline-xM+TTA" not in found


@pytest.mark.parametrize("name", ["loss_reduction=sum", "method.temperature=2"])
def test_a_method_with_options_meets_the_baseline_that_has_none(name, tmp_path):
    methods = ["baseline", "sla+sd", "baseline-xM"]
    store = write(tmp_path, methods, settings=["steps=10", name])
    table = leaderboard(store.records())
    rows = table[(table["metric"] == "accuracy") & (table["budget"] == f"quick, steps=10, {name}")]
    assert set(rows["method"]) == {"SLA+SD"}
    assert set(rows["reference"]) == {"baseline", "baseline-xM"}
    assert rows["relative_gain_pct"].notna().all()
    assert set(table[table["method"] == "baseline"]["budget"]) == {"quick, steps=10"}


def test_seeds_that_were_tested_on_other_images_stand_in_no_mean(tmp_path):
    write(tmp_path, ["baseline"], seeds=(0, 1))
    store = write(tmp_path, ["baseline"], seeds=(2,), labels=LABELS[:-1], data="one image less")
    rows = leaderboard(store.records()).query("metric == 'accuracy' and method == 'baseline'")
    assert sorted(zip(rows["seeds"], rows["test_samples"], strict=True)) == [
        (1, len(LABELS) - 1),
        (2, len(LABELS)),
    ]
    assert rows["data_state"].nunique() == 2


def test_pictures_of_classes_are_of_the_test_that_the_table_shows(tmp_path):
    methods = ["baseline", "sla"]
    before = class_results(write(tmp_path, methods, seeds=(0, 1)).records())
    part = {"labels": LABELS[::5], "settings": ["images_per_class=10"]}
    after = class_results(write(tmp_path, methods, seeds=(0,), **part).records())
    assert [one.method for one in after] == [one.method for one in before]
    for one, other in zip(after, before, strict=True):
        np.testing.assert_array_equal(one.recalls, other.recalls)


def test_the_primary_contrast_is_named(tmp_path):
    text = markdown(leaderboard(write(tmp_path).records()))
    assert "Primary contrast: full, ce, SLA+AG against ens-M" in text
    mixed = markdown(leaderboard(write(tmp_path / "b", mix=["cutout"]).records()))
    assert "full, cutout" in mixed
    assert "Primary contrast" not in mixed


def test_the_primary_contrast_is_of_the_seeds_that_both_have(tmp_path):
    write(tmp_path, ["baseline", "sla"], seeds=(0, 1, 2, 3))
    table = leaderboard(write(tmp_path, ["ens-M"], seeds=(0, 1, 2)).records())
    (sentence,) = primary_contrasts(rows_of(table))
    assert "; 3 seeds, p " in sentence


def test_an_ensemble_is_a_row_beside_its_baseline(tmp_path):
    table = leaderboard(write(tmp_path, methods=["baseline"], ensemble=[3]).records())
    (row,) = table[(table["method"] == "baseline ens-3") & (table["metric"] == "accuracy")].to_dict("records")
    assert (row["reference"], row["query_passes"], row["budget"]) == ("baseline", 3, "quick")
    assert row["relative_gain_pct"] == pytest.approx(0)
    shown = table[table["metric"] == "accuracy"]["method"].tolist()
    assert shown == ["baseline", "baseline+crops", "baseline ens-3", "baseline+crops ens-3"]


def test_an_ensemble_is_told_apart_while_it_runs_and_in_lists(tmp_path):
    records = write(tmp_path, methods=["baseline"], seeds=[0], ensemble=[3]).records()
    assert sorted(label(r.config) for r in records) == [
        "glyphs20 ce baseline ens-3 seed 0",
        "glyphs20 ce baseline seed 0",
    ]
    assert set(histories(records)["method"]) == {"baseline", "baseline ens-3"}
    assert any(
        re.search("baseline ens-3 seed 0, data [0-9a-f]{8}: full: baseline ens-3", line)
        for line in list_runs(records, {})
    )


@pytest.mark.parametrize(("groups", "shown"), [((1, 1, 1, 1), set()), ((0, 0, 2, 2), {"many", "few"})])
def test_groups_are_shown_where_classes_differ_in_size(groups, shown, tmp_path):
    table = leaderboard(write(tmp_path, methods=["baseline"], groups=groups).records())
    found = {m.removeprefix("accuracy of ") for m in table["metric"] if m.startswith("accuracy of ")}
    assert found == shown


@pytest.mark.parametrize(
    ("options", "settings", "label"),
    [
        ({}, (), "quick"),
        ({"val_fraction": 0.2, "val_seed": 3}, (), "quick, val_fraction=0.2, val_seed=3"),
        ({"val_indices": "/a.txt#0123456789abcdef"}, (), "quick, val_indices=0123456789abcdef"),
        ({"mix": ["mixup"]}, ("mix.alpha=0.5",), "quick, mix.alpha=0.5"),
    ],
)
def test_departures_are_named_beside_the_budget(options, settings, label, tmp_path):
    store = write(tmp_path, methods=["sla"], seeds=[0], settings=settings, **options)
    assert set(leaderboard(store.records())["budget"]) == {label}


def test_published_figures_stand_beside_the_papers_recipe(tmp_path):
    options = {"dataset": ["cifar10"], "budget": "paper", "methods": ["baseline", "sla"]}
    table = leaderboard(write(tmp_path, **options).records())
    rows = table[table["metric"] == "accuracy"].set_index("method")
    assert rows.loc["baseline", "published"] == 92.39
    assert (rows.loc["SLA+SI", "published"], rows.loc["SLA+SI", "published_status"]) == (92.5, "verified")
    assert rows.loc["SLA+AG", "published_status"] == "recalled"
    assert rows["published_differs"].isna().all()


def test_curves_costs_and_confusions_are_drawn(tmp_path):
    store = write(tmp_path)
    names = {path.stem for path in write_plots(store, write_leaderboard(store))}
    assert names == {"accuracies", "gains", "cost_accuracy", "learning_curves", "confusions"}


def drawn(store):
    return {path.stem for path in write_plots(store, write_leaderboard(store))}


def test_each_method_shares_seeds_with_the_baseline_whatever_the_others_do(tmp_path):
    write(tmp_path, methods=["baseline", "sla+sd"])
    store = write(tmp_path, methods=["baseline", "sla"], seeds=[3])
    found = {}
    for result in class_results(store.records()):
        found.setdefault(result.training, []).append((result.method, len(result.recalls)))
    assert found == {
        "glyphs20, full, ce, seeds 0, 1, 2": [("baseline", 3), ("SLA+SD", 3)],
        "glyphs20, full, ce, seed 3": [("baseline", 1), ("SLA+AG", 1), ("SLA+SI", 1)],
    }
    assert "confusions" in drawn(store)


def test_pictures_that_no_record_is_behind_any_more_are_deleted(tmp_path):
    store = write(tmp_path)
    before = drawn(store)
    (store.folder / "mine.png").touch()
    for record in store.records():
        if record.config.method.startswith("sla"):
            shutil.rmtree(record.folder)
    after = drawn(store)
    assert before - after == {"confusions"}
    assert {path.stem for path in store.folder.glob("*.png")} == after | {"mine"}
    assert {path.stem for path in store.folder.glob("*.svg")} == after


def lines_of(figure):
    """Title -> names at the ends of the lines, of each panel with validation accuracies."""
    panels = {axes.get_title(loc="left").replace("\n", " "): axes for axes in figure.axes[::2]}
    return {
        title.removesuffix(", validation"): sorted(text.get_text() for text in axes.texts)
        for title, axes in panels.items()
    }


def test_the_tuned_pair_is_drawn_beside_that_of_the_recipe(tmp_path, monkeypatch):
    """The tuned baseline has a rate of its own, and tuned SLA+SD the recipe's."""
    write(tmp_path, methods=["baseline", "sla+sd"])
    store = write(tmp_path, methods=["baseline"], settings=("learning_rate=0.3",))
    tune_rates(store, {"baseline": 0.3, "sla+sd": 0.1})
    figures = {}
    monkeypatch.setattr(
        style, "save", lambda figure, stem, pdf: [figures.setdefault(Path(stem).name, figure)][:0]
    )
    write_plots(store, leaderboard(store.records()))
    words = [text.get_text() for text in figures["confusions"].findobj(Text)]
    assert [word for word in words if word.startswith("glyphs20")] == [
        "glyphs20, full, quick, ce",
        "glyphs20, full, quick, tuned, ce",
    ]
    assert sum(word.startswith("SLA+SD: ") for word in words) == 2
    both = ["baseline", "sla+sd"]
    assert lines_of(figures["learning_curves"]) == {"ce, recipe quick": both, "ce, recipe quick, tuned": both}


def test_curves_of_other_mixes_rates_and_lengths_have_panels_of_their_own(tmp_path):
    methods = ["baseline", "sla"]
    write(tmp_path, methods=methods, seeds=[0, 1], mix=["none", "cutmix"])
    write(tmp_path, methods=methods, settings=("steps=600",))
    store = write(tmp_path, methods=methods, settings=("learning_rate=0.05", "steps=600"))
    assert lines_of(learning_curves_figure(histories(store.records()))) == {
        f"ce, setting {setting}, recipe {recipe}, steps {steps}": methods
        for setting, recipe, steps in (
            ("full", "quick", 1200),
            ("full, cutmix", "quick", 1200),
            ("full", "quick", 600),
            ("full", "quick, learning_rate=0.05", 600),
        )
    }
