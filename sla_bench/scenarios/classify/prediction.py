"""Predictions of trained classifiers for images in any form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.data.depth import Depth
from sla_bench.data.images import UNREADABLE
from sla_bench.data.sources import Block, EncodedImages
from sla_bench.errors import UserError
from sla_bench.evaluation.embedding import embed
from sla_bench.objectives.classes import OnClasses
from sla_bench.views.augment import ImageBatches
from sla_bench.views.transforms import Transform
from sla_bench.words import from_home

if TYPE_CHECKING:
    from sla_bench.scenarios.classify.classifier import ClassifierModel

OneImage: TypeAlias = str | Path | bytes | np.ndarray | Tensor | Image.Image
"""A file, its content, an array uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a PIL image."""
Images: TypeAlias = OneImage | Iterable[OneImage]
_CHANNELS = (1, 3, 4)


def as_list(images: Images) -> list[Any]:
    """The images one by one; an array (B, H, W, C) is B of them, one of (H, W) or (H, W, C) is one.

    Raises:
        UserError: anything that is neither an image nor a collection.
    """
    if isinstance(images, Tensor):
        images = images.detach().cpu().numpy()
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | Path | bytes | bytearray | Image.Image):
        return [images]
    if not isinstance(images, Iterable):
        raise UserError(f"images must be files, bytes, arrays or PIL images, not {type(images).__name__}")
    return list(images)


def decodable(image: Any, position: int) -> Path | bytes | Image.Image:
    """One image as a file, the content of a file, or a loaded image.

    Args:
        image: as `OneImage`.
        position: among all images, for messages.

    Raises:
        UserError: another type, an array that is not an image, or an image that cannot be loaded.
    """
    if isinstance(image, str | Path):
        return from_home(image)
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    if isinstance(image, Tensor):
        image = image.detach().cpu().numpy()
    if isinstance(image, np.ndarray):
        image = _from_array(image, position)
    if not isinstance(image, Image.Image):
        raise UserError(
            f"image {position} must be a file, bytes, an array or a PIL image, not {type(image).__name__}"
        )
    try:
        image.load()
    except UNREADABLE as error:
        raise UserError(f"cannot read the image at position {position}: {error}") from None
    return image


def name_of(image: Any, position: int) -> str:
    """A name for messages."""
    return str(image) if isinstance(image, str | Path) else f"at position {position}"


def _from_array(array: np.ndarray, position: int) -> Image.Image:
    deep = array.dtype == np.uint16 and array.ndim == 2
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if not shaped or not array.size or not (deep or array.dtype == np.uint8):
        hint = ""
        if array.ndim == 3 and array.shape[0] in _CHANNELS and not shaped:
            hint = "; channels come last: array.transpose(1, 2, 0)"
        elif array.dtype.kind == "f":
            hint = "; of fractions from 0 to 1 make (array * 255).round().astype('uint8')"
        raise UserError(
            f"image {position} must be uint8 (H, W), (H, W, 3) or (H, W, 4), "
            f"got {array.dtype} {array.shape}{hint}"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return Image.fromarray(np.ascontiguousarray(array))


_CHUNK = 2048
"""Images whose embeddings are held at a time."""
_LUMA = (299, 587, 114)


class Prediction(NamedTuple):
    """What a classifier says of B images: the class of each, int64 (B,), and all probabilities (B, N)."""

    classes: np.ndarray
    probabilities: np.ndarray


class PictureReader:
    """Decodes pictures as the images of a data set.

    Args:
        properties: size, normalisation and kind of the images.
        depth: the range of training images of more than 8 bits; None: there were none, and new ones are
            scaled by the bits that each of them uses.
    """

    def __init__(self, properties: ImageProperties, depth: Depth | None = None) -> None:
        self.properties = properties
        self._depth = depth

    def pixels(self, images: Images) -> Iterator[np.ndarray]:
        """Pixels uint8 (b, H, W, 3) of images in any form, some at a time.

        Raises:
            UserError: no images, images of another form, or one that cannot be read.
        """
        parts = [images] if self._is_ready(images) else self._encoded(images).pixels()
        return map(self._as_trained, parts)

    def read(self, images: Images) -> np.ndarray:
        """Decode images, resized and cropped as the training images were: uint8 (B, H, W, 3).

        Raises:
            UserError: no images, or one that cannot be read.
        """
        return np.concatenate(list(self._encoded(images).pixels()))

    def read_blocks(self, images: Images) -> Iterator[Block]:
        """Decode images as `read` does, a few at a time, and name those that cannot be read.

        Raises:
            UserError: no images.
        """
        return self._encoded(images).blocks()

    def _is_ready(self, images: Images) -> TypeGuard[np.ndarray | Tensor]:
        """Pixels that need no resizing."""
        size = self.properties.size
        return isinstance(images, np.ndarray | Tensor) and tuple(images.shape[1:]) == (size, size, 3)

    def _encoded(self, images: Images) -> EncodedImages:
        given = as_list(images)
        if not given:
            raise UserError("there are no images to predict")
        contents = [decodable(image, position) for position, image in enumerate(given)]
        size, fit = self.properties.size, self.properties.fit

        def name(position: int) -> str:
            return name_of(given[position], position)

        return EncodedImages(contents, size, fit, name, depth=self._depth)

    def _as_trained(self, images: np.ndarray | Tensor) -> np.ndarray:
        array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
        if array.dtype != np.uint8 or not len(array):
            size = self.properties.size
            raise UserError(
                f"images must be uint8 (B, {size}, {size}, 3), at least one; got {array.dtype} {array.shape}"
            )
        if self.properties.grey:
            grey = array @ np.array(_LUMA, np.float32) / sum(_LUMA)
            array = np.repeat(np.rint(grey)[..., None], 3, axis=3).astype(np.uint8)
        return np.ascontiguousarray(array)


class Classifier(PictureReader):
    """Trained models whose scores are averaged, with all that they need to know of their images.

    Args:
        models: at least one, on one device.
        class_names: N names; `class_names[k]` belongs to class k.
        properties: size, normalisation and kind of the images.
        precision: of the backbone's arithmetic.
        depth: the range of training images of more than 8 bits; None: there were none, and new ones are
            scaled by the bits that each of them uses.
    """

    def __init__(
        self,
        models: Sequence[ClassifierModel],
        class_names: tuple[str, ...],
        properties: ImageProperties,
        precision: Literal["fp32", "bf16"] = "fp32",
        depth: Depth | None = None,
    ) -> None:
        self._models = [model.eval() for model in models]
        super().__init__(properties, depth)
        self.class_names = class_names
        self._precision = precision

    @property
    def transform(self) -> Transform:
        """The transform, whose views "ag" and "tta" read."""
        return self._objective.transform

    @property
    def modes(self) -> tuple[str, ...]:
        """The inferences that it has, the usual one first.

        "si" single inference, "ag" aggregated over the views, "sd" the distilled head, "tta" the mean over
        the views. "si" and "sd" cost one forward pass per image and model, the others one per view.
        """
        return tuple(self._objective.modes)

    def predict(self, images: Images, mode: str | None = None) -> Prediction:
        """Predict the classes of images.

        Args:
            images: one image or any number of them: files, their contents (bytes), PIL images, arrays or
                tensors uint8 (H, W), (H, W, 3) or (H, W, 4), of any size and mixed; or one array or tensor
                uint8 (B, H, W, 3). All are resized and cropped as the training images were, but for arrays
                and tensors (B, size, size, 3), which are taken as they are.
            mode: one of `modes`; None means the first.

        Returns:
            Classes and probabilities.

        Raises:
            UserError: unknown mode, images of another form, none, a file that cannot be read, or scores that
                are not finite.
        """
        mode = self._checked(mode)
        scores = torch.cat([self._scores(part, mode) for part in self.pixels(images)]).double()
        if not torch.isfinite(scores).all():
            raise UserError("the model's scores are not finite; its training has diverged")
        return Prediction(scores.argmax(1).numpy(), scores.softmax(1).numpy())

    @property
    def _objective(self) -> OnClasses:
        return self._models[0].objective

    def _checked(self, mode: str | None) -> str:
        if mode is None:
            return self.modes[0]
        if mode not in self.modes:
            raise UserError(f"mode {mode!r} is not one of {', '.join(self.modes)}, which this classifier has")
        return mode

    def _scores(self, images: np.ndarray, mode: str) -> Tensor:
        """Scores (B, N) on the CPU, averaged over the models."""
        objective = self._objective
        row = objective.modes[mode]
        passes = {**objective.rows, **objective.further_rows}[row]
        views = objective.transform if passes > objective.members else None
        device = next(self._models[0].parameters()).device
        unlabelled = LabeledImages(images, np.zeros(len(images), np.int64), ("any",))
        batches = ImageBatches(unlabelled, self.properties, device)
        chunks = []
        for index in torch.arange(len(images)).split(_CHUNK):
            read = []
            for model in self._models:
                features = embed(
                    model.backbone, batches, index, views, precision=self._precision, device=device
                )
                with torch.no_grad():
                    read.append(model.objective.read(features)[row])
            chunks.append(torch.stack(read).mean(0).cpu())
        return torch.cat(chunks)
