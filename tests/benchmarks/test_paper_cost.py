import csv
import dataclasses

import pytest
import torch
from torch import nn

from benchmarks import paper_cost
from sla_bench.registry import BACKBONES


def counted_by_hand(network, size):
    """Operations of the convolutions for one image, but for the gradient of the image itself."""
    found = []

    def count(layer, given, output):
        _, channels, height, width = output.shape
        kernel = layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels
        passes = 3 if given[0].requires_grad else 2
        found.append(2 * passes * height * width * channels * kernel)

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    network(torch.zeros(2, 3, size, size))
    for hook in hooks:
        hook.remove()
    return sum(found)


@pytest.mark.parametrize(("backbone", "size"), [("conv4", 84), ("resnet12", 32), ("resnet32-ldam", 32)])
def test_operations_are_those_of_the_convolutions(backbone, size):
    operations, kept = paper_cost.per_image(backbone, size)
    assert operations == pytest.approx(counted_by_hand(BACKBONES.load(backbone)(size), size), rel=1e-3)
    assert kept > 4 * 3 * size * size


def test_the_table_is_what_the_script_counts():
    with paper_cost.FILE.open(newline="") as file:
        written = list(csv.DictReader(file))
    counted = [dataclasses.asdict(paper_cost.cost_of(run)) for run in paper_cost.runs()]
    for row, cost in zip(written, counted, strict=True):
        for name, value in cost.items():
            exact = float(row[name]) == pytest.approx(value, rel=1e-4) if isinstance(value, float) else None
            assert exact if exact is not None else row[name] == str(value), (row, name)


def test_images_are_those_of_the_recipes():
    costs = {
        (c.scenario, c.dataset, c.learner, c.method): c for c in map(paper_cost.cost_of, paper_cost.runs())
    }
    # 60,000 batches of 8 episodes with 5 x (15 + 6) images; ProtoNet's training shots are those of the test.
    assert costs["fewshot", "fc100", "metaoptnet-rr", "baseline"].images == 60_000 * 8 * 5 * 21
    assert costs["fewshot", "mini_imagenet", "protonet", "sla"].images == 4 * 60_000 * 8 * 5 * 11
    assert costs["standard", "cifar100", "", "sla"].images == 4 * 80_000 * 128
    # 10,847 images of CIFAR-100 at ratio 100 are 85 batches of 128 an epoch.
    assert costs["imbalanced", "cifar100", "ce", "sla+sd"].images == 4 * 200 * 85 * 128
