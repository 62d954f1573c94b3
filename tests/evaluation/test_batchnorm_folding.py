import pytest
import torch
from torch import nn

from sla_bench.evaluation.embedding import fold
from sla_bench.models.backbones.cifar_resnet import resnet20_ldam
from sla_bench.models.backbones.conv4 import conv4
from sla_bench.models.backbones.resnet12 import resnet12
from sla_bench.models.backbones.torchvision_resnet import resnet18, resnet50


def with_random_statistics(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.bias.data):
                values.normal_(generator=generator)
            for values in (module.running_var, module.weight.data):
                values.uniform_(0.5, 2.0, generator=generator)
    return model


FACTORIES = [conv4, resnet12, resnet20_ldam, resnet18, resnet50]


@pytest.mark.parametrize("factory", FACTORIES)
def test_folded_copy_computes_the_same(factory):
    backbone = with_random_statistics(factory(32, generator=torch.Generator().manual_seed(0))).double()
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    backbone.train()
    folded = fold(backbone)
    expected = backbone.eval()(images)
    assert (folded(images) - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("factory", FACTORIES)
def test_no_batch_normalisation_is_left(factory):
    folded = fold(factory(32))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not any(p.requires_grad for p in folded.parameters())


def test_the_original_is_not_touched():
    backbone = resnet12(32).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    folded = fold(backbone)
    assert not folded.training
    assert all(module.training for module in backbone.modules())
    assert all(p.requires_grad for p in backbone.parameters())
    after = backbone.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_convolution_bias_and_normalisation_without_weights_are_folded():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False)).double()
    model[1].running_mean.copy_(torch.tensor([1.0, -2.0, 3.0]))
    model[1].running_var.copy_(torch.tensor([0.5, 1.0, 2.0]))
    images = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    folded = fold(model)
    assert isinstance(folded[1], nn.Identity)
    torch.testing.assert_close(folded(images), model.eval()(images), rtol=1e-12, atol=1e-12)


def test_normalisation_that_follows_no_convolution_stays():
    model = with_random_statistics(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))
    images = torch.randn(2, 3, 5, 5)
    folded = fold(model)
    assert isinstance(folded[2], nn.BatchNorm2d)
    torch.testing.assert_close(folded(images), model.eval()(images))


def test_a_layer_that_stands_twice_in_a_sequence_hides_none_of_its_neighbours():
    relu = nn.ReLU()
    layers = [nn.Conv2d(3, 4, 1), relu, nn.BatchNorm2d(4), relu, nn.Conv2d(4, 4, 1), relu, nn.BatchNorm2d(4)]
    model = with_random_statistics(nn.Sequential(*layers))
    images = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(fold(model)(images), model.eval()(images))


class PreActivation(nn.Module):
    """Normalises what comes before the convolution, under names that suggest the contrary."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 1)
        self.bn1 = nn.BatchNorm2d(3)

    def forward(self, images):
        return self.conv1(self.bn1(images))


def test_names_alone_are_no_reason_to_fold():
    model = with_random_statistics(PreActivation())
    images = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(fold(model)(images), model.eval()(images))
