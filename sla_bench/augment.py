"""Random crop, colour jitter, flip and normalisation of whole batches, from images kept as uint8.

The recipe is MetaOptNet's (Lee et al., CVPR 2019): zero padding and random crop, colour jitter, horizontal
flip, normalisation. Randomness is drawn first, for the whole batch (`draw_augmentation`); the rest is pure.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sla_bench.datasets.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError

BRIGHTNESS, CONTRAST, SATURATION = range(3)
_ORDERS = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
_LUMA = (0.2989, 0.587, 0.114)

# Float pixels that are worked on at a time: on a CPU they and a scratch copy should stay in a core's cache.
_CHUNK_BYTES = {"cpu": 5 << 18}
_CHUNK_BYTES_ELSEWHERE = 64 << 20


@dataclass(frozen=True)
class Augmentation:
    """What is done to each of B images; every field has B rows.

    Args:
        top: int64 (B,), first row of the crop in the padded image, 0..2*padding.
        left: int64 (B,), first column of the crop, 0..2*padding.
        flip: bool (B,), mirror left and right after the crop.
        factors: float32 (B, 3), strength of brightness, contrast, saturation; 1 changes nothing. Or None.
        order: int64 (B, 3), the operation (0 brightness, 1 contrast, 2 saturation) of each step. Or None.
    """

    top: Tensor
    left: Tensor
    flip: Tensor
    factors: Tensor | None = None
    order: Tensor | None = None

    def to(self, device: torch.device) -> Augmentation:
        """The same augmentation on another device."""
        return Augmentation(*(None if v is None else v.to(device) for v in self._values()))  # type: ignore[arg-type]

    def split(self, size: int) -> Iterator[Augmentation]:
        """Consecutive parts of `size` images, the last one perhaps smaller."""
        parts = (itertools.repeat(None) if v is None else v.split(size) for v in self._values())
        # `top` is never None, so the parts end.
        return (Augmentation(*part) for part in zip(*parts, strict=False))

    def _values(self) -> list[Tensor | None]:
        return [self.top, self.left, self.flip, self.factors, self.order]


def draw_augmentation(count: int, properties: ImageProperties, generator: torch.Generator) -> Augmentation:
    """Draw crop, flip and jitter for `count` images, each on its own.

    Jitter factors are uniform in [max(0, 1 - s), 1 + s] for the strength s = `properties.jitter`, and the
    order of the three operations is uniform over the six orders, as in torchvision's `ColorJitter(s, s, s)`.
    """
    top, left = torch.randint(2 * properties.crop_padding + 1, (2, count), generator=generator)
    flip = torch.rand(count, generator=generator) < (0.5 if properties.flip else 0.0)
    if properties.jitter == 0:
        return Augmentation(top, left, flip)
    low, high = max(0.0, 1 - properties.jitter), 1 + properties.jitter
    factors = torch.empty(count, 3).uniform_(low, high, generator=generator)
    order = _ORDERS[torch.randint(len(_ORDERS), (count,), generator=generator)]
    return Augmentation(top, left, flip, factors, order)


def crop_and_flip(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    flip: Tensor,
    padding: int,
    padded: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Pad with black, cut out a window of the original size, mirror it where `flip` says so.

    Args:
        images: uint8 (B, H, W, 3).
        top: int64 (B,), first row of the window in the padded image, 0..2*padding.
        left: int64 (B,), first column of the window, 0..2*padding.
        flip: bool (B,).
        padding: pixels of zero padding on each side.
        padded: scratch, uint8 (2*B or more, H + 2*padding, W + 2*padding, 3), its border zero; it stays so.
        out: where the result goes, uint8 (B, H, W, 3), contiguous.

    Returns:
        uint8 (B, H, W, 3).
    """
    count, height, width, channels = images.shape
    padded_height, padded_width = height + 2 * padding, width + 2 * padding
    if padded is None:
        padded = images.new_zeros(2 * count, padded_height, padded_width, channels)
    if out is None:
        out = torch.empty_like(images)

    # Mirrored copies follow the upright images; a window of the mirror image is the mirrored window.
    mirrored = flip.nonzero().squeeze(1)
    inner = padded[:, padding : padding + height, padding : padding + width]
    inner[:count] = images
    inner[count : count + len(mirrored)] = images.index_select(0, mirrored).flip(2)
    slot = torch.where(flip, count - 1 + flip.cumsum(0), torch.arange(count, device=images.device))
    left = torch.where(flip, 2 * padding - left, left)

    # One image row is one contiguous run of bytes from some pixel on, so that the crop is a copy of rows.
    first = (slot * padded_height + top) * padded_width + left
    starts = first[:, None] + torch.arange(height, device=images.device) * padded_width
    pixels = padded.numel() // channels
    runs = padded.as_strided((pixels - width + 1, width * channels), (channels, 1))
    torch.index_select(runs, 0, starts.flatten(), out=out.view(count * height, width * channels))
    return out


class ColorJitter:
    """Brightness, contrast and saturation by torchvision's formulas, in each image's own order.

    Every operation blends the image with a reference by the factor k, k * x + (1 - k) * reference, and clips:
    black for brightness, the mean grey for contrast, the pixel's own grey for saturation. All three are
    "one 3 x 3 matrix for the channels and one number per image", so a step serves all images at once.

    Args:
        size: height = width of the images.
        device: where they are.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self._pixels = size**2
        luma = torch.tensor(_LUMA, device=device)
        # Four pixels side by side (12 x 12, block-diagonal) multiply faster than one.
        pixels_per_row = math.gcd(self._pixels, 4)
        self._identity = torch.eye(3 * pixels_per_row, device=device)
        self._gray = torch.block_diag(*[luma[:, None].expand(3, 3)] * pixels_per_row)
        self._mean_gray = (luma / self._pixels).repeat(self._pixels)

    def __call__(self, images: Tensor, factors: Tensor, order: Tensor, out: Tensor) -> Tensor:
        """Jitter B images.

        Args:
            images: float32 (B, H, W, 3), values 0..255, contiguous; overwritten.
            factors: float32 (B, 3), of brightness, contrast, saturation, at least 0.
            order: int64 (B, 3), a permutation of 0 brightness, 1 contrast, 2 saturation.
            out: where the result goes, float32 (B, H, W, 3), contiguous, apart from `images`.

        Returns:
            `out`, values 0..255.
        """
        k = factors.gather(1, order)[..., None, None]
        gray_share = (1 - k) * (order == SATURATION)[..., None, None]
        mean_share = (1 - k[..., 0]) * (order == CONTRAST)[..., None]
        mix = torch.addcmul(k * self._identity, gray_share, self._gray)
        shape = (len(images), -1, len(self._gray))
        source, target = images.view(shape), out.view(shape)
        for matrix, share in zip(mix.unbind(1), mean_share.unbind(1), strict=True):
            offset = share * torch.mv(source.view(len(images), -1), self._mean_gray)[:, None]
            torch.bmm(source, matrix, out=target)
            target.add_(offset[:, :, None]).clamp_(0, 255)
            source, target = target, source
        return out


class ImageBatches:
    """Batches of normalised float images, gathered by index from uint8 images that stay where they are.

    A memory map is not read into memory: each batch touches its own images only. Every batch is a tensor of
    its own, never written to again; scratch memory is kept between calls, so one object serves one thread.

    Args:
        data: the images, uint8 (N, H, W, 3).
        properties: normalisation and what augmentation may do.
        device: where the images are kept and the batches are made. The CPU uses the array in place.

    Attributes:
        labels: int64 (N,), on the CPU.

    Raises:
        UserError: the images do not have the properties' size, or the crop's padding is negative.
    """

    def __init__(
        self, data: LabeledImages, properties: ImageProperties, device: str | torch.device = "cpu"
    ) -> None:
        height, width = data.images.shape[1:3]
        if (height, width) != (properties.size, properties.size):
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
        self._jitter = ColorJitter(properties.size, self.device)
        self._scratch = _Scratch(self._chunk, properties, self.device)

    def __len__(self) -> int:
        return len(self._pool)

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self._pool.device

    def plain(self, index: Tensor) -> Tensor:
        """Normalised images without augmentation.

        Args:
            index: int64 (B,), positions in the data set; repeats are allowed.

        Returns:
            float32 (B, 3, H, W) in channels_last order of memory.
        """
        return self._batch(index, None)

    def augmented(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Randomly cropped, jittered and flipped images, as far as the properties allow; then normalised.

        Args:
            index: int64 (B,), positions in the data set; a repeated image gets an augmentation each time.
            generator: source of randomness, on the CPU.

        Returns:
            float32 (B, 3, H, W) in channels_last order of memory.
        """
        return self.augmented_by(index, draw_augmentation(len(index), self.properties, generator))

    def augmented_by(self, index: Tensor, augmentation: Augmentation) -> Tensor:
        """As `augmented`, with an augmentation that was drawn before."""
        return self._batch(index, augmentation)

    def _batch(self, index: Tensor, augmentation: Augmentation | None) -> Tensor:
        size = self.properties.size
        batch = torch.empty(len(index), size, size, 3, device=self.device)
        if not len(index):
            return batch.permute(0, 3, 1, 2)
        parts: Iterable[Augmentation | None] = itertools.repeat(None)
        if augmentation is not None:
            parts = augmentation.to(self.device).split(self._chunk)
        places = index.to(self.device).split(self._chunk)
        for out, place, part in zip(batch.split(self._chunk), places, parts, strict=False):
            self._fill(out, place, part)
        return batch.permute(0, 3, 1, 2)

    def _fill(self, out: Tensor, index: Tensor, augmentation: Augmentation | None) -> None:
        properties, scratch, count = self.properties, self._scratch, len(index)
        images = torch.index_select(self._pool, 0, index, out=scratch.gathered[:count])
        # Jitter treats all pixels of an image alike, so the flip may come before it.
        if augmentation is not None and (properties.crop_padding or properties.flip):
            images = crop_and_flip(
                images,
                augmentation.top,
                augmentation.left,
                augmentation.flip,
                properties.crop_padding,
                padded=scratch.padded,
                out=scratch.cropped[:count],
            )
        if augmentation is None or augmentation.factors is None or augmentation.order is None:
            out.copy_(images)
        else:
            values = scratch.values[:count].copy_(images)
            self._jitter(values, augmentation.factors, augmentation.order, out)
        values = out.view(count, -1)
        torch.addcmul(self._bias, values, self._scale, out=values)

    def _pattern(self, per_channel: np.ndarray, pixels: int) -> Tensor:
        """One image's worth of a constant per channel: arithmetic runs along whole rows of memory."""
        return torch.from_numpy(np.tile(per_channel, pixels)).float().to(self.device)


def _shared_tensor(images: np.ndarray) -> Tensor:
    """The array as a tensor on the same memory."""
    with warnings.catch_warnings():
        # Torch warns that a read-only map may not be written; nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


class _Scratch:
    """Memory that every batch passes through; fresh memory for each step would cost more than the step."""

    def __init__(self, count: int, properties: ImageProperties, device: torch.device) -> None:
        size, padded_size = properties.size, properties.size + 2 * properties.crop_padding
        shape = (count, size, size, 3)
        self.gathered = torch.empty(shape, dtype=torch.uint8, device=device)
        self.padded = torch.zeros((2 * count, padded_size, padded_size, 3), dtype=torch.uint8, device=device)
        self.cropped = torch.empty(shape, dtype=torch.uint8, device=device)
        self.values = torch.empty(shape, device=device)
