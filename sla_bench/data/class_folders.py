"""Folders of images, one per class, become one split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sla_bench.data.base import ImageProperties
from sla_bench.data.encoded_images import EncodedImages
from sla_bench.data.image_files import list_images
from sla_bench.data.sources import Promise, SplitSource, decoded_source
from sla_bench.errors import UserError


def read_class_folders(
    folders: Sequence[Path],
    names: Sequence[str],
    properties: ImageProperties,
    promise: Promise,
    base: Path,
    *,
    negative: bool = False,
) -> SplitSource:
    """List the images of each class.

    Args:
        folders: C folders, at least one.
        names: C class names.
        properties: size of the images, and how a file becomes square.
        promise: what the makers promise.
        base: folder that contains them all, for messages.
        negative: exchange bright and dark.

    Returns:
        N images, class by class, in the order of their names.

    Raises:
        UserError: a folder without images, or a broken promise.
    """
    listed = [list_images(folder) for folder in folders]
    empty = [folder for folder, images in zip(folders, listed, strict=True) if not images]
    if empty:
        raise UserError(f"{empty[0]} has no images")
    paths = [path for images in listed for path in images]
    labels = np.repeat(np.arange(len(folders)), [len(images) for images in listed]).astype(np.int64)
    images = EncodedImages(
        paths, properties.size, properties.fit, lambda position: str(paths[position]), base, negative
    )
    source = decoded_source(images, labels, tuple(names))
    promise.check(source.shape, labels, names, str(base))
    return source
