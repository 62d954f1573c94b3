"""torchvision's ResNets for large images, without their classifier and without pretrained weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet
from torchvision.models.resnet import BasicBlock, Bottleneck

from sla_bench.models.backbones.base import Backbone, initialize

_PAIRS_OF_BLOCK = {
    BasicBlock: (("conv1", "bn1"), ("conv2", "bn2")),
    Bottleneck: (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")),
}


class TorchvisionResNet(Backbone):
    """A ResNet of He et al. 2016 whose weights bear torchvision's names; features are averaged.

    Initial weights follow torchvision's rule, N(0, 2 / (k^2 out_channels)); batch normalisation starts at
    weight 1 and bias 0.

    Args:
        build: torchvision's constructor; D is the number of inputs of its classifier.
        generator: source of the initial weights (`initialize`); None means torch's global generator.
    """

    conv_bn_pairs = (("conv1", "bn1"),)

    def __init__(self, build: Callable[..., ResNet], generator: torch.Generator | None = None) -> None:
        # On the meta device torchvision draws no random numbers for weights that are drawn again below.
        with torch.device("meta"):
            network = build(weights=None)
        super().__init__(num_features=network.fc.in_features)
        del network.fc
        network.to_empty(device=torch.get_default_device())
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, BasicBlock | Bottleneck):
                module.conv_bn_pairs = _PAIRS_OF_BLOCK[type(module)]
        for name, layer in network.named_children():
            self.add_module(name, layer)
        initialize(self, generator)

    @property
    def stages(self) -> list[list[nn.Module]]:
        """The four layers; see the base class."""
        return [[layer] for name, layer in self.named_children() if name.startswith("layer")]

    def pooled(self, maps: Tensor) -> Tensor:
        """Means of maps; see the base class."""
        return maps.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) -> (B, D)."""
        features = images
        # torchvision defines its layers in the order in which it applies them.
        for layer in self.children():
            features = layer(features)
        return features.flatten(1)


def resnet18(image_size: int, *, generator: torch.Generator | None = None) -> TorchvisionResNet:
    """ResNet-18: D = 512 at every size."""
    del image_size
    return TorchvisionResNet(resnet.resnet18, generator)


def resnet50(image_size: int, *, generator: torch.Generator | None = None) -> TorchvisionResNet:
    """ResNet-50: D = 2,048 at every size."""
    del image_size
    return TorchvisionResNet(resnet.resnet50, generator)
