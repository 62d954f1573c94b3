"""Augmentations of a batch on top of crop and flip."""

# Shapes: B images; V copies of each, side by side in the batch (1, but for controls that repeat images).

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sla_bench.data.base import ImageProperties
from sla_bench.errors import UserError, positive, unknown, whole_number
from sla_bench.seeds import torch_seeded


@dataclass(frozen=True)
class Mixed:
    """A batch after mixing.

    Args:
        images: float (B*V, 3, H, W), normalised.
        labels: int64 (B,), of the image that each has the share `weight` of.
        other_labels: int64 (B,), of the image that it has the rest of; `labels` where nothing is mixed.
        weight: share in 0..1, the same for the whole batch.
    """

    images: Tensor
    labels: Tensor
    other_labels: Tensor
    weight: float

    def loss(self, loss_of: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Loss and training accuracy of the batch: weight * (of labels) + (1 - weight) * (of other_labels).

        For cross entropy it is that against the mixed label; of joint labels, against the two joint labels of
        one view. A term without labels is counted once, because the two weights sum to 1.

        Args:
            loss_of: labels (B,) -> loss and accuracy (scalars), as an objective has them.
        """
        loss, accuracy = loss_of(self.labels)
        if self.weight == 1:
            return loss, accuracy
        other_loss, other_accuracy = loss_of(self.other_labels)
        return (
            self.weight * loss + (1 - self.weight) * other_loss,
            self.weight * accuracy + (1 - self.weight) * other_accuracy,
        )


def unmixed(images: Tensor, labels: Tensor) -> Mixed:
    """Images (B*V, 3, H, W) with the labels (B,) that they have."""
    return Mixed(images, labels, labels, 1.0)


class Mix(ABC):
    """Augments a batch that was cropped, flipped and normalised, before the views of its images are made.

    Views thus share what a mix does to their image, as they share its crop. All random numbers follow from
    the generator that each call gets; global ones are as they were.

    Args:
        properties: size and normalisation of the images.
    """

    def __init__(self, properties: ImageProperties) -> None:
        self.properties = properties

    @abstractmethod
    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        """Augment a batch.

        Args:
            images: float (B*V, 3, H, W), normalised; not changed.
            labels: int64 (B,), each of V consecutive images.
            generator: source of randomness, on the CPU.
        """


def draw_seed(generator: torch.Generator) -> int:
    """A seed for library code without a generator argument, for `sla_bench.seeds.torch_seeded`."""
    return int(torch.randint(2**63 - 1, (), generator=generator))


class NoMix(Mix):
    """Leaves the batch as it is and draws no random number."""

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        """The batch itself; see the base class."""
        del generator
        return unmixed(images, labels)


class Cutout(Mix):
    """A square whose centre may be any pixel, so that less of it lies inside near a border, becomes the mean.

    DeVries and Taylor 2017, arXiv 1708.04552. The normalised mean is 0.

    Args:
        properties: size of the images.
        size: side of the square as a part of the image's, above 0 and at most 1; the square has an even
            number of pixels, at least 2. Published are 1/2 for CIFAR-10 and 1/4 for CIFAR-100.

    Raises:
        UserError: size out of range.
    """

    def __init__(self, properties: ImageProperties, size: float = 0.5) -> None:
        super().__init__(properties)
        if not positive("cutout", "size", size) <= 1:
            raise UserError(f"cutout: size is a part of the image's side, at most 1, got {size}")
        self.half = max(1, round(size * properties.size / 2))

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        """A square of its own for each image; see the base class."""
        height, width = images.shape[2:]
        rows = self._covered(len(images), height, generator)
        columns = self._covered(len(images), width, generator)
        kept = ~(rows[:, :, None] & columns[:, None, :])
        return unmixed(images * kept[:, None].to(images.device), labels)

    def _covered(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Bool (count, side): from `half` before a pixel drawn at random to `half - 1` after it."""
        centre = torch.randint(side, (count, 1), generator=generator)
        distance = torch.arange(side) - centre
        return (distance >= -self.half) & (distance < self.half)


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
        # torchvision mixes label vectors; with these, row b holds the share of each image in picture b.
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
        transform = _torchvision().MixUp(alpha=positive("mixup", "alpha", alpha))
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
        transform = _torchvision().CutMix(alpha=positive("cutmix", "alpha", alpha))
        super().__init__(properties, transform, _probability("cutmix", probability))


def _probability(owner: str, value: float) -> float:
    if not positive(owner, "probability", value) <= 1:
        raise UserError(f"{owner}: probability must be at most 1, got {value}")
    return float(value)


IMAGES_PER_DRAW = 4
POLICIES = ("imagenet", "cifar10", "svhn")
_STRENGTHS = 31
_LARGEST = 255


class PolicyMix(Mix):
    """Applies a policy of torchvision, which draws once for all images that it gets, to parts of the batch.

    Policies work on bytes, so the normalisation is undone and done again; after crop and flip alone the bytes
    are those of the data. Pixels that a shift or a turn leaves empty show the mean of the data.

    Args:
        properties: normalisation of the images.
        transform: torchvision's, on uint8 (B, 3, H, W).
        images_per_draw: images that get the same operations, not neighbours in the batch; 1 is the published
            form, larger numbers are faster.

    Raises:
        UserError: images_per_draw is below 1.
    """

    def __init__(
        self, properties: ImageProperties, transform: Callable[[Tensor], Tensor], images_per_draw: int
    ) -> None:
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
        v2 = _torchvision()
        transform = v2.AutoAugment(v2.AutoAugmentPolicy(policy), fill=_mean(properties))
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
        transform = _torchvision().RandAugment(
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
        transform = _torchvision().TrivialAugmentWide(_STRENGTHS, fill=_mean(properties))
        super().__init__(properties, transform, images_per_draw)


def _mean(properties: ImageProperties) -> list[float]:
    return [float(round(_LARGEST * mean)) for mean in properties.mean]


def _torchvision() -> Any:
    """Import torchvision's transforms, which takes a second and which most trainings do without."""
    from torchvision.transforms import v2

    return v2
