"""Cost of runs of `--budget paper`: images, arithmetic, memory, and estimated hours on one V100.

    python benchmarks/paper_cost.py                  # writes results/reference/paper-cost/paper_cost.csv

Nothing is trained and no data are read. The arithmetic of one image, forward and backward, is counted by
torch on the network of the run, multiplications and additions each as one operation; what is not a
convolution or a matrix product counts nothing. Memory is what autograd keeps of one image for the backward
pass. Hours are that arithmetic at a quarter of the V100's 15.7 TFLOP/s in fp32 (NVIDIA's data sheet): an
assumption, this was not run on a GPU. Heads, evaluations and the reading of data come on top.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sla_bench.config import FewShotRun, ImbalancedRun, RunConfig, StandardRun
from sla_bench.data.named import dataset_named
from sla_bench.grids.tasks import form_of, options_model, span
from sla_bench.registry import BACKBONES, METHODS, TRANSFORMS
from sla_bench.training.long_tail import long_tailed_counts

V100 = 15.7e12
SHARE = 0.25
FILE = Path(__file__).resolve().parents[1] / "results" / "reference" / "paper-cost" / "paper_cost.csv"
RUNS: tuple[tuple[str, list[str], list[str], list[str]], ...] = (
    ("fewshot", ["fc100", "cifar_fs"], ["metaoptnet-rr"], ["baseline", "sla"]),
    ("fewshot", ["mini_imagenet"], ["protonet", "metaoptnet-rr"], ["baseline", "sla"]),
    ("imbalanced", ["cifar10", "cifar100"], ["ce"], ["baseline", "sla+sd"]),
    ("standard", ["cifar100", "tiny_imagenet", "cub200"], [], ["baseline", "sla"]),
)
"""Scenario, data sets, heads or losses, methods."""
_LARGEST_CLASS = {"cifar10": 5_000, "cifar100": 500}


@dataclass(frozen=True)
class Cost:
    """One training.

    Args:
        scenario: of the run.
        dataset: of the run.
        learner: head, or loss; empty where there is no choice.
        method: of the run.
        backbone: of the run.
        image_size: side of an image in pixels.
        images: through the backbone, forward and backward.
        images_per_step: of them in one step.
        gflop_per_image: forward and backward, in 10^9 operations.
        gb_per_step: what autograd keeps in fp32, in 10^9 bytes.
        hours: at `SHARE` of a V100's peak.
    """

    scenario: str
    dataset: str
    learner: str
    method: str
    backbone: str
    image_size: int
    images: int
    images_per_step: int
    gflop_per_image: float
    gb_per_step: float
    hours: float


def cost_of(run: RunConfig) -> Cost:
    """Work one training out from its config."""
    size = dataset_named(run.dataset).properties.size
    views = METHODS.load(run.method).cost(TRANSFORMS.load(run.transform).num_views if run.transform else 1)
    operations, kept = per_image(run.backbone, size)
    images = views * _images(run)
    step = views * _images_per_step(run)
    return Cost(
        run.scenario,
        run.dataset,
        getattr(run, "learner", None) or getattr(run, "loss", ""),
        run.method,
        run.backbone,
        size,
        images,
        step,
        operations / 1e9,
        step * kept / 1e9,
        images * operations / (SHARE * V100) / 3600,
    )


@cache
def per_image(backbone: str, size: int) -> tuple[float, float]:
    """Operations of a network, forward and backward, and the bytes that it keeps in between.

    Args:
        backbone: its name.
        size: side of an image in pixels.
    """
    network = BACKBONES.load(backbone)(size)
    own = {parameter.data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    counts = []
    images = torch.randn(3, 3, size, size)
    # A difference leaves out what does not grow with the batch, such as statistics of batch normalisation.
    for batch in (images[:2], images):
        kept.clear()
        with FlopCounterMode(display=False) as counter:
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                embeddings = network(batch)
            embeddings.sum().backward()
        counts.append((counter.get_total_flops(), sum(kept.values())))
    (flops, memory), (more_flops, more_memory) = counts
    return float(more_flops - flops), float(more_memory - memory)


def runs() -> list[RunConfig]:
    """The trainings that the table shows."""
    found: list[RunConfig] = []
    for scenario, datasets, pieces, methods in RUNS:
        form = form_of(scenario)
        values = options_model(form)().model_dump()
        values |= {"budget": "paper", "dataset": datasets, "method": methods}
        values |= {"learner" if scenario == "fewshot" else "loss": pieces} if pieces else {}
        found += [task.run for task in span(form, values)]
    return found


def _images(run: RunConfig) -> int:
    if isinstance(run, ImbalancedRun):
        classes = dataset_named(run.dataset).classes["train"]
        counts = long_tailed_counts(classes, _LARGEST_CLASS[run.dataset], run.imbalance, run.ratio)
        steps = -(-sum(counts) // run.batch_size)
        return run.epochs * steps * run.batch_size
    return int(form_of(run.scenario).relative_images(run))


def _images_per_step(run: RunConfig) -> int:
    if isinstance(run, FewShotRun):
        return run.batch_episodes * run.train_ways * (run.train_shots + run.train_queries)
    assert isinstance(run, ImbalancedRun | StandardRun)
    return run.batch_size


def main() -> None:
    """Read the option, count, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=FILE, help="the CSV file")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Cost)], lineterminator="\n")
        writer.writeheader()
        for run in runs():
            cost = asdict(cost_of(run))
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in cost.items()})
    print(options.out)


if __name__ == "__main__":
    main()
