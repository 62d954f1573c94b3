"""Episodes as pixels, for heads that adapt the network."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from sla_bench.evaluation.embedding import CHUNK_BYTES, EpisodeChunk, PlainBatches, Views


def image_chunks(
    batches: PlainBatches,
    index: Tensor,
    transform: Views | None,
    support_index: Tensor,
    query_index: Tensor,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[EpisodeChunk]:
    """Make the images of episodes, as many episodes at a time as fit into `chunk_bytes` (at least one).

    The counterpart of `embedding.episode_chunks`. Only the images of one chunk exist as floats.

    Args:
        batches: where the images come from.
        index: int64 (N,), positions of the images there.
        transform: M views of each image; None means the image alone, M = 1.
        support_index: int64 (T, S), rows of `index`.
        query_index: int64 (T, Q), rows of `index`.
        chunk_bytes: upper limit for the images of one chunk.

    Yields:
        Chunks that cover the T episodes in order; D = 3*H*W.
    """

    def pixels(rows: Tensor) -> Tensor:
        images = batches.plain(index[rows.flatten()])
        views = transform.views(images) if transform is not None else images[:, None]
        return views.flatten(2).view(*rows.shape, views.shape[1], -1)

    for start, stop in _parts(batches, index, transform, support_index, query_index, chunk_bytes):
        yield EpisodeChunk(
            slice(start, stop), pixels(support_index[start:stop]), pixels(query_index[start:stop])
        )


def _parts(
    batches: PlainBatches,
    index: Tensor,
    transform: Views | None,
    support_index: Tensor,
    query_index: Tensor,
    chunk_bytes: int,
) -> Iterator[tuple[int, int]]:
    one = batches.plain(index[:1])
    per_image = one.numel() * one.element_size() * (transform.num_views if transform is not None else 1)
    count = max(1, chunk_bytes // ((support_index.shape[1] + query_index.shape[1]) * per_image))
    for start in range(0, len(support_index), count):
        yield start, min(start + count, len(support_index))
