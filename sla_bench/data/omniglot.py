"""Omniglot (Lake et al., Science 2015): 1,623 handwritten characters, 28 x 28."""

from __future__ import annotations

from pathlib import Path

from sla_bench.data.base import ImageProperties, Split
from sla_bench.data.images import list_folders
from sla_bench.data.layouts import Layout, LayoutDataset
from sla_bench.data.sources import Promise, SplitSource, read_class_folders
from sla_bench.errors import UserError

_FOLDERS: dict[Split, str] = {
    "train": "images_background",
    "val": "images_background",
    "test": "images_evaluation",
}
_VALIDATION_ALPHABETS = 5
_PROPERTIES = ImageProperties(
    size=28, mean=(0.0817,) * 3, std=(0.2362,) * 3, crop_padding=2, flip=False, grey=True, fit="stretch"
)


def _alphabets(base: Path, split: Split) -> list[Path]:
    folders = list_folders(base / _FOLDERS[split])
    if split == "test":
        return folders
    return folders[:-_VALIDATION_ALPHABETS] if split == "train" else folders[-_VALIDATION_ALPHABETS:]


def _characters(base: Path, split: Split) -> list[Path]:
    return [character for alphabet in _alphabets(base, split) for character in list_folders(alphabet)]


def _read(base: Path, split: Split) -> SplitSource:
    characters = _characters(base, split)
    if not characters:
        raise UserError(f"{base / _FOLDERS[split]} must hold folders ALPHABET/characterNN; unpack it again")
    names = [f"{folder.parent.name}/{folder.name}" for folder in characters]
    return read_class_folders(
        characters, names, _PROPERTIES, Promise(_PROPERTIES.size, per_class=20), base, negative=True
    )


OMNIGLOT = LayoutDataset(
    name="omniglot",
    properties=_PROPERTIES,
    origin=(
        "unpack images_background.zip and images_evaluation.zip of https://github.com/brendenlake/omniglot "
        "into omniglot-py/ there"
    ),
    classes={"train": 813, "val": 151, "test": 659},
    layouts=(
        Layout(
            name="torchvision's omniglot-py/images_{background,evaluation}/ALPHABET/characterNN/*.png",
            folders=("omniglot-py", "omniglot"),
            files=lambda base, split: [base / _FOLDERS[split]],
            read=_read,
            decoded=True,
            watched=lambda base, split: [
                base / _FOLDERS[split],
                *_alphabets(base, split),
                *_characters(base, split),
            ],
        ),
    ),
    alternative="use fashion_mnist for grey images with the same classes in training and test",
)
"""Omniglot in Lake's split: 964 background characters, 659 for the test.

The last five background alphabets in alphabetical order, 151 characters, are the validation classes.

Strokes are bright on black, the negative of the files: the zero padding of the crop is then background. There
is neither flip nor jitter: a mirrored character may be another one, and the drawings have no shades.

Many papers make each rotated character a new class. Here no rotation makes a class: a drawing turned by 90
degrees would have two joint labels, its class in view 90 and the new class upright, so a rotation task would
be ill-posed.

Mean and deviation are those of the 16,260 training images.
"""
