"""learn2learn's networks for images, without classifiers, at any image size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sla_bench.errors import fraction, whole_number
from sla_bench.models.backbones.base import Backbone, size_after_pooling
from sla_bench.models.peers import learn2learn


class Learn2learnNetwork(Backbone):
    """A network of learn2learn 0.2.0 with its own initial weights and names.

    Its dropout draws from torch's global generator; each forward pass in training gives it a seed from
    `generator`, so that a run can be repeated and resumed, and leaves the global one alone.

    Args:
        build: makes the network, (B, 3, H, W) -> (B, num_features).
        num_features: D.
        generator: source of the initial weights; None means torch's global generator.
    """

    def __init__(
        self, build: Callable[[], nn.Module], num_features: int, generator: torch.Generator | None
    ) -> None:
        super().__init__(num_features)
        with _drawing_from(generator):
            self.network = build()
        self.draws = False
        for module in self.network.modules():
            pairs = _CONV_BN_PAIRS.get(type(module).__name__)
            if pairs is not None:
                module.conv_bn_pairs = pairs  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) -> (B, D)."""
        if not (self.training and self.draws):
            return self.embed(images)
        with _drawing_from(self.generator):
            return self.embed(images)

    @property
    def is_random(self) -> bool:
        """Whether there is dropout."""
        return self.draws

    def embed(self, images: Tensor) -> Tensor:
        """What the network computes of images: (B, 3, H, W) -> (B, D)."""
        features: Tensor = self.network(images).flatten(1)
        return features


# `batchnorm_folding` reads these. In the wide network, dropout between the two is nothing at test.
_CONV_BN_PAIRS = {
    "ConvBlock": (("conv", "normalize"),),
    "BasicBlock": (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")),
    "wide_basic": (("conv1", "bn2"),),
}


class Learn2learnResNet12(Learn2learnNetwork):
    """learn2learn's ResNet12Backbone: MetaOptNet's network under other names.

    The rate of DropBlock grows over the first 40,000 training steps, which `advance` counts. (learn2learn
    counts forward passes.) The average is over the last map whatever its size; learn2learn's is over 5 x 5
    pixels, all of them for images of 84 px.

    Args:
        image_size: height = width in pixels, at least 16.
        avg_pool: average the last map (D = 640) or flatten it (D = 640 * (image_size // 16)^2).
        drop_rate: of dropout, and finally of DropBlock, in [0, 1).
        block_size: side of DropBlock's blocks, at most that of the last map; None means 5, or 2 up to 32 px,
            capped likewise.
        generator: source of the initial weights; None means torch's global generator.

    Raises:
        UserError: a value is out of its range.
    """

    training_steps: Tensor

    def __init__(
        self,
        image_size: int,
        avg_pool: bool,
        drop_rate: float,
        block_size: int | None,
        generator: torch.Generator | None,
    ) -> None:
        last_size = size_after_pooling(image_size)
        if block_size is None:
            block_size = min(2 if image_size <= 32 else 5, last_size)
        block_size = whole_number("l2l-resnet12", "block_size", block_size, 1, last_size)
        drop_rate = fraction("l2l-resnet12", "drop_rate", drop_rate, "nothing would be left")

        def build() -> nn.Module:
            network: nn.Module = _models().ResNet12Backbone(
                avg_pool=False, dropblock_dropout=drop_rate, dropblock_size=block_size
            )
            # In place of functions, which can't be sent to another process, and a pool of fixed size.
            network.avgpool = nn.AdaptiveAvgPool2d(1) if avg_pool else nn.Identity()
            network.flatten = nn.Flatten()
            return network

        super().__init__(build, 640 * (1 if avg_pool else last_size**2), generator)
        self.draws = drop_rate > 0
        self._ramp_factor = Fraction(1)
        self.register_buffer("training_steps", torch.zeros((), dtype=torch.int64))

    def stretch(self, factor: int | Fraction) -> None:
        """Make DropBlock's ramp so many times as long."""
        self._ramp_factor *= factor

    def advance(self, steps: int = 1) -> None:
        """Count `steps` optimiser steps on DropBlock's ramp."""
        self.training_steps += steps

    def embed(self, images: Tensor) -> Tensor:
        """What the network computes of images: (B, 3, H, W) -> (B, D)."""
        if self.training and self.draws:
            done = int(self.training_steps) // self._ramp_factor
            for module in self.network.modules():
                if hasattr(module, "DropBlock"):
                    module.num_batches_tracked = done  # type: ignore[assignment]
        return super().embed(images)


class Learn2learnWRN28(Learn2learnNetwork):
    """learn2learn's WRN28Backbone, a wide ResNet of depth 28 and width 10.

    The last map is averaged whatever its size; learn2learn's average is over 21 x 21 pixels, all of them for
    images of 84 px.

    Args:
        drop_rate: of dropout between the convolutions of a block, in [0, 1).
        generator: source of the initial weights; None means torch's global generator.

    Raises:
        UserError: the rate is out of its range.
    """

    def __init__(self, drop_rate: float, generator: torch.Generator | None) -> None:
        drop_rate = fraction("l2l-wrn28", "drop_rate", drop_rate, "nothing would be left")
        super().__init__(lambda: _models().WRN28Backbone(dropout=drop_rate), 640, generator)
        self.draws = drop_rate > 0

    def embed(self, images: Tensor) -> Tensor:
        """What the network computes of images: (B, 3, H, W) -> (B, D)."""
        features = images
        for name in ("conv1", "layer1", "layer2", "layer3", "bn1"):
            features = getattr(self.network, name)(features)
        return relu(features).mean((2, 3))


def cnn4(
    image_size: int, *, channels: int = 64, generator: torch.Generator | None = None
) -> Learn2learnNetwork:
    """CNN4Backbone: D = channels * (image_size // 16)^2, with 64 channels 256 at 32 px and 1,600 at 84 px.

    Raises:
        UserError: the images are too small, `channels` is not a whole number from 1, or learn2learn is not
            installed.
    """
    channels = whole_number("l2l-cnn4", "channels", channels, 1)
    features = channels * size_after_pooling(image_size) ** 2
    return Learn2learnNetwork(lambda: _models().CNN4Backbone(hidden_size=channels), features, generator)


def resnet12(
    image_size: int,
    *,
    avg_pool: bool = True,
    drop_rate: float = 0.1,
    block_size: int | None = None,
    generator: torch.Generator | None = None,
) -> Learn2learnResNet12:
    """learn2learn's ResNet-12, `Learn2learnResNet12`."""
    return Learn2learnResNet12(image_size, avg_pool, drop_rate, block_size, generator)


def wrn28(
    image_size: int, *, drop_rate: float = 0.0, generator: torch.Generator | None = None
) -> Learn2learnWRN28:
    """learn2learn's wide ResNet-28-10, `Learn2learnWRN28`: D = 640 at every size."""
    del image_size
    return Learn2learnWRN28(drop_rate, generator)


def _models() -> ModuleType:
    models: ModuleType = learn2learn().vision.models
    return models


@contextmanager
def _drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Inside, torch's global generators start from a seed that is drawn from `generator`."""
    if generator is None:
        yield
        return
    device = generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
