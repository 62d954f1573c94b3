"""Trained classifiers for use: load a recorded run, predict the classes of images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sla_bench.augment import ImageBatches
from sla_bench.config import PROTOCOL_VERSION, RunConfig
from sla_bench.datasets.base import ImageProperties, LabeledImages
from sla_bench.datasets.encoded_images import EncodedImages
from sla_bench.datasets.named import dataset_named
from sla_bench.embedding import embed
from sla_bench.errors import UserError
from sla_bench.grid import form_of
from sla_bench.objectives.classifier_base import ClassifierObjective
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.base import ANY_TRANSFORM, member_states
from sla_bench.transforms import Transform

if TYPE_CHECKING:
    from sla_bench.scenarios.classifier import ClassifierModel

WEIGHTS = "model.safetensors"
_CHUNK = 2048
"""Images whose embeddings are held at a time."""
_LUMA = (299, 587, 114)


class Prediction(NamedTuple):
    """What a classifier says of B images: the class of each, int64 (B,), and all probabilities (B, N)."""

    classes: np.ndarray
    probabilities: np.ndarray


class Classifier:
    """Trained models whose scores are averaged, with all that they need to know of their images.

    Args:
        models: at least one, on one device.
        class_names: N names; `class_names[k]` belongs to class k.
        properties: size, normalisation and kind of the images.
        precision: of the backbone's arithmetic.
    """

    def __init__(
        self,
        models: Sequence[ClassifierModel],
        class_names: tuple[str, ...],
        properties: ImageProperties,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        self._models = [model.eval() for model in models]
        self.class_names = class_names
        self.properties = properties
        self._precision = precision

    @property
    def transform(self) -> Transform:
        """The label augmentation, whose views "ag" and "tta" read."""
        return self._objective.transform

    @property
    def modes(self) -> tuple[str, ...]:
        """The inferences that it has, the usual one first.

        "si" single inference, "ag" aggregated over the views, "sd" the distilled head, "tta" the mean over
        the views. "si" and "sd" cost one forward pass per image and model, the others one per view.
        """
        return tuple(self._objective.modes)

    def predict(
        self, images: np.ndarray | Tensor | Sequence[str | Path], mode: str | None = None
    ) -> Prediction:
        """Predict the classes of images.

        Args:
            images: uint8 (B, H, W, 3) of the training images' size, or image files of any size.
            mode: one of `modes`; None means the first.

        Returns:
            Classes and probabilities.

        Raises:
            UserError: unknown mode, images of another form, none, a file that cannot be read, or scores that
                are not finite.
        """
        mode = self._checked(mode)
        parts = [images] if isinstance(images, np.ndarray | Tensor) else self._decoded(images)
        scores = torch.cat([self._scores(self._as_trained(part), mode) for part in parts]).double()
        if not torch.isfinite(scores).all():
            raise UserError("the model's scores are not finite; its training has diverged")
        return Prediction(scores.argmax(1).numpy(), scores.softmax(1).numpy())

    def read(self, files: Sequence[str | Path]) -> np.ndarray:
        """Decode image files, resized and cropped as the training images were: uint8 (B, H, W, 3).

        Raises:
            UserError: no files, or one that cannot be read.
        """
        return np.concatenate(list(self._decoded(files)))

    @property
    def _objective(self) -> ClassifierObjective:
        return self._models[0].objective

    def _checked(self, mode: str | None) -> str:
        if mode is None:
            return self.modes[0]
        if mode not in self.modes:
            raise UserError(f"mode {mode!r} is not one of {', '.join(self.modes)}, which this classifier has")
        return mode

    def _decoded(self, files: Sequence[str | Path]) -> Iterator[np.ndarray]:
        paths = [Path(file) for file in files]
        if not paths:
            raise UserError("there are no images to predict")
        size, fit = self.properties.size, self.properties.fit
        return EncodedImages(paths, size, fit, lambda position: str(paths[position])).pixels()

    def _as_trained(self, images: np.ndarray | Tensor) -> np.ndarray:
        array = images.cpu().numpy() if isinstance(images, Tensor) else images
        size = self.properties.size
        if array.ndim != 4 or array.shape[1:] != (size, size, 3) or array.dtype != np.uint8 or not len(array):
            raise UserError(
                f"images must be uint8 (B, {size}, {size}, 3), at least one; "
                f"got {array.dtype} {array.shape}. Files are resized"
            )
        if self.properties.grey:
            grey = array @ np.array(_LUMA, np.float32) / sum(_LUMA)
            array = np.repeat(np.rint(grey)[..., None], 3, axis=3).astype(np.uint8)
        return np.ascontiguousarray(array)

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


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> Classifier:
    """Load the classifier of a recorded run.

    Size, normalisation and kind of the images are those of the data set that the run names; its files are not
    needed. A training without views gets those of "rotation" for the mode "tta".

    Args:
        path: `results/<scenario>/runs/<run_id>` of a scenario with a fixed set of classes, or the
            `model.safetensors` in it.
        device: where to compute.

    Raises:
        UserError: the folder of no finished run, or of one without weights, of a scenario without a
            classifier, of another protocol, or with files that are damaged.
    """
    folder = Path(path)
    folder = folder.parent if folder.name == WEIGHTS else folder
    config, summary = _read_record(folder)
    build = _builder(config, folder)
    weights = folder / WEIGHTS
    if not weights.exists():
        raise UserError(
            f"run {folder.name} has no {WEIGHTS}: it was recorded with --keep-models none or imported; "
            f"delete {folder} to train it again"
        )
    dataset = dataset_named(config.dataset)
    try:
        names, counts = tuple(summary["class_names"]), np.asarray(summary["class_counts"], np.int64)
        models = []
        for state in member_states(load_file(weights)):
            model = build(config, dataset, counts, config.transform or ANY_TRANSFORM, config.seed)
            model.load_state_dict(state)
            models.append(model.to(device))
        return Classifier(models, names, dataset.properties, config.precision)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, error) from None


def _builder(config: RunConfig, folder: Path) -> Any:
    if not SCENARIOS[config.scenario].classifier:
        able = ", ".join(name for name, entry in SCENARIOS.items() if entry.classifier)
        raise UserError(
            f"run {folder.name} is of the scenario {config.scenario}, whose classes are new in each test "
            f"episode, so there is none to predict; it takes a run of {able}"
        )
    return SCENARIOS.load(config.scenario, "classifier")


def _read_record(folder: Path) -> tuple[RunConfig, dict[str, Any]]:
    """The training and what it left in done.json."""
    if not (folder / "config.json").is_file() or not (folder / "done.json").is_file():
        raise UserError(
            f"{folder} is not the folder of a finished run, results/<scenario>/runs/<run_id>; "
            "`runs` lists them"
        )
    try:
        content = json.loads((folder / "config.json").read_bytes())
        summary = json.loads((folder / "done.json").read_bytes())
        config: RunConfig = form_of(content["scenario"]).run.model_validate(content)
        protocol = summary.get("protocol")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise _damaged(folder, error) from None
    if protocol != PROTOCOL_VERSION:
        raise UserError(
            f"run {folder.name} was made under protocol {protocol!r}, this version follows "
            f"{PROTOCOL_VERSION}; train it again"
        )
    return config, summary


def _damaged(folder: Path, error: Exception) -> UserError:
    first_line = str(error).strip().partition("\n")[0]
    return UserError(f"the record {folder} is damaged ({type(error).__name__}: {first_line})")
