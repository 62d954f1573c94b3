"""Answers in sentences: SLA at equal steps, at equal compute, next step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.form import TOLERANCE
from sla_bench.scenarios.reading import Reading, Row
from sla_bench.tables.comparisons import NO_TRAINING
from sla_bench.tables.row_key import BASELINE, TRAINING
from sla_bench.tables.table_texts import accuracies_of, alike, ends, is_missing, training_words
from sla_bench.words import one_line

PLACE = ("scenario", "dataset", "data_state", "setting", "learner", "train_shots")
"""Columns that are equal in rows of one answer, whatever their training."""
_USUAL_ROWS = ("SLA+AG", "SLA+SD", "SLA+SI")
_MEANS = {
    "baseline-xM": "{m} times the steps",
    "baseline-NMway": "{m} times the training ways",
    "ens-M": "{m} members",
}
ONE_SEED, NOT_TUNED, WITHOUT_CONTROLS = "one seed", "not tuned", "without controls"
EQUAL_SEEDS = "equal seeds"


@dataclass(frozen=True)
class Answer:
    """One row of SLA in one setting: its gain at equal steps, at equal compute, and the next step.

    Args:
        place: data set, setting and learner.
        training: backbone and budget.
        word: the verdict; ONE_SEED, EQUAL_SEEDS, NOT_TUNED or WITHOUT_CONTROLS where there is none.
        is_primary: the comparison at equal compute was named in the protocol beforehand.
        steps: sentence on the gain over the baseline of equal steps; empty without a baseline.
        compute: sentence on the gain over a control; empty without controls.
        advice: sentence on the row to prefer, or on the next trainings.
        rows: accuracies of the training, of this setting only.
    """

    place: str
    training: str
    word: str
    is_primary: bool
    steps: str
    compute: str
    advice: str
    rows: list[Row]

    @property
    def has_verdict(self) -> bool:
        """The word is one of `sla_bench.evaluation.verdicts.Verdict`."""
        return self.word not in (ONE_SEED, EQUAL_SEEDS, NOT_TUNED, WITHOUT_CONTROLS)

    def sentences(self) -> list[str]:
        """All sentences that are there."""
        return [sentence for sentence in (self.steps, self.compute, self.advice) if sentence]


def answers(rows: Iterable[Row]) -> list[Answer]:
    """Answer for each setting and learner in which SLA was trained, in the order of the rows.

    Of several trainings of a setting the one with a verdict answers, or else the one with most controls and
    seeds; rows of different trainings never stand in one sentence. The row of SLA is that of the scenario's
    primary contrast where it is recorded, its control that of this contrast, or else the best control.

    Args:
        rows: of the leaderboard.
    """
    found = []
    for place in alike(accuracies_of(rows), PLACE):
        trainings = [part for part in alike(place, TRAINING) if _row_of_sla(part)]
        if trainings:
            found.append(_answer(max(trainings, key=_weight)))
    return found


def _weight(training: Sequence[Row]) -> tuple[bool, bool, bool, int, int]:
    contrasts = [row for row in training if not is_missing(row["contrast"])]
    return (
        any(not is_missing(row["verdict"]) for row in contrasts),
        any(row["contrast"] == "primary" for row in contrasts),
        bool(contrasts),
        max(row["seeds"] for row in training),
        len(training),
    )


def _row_of_sla(training: Sequence[Row]) -> str | None:
    """The method that answers; a batch in a name only where there is no other."""
    reading: Reading = SCENARIOS.load(training[0]["scenario"], "reading")
    methods = list(dict.fromkeys(row["method"] for row in training if row["is_sla"]))
    primary = [row["method"] for row in training if row["contrast"] == "primary"]
    wanted = [*primary, *(one.method for one in reading.primaries), *_USUAL_ROWS, *methods]
    known = [name for name in wanted if name in methods]
    return next((name for name in known if "(batch" not in name), known[0] if known else None)


def _answer(training: list[Row]) -> Answer:
    method = _row_of_sla(training)
    own = [row for row in training if row["method"] == method and not is_missing(row["relative_gain_pct"])]
    baseline = next((row for row in own if row["reference"] == BASELINE), None)
    controls = [row for row in own if not is_missing(row["contrast"])]
    first = training[0]
    control = max(controls, key=_decides) if controls else None
    shots = first["train_shots"]
    trained = "" if is_missing(shots) or shots == first["shots"] else f", trained {shots:.0f}-shot"
    return Answer(
        place=one_line(f"{first['dataset']}, {first['setting']}{trained}, {first['learner']}"),
        training=one_line(training_words(first)),
        word=_word(own, control),
        is_primary=control is not None and control["contrast"] == "primary",
        steps="" if baseline is None else _at_equal_steps(baseline, training),
        compute="" if control is None else _at_equal_compute(control, training),
        advice=_advice(own, control),
        rows=training,
    )


def _decides(row: Row) -> tuple[bool, bool, float]:
    """The control to name: of a verdict, of the primary contrast, the best."""
    return not is_missing(row["verdict"]), row["contrast"] == "primary", row["reference_value"]


def _word(own: Sequence[Row], control: Row | None) -> str:
    if control is not None and not is_missing(control["verdict"]):
        return str(control["verdict"])
    if own and max(row["gain_seeds"] for row in own) == 1:
        return ONE_SEED
    if control is None:
        return WITHOUT_CONTROLS
    return EQUAL_SEEDS if _has_equal_seeds(control) else NOT_TUNED


def _has_equal_seeds(row: Row) -> bool:
    """Nothing is trained that a seed could change, so there is no interval."""
    return row["comparison"] == NO_TRAINING and is_missing(row["gain_ci95_low"])


def _gain(row: Row, means: str = "") -> str:
    """As in "SLA+AG gains 22.7 % (+14.4 to +31.6) over baseline, 61.3 to 75.2 %"."""
    gain = round(row["relative_gain_pct"], 1)
    interval = ends(row["gain_ci95_low"], row["gain_ci95_high"], "+z.1f")
    interval = interval or f"{ONE_SEED if row['gain_seeds'] == 1 else EQUAL_SEEDS}, no interval"
    verb, to = ("loses", "to") if gain < 0 else ("gains", "over")
    values = f"{row['reference_value']:.1f} to {row['gain_value']:.1f} %"
    return f"{row['method']} {verb} {abs(gain):.1f} % ({interval}) {to} {row['reference']}{means}, {values}"


def _at_equal_steps(row: Row, training: Sequence[Row]) -> str:
    # Rows of one command may lack those of the baseline, which an earlier one recorded.
    costs = []
    for other in [one for one in training if one["method"] == row["reference"]][:1]:
        # A frozen network sees no image in training.
        images = row["train_images"] / other["train_images"] if other["train_images"] else 1
        if images > 1 + TOLERANCE:
            costs.append(f"{images:.2g} times the images in training")
        if row["query_passes"] > other["query_passes"]:
            costs.append(f"{row['query_passes']:.0f} passes at test")
    where = "On your pictures" if row["dataset"].startswith("folder:") else f"On {one_line(row['dataset'])}"
    return f"{where}, {_gain(row)}" + (f", for {' and '.join(costs)}." if costs else ".")


def _at_equal_compute(row: Row, training: Sequence[Row]) -> str:
    name = row["reference"].partition("+")[0]
    steps = {one["method"]: one["train_images"] for one in training}
    times = f"{row['train_images'] / steps[BASELINE]:.2g}" if steps.get(BASELINE) else "M"
    means = f" ({_MEANS[name].format(m=times)})" if name in _MEANS else ""
    alone = next(
        (one for one in training if (one["method"], one["reference"]) == (row["reference"], BASELINE)), None
    )
    beside = ""
    if alone is not None and not is_missing(alone["relative_gain_pct"]):
        beside = f"; {row['reference']} itself: {alone['relative_gain_pct']:+z.1f} % over {BASELINE}"
    comparison = row["comparison"][0].upper() + row["comparison"][1:]
    new = ends(row["gain_classes_low"], row["gain_classes_high"], "+z.1f")
    on_new = f"; on other test classes {new} %" if new else ""
    return f"{comparison}: {_gain(row, means)}{on_new}{beside}."


def _advice(own: Sequence[Row], control: Row | None) -> str:
    """The row to prefer, or what is missing for a verdict."""
    if not own:
        return "Next: add --method baseline: without one there is no gain."
    if own[0]["budget_name"] == "smoke":
        return "Budget smoke decides nothing; next: the same without --budget smoke."
    if max(row["gain_seeds"] for row in own) == 1:
        more = "" if control is not None else " and --controls (or just more images, views and ways?)"
        return f"One seed decides nothing; next: --seed 0 1 2{more}."
    if control is None:
        return "Is it SLA, or just more images, views and ways? Re-run with --controls to see."
    if is_missing(control["verdict"]) and _has_equal_seeds(control):
        return "Nothing is trained, so the seeds are equal and there is no verdict."
    if is_missing(control["verdict"]):
        return f"{_prefer(control)} Batch and rate are not tuned, so this is not a verdict; `tune` makes one."
    if control["verdict"] != "undecided":
        return f"Verdict: {control['verdict']}. {_prefer(control)}"
    needed = control["seeds_to_decide"]
    if is_missing(needed):
        return "Verdict: undecided."
    if math.isinf(needed):
        return "Verdict: undecided, by any number of seeds; next: more test images or classes."
    return f"Verdict: undecided; next: {needed:.0f} seeds in all might decide."


def _prefer(control: Row) -> str:
    """By the verdict, or else by the interval; where neither tells them apart, the control."""
    low, high, found = control["gain_ci95_low"], control["gain_ci95_high"], control["verdict"]
    if found == "gains" or (is_missing(found) and low > 0):
        return f"Prefer {control['method']}."
    if found == "loses" or (is_missing(found) and high < 0):
        return f"Prefer {control['reference']}."
    if found == "no relevant difference":
        return "Prefer the cheaper of the two."
    return "These seeds do not tell the two apart."
