"""Random crop, colour jitter, flip and normalisation of whole batches."""

# The recipe is MetaOptNet's (Lee et al., CVPR 2019): zero padding and random crop, colour jitter, horizontal
# flip, normalisation; for photographs the crop is a random part that is scaled (`crops_and_flips.py`).
# Randomness is drawn first, for the whole batch (`draw_augmentation`); the rest is pure. Images are kept as
# uint8.

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.views.crops_and_flips import CropAndFlip, Parts, ResizedCrop, draw_parts
from sla_bench.views.transfer import to_device

# Of 0 brightness, 1 contrast, 2 saturation.
_ORDERS = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
_LUMA = (0.2989, 0.587, 0.114)

# Orders of operations in the sequence in which `ColorJitter` sorts images, so that in each step the images
# whose contrast changes are neighbours: BCS, CBS, CSB, BSC, SCB, SBC. Below, its number by the first two
# operations (-1: no order), and the factor that each step takes: two steps before saturation, two after;
# where a group has no such step, its entry is not used.
_GROUP = [[-1, 0, 3], [1, -1, 2], [5, 4, -1]]
_STEPS = [
    [0, 1, 2, 0, 0],
    [1, 0, 2, 0, 0],
    [1, 0, 2, 0, 0],
    [0, 0, 2, 1, 0],
    [0, 0, 2, 1, 0],
    [0, 0, 2, 0, 1],
]

# Float pixels that are worked on at a time: on a CPU they and a scratch copy should stay in a core's cache.
_CHUNK_BYTES = {"cpu": 5 << 18}
_CHUNK_BYTES_ELSEWHERE = 64 << 20


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of each of B images; every field has B rows.

    Args:
        top: int64 (B,), first row of the crop in the padded image, 0..2*padding.
        left: int64 (B,), first column of the crop, 0..2*padding.
        flip: bool (B,), mirror left and right after the crop.
        factors: float32 (B, 3), strength of brightness, contrast, saturation; 1 changes nothing. Or None.
        order: int64 (B, 3), the operation (0 brightness, 1 contrast, 2 saturation) of each step. Or None.
        height: int64 (B,), rows of the part that is scaled to the size of the result; `top` and `left` are
            its corner in the image, which is not padded. None: nothing is scaled.
        width: int64 (B,), its columns. Or None.
    """

    top: Tensor
    left: Tensor
    flip: Tensor
    factors: Tensor | None = None
    order: Tensor | None = None
    height: Tensor | None = None
    width: Tensor | None = None

    def to(self, device: torch.device) -> Augmentation:
        """The same augmentation on another device; jitter stays on the CPU, where its images are sorted."""
        if self.top.device == device:
            return self
        moved = {"top": self.top, "left": self.left, "flip": self.flip}
        moved |= {n: v for n, v in (("height", self.height), ("width", self.width)) if v is not None}
        return replace(self, **{name: to_device(value, device) for name, value in moved.items()})

    def split(self, size: int) -> Iterator[Augmentation]:
        """Consecutive parts of `size` images, the last one perhaps smaller."""
        if len(self.top) <= size:
            return iter((self,))
        parts = (itertools.repeat(None) if v is None else v.split(size) for v in self._values())
        # `top` is never None, so the parts end.
        return (Augmentation(*part) for part in zip(*parts, strict=False))

    def _values(self) -> list[Tensor | None]:
        return [self.top, self.left, self.flip, self.factors, self.order, self.height, self.width]


def draw_augmentation(
    count: int, properties: ImageProperties, generator: torch.Generator, shape: tuple[int, int] | None = None
) -> Augmentation:
    """Draw crop, flip and jitter for `count` images, each on its own.

    Jitter factors are uniform in [max(0, 1 - s), 1 + s] for the strength s = `properties.jitter`, and the
    order of the three operations is uniform over the six orders, as in torchvision's `ColorJitter(s, s, s)`.

    Args:
        count: number of images.
        properties: the data set's augmentation.
        generator: source of randomness, on the CPU.
        shape: height and width of the images; None: `properties.size`.
    """
    height = width = None
    if properties.resized_crop:
        parts = draw_parts(count, *(shape or (properties.size, properties.size)), generator)
        top, left, height, width = parts.top, parts.left, parts.height, parts.width
    else:
        top, left = torch.randint(2 * properties.crop_padding + 1, (2, count), generator=generator)
    flip = torch.rand(count, generator=generator) < (0.5 if properties.flip else 0.0)
    if properties.jitter == 0:
        return Augmentation(top, left, flip, height=height, width=width)
    low, high = max(0.0, 1 - properties.jitter), 1 + properties.jitter
    factors = torch.empty(count, 3).uniform_(low, high, generator=generator)
    order = _ORDERS.index_select(0, torch.randint(len(_ORDERS), (count,), generator=generator))
    return Augmentation(top, left, flip, factors, order, height, width)


class ColorJitter:
    """Brightness, contrast and saturation by torchvision's formulas, in each image's own order.

    Every operation blends the image with a reference by the factor k, k * x + (1 - k) * reference, and clips:
    black for brightness, the mean grey for contrast, the pixel's own grey for saturation. Saturation mixes
    the channels and costs several times as much as the others, which only scale and shift. So images are
    sorted by their order of operations: then all are saturated at once, and what comes before and after is
    done on neighbouring images only.

    Args:
        size: height = width of the images.
        capacity: most images in a call.
        device: where they are.
    """

    def __init__(self, size: int, capacity: int, device: torch.device) -> None:
        luma = torch.tensor(_LUMA, device=device)
        # Four pixels side by side (12 x 12, block-diagonal) multiply faster than one.
        pixels_per_row = math.gcd(size**2, 4)
        self._identity = torch.eye(3 * pixels_per_row, device=device)
        self._gray = torch.block_diag(*[luma[:, None].expand(3, 3)] * pixels_per_row)
        self._mean_gray = (luma / size**2).repeat(size**2)
        self._group, self._steps = torch.tensor(_GROUP).flatten(), torch.tensor(_STEPS)
        self._numbers = torch.arange(capacity, device=device)
        self._sorted = torch.empty(capacity, 3 * size**2, dtype=torch.uint8, device=device)
        self._values = torch.empty(2, *self._sorted.shape, device=device)

    def __call__(self, images: Tensor, factors: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """Jitter B images.

        Args:
            images: uint8 (B, H, W, 3).
            factors: float32 (B, 3), of brightness, contrast, saturation, at least 0; on the CPU.
            order: int64 (B, 3), a permutation of 0 brightness, 1 contrast, 2 saturation; on the CPU.

        Returns:
            Sorted images, float32 (B, H*W*3), values 0..255, overwritten by the next call; and the row in
            which each of the images is now, int64 (B,).
        """
        count = len(images)
        first_two = torch.add(order[:, 1], order[:, 0], alpha=3)
        group, place = self._group.index_select(0, first_two).sort()
        groups = group.tolist()
        ends = [bisect.bisect_right(groups, number) for number in range(len(_STEPS))]
        k = factors.index_select(0, place).gather(1, self._steps.index_select(0, group))
        place, k = to_device(place, images.device), to_device(k, images.device)
        factor, rest = k.unbind(1), (1 - k).unbind(1)
        plain, mixed = self._values[0, :count], self._values[1, :count]
        plain.copy_(torch.index_select(images.flatten(1), 0, place, out=self._sorted[:count]))

        def scale_and_shift(values: Tensor, step: int, rows: slice, contrast: slice) -> None:
            """Scale neighbouring rows; those of `contrast`, some of them, move towards their mean grey."""
            changed, shifted = values[rows], values[contrast]
            offset = rest[step][contrast] * torch.mv(shifted, self._mean_gray)
            changed.mul_(factor[step][rows, None])
            shifted.add_(offset[:, None])
            changed.clamp_(0, 255)

        scale_and_shift(plain, 0, slice(ends[3]), slice(ends[0], ends[2]))
        scale_and_shift(plain, 1, slice(ends[1]), slice(ends[0]))
        self._saturate(plain, factor[2], rest[2], mixed)
        scale_and_shift(mixed, 3, slice(ends[1], count), slice(ends[2], ends[4]))
        scale_and_shift(mixed, 4, slice(ends[3], count), slice(ends[4], count))
        return mixed, torch.empty_like(place).scatter_(0, place, self._numbers[:count])

    def _saturate(self, values: Tensor, factor: Tensor, rest: Tensor, out: Tensor) -> None:
        mix = torch.addcmul(factor[:, None, None] * self._identity, rest[:, None, None], self._gray)
        side = len(self._gray)
        shape = (len(values), values.shape[1] // side, side)
        torch.bmm(values.view(shape), mix, out=out.view(shape))
        out.clamp_(0, 255)


class ImageBatches:
    """Batches of normalised float images, gathered by index from uint8 images that stay where they are.

    A memory map is not read into memory: each batch touches its own images only. Every batch is a tensor of
    its own, never written to again; scratch memory is kept between calls, so one object serves one thread.

    Args:
        data: the images, uint8 (N, H, W, 3).
        properties: normalisation and augmentation.
        device: device of the images and the batches. The CPU uses the array in place.

    Attributes:
        labels: int64 (N,), on the CPU.

    Raises:
        UserError: the images do not have the properties' size (or are smaller, where random parts of them are
            scaled to it), or the crop's padding is negative.
    """

    def __init__(
        self, data: LabeledImages, properties: ImageProperties, device: str | torch.device = "cpu"
    ) -> None:
        height, width = data.images.shape[1:3]
        exact = (height, width) == (properties.size, properties.size)
        if not exact and not (properties.resized_crop and min(height, width) >= properties.size):
            raise UserError(
                f"images are {height} x {width} pixels, "
                f"the data set's properties say {properties.size} x {properties.size}"
            )
        if properties.crop_padding < 0 or properties.jitter < 0 or min(properties.std) <= 0:
            raise UserError("crop_padding and jitter have to be at least 0, each std above 0")
        self.properties = properties
        self.labels = torch.from_numpy(data.labels.copy())
        self._pool = _shared_tensor(data.images).to(device)
        std = np.asarray(properties.std, np.float64)
        pixels = properties.size**2
        self._scale = self._pattern(1 / (255 * std), pixels)
        self._bias = self._pattern(-np.asarray(properties.mean, np.float64) / std, pixels)
        chunk_bytes = _CHUNK_BYTES.get(self.device.type, _CHUNK_BYTES_ELSEWHERE)
        self._chunk = max(1, chunk_bytes // (4 * 3 * pixels))
        kept = (self._chunk, self.device)
        self._gathered = torch.empty(
            self._chunk, *self._pool.shape[1:], dtype=torch.uint8, device=self.device
        )
        self._crop = (
            CropAndFlip(properties.size, properties.crop_padding, *kept)
            if (properties.crop_padding or properties.flip) and not properties.resized_crop
            else None
        )
        self._resized_crop = ResizedCrop(properties.size, self.device)
        rows, columns = (length - properties.size for length in self._pool.shape[1:3])
        self._centre = (
            slice(rows // 2, rows // 2 + properties.size),
            slice(columns // 2, columns // 2 + properties.size),
        )
        self._jitter = ColorJitter(properties.size, *kept)

    def __len__(self) -> int:
        return len(self._pool)

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self._pool.device

    def plain(self, index: Tensor) -> Tensor:
        """Normalised images without augmentation; larger images are cut to the central part.

        Args:
            index: int64 (B,), positions in the data set; repeats are allowed.

        Returns:
            float32 (B, 3, H, W) in channels_last order of memory.
        """
        return self._batch(index, None)

    def hashes(self, index: Tensor) -> list[bytes]:
        """A hash of the pixels of each image as `plain` sees it, 16 bytes."""
        parts = (self._pool[i.to(self.device)][:, *self._centre] for i in index.split(self._chunk))
        pixels = (image.tobytes() for part in parts for image in part.cpu().numpy())
        return [hashlib.blake2b(content, digest_size=16).digest() for content in pixels]

    def augmented(
        self,
        index: Tensor,
        generator: torch.Generator,
        flips: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Randomly cropped, jittered and flipped images, as far as the properties allow; then normalised.

        Args:
            index: int64 (B,), positions in the data set; a repeated image gets an augmentation each time.
            generator: source of randomness, on the CPU.
            flips: chooses the images that are flipped, bool (B,), where the properties allow it; the rest of
                the augmentation stays what it is without. None: `generator` chooses.

        Returns:
            float32 (B, 3, H, W) in channels_last order of memory.
        """
        height, width = self._pool.shape[1:3]
        drawn = draw_augmentation(len(index), self.properties, generator, (height, width))
        if flips is not None and self.properties.flip:
            drawn = replace(drawn, flip=flips(index))
        return self.augmented_by(index, drawn)

    def augmented_by(self, index: Tensor, augmentation: Augmentation) -> Tensor:
        """As `augmented`, with an augmentation that was drawn before."""
        return self._batch(index, augmentation)

    def _batch(self, index: Tensor, augmentation: Augmentation | None) -> Tensor:
        size = self.properties.size
        batch = torch.empty(len(index), 3 * size**2, device=self.device)
        index = to_device(index, self.device)
        if augmentation is not None:
            augmentation = augmentation.to(self.device)
        if len(index) <= self._chunk:
            self._fill(batch, index, augmentation)
        else:
            parts = itertools.repeat(None) if augmentation is None else augmentation.split(self._chunk)
            chunks = zip(batch.split(self._chunk), index.split(self._chunk), parts, strict=False)
            for out, place, part in chunks:
                self._fill(out, place, part)
        return batch.view(-1, size, size, 3).permute(0, 3, 1, 2)

    def _fill(self, out: Tensor, index: Tensor, augmentation: Augmentation | None) -> None:
        images = torch.index_select(self._pool, 0, index, out=self._gathered[: len(index)])
        # Jitter treats all pixels of an image alike, so the flip may come before it.
        images = self._cut(images, augmentation)
        if augmentation is None or augmentation.factors is None or augmentation.order is None:
            out.copy_(images.flatten(1))
            torch.addcmul(self._bias, out, self._scale, out=out)
        else:
            values, rows = self._jitter(images, augmentation.factors, augmentation.order)
            torch.addcmul(self._bias, values, self._scale, out=values)
            torch.index_select(values, 0, rows, out=out)

    def _cut(self, images: Tensor, augmentation: Augmentation | None) -> Tensor:
        """What is seen of the images, uint8 (B, size, size, 3), mirrored where asked."""
        if augmentation is None:
            return images[:, *self._centre]
        if augmentation.height is not None and augmentation.width is not None:
            parts = Parts(augmentation.top, augmentation.left, augmentation.height, augmentation.width)
            return self._resized_crop(images, parts, augmentation.flip)
        if self._crop is not None:
            return self._crop(images, augmentation.top, augmentation.left, augmentation.flip)
        return images

    def _pattern(self, per_channel: np.ndarray, pixels: int) -> Tensor:
        """One image's worth of a constant per channel: arithmetic runs along whole rows of memory."""
        return torch.from_numpy(np.tile(per_channel, pixels)).float().to(self.device)


def _shared_tensor(images: np.ndarray) -> Tensor:
    """The array as a tensor on the same memory."""
    with warnings.catch_warnings():
        # Torch warns that a read-only map may not be written; nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)
