"""Operations of colour and geometry by a policy: AutoAugment, RandAugment, TrivialAugment."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms import AutoAugmentPolicy, v2

from sla_bench.checks import whole_number
from sla_bench.datasets.base import ImageProperties
from sla_bench.errors import unknown
from sla_bench.mixing.base import Mix, Mixed, draw_seed, unmixed
from sla_bench.seeds import torch_seeded

IMAGES_PER_DRAW = 4
POLICIES = tuple(policy.value for policy in AutoAugmentPolicy)
_STRENGTHS = 31
_LARGEST = 255


class PolicyMix(Mix):
    """Applies a policy of torchvision, which draws once for all images that it gets, to parts of the batch.

    Policies work on bytes, so the normalisation is undone and done again; after crop and flip alone the bytes
    are those of the data. What a shift or a turn leaves empty shows the mean of the data.

    Args:
        properties: normalisation of the images.
        transform: torchvision's.
        images_per_draw: images that get the same operations, not neighbours in the batch; 1 is the published
            form, larger numbers are faster.

    Raises:
        UserError: images_per_draw is below 1.
    """

    def __init__(self, properties: ImageProperties, transform: v2.Transform, images_per_draw: int) -> None:
        super().__init__(properties)
        self._transform = transform
        self._images_per_draw = whole_number("mix", "images_per_draw", images_per_draw, 1)
        self._scale = _LARGEST * torch.tensor(properties.std).view(3, 1, 1)
        self._shift = _LARGEST * torch.tensor(properties.mean).view(3, 1, 1)

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        """Operations of its own for each part of the batch; see the base class."""
        scale, shift = self._scale.to(images.device), self._shift.to(images.device)
        pixels = (images * scale + shift).round_().clamp_(0, _LARGEST).to(torch.uint8)
        parts = math.ceil(len(pixels) / self._images_per_draw)
        with torch_seeded(draw_seed(generator)):
            for first in range(parts):
                # Copies of an image are neighbours: they come into different parts.
                pixels[first::parts] = self._transform(pixels[first::parts])
        return unmixed((pixels - shift) / scale, labels)


class AutoAugment(PolicyMix):
    """One of 25 learned pairs of operations; Cubuk et al. 2019, arXiv 1805.09501.

    Args:
        properties: normalisation of the images.
        policy: data set on which it was learned, "cifar10", "imagenet" or "svhn".
        images_per_draw: see `PolicyMix`.

    Raises:
        UserError: unknown policy, or images_per_draw below 1.
    """

    def __init__(
        self, properties: ImageProperties, policy: str = "cifar10", images_per_draw: int = IMAGES_PER_DRAW
    ) -> None:
        if policy not in POLICIES:
            raise unknown("policy", str(policy), POLICIES)
        transform = v2.AutoAugment(AutoAugmentPolicy(policy), fill=_mean(properties))
        super().__init__(properties, transform, images_per_draw)


class RandAugment(PolicyMix):
    """`num_ops` operations, each drawn uniformly, all of one strength; Cubuk et al. 2020, arXiv 1909.13719.

    Args:
        properties: normalisation of the images.
        num_ops: at least 1.
        magnitude: strength, 0..30.
        images_per_draw: see `PolicyMix`.

    Raises:
        UserError: an option out of range.
    """

    def __init__(
        self,
        properties: ImageProperties,
        num_ops: int = 2,
        magnitude: int = 9,
        images_per_draw: int = IMAGES_PER_DRAW,
    ) -> None:
        transform = v2.RandAugment(
            whole_number("randaugment", "num_ops", num_ops, 1),
            whole_number("randaugment", "magnitude", magnitude, 0, _STRENGTHS - 1),
            _STRENGTHS,
            fill=_mean(properties),
        )
        super().__init__(properties, transform, images_per_draw)


class TrivialAugment(PolicyMix):
    """One operation, its strength drawn from the wide range; Mueller and Hutter 2021, arXiv 2103.10158.

    Args:
        properties: normalisation of the images.
        images_per_draw: see `PolicyMix`.

    Raises:
        UserError: images_per_draw is below 1.
    """

    def __init__(self, properties: ImageProperties, images_per_draw: int = IMAGES_PER_DRAW) -> None:
        transform = v2.TrivialAugmentWide(_STRENGTHS, fill=_mean(properties))
        super().__init__(properties, transform, images_per_draw)


def _mean(properties: ImageProperties) -> list[float]:
    return [float(round(_LARGEST * mean)) for mean in properties.mean]
