"""Backbones: images in, flat features out, with their own random generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from sla_bench.errors import UserError

HALVINGS = 4


class KeptFeatures(Protocol):
    """Features of a frozen backbone that were computed before."""

    def rows(self, view: str, hashes: Sequence[bytes], compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the features (n, D) of images, computing those that are not known.

        Args:
            view: names the view of the images.
            hashes: of the pixels of the n images.
            compute: int64 (m,) positions among the n -> features (m, D).
        """


class Backbone(nn.Module, ABC):
    """Embeds images: float (B, 3, H, W) -> (B, num_features).

    The random numbers of dropout come from `generator`, never from torch's global one. A training loop
    seeds it (`seed_dropout`), calls `advance` after each optimiser step, and saves `generator.get_state()`
    beside the `state_dict` so that a resumed run draws what the interrupted one would have drawn.

    Args:
        num_features: D, the length of one feature vector.

    Attributes:
        kept: where a frozen backbone keeps features; None: nowhere.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.kept: KeptFeatures | None = None
        self._dropout_seed = 0
        self._generator: torch.Generator | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: normalised float (B, 3, H, W); channels_last is the fast memory format.

        Returns:
            Features (B, D), in the order channel, row, column for any memory format.
        """

    @property
    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """Layers of each stage, of which each embeds what the one before gives; empty: there are none."""
        return ()

    def pooled(self, maps: Tensor) -> Tensor:
        """Features (B, D) of the maps (B, C, h, w) of the last stage, where there are stages.

        Raises:
            NotImplementedError: the backbone has no stages.
        """
        raise NotImplementedError

    def start_from(self, batches: Iterable[Tensor]) -> None:
        """Initialise layers from the training images before the first step; most backbones need nothing.

        Args:
            batches: normalised training images as they are, float (n, 3, H, W) each; read only if needed.
        """
        del batches

    def advance(self, steps: int = 1) -> None:
        """Count `steps` optimiser steps; schedules inside the backbone follow this count alone."""
        del steps

    def stretch(self, factor: int | Fraction) -> None:
        """Multiply the length of the schedules inside the backbone by `factor`, for a longer training."""
        del factor

    def seed_dropout(self, seed: int) -> None:
        """Restart the random numbers of dropout from `seed`."""
        self._dropout_seed = seed
        self._generator = None

    @property
    def is_random(self) -> bool:
        """Whether a forward pass in training draws random numbers."""
        return False

    @property
    def generator(self) -> torch.Generator:
        """Source of dropout's random numbers, on the device of the weights (moving them restarts it)."""
        device = next(self.parameters()).device
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self._dropout_seed)
        return self._generator


def conv_bn(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution without bias that keeps the image's size at stride 1, and its batch normalisation.

    Their weights are not drawn yet: `initialize` does it for the whole backbone.
    """
    conv = nn.utils.skip_init(
        nn.Conv2d, in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )
    return conv, nn.BatchNorm2d(out_channels)


def initialize(
    backbone: Backbone, generator: torch.Generator | None, mode: Literal["fan_in", "fan_out"] = "fan_out"
) -> None:
    """Draw each convolution's weights from N(0, 2 / (k^2 c)), He et al. 2015.

    "fan_out" is how MetaOptNet's code (Lee et al. 2019) starts both of its networks: its ResNet-12 asks for
    the gain of a leaky ReLU without giving the slope, which makes it the gain of a ReLU.

    Args:
        backbone: its batch normalisation is left at torch's start, weight 1 and bias 0.
        generator: source of the random numbers; None means torch's global generator, as for any `nn.Module`.
        mode: c is the number of channels that go into the convolution ("fan_in") or come out ("fan_out").
    """
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu", generator=generator)


def size_after_pooling(image_size: int, halvings: int = HALVINGS) -> int:
    """Height of the feature map after `halvings` times 2x2 max pooling, odd last rows dropped.

    Raises:
        UserError: nothing would be left after all four.
    """
    if image_size < 2**HALVINGS:
        raise UserError(
            f"images of {image_size} px are too small for this backbone, which halves them {HALVINGS} times: "
            f"at least {2**HALVINGS} px"
        )
    return image_size >> halvings
