import pytest
import torch
from torch import nn

from sla_bench.models.backbones.branches import Branches
from sla_bench.registry import BACKBONES

SIZES = {"conv4-32": 16, "airbench": 28, "resnet12": 16, "resnet20-ldam": 16, "resnet18": 32}
COUNTS = {"conv4-32": 4, "airbench": 3, "resnet12": 4, "resnet20-ldam": 3, "resnet18": 4}


@pytest.mark.parametrize("name", SIZES)
def test_branches_with_the_networks_own_weights_end_in_its_features(name):
    """A branch has the layers after its stage, in their order, on the maps that the stage gives."""
    backbone = BACKBONES.load(name)(SIZES[name])
    with torch.no_grad():
        backbone.train()(torch.randn(8, 3, SIZES[name], SIZES[name]))
    branches = Branches(backbone.eval()).eval()
    assert branches.count == len(backbone.stages) == COUNTS[name]
    images = torch.randn(2, 3, SIZES[name], SIZES[name])
    features = backbone(images)
    own, *others = branches(backbone, images).chunk(branches.count, dim=1)
    assert torch.equal(own, features)
    assert all(not torch.allclose(other, features) for other in others)
    for k, branch in enumerate(branches.branches):
        later = nn.Sequential(*(layer for stage in backbone.stages[k + 1 :] for layer in stage))
        branch.load_state_dict(later.state_dict())
    for part in branches(backbone, images).chunk(branches.count, dim=1):
        torch.testing.assert_close(part, features)


def test_weights_of_branches_are_their_own_and_each_is_trained():
    backbone = BACKBONES.load("resnet8")(8)
    branches = Branches(backbone)
    before = {name: value.clone() for name, value in backbone.named_parameters()}
    branches(backbone, torch.randn(4, 3, 8, 8)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in [*branches.parameters(), *backbone.parameters()])
    with torch.no_grad():
        for parameter in branches.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_parameters())


def test_a_backbone_without_stages_has_none():
    backbone = BACKBONES.load("resnet8")(8)
    assert super(type(backbone), backbone).stages == ()
