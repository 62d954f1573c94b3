"""What augments a batch on top of crop and flip, and how the loss of a batch with mixed labels is taken.

Shapes: B images; V copies of each, side by side in the batch (1, but for controls that repeat images).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sla_bench.datasets.base import ImageProperties


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
    """A seed for code of libraries that takes no generator, see `sla_bench.seeds.torch_seeded`."""
    return int(torch.randint(2**63 - 1, (), generator=generator))
