"""A shallow, wide network that trains fast: whitening, then six convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sla_bench.errors import UserError
from sla_bench.models.backbones.base import Backbone

_SMALLEST = 28
"""Pixels; after the whitening layer and three halvings a map of 3 x 3 is left."""
_EPSILON = 5e-4
"""Added to each variance, as in airbench94."""
# Patches of 2 x 2 pixels, row by row: mean, vertical and horizontal difference, checkerboard. Quarter turns
# and mirrors map each pattern to itself, to its negative, or the two differences to each other.
_PATTERNS = ((1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))


def whitening_filters(batches: Iterable[Tensor]) -> Tensor:
    """Filters that whiten the 2 x 2 patches of images in all quarter turns and mirrored.

    The covariance over all eight orientations commutes with quarter turns, so its eigenvectors are colours
    times the four patterns above, and the responses to a turned image are those to the upright one, turned
    and renamed.

    Args:
        batches: normalised images, float (n, 3, H, W) each.

    Returns:
        float (24, 3, 2, 2): the twelve eigenvectors divided by the square root of their variance, then their
        negatives.
    """
    patterns = torch.tensor(_PATTERNS, dtype=torch.float64) / 2
    covariance, count = torch.zeros(4, 3, 3, dtype=torch.float64), 0
    for images in batches:
        patches = images.double().cpu().unfold(2, 2, 1).unfold(3, 2, 1).flatten(4)
        # Pattern by pattern, the colours of every patch: (4, patches, 3).
        parts = torch.einsum("nchwp,kp->knhwc", patches, patterns).flatten(1, 3)
        covariance += parts.transpose(1, 2) @ parts
        count += parts.shape[1]
    covariance /= count
    covariance[1:3] = covariance[1:3].mean(0)
    variances, colours = torch.linalg.eigh(covariance)
    # The sign of an eigenvector is the library's choice.
    largest = colours.abs().argmax(1, keepdim=True)
    colours = colours * colours.gather(1, largest).sign()
    return _filters(colours / (variances[:, None] + _EPSILON).sqrt())


def _filters(colours: Tensor) -> Tensor:
    """For each pattern three colours, the columns of (4, 3, 3) -> their products and the negatives."""
    patterns = torch.tensor(_PATTERNS, dtype=torch.float64) / 2
    filters = colours.transpose(1, 2)[..., None] * patterns[:, None, None]
    filters = filters.reshape(12, 3, 2, 2).float()
    return torch.cat([filters, -filters])


class Group(nn.Module):
    """Convolution, 2x2 max pooling, normalisation, GELU; convolution, normalisation, GELU."""

    # Pooling stands between the first pair: a negative scale would turn its maximum into a minimum.
    conv_bn_pairs = (("conv2", "norm2"),)

    def __init__(self, in_channels: int, out_channels: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv_norm(in_channels, out_channels, generator)
        self.conv2, self.norm2 = _conv_norm(out_channels, out_channels, generator)

    def forward(self, maps: Tensor) -> Tensor:
        """Halve the maps: (B, C, H, W) -> (B, C', H // 2, W // 2)."""
        maps = F.gelu(self.norm1(F.max_pool2d(self.conv1(maps), 2)))
        return F.gelu(self.norm2(self.conv2(maps)))


def _conv_norm(
    in_channels: int, out_channels: int, generator: torch.Generator | None
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """The first input channels are passed on as they are; the other filters start as torch's own would."""
    conv = nn.utils.skip_init(nn.Conv2d, in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=math.sqrt(5), generator=generator)
    nn.init.dirac_(conv.weight.data[:in_channels])
    return conv, nn.BatchNorm2d(out_channels, momentum=0.4)


class Airbench(Backbone):
    """The network of airbench94 (Jordan 2024, arXiv 2404.00498), with trained scales in its normalisation.

    A frozen layer whitens 2 x 2 patches; `start_from` sets it from training images, and it is part of the
    state.

    Args:
        image_size: height = width in pixels, at least 28.
        width: 1 has 64, 256 and 256 channels in its three groups; D = 256 * width, rounded down.
        generator: source of the initial weights; None means torch's global generator.

    Raises:
        UserError: the images are too small, or the width leaves no channel.
    """

    def __init__(self, image_size: int, width: float = 0.5, generator: torch.Generator | None = None) -> None:
        if image_size < _SMALLEST:
            raise UserError(
                f"images of {image_size} px are too small for the backbone airbench: at least {_SMALLEST} px"
            )
        if not (math.isfinite(width) and int(64 * width) >= 1):
            raise UserError(
                f"backbone.width={width:g} leaves no channel in the backbone airbench: at least 1/64"
            )
        first, last = int(64 * width), int(256 * width)
        super().__init__(num_features=last)
        self.whitening: Tensor
        self.register_buffer("whitening", _filters(torch.eye(3, dtype=torch.float64).expand(4, 3, 3)))
        self.whitening_bias = nn.Parameter(torch.zeros(24))
        self.groups = nn.Sequential(
            Group(24, first, generator), Group(first, last, generator), Group(last, last, generator)
        )

    def start_from(self, batches: Iterable[Tensor]) -> None:
        """Set the whitening layer from training images, float (n, 3, H, W) each."""
        self.whitening.copy_(whitening_filters(batches))

    @property
    def stages(self) -> list[list[nn.Module]]:
        """The three groups; see the base class."""
        return [[group] for group in self.groups]

    def pooled(self, maps: Tensor) -> Tensor:
        """Maxima of maps; see the base class."""
        return maps.amax((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) -> (B, D)."""
        return self.pooled(self.groups(F.gelu(F.conv2d(images, self.whitening, self.whitening_bias))))


def airbench(image_size: int, *, width: float = 0.5, generator: torch.Generator | None = None) -> Airbench:
    """airbench94's network; D = 128 at width 0.5."""
    return Airbench(image_size, width, generator)
