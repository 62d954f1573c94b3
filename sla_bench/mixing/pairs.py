"""Pictures made of two images, whose labels are mixed in the same shares."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from sla_bench.checks import positive
from sla_bench.datasets.base import ImageProperties
from sla_bench.errors import UserError
from sla_bench.mixing.base import Mix, Mixed, draw_seed, unmixed
from sla_bench.seeds import torch_seeded


class PairMix(Mix):
    """Mixes each image with another of the batch by a transform of torchvision, one share for the batch.

    The V copies of an image meet those of one other image, so that they have one label.

    Args:
        properties: of the images.
        transform: torchvision's, of images (B, C, H, W) and one-hot labels (B, B).
        probability: that a batch is mixed.
    """

    def __init__(
        self, properties: ImageProperties, transform: Callable[..., tuple[Tensor, Tensor]], probability: float
    ) -> None:
        super().__init__(properties)
        self._transform = transform
        self._probability = probability

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        """Mix, or not; see the base class."""
        chance, seed = torch.rand((), generator=generator), draw_seed(generator)
        if chance >= self._probability:
            return unmixed(images, labels)
        copies = len(images) // len(labels)
        # torchvision mixes label vectors; with these, row b says how much of each image is in picture b.
        whole = torch.eye(len(labels))
        with torch_seeded(seed):
            stacked, shares = self._transform(images.unflatten(0, (-1, copies)).flatten(1, 2), whole)
        weight = float(shares[0, 0])
        if weight == 1:
            return unmixed(images, labels)
        others = (shares - weight * whole).argmax(1).to(labels.device)
        mixed = stacked.unflatten(1, (copies, -1)).flatten(0, 1)
        return Mixed(mixed, labels, labels[others], weight)


class MixUp(PairMix):
    """weight * image + (1 - weight) * another one, weight ~ Beta(alpha, alpha).

    Zhang et al. 2018, arXiv 1710.09412.

    Args:
        properties: of the images.
        alpha: above 0; 1 as published for CIFAR.
        probability: that a batch is mixed, above 0 and at most 1.

    Raises:
        UserError: an option out of range.
    """

    def __init__(self, properties: ImageProperties, alpha: float = 1.0, probability: float = 1.0) -> None:
        transform = v2.MixUp(alpha=positive("mixup", "alpha", alpha))
        super().__init__(properties, transform, _probability("mixup", probability))


class CutMix(PairMix):
    """A rectangle of another image is pasted in; weight is the share of the pixels outside of it.

    Yun et al. 2019, arXiv 1905.04899. Before it is cut off at the border, the rectangle has the image's shape
    and the area 1 - lambda, lambda ~ Beta(alpha, alpha).

    Args:
        properties: of the images.
        alpha: above 0; 1 as published.
        probability: that a batch is mixed, above 0 and at most 1; as published 1/2 for CIFAR, 1 for ImageNet.

    Raises:
        UserError: an option out of range.
    """

    def __init__(self, properties: ImageProperties, alpha: float = 1.0, probability: float = 0.5) -> None:
        transform = v2.CutMix(alpha=positive("cutmix", "alpha", alpha))
        super().__init__(properties, transform, _probability("cutmix", probability))


def _probability(owner: str, value: float) -> float:
    if not positive(owner, "probability", value) <= 1:
        raise UserError(f"{owner}: probability must be at most 1, got {value}")
    return float(value)
