import html
from dataclasses import replace

import numpy as np
import pytest
from made_up_records import tune_rates
from matplotlib.text import Text
from spanned import tasks_of

from sla_bench.evaluation.class_metrics import classification_metrics
from sla_bench.records.store import Store
from sla_bench.scenarios.classify.reading import IMBALANCED
from sla_bench.tables.class_results import class_results
from sla_bench.tables.files import class_figures, write_leaderboard, write_plots
from sla_bench.tables.latex import latex
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.markdown import markdown
from sla_bench.tables.report.page import write_report
from sla_bench.tables.terminal import print_table
from sla_bench.training.long_tail import GROUP_NAMES

CLASSES, PER_CLASS = 4, 50
LABELS = np.repeat(np.arange(CLASSES), PER_CLASS)
COUNTS, GROUPS = [100, 30, 10, 1], [0, 1, 1, 2]
ROWS = {"baseline": ["baseline"], "sla+sd": ["SLA+SD", "SLA+SD teacher"], "baseline-xM": ["baseline-xM"]}
ACCURACY = {"baseline": 0.5, "SLA+SD": 0.6, "SLA+SD teacher": 0.7, "baseline-xM": 0.65}


def predictions(row, seed):
    rng = np.random.default_rng([seed, sorted(ACCURACY).index(row)])
    wrong = (LABELS + rng.integers(1, CLASSES, len(LABELS))) % CLASSES
    return np.where(rng.random(len(LABELS)) < ACCURACY[row], LABELS, wrong)


def write(out, methods=tuple(ROWS), seeds=(0, 1, 2), settings=(), **options):
    store = Store(out, "imbalanced")
    for task in tasks_of("imbalanced", settings, method=list(methods), seed=list(seeds), **options):
        run, (evaluation,) = task.run, task.evaluations
        run_id = run.digest(data="made up")
        history = [
            {"member": 0, "step": 10, "train_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": np.nan}
        ]
        summary = {"train_images": 10, "train_seconds": 1.0, "parameters": 10, "best_step": [10]}
        summary |= {"class_names": list("abcd"), "class_counts": COUNTS, "groups": GROUPS}
        store.write_run(run_id, run, None, history, {}, summary)
        samples, metrics = {"labels": LABELS}, {}
        for row in ROWS[run.method]:
            found = predictions(row, run.seed)
            confidence, nll = np.full(len(LABELS), 0.5), np.full(len(LABELS), 0.75)
            samples |= {f"predictions/{row}": found, f"confidence/{row}": confidence, f"nll/{row}": nll}
            metrics[row] = {
                **classification_metrics(found, confidence, nll, LABELS, np.array(GROUPS), list(GROUP_NAMES)),
                "query_passes": 1,
                "shown": not row.endswith("teacher"),
            }
        eval_id = evaluation.digest(data="made up")
        store.write_evaluation(run_id, eval_id, evaluation, metrics, samples, "made up")
    return store


def line(table, method, metric="accuracy", reference="baseline"):
    wanted = (table["method"] == method) & (table["metric"] == metric)
    wanted &= table["reference"].isna() if reference is None else table["reference"] == reference
    (found,) = table[wanted].to_dict("records")
    return found


def test_the_teacher_is_recorded_and_not_shown(tmp_path):
    store = write(tmp_path)
    assert "SLA+SD teacher" not in set(leaderboard(store.records())["method"])
    assert any("SLA+SD teacher" in e.metrics for r in store.records() for e in r.evaluations)


def test_departures_are_named_beside_the_budget(tmp_path):
    store = write(tmp_path, methods=["sla+sd"], seeds=[0], class_order="identity", loss_reduction="sum")
    (label,) = set(leaderboard(store.records())["budget"])
    assert label == "quick, class_order=identity, loss_reduction=sum"
    store = write(
        tmp_path / "b", methods=["baseline"], seeds=[0], settings=("epochs=7", "loss.gamma=2"), loss=["focal"]
    )
    (label,) = set(leaderboard(store.records())["budget"])
    assert label == "quick, epochs=7, loss.gamma=2"


def test_results_of_classes_come_from_the_seeds_that_both_have(tmp_path):
    write(tmp_path, methods=["baseline"], seeds=[0, 1, 2])
    store = write(tmp_path, methods=["sla+sd"], seeds=[1, 2, 3])
    base, treated = class_results(store.records())
    assert (base.method, treated.method) == ("baseline", "SLA+SD")
    for result in (base, treated):
        expected = [
            [(predictions(result.method, s)[c == LABELS] == c).mean() for c in range(CLASSES)] for s in (1, 2)
        ]
        np.testing.assert_allclose(result.recalls, expected)
        np.testing.assert_allclose(np.diagonal(result.confusions, axis1=1, axis2=2), expected)


def test_a_method_that_is_not_known_here_hinders_no_picture_of_classes(tmp_path):
    records = write(tmp_path, seeds=[0]).records()
    other = replace(records[0], config=records[0].config.model_copy(update={"method": "of another version"}))
    found = class_results([other, *records])
    assert [result.method for result in found] == ["baseline", "SLA+SD"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"dataset": ["glyphs20"]}, {"dataset": ["glyphs"]}),
        ({}, {"sampler": "sqrt"}),
        ({}, {"precision": "bf16"}),
        ({}, {"selection": "best-test"}),
        ({}, {"transform": ["rotation2"]}),
        ({}, {"subset_seed": 7}),
        ({}, {"ratio": [10.0]}),
    ],
)
def test_runs_that_differ_stand_in_cells_of_their_own_in_every_table(one, other, tmp_path, capsys):
    write(tmp_path, seeds=[0], **one)
    table = leaderboard(write(tmp_path, seeds=[0], **other).records())
    assert set(table["seeds"]) == {1}
    texts = markdown(table)
    print_table(table)
    shown = capsys.readouterr().out
    for text in (texts, shown):
        titles = [line for line in text.splitlines() if ", resnet8, " in line]
        assert titles
        assert len(titles) == len(set(titles))
    for value in other.values():
        word = str(value[0] if isinstance(value, list) else value).removesuffix(".0")
        assert word in texts
        assert word in shown


def test_files_are_written_with_a_table_of_all_metrics(tmp_path):
    store = write(tmp_path, loss=["ce", "ldam-drw"])
    table = write_leaderboard(store)
    text = markdown(table)
    assert "macro F1 %" in text
    assert "| exp ratio 100 | ldam-drw | SLA+SD |" in text
    names = {path.stem for path in write_plots(store, table)}
    assert names == {"accuracies", "gains", "class_sizes", "class_accuracies", "confusions"}


def test_the_g_mean_stands_beside_its_definition(tmp_path, capsys):
    """The example in the sentence is what the metric gives for nine images of each class, all right."""
    labels = np.repeat(np.arange(3), 9)
    perfect = classification_metrics(
        labels, np.ones(27), np.zeros(27), labels, np.zeros(3, int), ("many", "medium", "few")
    )
    sentence = "below 100 % even if every image is right (90.9 % with 9 images per class)"
    assert f"{100 * perfect['g_mean']:.1f} %" in sentence
    write(tmp_path, methods=("baseline", "sla+sd"))
    store = Store(tmp_path, "imbalanced")
    table = leaderboard(store.records())
    print_table(table)
    printed = " ".join(capsys.readouterr().out.split())
    write_report([store.snapshot()], tmp_path / "report.html")
    assert sentence in printed
    assert printed.count("G-mean: geometric mean over classes of (hits + 1) / (images + 2)") == 1
    assert sentence in markdown(table)
    assert sentence in latex(table).replace("\\%", "%")
    assert sentence in (tmp_path / "report.html").read_text()
    assert "G-mean:" not in markdown(table[table["metric"] == "accuracy"])


def test_the_tuned_pair_has_an_accuracy_of_each_class(tmp_path):
    write(tmp_path, methods=["baseline", "sla+sd"])
    store = write(tmp_path, methods=["baseline"], settings=("learning_rate=0.3",))
    tune_rates(store, {"baseline": 0.3, "sla+sd": 0.1})
    words = [
        text.get_text()
        for text in class_figures(store, IMBALANCED.pictures)["class_accuracies"].findobj(Text)
    ]
    titles = [word.replace("\n", " ") for word in words if word.startswith("glyphs20")]
    assert titles == [f"glyphs20, exp ratio 100, {way}, ce" for way in ("quick", "quick, tuned")]


def test_every_table_names_classes_without_a_test_image(tmp_path, monkeypatch, capsys):
    assert leaderboard(write(tmp_path / "all").records())["untested_classes"].isna().all()
    monkeypatch.setitem(globals(), "LABELS", LABELS[LABELS < 2])
    store = write(tmp_path / "some")
    table = write_leaderboard(store)
    assert set(table["untested_classes"]) == {"'c', 'd'"}
    print_table(table)
    write_report([store], tmp_path / "report.html")
    sentence = "no test image of 'c', 'd': left out of recalls, macro F1 and G-mean"
    texts = [(store.folder / f"leaderboard.{kind}").read_text() for kind in ("md", "tex")]
    page = html.unescape((tmp_path / "report.html").read_text())
    for text in (capsys.readouterr().out, page, *texts):
        assert sentence in " ".join(text.split())


def test_a_primary_contrast_of_one_data_set_is_an_ordinary_one_elsewhere():
    row = {
        "metric": "accuracy",
        "imbalance": "exp",
        "ratio": 100.0,
        "learner": "ce",
        "method": "SLA+AG",
        "reference": "ens-M",
    }
    assert IMBALANCED.contrast({**row, "dataset": "cifar100"}, matched=True) == "primary"
    assert IMBALANCED.contrast({**row, "dataset": "glyphs20"}, matched=True) == "confirmatory"
    assert IMBALANCED.contrast({**row, "dataset": "cifar100", "ratio": 10.0}, True) == "confirmatory"
    distilled = {**row, "method": "SLA+SD", "reference": "baseline-xM"}
    assert {IMBALANCED.contrast({**distilled, "dataset": name}, True) for name in ("cifar100", "x")} == {
        "primary"
    }
