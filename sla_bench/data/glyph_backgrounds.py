"""The stock of pictures from which the backgrounds of glyphs are mixed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

IMAGE_SIDE = 32
_PICTURES = 400
_MARGIN = 4


class Backgrounds(NamedTuple):
    """Stock of pictures from which backgrounds are mixed, each in its four quarter turns.

    textures: float32 (n, 32, 32), mean 0, standard deviation 1. strokes: float32 (n, 32, 32), opacity 0..1.
    """

    textures: np.ndarray
    strokes: np.ndarray


def draw_backgrounds(rng: np.random.Generator) -> Backgrounds:
    """Draw the stock, 4 x 400 of each kind."""
    textures = np.stack([_texture(rng) for _ in range(_PICTURES)])
    strokes = np.stack([_strokes(rng) for _ in range(_PICTURES)])
    return Backgrounds(_four_turns(textures), _four_turns(strokes))


def _four_turns(pictures: np.ndarray) -> np.ndarray:
    return np.concatenate([np.rot90(pictures, k, axes=(1, 2)) for k in range(4)])


def _texture(rng: np.random.Generator) -> np.ndarray:
    cells = int(rng.integers(3, 13))
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    side = IMAGE_SIDE + 2 * _MARGIN
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    inner = smooth[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    standardised: np.ndarray = (inner - inner.mean()) / (inner.std() + 1e-6)
    return standardised


def _strokes(rng: np.random.Generator) -> np.ndarray:
    side = 2 * IMAGE_SIDE
    picture = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 5))):
        x0, y0, x1, y1 = rng.integers(-8, side + 8, 4).tolist()
        width = int(rng.integers(2, 7))
        if rng.random() < 0.5:
            draw.line((x0, y0, x1, y1), fill=255, width=width)
        else:
            start = int(rng.integers(360))
            box = (min(x0, x1), min(y0, y1), max(x0, x1) + 8, max(y0, y1) + 8)
            draw.arc(box, start, start + int(rng.integers(60, 250)), fill=255, width=width)
    return np.asarray(picture.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BOX), np.float32) / 255
