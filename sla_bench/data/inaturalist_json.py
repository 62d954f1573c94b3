"""Annotations of the iNaturalist competitions: JSON with images and their categories."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sla_bench.data.image_lists import ImageList
from sla_bench.errors import UserError


def read_annotations(file: Path) -> ImageList:
    """Read `train2018.json` or `val2018.json`: paths of the images, and their categories as labels.

    Raises:
        UserError: not JSON, a missing key, images and annotations that do not belong together one to one; or
            as `ImageList`.
    """
    try:
        content = json.loads(file.read_bytes())
        images = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        labels = {entry["image_id"]: entry["category_id"] for entry in content["annotations"]}
        found = np.array([labels[image] for image in images])
    except KeyError as error:
        raise UserError(f"{file} is damaged: it lacks {error.args[0]!r}; fetch it again") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read {file}: {error}; fetch it again") from None
    counts = {len(images), len(labels), len(content["images"]), len(content["annotations"])}
    if len(counts) != 1 or not images or found.dtype.kind != "i" or found.min() < 0:
        raise UserError(
            f"{file} is damaged: it must have one annotation, with a 'category_id' from 0 on, for each "
            f"image; found {len(labels):,} for {len(images):,}"
        )
    numbers = tuple(range(1, len(images) + 1))
    return ImageList(file, tuple(images.values()), found.astype(np.int64), numbers, unit="image")
