"""Embeds every test image once per view; episodes are gathered from embeddings."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from sla_bench.models.backbones.base import Backbone

Module = TypeVar("Module", bound=nn.Module)


def fold(model: Module) -> Module:
    """Copy a model for inference, with each batch normalisation folded into the convolution before it.

    Folded are the pairs of `nn.Conv2d` and `nn.BatchNorm2d` that follow each other in an `nn.Sequential`, and
    those whose names a module lists in an attribute `conv_bn_pairs`, at any depth; any other batch
    normalisation, also of a subclass, stays and uses its running statistics.

    Args:
        model: is not changed.

    Returns:
        A copy in eval mode that computes what `model.eval()` would compute, up to rounding.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in folded.modules():
        for conv_name, norm_name in _pairs(module):
            conv, norm = getattr(module, conv_name), getattr(module, norm_name)
            # Subclasses compute more: timm's BatchNormAct2d has an activation.
            if isinstance(conv, nn.Conv2d) and type(norm) is nn.BatchNorm2d:
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return folded


def _pairs(module: nn.Module) -> Iterable[tuple[str, str]]:
    """Names of two children each; the second alone is applied to the output of the first."""
    if isinstance(module, nn.Sequential):
        # A layer may stand in a sequence more than once, and `named_children` would name it only once.
        return itertools.pairwise(tuple(module._modules))  # noqa: SLF001
    return getattr(module, "conv_bn_pairs", ())


CHUNK_BYTES = 4 << 20
_PASS_PIXELS = 100 * 84 * 84
UPRIGHT = "turn0-rgb"
"""The key of an image as it is, see `Views.view_key`."""


class PlainBatches(Protocol):
    """Gives images without augmentation."""

    def plain(self, index: Tensor) -> Tensor:
        """Normalised float32 images (B, 3, H, W) at the positions `index` (B,)."""


class Views(Protocol):
    """Makes the M views of images."""

    @property
    def num_views(self) -> int:
        """M."""

    def views(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, M, C, H, W)."""

    def view(self, images: Tensor, j: int) -> Tensor:
        """View j of every image, (B, C, H, W)."""

    def view_key(self, j: int) -> str:
        """Names view j, the same in every transform that has the view."""


class AugmentedBatches(PlainBatches, Protocol):
    """Gives images as they are, and as training sees them."""

    def augmented(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Cropped and flipped normalised images (B, 3, H, W) at the positions `index` (B,)."""


@runtime_checkable
class HashedBatches(PlainBatches, Protocol):
    """Gives images, and hashes of their pixels."""

    def hashes(self, index: Tensor) -> list[bytes]:
        """A hash of the pixels of each image at the positions `index` (B,)."""


class _OneView:
    """One view of plain images in the place of these."""

    def __init__(self, batches: PlainBatches, transform: Views, view: int) -> None:
        self.batches, self.transform, self.of = batches, transform, view

    def plain(self, index: Tensor) -> Tensor:
        return self.transform.view(self.batches.plain(index), self.of)


class _Crops:
    """Augmented images in place of plain ones."""

    def __init__(self, batches: AugmentedBatches, generator: torch.Generator) -> None:
        self.batches, self.generator = batches, generator

    def plain(self, index: Tensor) -> Tensor:
        return self.batches.augmented(index, self.generator)


class EpisodeChunk(NamedTuple):
    """Embeddings of consecutive episodes, or pixels for a head that adapts the network.

    Args:
        episodes: which of the T episodes these are.
        support: (t, S, M, D).
        query: (t, Q, M, D).
    """

    episodes: slice
    support: Tensor
    query: Tensor


def embed(
    backbone: Backbone,
    batches: PlainBatches,
    index: Tensor,
    transform: Views | None = None,
    batch_size: int = 100,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: torch.device | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Embed each image once per view, in eval mode, so that no image depends on the others of its batch.

    The backbone itself is neither changed nor switched to eval mode: a copy does the work, with batch
    normalisation folded into the convolutions.

    Args:
        backbone: D = `backbone.num_features`.
        batches: where the images come from.
        index: int64 (N,), positions of the images.
        transform: M views of each image; None means the image alone, M = 1.
        batch_size: rows (images times views) per forward pass, at most; fewer where they are larger than 84
            px. On a processor, more than 100 to 200 are slower per row, because they leave the cache.
        precision: of the backbone's arithmetic.
        device: where to compute and to return; None means where the backbone is.
        progress: called as progress(images done, N) after each forward pass.

    Returns:
        float32 (N, M, D), an ordinary tensor that heads with trained parameters may use.
    """
    device = next(backbone.parameters()).device if device is None else torch.device(device)
    if backbone.kept is not None and isinstance(batches, HashedBatches):
        return _embed_kept(backbone, batches, index, transform, batch_size, precision, device, progress)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    num_views = transform.num_views if transform is not None else 1
    network = fold(backbone).to(device, dtype).to(memory_format=torch.channels_last)
    embeddings = torch.empty(len(index), num_views, backbone.num_features, device=device)
    done = 0
    with torch.inference_mode():
        for part in index.split(max(1, batch_size // num_views)):
            images = batches.plain(part).to(device)
            rows = transform.views(images).flatten(0, 1) if transform is not None else images
            rows = rows.to(dtype, memory_format=torch.channels_last)
            passes = rows.split(max(1, _PASS_PIXELS // (rows.shape[-2] * rows.shape[-1])))
            features = torch.cat([network(some) for some in passes])
            embeddings[done : done + len(part)] = features.view(len(part), *embeddings.shape[1:])
            done += len(part)
            if progress is not None:
                progress(done, len(index))
    return embeddings


def _embed_kept(
    backbone: Backbone,
    batches: HashedBatches,
    index: Tensor,
    transform: Views | None,
    batch_size: int,
    precision: Literal["fp32", "bf16"],
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """As `embed`, but each view of an image is computed at most once and kept."""
    assert backbone.kept is not None
    network = copy.copy(backbone)
    network.kept = None
    num_views, hashes = transform.num_views if transform is not None else 1, batches.hashes(index)
    found = []
    for j in range(num_views):

        def compute(missing: Tensor, j: int = j) -> Tensor:
            def told(done: int, total: int) -> None:
                if progress is not None:
                    known = len(index) - total
                    progress((j * len(index) + known + done) // num_views, len(index))

            seen = batches if transform is None else _OneView(batches, transform, j)
            return embed(network, seen, index[missing], None, batch_size, precision, device, told)[:, 0]

        key = transform.view_key(j) if transform is not None else UPRIGHT
        found.append(backbone.kept.rows(f"{key}-{precision}-{device.type}", hashes, compute))
    return torch.stack(found, dim=1).to(device)


def embed_crops(
    backbone: Backbone,
    batches: AugmentedBatches,
    index: Tensor,
    copies: int,
    seed: int,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: torch.device | str | None = None,
) -> Tensor:
    """Embed each image as it is and in crops and flips as training draws them, like `embed`.

    Args:
        backbone: D = `backbone.num_features`.
        batches: where the images come from.
        index: int64 (N,), positions of the images.
        copies: M, the image as it is among them; it is the first.
        seed: of the crops, which are the same for every backbone.
        precision: of the backbone's arithmetic.
        device: as `embed`.

    Returns:
        float32 (N, M, D).
    """
    generator = torch.Generator().manual_seed(seed)
    sources: list[PlainBatches] = [batches, *[_Crops(batches, generator)] * (copies - 1)]
    parts = [embed(backbone, source, index, precision=precision, device=device) for source in sources]
    return torch.cat(parts, dim=1)


def embed_support_crops(
    backbone: Backbone,
    batches: AugmentedBatches,
    index: Tensor,
    transform: Views | None,
    crops: int,
    seed: int,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: torch.device | str | None = None,
) -> Tensor:
    """Embed all views of crops and flips of each image as training draws them, like `embed`.

    Args:
        backbone: D = `backbone.num_features`.
        batches: where the images come from.
        index: int64 (N,), positions of the images.
        transform: M views of each crop; None means the crop alone, M = 1.
        crops: K, of each image.
        seed: of the crops, which are the same for every backbone.
        precision: of the backbone's arithmetic.
        device: as `embed`.

    Returns:
        float32 (N, K, M, D).
    """
    source = _Crops(batches, torch.Generator().manual_seed(seed))
    parts = [
        embed(backbone, source, index, transform, precision=precision, device=device) for _ in range(crops)
    ]
    return torch.stack(parts, dim=1)


def episode_chunks(
    embeddings: Tensor,
    support_index: Tensor,
    query_index: Tensor,
    supports: Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[EpisodeChunk]:
    """Gather the embeddings of episodes, as many at a time as fit into `chunk_bytes` (at least one).

    Args:
        embeddings: (N, M, D).
        support_index: int64 (T, S), rows of `embeddings`.
        query_index: int64 (T, Q), rows of `embeddings`.
        supports: (N, K, M, D), K embeddings of each image as a support; None: those of `embeddings`, K = 1.
        chunk_bytes: upper limit for the embeddings of one chunk. On a processor, more than the cache holds
            makes a simple head several times slower.

    Returns:
        Chunks that cover the T episodes in order; each has S*K supports, those of an image together.
    """
    of_supports = embeddings[:, None] if supports is None else supports
    per_row = of_supports[0].numel() * embeddings.element_size() if len(embeddings) else 1

    def gathered(source: Tensor, index: Tensor) -> Tensor:
        rows = source.index_select(0, index.flatten().to(source.device))
        return rows.view(len(index), -1, *embeddings.shape[1:])

    parts = partial(gathered, of_supports), partial(gathered, embeddings)
    return _chunks(parts, per_row, support_index, query_index, chunk_bytes)


def image_chunks(
    batches: PlainBatches,
    index: Tensor,
    transform: Views | None,
    support_index: Tensor,
    query_index: Tensor,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[EpisodeChunk]:
    """Make the images of episodes for a head that adapts the network; otherwise like `episode_chunks`.

    Only the images of one chunk exist as floats.

    Args:
        batches: where the images come from.
        index: int64 (N,), positions of the images there.
        transform: M views of each image; None means the image alone, M = 1.
        support_index: int64 (T, S), rows of `index`.
        query_index: int64 (T, Q), rows of `index`.
        chunk_bytes: upper limit for the images of one chunk.

    Returns:
        Chunks that cover the T episodes in order; D = 3*H*W.
    """

    def pixels(rows: Tensor) -> Tensor:
        images = batches.plain(index[rows.flatten()])
        views = transform.views(images) if transform is not None else images[:, None]
        return views.flatten(2).view(*rows.shape, views.shape[1], -1)

    one = batches.plain(index[:1])
    per_image = one.numel() * one.element_size() * (transform.num_views if transform is not None else 1)
    return _chunks((pixels, pixels), per_image, support_index, query_index, chunk_bytes)


def _chunks(
    rows: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]],
    row_bytes: int,
    support: Tensor,
    query: Tensor,
    chunk_bytes: int,
) -> Iterator[EpisodeChunk]:
    """The rows (t, S or Q, M, D) of as many episodes at a time as fit, by a function for each of the two."""
    of_support, of_query = rows
    count = max(1, chunk_bytes // ((support.shape[1] + query.shape[1]) * row_bytes))
    for start in range(0, len(support), count):
        episodes = slice(start, min(start + count, len(support)))
        yield EpisodeChunk(episodes, of_support(support[episodes]), of_query(query[episodes]))
