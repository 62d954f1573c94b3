"""A folder of drawn glyphs, one folder per class, for the examples."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

import sla_bench


def glyphs_folder(sizes: Sequence[int]) -> Path:
    """Write `sizes[k]` pictures of the k-th class into a new temporary folder and return it."""
    data = sla_bench.load_dataset("glyphs20", "trainval", by="images")
    folder = Path(tempfile.mkdtemp(prefix="glyphs-"))
    for label, size in enumerate(sizes):
        name = data.class_names[label].replace("/", "-").replace(" ", "-")
        (folder / name).mkdir()
        for number, image in enumerate(data.images[data.labels == label][:size]):
            Image.fromarray(image).save(folder / name / f"{number:03}.png")
    return folder
