"""Seconds that a training takes until its test accuracy is one that was published.

    python benchmarks/speed/time_to_accuracy.py long-tail --data-root FOLDER
    python benchmarks/speed/time_to_accuracy.py --data-root FOLDER --csv FILE     # all, about two hours

Each target is trained for longer and longer, always from the start and with a rate that falls to zero, by the
command line with one worker, until the mean of its seeds reaches the accuracy at the last step. Seconds are
those of training, without reading data and evaluation. ResNet-32 is not trained to its end: its seconds are
those of six epochs of the paper's 200, times 200 / 6.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.costs import Cost, add_option, write_costs
from sla_bench.records.store import RunRecord, Store

LONG_TAIL = ("imbalanced", "--dataset=cifar100", "--ratio=100", "--loss=ce", "--selection=last")
UPRIGHT = ("--method=baseline", "--set=validations=1")


@dataclass(frozen=True)
class Target:
    """An accuracy to be reached.

    Args:
        setting: in the table.
        command: of `sla_bench run`, without length, seeds and folders.
        accuracy: in percent, and whose it is.
        field: of the length.
        lengths: tried one after another until the accuracy is reached.
        threads: of a training.
        seeds: of the mean.
        times: seconds are multiplied by this, for a training that is measured in part.
    """

    setting: str
    command: Sequence[str]
    accuracy: tuple[float, str] | None
    field: str
    lengths: Sequence[int]
    threads: int = 1
    seeds: int = 3
    times: float = 1.0


TARGETS = {
    "long-tail": Target(
        "CIFAR-100-LT, ratio 100, ce, budget fast",
        (*LONG_TAIL, *UPRIGHT, "--budget=fast", "--class-order=identity", "--subset-seed=0"),
        (38.32, "ResNet-32, 200 epochs, best on test (LDAM-DRW)"),
        "epochs",
        (15, 20, 30, 40),
    ),
    "resnet32": Target(
        "CIFAR-100-LT, ratio 100, ce, budget paper",
        (*LONG_TAIL, *UPRIGHT, "--budget=paper", "--precision=bf16"),
        None,
        "epochs",
        (6,),
        seeds=1,
        times=200 / 6,
    ),
    "standard": Target(
        "CIFAR-100, budget fast",
        ("standard", "--dataset=cifar100", *UPRIGHT, "--budget=fast"),
        (68.3, "ResNet-32 (SLA)"),
        "steps",
        (3500, 7000, 14_000),
        threads=2,
    ),
    "cifar-fs": Target(
        "CIFAR-FS, 5-way 5-shot, simpleshot, budget fast",
        ("fewshot", "--dataset=cifar_fs", "--learner=simpleshot", "--shots=5", *UPRIGHT, "--budget=fast"),
        (83.5, "ProtoNet on ResNet-12 (MetaOptNet)"),
        "steps",
        (3000, 6000, 12_000),
        threads=2,
    ),
    "protonet": Target(
        "CIFAR-FS, 5-way 5-shot, ProtoNet on Conv-4, budget fast",
        ("fewshot", "--dataset=cifar_fs", "--learner=protonet", "--shots=5", *UPRIGHT, "--budget=fast"),
        (72.0, "ProtoNet on Conv-4 (MetaOptNet)"),
        "steps",
        (2000, 4000, 8000),
    ),
}
TARGETS["cifar-fs-1"] = replace(
    TARGETS["cifar-fs"],
    setting="CIFAR-FS, 5-way 1-shot, simpleshot, budget fast",
    command=[word.replace("--shots=5", "--shots=1") for word in TARGETS["cifar-fs"].command],
    accuracy=(69.0, "wanted here"),
)


def trained(target: Target, length: int, data_root: Path, out: Path) -> list[RunRecord]:
    """Train all seeds of a target for one length; their records, which lie below `out`."""
    seeds = [f"--seed={seed}" for seed in range(target.seeds)]
    options = [f"--set={target.field}={length}", f"--data-root={data_root}", f"--out={out}", "--workers=1"]
    if target.threads > 1:
        options.append(f"--threads={target.threads}")
    command = [sys.executable, "-m", "sla_bench", "run", *target.command, *seeds, *options]
    subprocess.run(command, check=True)
    return Store(out, target.command[0]).records()


def accuracy(records: Sequence[RunRecord]) -> float:
    """Mean over the seeds of the baseline that reads the upright image, in percent."""
    found = [100 * e.metrics["baseline"]["accuracy"] for r in records for e in r.evaluations]
    return statistics.mean(found)


def costs_of(target: Target, data_root: Path) -> Iterator[Cost]:
    """Train longer and longer; accuracy and seconds of each length."""
    cores = f"{target.threads} core{'s' if target.threads > 1 else ''}"
    for length in target.lengths:
        with tempfile.TemporaryDirectory() as folder:
            records = trained(target, length, data_root, Path(folder))
        seconds = sorted(target.times * r.done["train_seconds"] for r in records)
        reached, what = accuracy(records), f"{length:,} {target.field}"
        if target.accuracy is None:
            yield Cost(target.setting, f"whole training on {cores}, from {what}", seconds[0], "s")
            return
        yield Cost(target.setting, f"accuracy after {what}", reached, "%")
        yield Cost(
            target.setting, f"{what} on {cores}", statistics.median(seconds), "s", seconds[0], seconds[-1]
        )
        if reached >= target.accuracy[0]:
            return


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} [default: all]"
    )
    parser.add_argument("--data-root", type=Path, required=True, help="holds CIFAR-100 and CIFAR-FS")
    add_option(parser)
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"unknown target {min(unknown)}; there are {', '.join(TARGETS)}")
    for name in options.targets or TARGETS:
        target = TARGETS[name]
        wanted = f", until {target.accuracy[0]:g} %: {target.accuracy[1]}" if target.accuracy else ""
        print(f"{target.setting}{wanted}", flush=True)
        costs = []
        for cost in costs_of(target, options.data_root):
            print(f"  {cost.what}: {cost.value:.1f} {cost.unit}", flush=True)
            costs.append(cost)
        write_costs(options.csv, costs)


if __name__ == "__main__":
    main()
