"""Random views of each image, in place of all."""

# Shapes: B images, V drawn of M views, E episodes, S supports, Q queries.

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sla_bench.errors import whole_number
from sla_bench.views.transforms import Transform

if TYPE_CHECKING:
    from torch import Generator, Tensor

_LOCAL = Transform("local rotation", turns=(0, 1, 2, 3))
_QUADRANTS = 4


class Draw(ABC):
    """Draws a number for each image of a training, and makes the image of that number.

    Attributes:
        makes_views: the number is that of a view of the transform.
    """

    makes_views: ClassVar[bool] = False

    def per_image(self, num_views: int) -> int:
        """V, images through the network for each image, of M views."""
        del num_views
        return 1

    @abstractmethod
    def num_targets(self, num_views: int) -> int:
        """How many numbers there are, of M views."""

    def refusal(self, transform: Transform, size: int) -> str | None:
        """Say why a transform, or images of `size` pixels, cannot be used; None where they can."""
        del transform, size
        return None

    def of_images(self, images: int, num_views: int, generator: Generator) -> Tensor:
        """Draw the numbers of B images: int64 (B, V), all V of an image different."""
        import torch

        keys = torch.rand(images, self.num_targets(num_views), generator=generator)
        return keys.argsort(dim=1)[:, : self.per_image(num_views)]

    def of_episodes(
        self, support_labels: Tensor, query_labels: Tensor, num_views: int, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw the numbers of the supports and queries of episodes.

        Args:
            support_labels: int64 (E, S), the way of each.
            query_labels: int64 (E, Q).
            num_views: M.
            generator: on the CPU.

        Returns:
            int64 (E, S, V) and (E, Q, V).
        """
        both = (
            self.of_images(labels.numel(), num_views, generator).view(*labels.shape, -1)
            for labels in (support_labels, query_labels)
        )
        support, query = both
        return support, query

    @abstractmethod
    def show(self, images: Tensor, numbers: Tensor, transform: Transform, generator: Generator) -> Tensor:
        """Make the images of the drawn numbers.

        Args:
            images: (B, C, H, W).
            numbers: int64 (B, V), on the device of the images.
            transform: the M views.
            generator: of further randomness, on the CPU.

        Returns:
            (B*V, C, H, W), those of an image together.
        """


@dataclass(frozen=True)
class RandomViews(Draw):
    """V different views of each image.

    Args:
        count: V, at most M.
        by_way: in an episode each way draws min(V K, M) different views for its K supports, which go through
            these in turn; its queries draw among them. Each pair (way, view) of a query then has a support,
            and all episodes have as many pairs.
    """

    makes_views: ClassVar[bool] = True
    count: int = 1
    by_way: bool = False

    def per_image(self, num_views: int) -> int:
        """V."""
        return min(self.count, num_views)

    def num_targets(self, num_views: int) -> int:
        """M."""
        return num_views

    def of_episodes(
        self, support_labels: Tensor, query_labels: Tensor, num_views: int, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Of each image by itself, or by way; see `Draw.of_episodes`."""
        import torch

        if not self.by_way:
            return super().of_episodes(support_labels, query_labels, num_views, generator)
        episodes, supports = support_labels.shape
        ways = int(support_labels.max()) + 1
        each = self.per_image(num_views)
        used = min(each * (supports // ways), num_views)
        of_way = torch.rand(episodes, ways, num_views, generator=generator).argsort(dim=2)[..., :used]
        # Supports of a way are numbered in the order in which they stand.
        one_hot = torch.nn.functional.one_hot(support_labels, ways)
        place = (one_hot.cumsum(1) * one_hot).sum(2) - 1
        slots = (place[..., None] * each + torch.arange(each)) % used
        asked = torch.rand(*query_labels.shape, used, generator=generator).argsort(dim=2)[..., :each]

        def views(labels: Tensor, chosen: Tensor) -> Tensor:
            own = of_way.gather(1, labels[..., None].expand(*labels.shape, used))
            return own.gather(2, chosen)

        return views(support_labels, slots), views(query_labels, asked)

    def show(self, images: Tensor, numbers: Tensor, transform: Transform, generator: Generator) -> Tensor:
        """See `Draw.show`."""
        del generator
        repeated = images.repeat_interleave(numbers.shape[1], dim=0)
        return transform.apply(repeated, numbers.flatten())


@dataclass(frozen=True)
class UprightAndAnother(RandomViews):
    """Each image as it is, and in a view that is drawn among all."""

    count: int = 2

    def of_images(self, images: int, num_views: int, generator: Generator) -> Tensor:
        """Draw the numbers of B images: int64 (B, 2), the first 0."""
        import torch

        drawn = torch.randint(num_views, (images, 1), generator=generator)
        return torch.cat([torch.zeros_like(drawn), drawn], dim=1)


@dataclass(frozen=True)
class LocalTurns(Draw):
    """One quarter turn of a square part of each image.

    Moon, Kim and Heo, "Tailoring Self-Supervision for Supervised Learning" (LoRot), ECCV 2022, arXiv
    2207.10023. In a box: one box for all images of a batch; the turn is the number. In a quadrant: each image
    draws one, and quadrant x turns + turn is the number.

    Args:
        quadrants: the part is a quadrant; else a box.
        box: largest side of a box in pixels, at least 0; the side is uniform from 2 to that, and the place
            uniform. None: half the image. A box of 0 turns nothing.

    Raises:
        UserError: a box that is not a whole number of pixels.
    """

    quadrants: bool = False
    box: int | None = None

    def __post_init__(self) -> None:
        if self.box is not None:
            whole_number("lorot", "box", self.box, 0)

    def num_targets(self, num_views: int) -> int:
        """M turns, in a quadrant or a box."""
        return num_views * (_QUADRANTS if self.quadrants else 1)

    def refusal(self, transform: Transform, size: int) -> str | None:
        """Refuse transforms that do more than turn, and images smaller than the box."""
        if not transform.only_turns:
            return f"it turns images, and transform {transform.name!r} does something else; take rotation"
        if self.box is not None and self.box > size:
            return f"a box of {self.box} pixels is larger than images of {size}; lower --set method.box"
        return None

    def show(self, images: Tensor, numbers: Tensor, transform: Transform, generator: Generator) -> Tensor:
        """See `Draw.show`."""
        import torch

        count, _, height, width = images.shape
        quarter = numbers.flatten() % transform.num_views
        if self.quadrants:
            side, quadrant = min(height, width) // 2, numbers.flatten() // transform.num_views
            top, left = quadrant // 2 * (height - side), quadrant % 2 * (width - side)
        else:
            side, *corner = self._drawn_box(height, width, generator)
            top, left = torch.tensor(corner, device=images.device)[:, None].expand(2, count)
        if not side:
            return images
        along = torch.arange(side, device=images.device)
        rows, columns = top[:, None, None] + along[:, None], left[:, None, None] + along
        place = (torch.arange(count, device=images.device)[:, None, None], slice(None), rows, columns)
        turns = torch.tensor(transform.turns, device=images.device)[quarter]
        result = images.clone()
        result[place] = _LOCAL.apply(images[place].permute(0, 3, 1, 2), turns).permute(0, 2, 3, 1)
        return result

    def _drawn_box(self, height: int, width: int, generator: Generator) -> tuple[int, int, int]:
        """Side, top and left."""
        import torch

        largest = min(height, width) // 2 if self.box is None else self.box
        low = min(2, largest)
        side = int(torch.randint(low, largest + 1, (), generator=generator))
        top, left = (int(torch.randint(0, n - side + 1, (), generator=generator)) for n in (height, width))
        return side, top, left
