"""Tables are recomputed from records, with nothing of sla_bench but its command."""

import itertools
import math
import re
import time

import numpy as np
import pytest
from documented import ROOT
from made_up_records import tune_rates, write_records
from own_records import ON_CLASSES, read, read_golden
from own_statistics import (
    crossed,
    ends,
    holm,
    jackknife,
    one_sided_p,
    open_reach,
    over_classes,
    over_seeds,
    sign_flips,
    two_sided_p,
    verdict,
)

from sla_bench.cli.app import run_command_line

REFERENCE = ROOT / "results" / "reference"
ARCHIVES = sorted(path.stem for path in (REFERENCE / "records").glob("*.zip"))
NEWEST = {"se_seeds", "se_test", "gain_se_seeds", "gain_se_test", "best_group"}
OLDER: set[str] = set()
"""Committed tables that were made before the newest columns or rows; empty once all of them are remade."""

# docs/protocol.md, references; baseline-xM stands in where records have no crops.
AT_EQUAL_COST = {name: {"baseline"} for name in ("rot-x1", "LoRot-I", "LoRot-E", "SLA-x1+SI")}
AT_EQUAL_COST |= {name: {"baseline-x2"} for name in ("SLA-half+SI", "SSP", "RFS-distil", "S2M2")}
AT_EQUAL_COST |= {name: {"baseline-xM"} for name in ("SKD0", "HSAKD", "alike", "BCL")}
AT_EQUAL_COST |= {"SKD1": {"baseline-x2M"}}
OF_CLASSIFIERS = {
    **AT_EQUAL_COST,
    "rot-x1+TTA": {"baseline+crops"},
    "SLA-x1+AG": {"baseline+crops", "ens-M"},
    "SLA-half+AG": {"baseline-x2+crops", "ens-M"},
    "SKD0+TTA": {"baseline-xM+crops"},
    "S2M2+TTA": {"baseline-x2+crops"},
    "alike+TTA": {"baseline-xM+crops"},
    "BCL+TTA": {"baseline-xM+crops"},
    "SKD1+TTA": {"baseline-x2M+crops"},
    "SLA+SI": {"baseline-xM"},
    "SLA+SD": {"baseline-xM", "DA+SD"},
    "SLA+AG": {"baseline-xM+crops", "baseline-xM", "ens-M", "DA+TTA"},
}
TTA = {"baseline-xM+TTA", "baseline-xM+crops", "ens-M", "baseline-NMway+TTA", "views+TTA", "DA+TTA"}
MATCHED = {
    "fewshot": {
        **AT_EQUAL_COST,
        "rot-x1+TTA": {"baseline+TTA", "baseline+crops"},
        "SLA-x1+AG": {"baseline+TTA", "baseline+crops", "ens-M"},
        "SLA-half+AG": {"baseline-x2+TTA", "baseline-x2+crops", "ens-M"},
        "SKD0+TTA": {"baseline-xM+TTA", "baseline-xM+crops"},
        "S2M2+TTA": {"baseline-x2+TTA", "baseline-x2+crops"},
        "alike+TTA": {"baseline-xM+TTA", "baseline-xM+crops"},
        "BCL+TTA": {"baseline-xM+TTA", "baseline-xM+crops"},
        "SKD1+TTA": {"baseline-x2M+TTA", "baseline-x2M+crops"},
        "SLA+SI": {"baseline-xM", "baseline-NMway"},
        "SLA+AG": TTA,
    },
    "imbalanced": OF_CLASSIFIERS,
    "standard": OF_CLASSIFIERS,
}
PRIMARY = {
    ("5-way 5-shot", "protonet", "SLA+AG", "baseline-NMway+TTA"),
    ("exp ratio 100", "ce", "SLA+SD", "baseline-xM"),
    ("full", "ce", "SLA+AG", "ens-M"),
}
PRIMARY_OF = {
    "cifar_fs": {("5-way 5-shot", "simpleshot", "SLA+AG", f"baseline-xM+{by}") for by in ("TTA", "crops")},
    "cifar100": {("exp ratio 100", "ce", "SLA+AG", "ens-M")},
}
TRAINING = ("scenario", "dataset", "backbone", "budget", "transform", "precision", "selection", "sampler")
TRAINING += ("protocol",)
OF_CONTRASTS = ("contrast", "verdict", "p_value", "p_sign_flip", "smallest_p")
CELL = (*TRAINING, "data_state", "setting", "learner", "train_shots")


class Row:
    """A row of the table, and the tests of its runs by seed."""

    def __init__(self, text, runs):
        self.text, self.metric, self.name = text, text["metric"], without_batch(text["method"])
        self.cell = tuple(text[name] for name in CELL)
        self.scale = 1 if self.metric == "NLL" else 100
        tests = [test for name in text["run_ids"].split() for test in runs[name].tests]
        tests = [one for one in tests if self.name in one.rows]
        of_row = (one for one in tests if all(one.words[w] == text[w] for w in ("setting", "transform")))
        self.tests = {test.run.config["seed"]: test for test in of_row}
        assert len(self.tests) == len(text["run_ids"].split())
        self.seeds = sorted(self.tests)
        self.strata = self.tests[self.seeds[0]].samples.get("labels")

    def values(self, seeds):
        return np.array([self.tests[seed].metrics(self.name)[self.metric] for seed in seeds])

    def accuracies(self, seeds):
        return np.stack([self.tests[seed].accuracies(self.name) for seed in seeds])

    def seeds_with(self, other):
        return [s for s in self.seeds if s in other.tests and self.tests[s].data == other.tests[s].data]


def without_batch(name):
    return re.sub(r" \(batch \d+\)$", "", name)


def percent(values, names, scale=100):
    return {name: None if x is None else scale * x for name, x in zip(names, values, strict=True)}


def parts(error, names, of_samples, scale=100):
    """Standard errors from seeds alone and from the test alone."""
    own, shared = (None, None) if error is None else map(math.sqrt, error[:2])
    return percent((own, shared if of_samples else None), names, scale)


def kind_of(row, seeds):
    return "one seed" if len(seeds) == 1 else "crossed" if row.metric == "accuracy" else "seeds"


def of_one_row(row):
    """The columns that need no reference."""
    tests = [row.tests[seed] for seed in row.seeds]
    run, values, accuracies = tests[0].run, row.values(row.seeds), row.accuracies(row.seeds)
    of_samples = row.metric == "accuracy"
    error = crossed(accuracies, row.strata) if of_samples else over_seeds(values)
    interval = ends(values.mean(), error, "number" if row.metric == "NLL" else "share")
    found = {
        **tests[0].words,
        "seeds": len(tests),
        "value": row.scale * values.mean(),
        **percent(interval, ("ci95_low", "ci95_high"), row.scale),
        **parts(error, ("se_seeds", "se_test"), of_samples, row.scale),
        "interval_kind": kind_of(row, row.seeds),
        "test_samples": accuracies.shape[1] if of_samples else None,
        "train_images": run.cost["images"],
        "drawn_images": run.cost["drawn"],
        "updates": run.cost["updates"],
        "batch": run.cost["batch"],
        "learning_rate": run.config["learning_rate"],
        "parameters": run.done["parameters"],
    }
    if "train_seconds" in run.done:
        found["train_seconds"] = np.mean([test.run.done["train_seconds"] for test in tests])
    for passes in ("query_passes", "support_passes")[: 1 + tests[0].few_shot]:
        found[passes] = np.mean([test.rows[row.name][passes] for test in tests])
    if row.text["scenario"] == "fewshot":
        found |= of_episodes(tests, row.name)
    return found


def of_episodes(tests, name):
    """Intervals that rest on other episodes than the accuracy, where an archive holds the hits of them."""

    def shares(test, kind):
        return test.samples[f"{kind}/{name}"].mean(axis=1) / test.config["queries"]

    found = {}
    if all(f"open_hits/{name}" in test.samples for test in tests):
        found["ci95_open"] = 100 * np.mean([open_reach(shares(test, "open_hits")) for test in tests])
    drawn = max(tests[0].config[kind] for kind in ("episodes", "jackknife_episodes"))
    if all(len(test.samples.get("classes", ())) == drawn for test in tests):
        variances = [jackknife(shares(test, "hits"), test.samples["classes"]) for test in tests]
        errors = [math.sqrt(variance) for variance in variances if variance is not None]
        found["jackknife_se"] = 100 * np.mean(errors) if errors else None
    return found


def words_of(ours, theirs, tuned):
    """In what the costs of two trainings are equal."""
    pairs = {name: sorted((ours[name], theirs[name])) for name in ("images", "updates", "batch")}
    same = [name for name, (less, more) in pairs.items() if more - less <= 0.05 * more]
    joined = " and ".join([", ".join(same[:-1]), *same[-1:]] if len(same) > 1 else same)
    if "images" in same:
        return "equal images, both tuned" if tuned else f"equal {joined}"
    factor = f"{ours['images'] / theirs['images']:.2g} x the images"
    further = ["both tuned"] if tuned else [f"equal {joined}"] * bool(same)
    return ", ".join([factor, *further])


def contrast_of(row, reference):
    scenario, learner = row.text["scenario"], row.text["learner"]
    if row.metric != "accuracy":
        return None
    primary = PRIMARY | PRIMARY_OF.get(row.text["dataset"], set())
    if (row.text["setting"], learner, row.name, reference) in primary:
        return "primary"
    if reference == "DA+TTA" and scenario == "fewshot" and learner not in ON_CLASSES:
        return None
    return "confirmatory" if reference in MATCHED[scenario].get(row.name, ()) else None


def shared_classes(tests):
    """Classes of the episodes (T, W), where they are recorded and the same in all tests."""
    named = [test.samples.get("classes") for test in tests]
    if any(one is None or not np.array_equal(one, named[0]) for one in named):
        return None
    return named[0][: tests[0].config["episodes"]]


def beside_its_reference(row, other):
    """The columns of the gain."""
    seeds = row.seeds_with(other)
    tests = [one.tests[seed] for one in (row, other) for seed in seeds]
    ours, theirs = row.values(seeds), other.values(seeds)
    mean, base = ours.mean(), theirs.mean()
    tuned = row.text["budget"].endswith(", tuned")
    found = {
        "gain_seeds": len(seeds),
        **percent((mean, base, mean - base), ("gain_value", "reference_value", "gain_points"), row.scale),
        "comparison": words_of(tests[0].run.cost, tests[len(seeds)].run.cost, tuned),
    }
    if row.metric in ("ECE", "NLL") or base == 0:
        return found
    gain, wider = mean / base - 1, None
    if row.metric == "accuracy":
        pair, classes = (row.accuracies(seeds), other.accuracies(seeds)), shared_classes(tests)
        influence = (pair[0] - (1 + gain) * pair[1]) / base
        error = crossed(influence, row.strata)
        wider = None if classes is None else over_classes(error, influence, classes)
    else:
        error = over_seeds((ours - (1 + gain) * theirs) / base)
    interval = ends(gain, error, "ratio")
    found |= {
        "relative_gain_pct": 100 * gain,
        **percent(interval, ("gain_ci95_low", "gain_ci95_high")),
        **parts(error, ("gain_se_seeds", "gain_se_test"), row.metric == "accuracy"),
        "error_reduction_pct": 100 * (mean - base) / (1 - base) if base < 1 else None,
        "gain_interval_kind": kind_of(row, seeds),
    }
    if wider is not None:
        new = ends(gain, wider if error else None, "ratio")
        found |= percent((*new, math.sqrt(wider[1])), [f"gain_classes_{x}" for x in ("low", "high", "se")])
    contrast = contrast_of(row, without_batch(other.text["method"]))
    if contrast is None:
        return found | dict.fromkeys(OF_CONTRASTS)
    if interval[0] is None:
        return found | dict.fromkeys(("p_value", "verdict"))
    decides = found["comparison"] == "equal images, both tuned"
    of_new_classes, difference = row.text["scenario"] == "fewshot", pair[0] - pair[1]
    return found | {
        "contrast": contrast,
        "verdict": verdict(difference, row.strata, classes, of_new_classes) if decides else None,
        "p_value": two_sided_p(abs(math.log1p(gain)) * (1 + gain), *error),
        "p_sign_flip": sign_flips(ours - theirs),
        "smallest_p": 2.0 ** (1 - len(seeds)),
    }


def best_groups(rows):
    """Row -> its place beside the best of its cell, by one-sided p-values and Bonferroni's bound."""
    cells, words = {}, {}
    for row in rows:
        if row.metric == "accuracy" and len(row.seeds) > 1:
            cells.setdefault(row.cell, {})[row.text["method"]] = row
    for cell, methods in cells.items():
        best = max(methods.values(), key=lambda row: row.values(row.seeds).mean())
        p_values, contents = {}, {}
        for name, row in methods.items():
            seeds = best.seeds_with(row)
            if row is best or len(seeds) < 2:
                continue
            classes = shared_classes([one.tests[seed] for one in (best, row) for seed in seeds])
            differences, of_new_classes = best.accuracies(seeds) - row.accuracies(seeds), cell[0] == "fewshot"
            p = one_sided_p(differences, row.strata, classes, of_new_classes)
            if p is not None:
                contents[name] = row.accuracies(row.seeds).tobytes()
                p_values[contents[name]] = p
        for name, content in contents.items():
            words[cell, name] = "tied" if len(p_values) * p_values[content] > 0.05 else "behind"
        if contents:
            words[cell, best.text["method"]] = "best"
    return words


def recomputed(texts, runs):
    """Each row of a leaderboard.csv, and what its columns should hold."""
    rows = [Row(text, runs) for text in texts]
    by_name = {(row.cell, row.text["method"], row.metric): row for row in rows}
    found, families, seen, words = [], {}, set(), best_groups(rows)
    for number, row in enumerate(rows):
        columns = of_one_row(row) | dict.fromkeys(("p_holm", "holm_contrasts"))
        columns["best_group"] = (
            words.get((row.cell, row.text["method"])) if row.metric == "accuracy" else None
        )
        other = by_name.get((row.cell, row.text["reference"], row.metric))
        columns |= {"gain_value": None} if other is None else beside_its_reference(row, other)
        if columns.get("contrast") == "confirmatory":
            # The same gain of another row is no further contrast.
            same = row.cell, row.text["reference"], row.accuracies(row.seeds_with(other)).tobytes()
            if same in seen:
                columns |= dict.fromkeys(OF_CONTRASTS)
            else:
                families.setdefault(row.cell[: len(TRAINING)], {})[number] = columns["p_value"]
            seen.add(same)
        found.append((row, columns))
    for family in families.values():
        for number, p in holm(family).items():
            found[number][1].update(p_holm=p, holm_contrasts=len(family))
    return found


def differs(text, value):
    """By more than 0.51 units of the sixth digit (tables are rounded) and 1e-7 (two quadratures agree)."""
    if value is None or isinstance(value, str):
        return text != (value or "")
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 5) if value else 0
    return not text or abs(float(text) - value) > 0.51 * unit + 1e-7


def check(texts, runs, but=()):
    """Every column of every row, and that no seed, row or metric of a run is left out."""
    found = recomputed(texts, runs)
    wrong = [
        f"{row.cell}, {row.text['method']}, {row.metric}, {row.text['reference']}: {column} is "
        f"{row.text[column]!r}, recomputed {value}"
        for row, columns in found
        for column, value in columns.items()
        if column not in but and differs(row.text[column], value)
    ]
    assert not wrong, "\n".join(wrong)
    there = {(test, row.name, row.metric) for row, _ in found for test in row.tests.values()}
    for run in runs.values():
        for test in run.tests:
            assert {(test, name, metric) for name in test.shown for metric in test.metrics(name)} <= there
    for row, _ in found:
        test = row.tests[row.seeds[0]]
        alike = [run for run in runs.values() if run.but_seeds == test.run.but_seeds]
        alike = [r for r in alike if any(t.words == test.words and row.name in t.rows for t in r.tests)]
        assert row.seeds == sorted(run.config["seed"] for run in alike)
    return found


def sla_bench(*arguments):
    assert run_command_line([*map(str, arguments)]) == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Archive -> folder of the table that its records make; and processor seconds that all took together."""
    before, folders = time.process_time(), {}
    for archive in ARCHIVES:
        out = tmp_path_factory.mktemp(archive)
        sla_bench("import", REFERENCE / "records" / f"{archive}.zip", "--out", out)
        sla_bench("leaderboard", "--out", out)
        (table,) = out.glob("*/leaderboard.csv")
        folders[archive] = table.parent
    return folders, time.process_time() - before


@pytest.mark.slow
def test_committed_records_make_the_committed_tables_within_a_minute(made):
    folders, seconds = made
    differing = {}
    for archive, folder in folders.items():
        pair = ((one / "leaderboard.csv").read_text().splitlines() for one in (folder, REFERENCE / archive))
        if other := [lines for lines in itertools.zip_longest(*pair) if lines[0] != lines[1]]:
            differing[archive] = other[0]
    assert differing.keys() == OLDER, differing
    assert seconds < 60


@pytest.mark.slow
@pytest.mark.parametrize("archive", ARCHIVES)
def test_every_figure_of_a_table_follows_from_the_records_of_its_archive(archive, made):
    assert check(*read(made[0][archive]))


@pytest.mark.parametrize("scenario", ["fewshot", "imbalanced", "standard"])
def test_every_figure_of_the_golden_tables_follows_from_their_samples(scenario):
    texts, runs = read_golden(scenario)
    # Golden tables may be older than the newest columns.
    found = [columns for _, columns in check(texts, runs, but=NEWEST - texts[0].keys())]
    assert any(columns.get("gain_ci95_low") is not None for columns in found)


def test_verdicts_and_intervals_on_new_classes_follow_from_the_hits(tmp_path):
    rows = {"baseline": 0.5, "SLA+AG": 0.65, "SLA+SI": 0.55, "baseline-NMway": 0.549}
    store, _ = write_records(tmp_path, rows | {"baseline-NMway+TTA": 0.6}, seeds=(0, 1, 2, 3))
    write_records(tmp_path, {"baseline-xM": 0.4, "baseline-xM+TTA": 0.45}, seeds=(1, 2, 3))
    tune_rates(store, dict.fromkeys(("baseline", "sla", "baseline-NMway", "baseline-xM"), 0.002))
    sla_bench("leaderboard", "--out", tmp_path)
    # Made-up records have a constant in its place.
    found = [columns for _, columns in check(*read(store.folder), but=["ci95_open"])]
    assert {columns.get("verdict") for columns in found} == {None, "gains", "no relevant difference"}
    assert {columns.get("contrast") for columns in found} == {None, "primary", "confirmatory"}
    assert any(columns.get("gain_classes_low") is not None for columns in found)
