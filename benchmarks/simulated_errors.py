"""Error rates of intervals, p-values, Holm's families and verdicts, by simulation.

    python benchmarks/simulated_errors.py --csv results/reference/statistics/simulated_errors.csv

writes the CSV and the picture beside it: 20 minutes of one core; those in results/reference are
of `--repetitions 0.4`, put together from three partial runs, verdicts of 5,000 repetitions.
A broken limit is marked in the CSV, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sla_bench.evaluation.crossed_error import two_sided_p
from sla_bench.evaluation.statistics import mean_interval, paired_relative_gain
from sla_bench.evaluation.verdicts import RELEVANT, holm, seeds_to_decide, verdict
from sla_bench.records.files import write_text

SEEDS = (2, 3, 5, 10)
RATIOS = (0.1, 1.0, 10.0, 100.0)
"""Variance of the mean from the seeds over that from the test."""
FAMILIES = (3, 9, 19, 56)
LEVELS = (0.05, 1e-3, 1e-4)
COVERAGE = {seeds: (0.93, 0.98 if seeds > 2 else 1.0) for seeds in SEEDS}
"""Two seeds hardly tell which part of the variance is the larger: intervals are then too wide, at most."""
SAMPLES = 200
CLASSES, WAYS = 20, 5
_ERROR = 0.005
"""Standard deviation that the test gives to a mean accuracy."""


@dataclass(frozen=True)
class Result:
    """One simulated share.

    Args:
        quantity: what is counted.
        seeds: S.
        ratio: of `RATIOS`.
        case: contrasts of the family, nominal level, or what the data are like.
        share: how often it happened.
        least: the limits of the share.
        most: see `least`.
        repetitions: how often it was tried.
        kept: the share is within its limits, but for three standard errors of the simulation.
    """

    quantity: str
    seeds: int
    ratio: float
    case: str
    share: float
    least: float
    most: float
    repetitions: int
    kept: bool


def result(
    quantity: str, seeds: int, ratio: float, case: str, happened: np.ndarray, limits: tuple[float, float]
) -> Result:
    """Count what happened (n,) and compare it with the limits."""
    least, most = limits
    share, number = float(np.mean(happened)), len(happened)

    def slack(limit: float) -> float:
        return 3 * float(np.sqrt(limit * (1 - limit) / number))

    kept = least - slack(least) <= share <= most + slack(most)
    return Result(quantity, seeds, ratio, case, share, least, most, number, kept)


def null_p_values(
    rng: np.random.Generator, seeds: int, ratio: float, contrasts: int, repetitions: int
) -> np.ndarray:
    """p-values of gains that are none: methods against one baseline, seeds and samples crossed.

    Args:
        rng: of the accuracies.
        seeds: S.
        ratio: of `RATIOS`.
        contrasts: m, all with the same baseline.
        repetitions: n.

    Returns:
        (n, m), by the formulas of `sla_bench.evaluation.crossed_error` for many arrays at once.
    """
    own_sd = _ERROR * np.sqrt(ratio * seeds)
    sample_sd = _ERROR * np.sqrt(SAMPLES)
    found = np.empty((repetitions, contrasts))
    for k in range(repetitions):
        shape = (contrasts + 1, seeds, SAMPLES)
        hard = rng.normal(0, 2 * sample_sd, SAMPLES)
        values = 0.6 + hard + rng.normal(0, sample_sd, (contrasts + 1, 1, SAMPLES))
        values = values + rng.normal(0, own_sd, (contrasts + 1, seeds, 1)) + rng.normal(0, 0.01, shape)
        means = values.mean(axis=(1, 2))
        shares = values / means[:, None, None]
        own, shared = components(shares[1:] - shares[:1])
        found[k] = two_sided_p(np.log(means[1:] / means[0]), own, shared, seeds - 1, SAMPLES - 1)
    return found


def components(deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both parts of the variance of the mean, (m,) each, of influence values (m, S, T)."""
    _, seeds, samples = deviations.shape
    by_seed = deviations.mean(axis=2)
    centred = deviations - by_seed[:, :, None]
    pairs = ((centred.sum(axis=1) ** 2) - (centred**2).sum(axis=1)) / (seeds * (seeds - 1))
    shared = np.maximum(0, pairs.sum(axis=1) / (samples - 1)) / samples
    return by_seed.var(axis=1, ddof=1) / seeds, shared


def errors_of_tests(scale: float) -> Iterator[Result]:
    """Single p-values, and families after Holm, where no method gains anything."""
    repetitions = max(1, round(10_000 * scale))
    for seeds, ratio in itertools.product(SEEDS, RATIOS):
        rng = np.random.default_rng([seeds, round(10 * ratio)])
        p = null_p_values(rng, seeds, ratio, max(FAMILIES), repetitions)
        for level in LEVELS:
            yield result("p below its level", seeds, ratio, f"{level:g}", p.ravel() < level, (0, level))
        for m in FAMILIES:
            smallest = np.array([holm(row[:m]).min() for row in p])
            yield result("family-wise error", seeds, ratio, f"m={m}", smallest < 0.05, (0, 0.06))


def hits(
    rng: np.random.Generator, seeds: int, samples: int, accuracy: float, hard: np.ndarray, seed_sd: float
) -> np.ndarray:
    """Right and wrong answers (S, T), by thresholds of normal variables: mean `accuracy` over all seeds."""
    from scipy.special import ndtri

    own = rng.normal(0, 0.5, samples)
    noise = rng.normal(0, 0.5, (seeds, samples)) + rng.normal(0, seed_sd, (seeds, 1))
    deviation = np.sqrt(1 + 0.25 + 0.25 + seed_sd**2)
    answers: np.ndarray = (deviation * ndtri(accuracy) + hard + own + noise > 0).astype(np.float64)
    return answers


def coverage(scale: float) -> Iterator[Result]:
    """Intervals of gains and accuracies of images that are right or wrong, from chance to nearly all."""
    repetitions, samples = max(1, round(1_000 * scale)), 500
    for seeds, seed_sd, (base, treated) in itertools.product(
        SEEDS, (0.02, 0.1, 0.4), ((0.055, 0.06), (0.3, 0.33), (0.6, 0.66), (0.9, 0.92), (0.985, 0.98))
    ):
        rng = np.random.default_rng([seeds, round(100 * seed_sd), round(1000 * base)])
        held_gain, held_mean = np.zeros((2, repetitions), bool)
        for k in range(repetitions):
            hard = rng.normal(size=samples)
            one, other = (hits(rng, seeds, samples, a, hard, seed_sd) for a in (base, treated))
            gain, mean = paired_relative_gain(one, other), mean_interval(other)
            held_gain[k] = gain.low <= treated / base - 1 <= gain.high
            held_mean[k] = mean.low <= treated <= mean.high
        # The seeds' deviation stands in for the ratio, which the accuracies decide.
        case = f"{base:g} and {treated:g}"
        yield result("coverage of a gain", seeds, seed_sd, case, held_gain, COVERAGE[seeds])
        yield result("coverage of an accuracy", seeds, seed_sd, f"{treated:g}", held_mean, COVERAGE[seeds])


def few_shot_pair(
    rng: np.random.Generator, seeds: int, ratio: float, difference: float, class_sd: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two methods on 2,000 episodes of 20 classes, whose difference varies with the classes; (S, T) twice."""
    episodes = rng.random((2000, CLASSES)).argsort(axis=1)[:, :WAYS]
    effects = rng.normal(0, class_sd, CLASSES)
    own_sd = class_sd / np.sqrt(CLASSES) * np.sqrt(ratio * seeds)
    base = 0.6 + rng.normal(0, 0.08, 2000) + rng.normal(0, 0.03, (seeds, 2000))
    treated = base + difference + effects[episodes].mean(axis=1) + rng.normal(0, own_sd, (seeds, 1))
    return base, treated + rng.normal(0, 0.05, 2000) + rng.normal(0, 0.03, (seeds, 2000)), episodes


def new_classes(scale: float) -> Iterator[Result]:
    """Intervals and verdicts about other classes than those of the test."""
    repetitions = max(1, round(1_000 * scale))
    for seeds, ratio in itertools.product(SEEDS, RATIOS):
        rng = np.random.default_rng([7, seeds, round(10 * ratio)])
        held, alike = np.zeros((2, repetitions), bool)
        for k in range(repetitions):
            base, treated, episodes = few_shot_pair(rng, seeds, ratio, 0.06, 0.05)
            gain = paired_relative_gain(base, treated, classes=episodes)
            held[k] = gain.classes_low <= 0.1 <= gain.classes_high
            base, treated, episodes = few_shot_pair(rng, seeds, ratio, RELEVANT, 0.008)
            alike[k] = verdict(base, treated, classes=episodes) == "no relevant difference"
        yield result("coverage on other classes", seeds, ratio, "20 classes", held, COVERAGE[seeds])
        yield result("false verdict", seeds, ratio, "other classes, irrelevant", alike, (0, 0.05))


def verdicts(scale: float) -> Iterator[Result]:
    """Verdicts where the true difference is one point: relevant, or irrelevant, by mistake."""
    repetitions = max(1, round(12_500 * scale))
    for seeds, ratio, error in itertools.product(SEEDS, RATIOS, (0.001, 0.003)):
        rng = np.random.default_rng([9, seeds, round(10 * ratio), round(1000 * error)])
        words = []
        for _ in range(repetitions):
            base = 0.6 + rng.normal(0, 0.08, SAMPLES) + rng.normal(0, error, (seeds, SAMPLES))
            treated = base + RELEVANT + rng.normal(0, error * np.sqrt(SAMPLES), SAMPLES)
            treated = treated + rng.normal(0, error * np.sqrt(ratio * seeds), (seeds, 1))
            words.append(verdict(base, treated + rng.normal(0, error, (seeds, SAMPLES))))
        for word, case in (("gains", "relevant"), ("no relevant difference", "irrelevant")):
            happened = np.array([w == word for w in words])
            yield result("false verdict", seeds, ratio, f"{case}, error {error:g}", happened, (0, 0.05))


def named_seeds(scale: float) -> Iterator[Result]:
    """Undecided contrasts that are decided when they are given the number of seeds that is said to do."""
    repetitions, most = max(20, round(500 * scale)), 60
    for seeds, difference in itertools.product((3, 5), (0.0, 3 * RELEVANT)):
        rng = np.random.default_rng([11, seeds, round(100 * difference)])
        decided: list[bool] = []
        while len(decided) < repetitions:
            base = 0.6 + rng.normal(0, 0.08, SAMPLES) + rng.normal(0, 0.02, (most, SAMPLES))
            treated = base + difference + rng.normal(0, 0.03, SAMPLES) + rng.normal(0, 0.01, (most, 1))
            needed = seeds_to_decide(base[:seeds], treated[:seeds])
            if needed is not None and needed <= most:
                decided.append(verdict(base[: int(needed)], treated[: int(needed)]) != "undecided")
        # Few seeds estimate the variance, and so the number, roughly: in half of the cases it should do.
        yield result(
            "decided by the seeds named",
            seeds,
            1.0,
            f"difference {difference:g}",
            np.array(decided),
            (0.4, 1),
        )


PARTS = (errors_of_tests, coverage, new_classes, verdicts, named_seeds)


def simulate(scale: float) -> list[Result]:
    """All of the above; `scale` is the share of the full number of repetitions."""
    return [found for part in PARTS for found in part(scale)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run; returns 1 where a limit is not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--csv", type=Path, required=True, help="file to write; the picture goes beside it")
    parser.add_argument("--repetitions", type=float, default=1.0, help="share of the full number")
    options = parser.parse_args(arguments)
    found = simulate(options.repetitions)
    table = pd.DataFrame([astuple(one) for one in found], columns=[field.name for field in fields(Result)])
    write_text(options.csv, table.to_csv(index=False, float_format="%.6g"))
    from benchmarks.figures import simulation_picture

    for path in (options.csv, *simulation_picture.write(table, options.csv.with_suffix(""))):
        print(path)
    broken = table[~table["kept"]]
    print(broken.to_string() if len(broken) else "all limits are kept")
    return int(len(broken) > 0)


if __name__ == "__main__":
    sys.exit(main())
