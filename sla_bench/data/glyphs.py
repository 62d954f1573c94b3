"""Glyphs: rendered characters in CIFAR-100's shape, and variants with uninformative rotations."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.data import glyph_rendering, glyph_shapes
from sla_bench.data.base import By, Dataset, ImageProperties, LabeledImages, Split
from sla_bench.data.glyph_rendering import DEFAULT, EASY, IMAGE_SIDE, Difficulty
from sla_bench.data.glyph_shapes import (
    FOLDED_CLASSES,
    GLYPH20_CLASSES,
    GLYPH_CLASSES,
    PAIRED_CLASSES,
    ClassList,
)
from sla_bench.data.kept import HASHES, checksum_of_files
from sla_bench.data.preparation import IN_THREADS, Preparation, terminal_progress
from sla_bench.data.prepared import Origin, make_folder, map_path, open_map, verify_map, write_map
from sla_bench.data.sources import SplitSource
from sla_bench.errors import UserError

RENDERED = "rendered"
"""The layout of maps that were not made of files."""
_BLOCK = 100
_BACKGROUND_STREAM, _IMAGE_STREAM, _TURN_STREAM = range(3)


@dataclass(frozen=True)
class GlyphDataset(Dataset):
    """A data set of rendered characters.

    Splits by classes hold whole superclasses (12, 4 and 4), with all images of their classes. Splits by
    images hold all classes: "test" the second number of `images_per_class`, "val" a tenth of the first,
    "train" the rest of it and "trainval" both. All images of a class are drawn independently, so any of them
    are a random sample.

    Args:
        characters: the classes of each split.
        difficulty: what varies from image to image.
        folded: the shapes are ornaments made of the characters.
        turned: each finished image is turned by a random multiple of 90 degrees.
        images_per_class: for training and for testing.
        seed: of all randomness.

    Raises:
        UserError: fewer than 2 training images or 1 test image per class.
    """

    characters: ClassList = field(default_factory=dict)
    difficulty: Difficulty = DEFAULT
    folded: bool = False
    turned: bool = False
    images_per_class: tuple[int, int] = (500, 100)
    seed: int = 0

    def __post_init__(self) -> None:
        train, test = self.images_per_class
        if train < 2 or test < 1:
            raise UserError(
                f"{self.name} needs at least 2 training images and 1 test image per class, "
                f"got {train} and {test}"
            )

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; renders the images first where they are missing below `data_root/prepared`.

        Split by classes, the images are a memory map; by images, an array in memory.
        """
        del split_seed  # the splits are fixed
        self.check_split(split, by)
        if by == "classes":
            return self._part(split, data_root)
        parts = [self._part(part, data_root) for part in self.characters]
        images = np.concatenate([self._select(part.images, split) for part in parts])
        images = images.reshape(-1, IMAGE_SIDE, IMAGE_SIDE, 3)
        names = tuple(name for part in parts for name in part.class_names)
        labels = np.repeat(np.arange(len(names), dtype=np.int64), len(images) // len(names))
        return LabeledImages(images, labels, names)

    def checksum(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> str:
        """As `load(...).checksum`; the pixels are read for it once."""

        def work_out() -> str:
            return self.load(split, by, data_root, split_seed).checksum

        # The name of the folder has all that determines the pixels.
        kept = self._folder(data_root) / f"images{HASHES}"
        return checksum_of_files(kept, (), (split, by), work_out)

    def prepare(
        self, data_root: Path, source: Path | None = None, how: Preparation = IN_THREADS
    ) -> list[Path]:
        """Render all images unless they are there.

        Raises:
            UserError: a source is given; or as `Dataset.prepare`.
        """
        if source is not None:
            raise UserError(f"{self.name} is rendered, not read from files: leave out --source")
        super().prepare(data_root, how=how)
        return self.files(data_root)

    def files(self, data_root: Path) -> list[Path]:
        """The maps that exist."""
        paths = (map_path(self._folder(data_root), split) for split in self.characters)
        return [path for path in paths if path.is_file()]

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the maps with the checksums taken when they were rendered."""
        return [(path, verify_map(path.parent, path.stem)) for path in self.files(data_root)]

    def reduced(self, train: int, test: int) -> GlyphDataset:
        """The same data set with fewer images of each class; they are other draws, not a subset.

        Args:
            train: training images per class.
            test: test images per class.
        """
        return replace(self, images_per_class=(train, test))

    def definition(self) -> dict[str, Any]:
        """All that determines the pixels, as JSON values."""
        return {
            "seed": self.seed,
            "images_per_class": list(self.images_per_class),
            "classes": {
                split: [f"{c.name} U+{ord(c.character):04X} {c.quarter_turns}" for c in classes]
                for split, classes in self.characters.items()
            },
            "difficulty": asdict(self.difficulty),
            "folded": self.folded,
            "turned": self.turned,
            "program": _program_digest(),
            "versions": library_versions(),
        }

    def _folder(self, data_root: Path) -> Path:
        """The folder of the maps; its name has the hash of all that determines the pixels."""
        text = json.dumps(self.definition(), sort_keys=True)
        return data_root / "prepared" / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _part(self, split: Split, data_root: Path) -> LabeledImages:
        """All images of the classes of a split, a memory map; rendered where it is missing or damaged."""
        folder = self._folder(data_root)
        with suppress(UserError):
            if (made := open_map(folder, split)) is not None:
                return made
        count, names = sum(self.images_per_class), tuple(glyph.name for glyph in self.characters[split])
        shape = (len(names) * count, IMAGE_SIDE, IMAGE_SIDE, 3)
        labels = np.repeat(np.arange(len(names), dtype=np.int64), count)
        source = SplitSource(shape, labels, names, partial(self._render, split))
        # Before anything is announced.
        make_folder(folder, source)
        with terminal_progress(f"Rendering {self.name} {split} ({len(labels):,} images, once)") as progress:
            write_map(folder, split, source, Origin(RENDERED, folder, folder.name), progress)
        return open_map(folder, split) or source.read()

    def _select(self, images: np.ndarray, split: Split) -> np.ndarray:
        train, test = self.images_per_class
        held_out = max(1, train // 10)
        wanted = {
            "train": slice(0, train - held_out),
            "val": slice(train - held_out, train),
            "test": slice(train, train + test),
            "trainval": slice(0, train),
        }[split]
        return images.reshape(-1, train + test, *images.shape[1:])[:, wanted]

    def _render(self, split: Split) -> Iterator[np.ndarray]:
        shapes = glyph_shapes.shapes_of(self.characters[split], self.folded)
        backgrounds = glyph_rendering.draw_backgrounds(np.random.default_rng([self.seed, _BACKGROUND_STREAM]))
        splits = list(self.characters)
        first = sum(len(self.characters[earlier]) for earlier in splits[: splits.index(split)])
        count = sum(self.images_per_class)
        for index, shape in enumerate(shapes, start=first):
            for block, start in enumerate(range(0, count, _BLOCK)):
                rng = np.random.default_rng([self.seed, _IMAGE_STREAM, index, block])
                size = min(_BLOCK, count - start)
                images = glyph_rendering.render(shape, size, self.difficulty, backgrounds, rng)
                if self.turned:
                    turn_rng = np.random.default_rng([self.seed, _TURN_STREAM, index, block])
                    images = turn_each(images, turn_rng.integers(4, size=size))
                yield images


def turn_each(images: np.ndarray, quarter_turns: np.ndarray) -> np.ndarray:
    """Turn every image by its own number of quarter turns, counter-clockwise.

    Args:
        images: (n, S, S, 3).
        quarter_turns: (n,), values 0..3.
    """
    turned = np.empty_like(images)
    for k in range(4):
        chosen = quarter_turns == k
        turned[chosen] = np.rot90(images[chosen], k, axes=(1, 2))
    return turned


def library_versions() -> dict[str, str | None]:
    """Versions of the libraries on which the pixels depend; matplotlib brings the fonts."""
    from PIL import features

    return {
        "matplotlib": version("matplotlib"),
        "Pillow": version("Pillow"),
        "FreeType": features.version("freetype2"),
        "numpy": np.__version__,
    }


def _program_digest() -> str:
    modules = (glyph_shapes, glyph_rendering, sys.modules[__name__])
    return hashlib.sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()[:12]


def _glyphs(
    name: str,
    characters: ClassList,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    difficulty: Difficulty = DEFAULT,
    folded: bool = False,
    turned: bool = False,
) -> GlyphDataset:
    # No flip: R and the Cyrillic Ya mirror each other. Mean and deviation are those of the training classes.
    return GlyphDataset(
        name=name,
        properties=ImageProperties(size=IMAGE_SIDE, mean=mean, std=std, crop_padding=2, flip=False),
        origin="nothing to fetch: it is rendered from matplotlib's fonts when first used",
        classes={split: len(classes) for split, classes in characters.items()},
        class_order="permuted",
        characters=characters,
        difficulty=difficulty,
        folded=folded,
        turned=turned,
    )


GLYPHS = _glyphs("glyphs", GLYPH_CLASSES, (0.544, 0.502, 0.461), (0.252, 0.252, 0.253))
GLYPHS20 = _glyphs("glyphs20", GLYPH20_CLASSES, (0.540, 0.499, 0.458), (0.256, 0.255, 0.254), difficulty=EASY)
GLYPHS_ROT = _glyphs("glyphs-rot", GLYPH_CLASSES, (0.544, 0.502, 0.461), (0.252, 0.252, 0.253), turned=True)
GLYPHS_PAIRS = _glyphs("glyphs-pairs", PAIRED_CLASSES, (0.543, 0.502, 0.461), (0.253, 0.253, 0.253))
GLYPHS_SYM = _glyphs("glyphs-sym", FOLDED_CLASSES, (0.544, 0.502, 0.461), (0.250, 0.250, 0.250), folded=True)
# On glyphs, orientation is read from the character alone: an upper bound for what rotation can do. On others
# it says nothing (rot), belongs to the class (pairs), or does not exist (sym).
