"""Runs, evaluations and their metrics from files, without sla_bench."""

import csv
import functools
import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "smoke"
ON_CLASSES = {"simpleshot", "cosine", "finetune"}
MANY_VIEWS = {"da", "mt", "rot-aux", "sla", "sla+sd", "sla+u", "da+sd", "views", "baseline-repM"}
MANY_VIEWS |= {"skd0", "skd1", "hsakd", "alike", "bcl"}
INVARIANT = ("DA", "MT", "SKD0", "SKD1", "S2M2", "alike", "BCL")
VIEWS = {None: 1, "rotation": 4, "rotation2": 2, "color_perm": 6, "color_perm3": 3}
VIEWS |= {f"rot_color_perm{views}": views for views in (6, 12, 24)}


class Run:
    """A training: its config and summary, the updates of each member, its evaluations."""

    def __init__(self, config, done, history, evaluations):
        self.config, self.done = config, done
        steps = sorted((row["member"], int(row["step"])) for row in history)
        self.updates = dict(steps).values()
        self.tests = [Test(self, *one) for one in evaluations]
        seeds = ("seed", "subset_seed") if config["budget"] != "paper" else ("seed",)
        self.but_seeds = {**config, **dict.fromkeys(seeds)}

    @property
    def cost(self):
        images, updates = self.done["train_images"], self.updates
        method, views = self.config["method"], VIEWS[self.config["transform"]]
        drawn = images // views if method in MANY_VIEWS else images
        if method in ("sla-half", "s2m2"):
            drawn = images // 2
        elif method == "ssp+sla":
            drawn = 2 * images // (1 + views)
        batch = round(images / sum(updates))
        return {"images": images, "drawn": drawn, "updates": max(updates), "batch": batch}


class Test:
    """An evaluation."""

    __test__ = False

    def __init__(self, run, config, content, samples):
        self.run, self.config, self.samples = run, config, samples
        self.rows, self.data = content["rows"], (content["data_hash"], run.done.get("data_hash"))
        trained, self.few_shot = run.config, run.config["scenario"] == "fewshot"
        names = ("scenario", "dataset", "backbone", "precision", "selection")
        self.words = {name: trained[name] for name in names} | {
            "transform": config["transform"],
            "sampler": trained.get("sampler", "uniform"),
            "protocol": min(content["protocol"], run.done["protocol"]),
            "learner": trained.get("learner", trained.get("loss", "ce")),
            "setting": self.setting(trained),
            "train_shots": trained.get("train_shots") if trained.get("learner") not in ON_CLASSES else None,
        }

    def setting(self, trained):
        if self.few_shot:
            return f"{self.config['ways']}-way {self.config['shots']}-shot"
        if trained["scenario"] == "imbalanced":
            exponential = f"{trained['imbalance']} ratio {trained['ratio']:g}"
            return "as it is" if trained["imbalance"] == "none" else exponential
        return "full" if trained["mix"] == "none" else f"full, {trained['mix']}"

    @property
    def shown(self):
        """Rows of a table: without averages over turns that a classifier never saw."""
        rows = {name for name, row in self.rows.items() if row.get("shown", True)}
        unknown = {name for name in rows if "+TTA" in name and name.split("+TTA")[0] not in INVARIANT}
        return rows if self.few_shot else rows - unknown

    @functools.cache  # noqa: B019
    def accuracies(self, row):
        """Of each sample (T,), in 0..1."""
        if not self.few_shot:
            return (self.samples[f"predictions/{row}"] == self.samples["labels"]).astype(float)
        hits = self.samples[f"hits/{row}"][: self.config["episodes"]]
        return hits.sum(axis=1) / (hits.shape[1] * self.config["queries"])

    @functools.cache  # noqa: B019
    def metrics(self, row):
        """Metric -> value, shares in 0..1."""
        hit = self.accuracies(row)
        found = {"accuracy": hit.mean()}
        if self.few_shot:
            return found
        labels, predictions = self.samples["labels"], self.samples[f"predictions/{row}"]
        group = np.array(self.run.done["groups"])[labels]
        parts = {name: hit[group == i] for i, name in enumerate(("many", "medium", "few")) if i in group}
        if self.run.config["scenario"] == "imbalanced" or len(parts) > 1:
            found |= {f"accuracy of {name}": part.mean() for name, part in parts.items()}
        one = labels == np.unique(labels)[:, None]
        right, sizes = (one & (hit == 1)).sum(axis=1), one.sum(axis=1)
        named = (predictions == np.unique(labels)[:, None]).sum(axis=1)
        found["macro F1"] = np.mean(2 * right / (named + sizes))
        found["G-mean"] = np.exp(np.mean(np.log((right + 1) / (sizes + 2))))
        if f"confidence/{row}" in self.samples:
            # Of 16 bits, as the edges of the bins, each of which belongs to the bin below it.
            confidence = self.samples[f"confidence/{row}"].astype(np.float16).astype(float)
            edges = (np.arange(1, 16) / 15).astype(np.float16).astype(float)
            bins = (confidence > edges[:, None]).sum(axis=0)
            found["ECE"] = sum(abs((hit - confidence)[bins == b].sum()) for b in range(15)) / len(hit)
            found["NLL"] = self.samples[f"nll/{row}"].astype(np.float16).astype(float).mean()
        return found


def read(folder):
    """The rows of a leaderboard.csv, and the runs beside it by id."""

    def table(path):
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def content(path):
        return json.loads(path.read_text())

    def arrays(path):
        with np.load(path) as file:
            return dict(file)

    runs = {}
    for run in (path.parent for path in sorted(folder.glob("runs/*/done.json"))):
        tests = [
            (content(one / "config.json"), content(one / "metrics.json"), arrays(one / "samples.npz"))
            for one in sorted(run.glob("evaluations/*/"))
        ]
        parts = content(run / "config.json"), content(run / "done.json"), table(run / "history.csv")
        runs[run.name] = Run(*parts, tests)
    return table(folder / "leaderboard.csv"), runs


def read_golden(scenario):
    runs = {}
    for run in json.loads((GOLDEN / f"{scenario}.json").read_text())["runs"].values():
        tests = [
            (one["config"], one["metrics"], {name: np.array(x) for name, x in one["samples"].items()})
            for one in run["evaluations"].values()
        ]
        runs[run["run_id"]] = Run(run["config"], run["done"], run["history"].values(), tests)
    with (GOLDEN / f"{scenario}.csv").open(newline="") as file:
        return list(csv.DictReader(file)), runs
