"""Transforms: a fixed list of views of each image, itself first."""

# Order and direction are those of the official code of SLA (Lee, Hwang, Shin, ICML 2020): view j of a
# composition is quarter turn j // P with channel order j % P, where P is the number of channel orders.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sla_bench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# Forms ask for the number of views, so torch is imported by the methods that need it.

_RGB = (0, 1, 2)
_CYCLIC = (_RGB, (1, 2, 0), (2, 0, 1))
_ALL_ORDERS = (_RGB, (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


@dataclass(frozen=True)
class Transform:
    """Quarter turns combined with orders of the colour channels.

    Args:
        name: as in the registry.
        turns: counter-clockwise quarter turns, 0..3, beginning with 0.
        channel_orders: source channel of each channel, beginning with (0, 1, 2).
    """

    name: str
    turns: tuple[int, ...] = (0,)
    channel_orders: tuple[tuple[int, int, int], ...] = (_RGB,)

    def __post_init__(self) -> None:
        if self.turns[:1] != (0,) or self.channel_orders[:1] != (_RGB,):
            raise UserError(f"transform {self.name!r}: view 0 has to be the image as it is")

    @property
    def num_views(self) -> int:
        """M."""
        return len(self.turns) * len(self.channel_orders)

    @property
    def view_turns(self) -> tuple[int, ...]:
        """Counter-clockwise quarter turns of each view, (M,)."""
        return tuple(turn for turn in self.turns for _ in self.channel_orders)

    @property
    def view_names(self) -> tuple[str, ...]:
        """Each view in short, (M,): degrees counter-clockwise and order of the channels, as in "90° GBR"."""
        turns = [f"{90 * turn}°" if len(self.turns) > 1 else "" for turn in self.turns]
        orders = ["".join("RGB"[c] for c in o) if self.uses_color else "" for o in self.channel_orders]
        return tuple(f"{turn} {order}".strip() for turn in turns for order in orders)

    @property
    def needs_square(self) -> bool:
        """Some view exchanges height and width."""
        return any(turn % 2 for turn in self.turns)

    @property
    def only_turns(self) -> bool:
        """Its views are different quarter turns, and nothing else."""
        return len(self.turns) == self.num_views > 1

    @property
    def uses_color(self) -> bool:
        """Some view exchanges colour channels, which does nothing to a grey image."""
        return len(self.channel_orders) > 1

    def view(self, images: Tensor, j: int) -> Tensor:
        """View j of every image.

        Args:
            images: (B, C, H, W), square if `needs_square`, with three channels if `uses_color`.
            j: 0..M-1.

        Returns:
            (B, C, H, W); view 0 is `images` itself.

        Raises:
            UserError: the images do not fit, or there is no view j.
        """
        self._check(images)
        if not 0 <= j < self.num_views:
            raise UserError(f"transform {self.name!r} has views 0..{self.num_views - 1}, got {j}")
        return self._view(images, j)

    def view_key(self, j: int) -> str:
        """Turn and channels of view j, the same text in every transform that has the view."""
        turn, order = divmod(j, len(self.channel_orders))
        return f"turn{self.turns[turn]}-" + "".join("rgb"[c] for c in self.channel_orders[order])

    def views(self, images: Tensor) -> Tensor:
        """All views of every image.

        Args:
            images: (B, C, H, W), square if `needs_square`, with three channels if `uses_color`.

        Returns:
            (B, M, C, H, W); `.flatten(0, 1)` is a view on the same memory, channels_last if `images` was.

        Raises:
            UserError: the images do not fit.
        """
        import torch

        self._check(images)
        views = [self._view(images, j) for j in range(self.num_views)]
        if not _channels_last(images):
            return torch.stack(views, dim=1)
        return torch.stack([v.permute(0, 2, 3, 1) for v in views], dim=1).permute(0, 1, 4, 2, 3)

    def apply(self, images: Tensor, which: Tensor) -> Tensor:
        """One given view of each image.

        Args:
            images: (B, C, H, W), square if `needs_square`, with three channels if `uses_color`.
            which: int64 (B,), 0..M-1, on the CPU: to read it back from a GPU would be to wait for it.

        Returns:
            (B, C, H, W), channels_last if `images` was.

        Raises:
            UserError: the images do not fit, or a view does not exist.
        """
        import torch

        from sla_bench.views.transfer import to_device

        self._check(images)
        if which.shape != images.shape[:1]:
            raise UserError(f"{len(images)} images need as many view numbers, got {tuple(which.shape)}")
        if ((which < 0) | (which >= self.num_views)).any():
            raise UserError(
                f"transform {self.name!r} has views 0..{self.num_views - 1}, got {which.tolist()}"
            )
        result = torch.empty_like(images)
        for j in range(self.num_views):
            rows = to_device((which == j).nonzero().squeeze(1), images.device)
            result.index_copy_(0, rows, self._view(images.index_select(0, rows), j))
        return result

    def _view(self, images: Tensor, j: int) -> Tensor:
        turn, order = divmod(j, len(self.channel_orders))
        turned = images.rot90(self.turns[turn], (2, 3)) if self.turns[turn] else images
        channels = self.channel_orders[order]
        return turned if channels == _RGB else turned[:, list(channels)]

    def _check(self, images: Tensor) -> None:
        if images.ndim != 4:
            raise UserError(f"images must be (B, C, H, W), got {tuple(images.shape)}")
        _, channels, height, width = images.shape
        if self.needs_square and height != width:
            raise UserError(
                f"transform {self.name!r} turns images by 90 degrees, so they have to be square; "
                f"these are {height} x {width} pixels"
            )
        if self.uses_color and channels != 3:
            raise UserError(
                f"transform {self.name!r} exchanges three colour channels, these images have {channels}"
            )


def _channels_last(images: Tensor) -> bool:
    import torch

    return images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()


ROTATION = Transform("rotation", turns=(0, 1, 2, 3))
ROTATION2 = Transform("rotation2", turns=(0, 2))
COLOR_PERM = Transform("color_perm", channel_orders=_ALL_ORDERS)
COLOR_PERM3 = Transform("color_perm3", channel_orders=_CYCLIC)
ROT_COLOR_PERM6 = Transform("rot_color_perm6", turns=(0, 2), channel_orders=_CYCLIC)
ROT_COLOR_PERM12 = Transform("rot_color_perm12", turns=(0, 1, 2, 3), channel_orders=_CYCLIC)
ROT_COLOR_PERM24 = Transform("rot_color_perm24", turns=(0, 1, 2, 3), channel_orders=_ALL_ORDERS)
