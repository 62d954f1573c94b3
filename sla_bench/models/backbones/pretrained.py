"""Backbones of timm and torchvision, with pretrained weights or without."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from sla_bench.data.base import ImageProperties
from sla_bench.errors import UserError, whole_number
from sla_bench.models.backbones.base import Backbone
from sla_bench.models.backbones.libraries import Library, library_network
from sla_bench.models.foreign_weights import weights_hash

Trained = Literal["all", "last-stage", "head", "none"]
"""The trained part of a network: all, the last stage, only the layers on top of it, nothing."""

BACKBONE_RATE = 0.1
"""Learning rate of pretrained layers as a factor of the rate of new ones."""


class Pretrained(Backbone):
    """A network of a library behind the data set's normalisation; views are made before it.

    A frozen network is no part of the state: its weights are read again, and their hash is compared. One that
    is fine-tuned reads its weights when the training starts, and keeps the statistics of its batch
    normalisation. Dropout and stochastic depth are off.

    Args:
        library: the network.
        properties: size and normalisation of the images that come in.
        weights: "default#HASH" or "PATH#HASH"; None: random weights.
        trained: its trained part.
        input_size: height = width that the images are scaled to; None: as they come, or the only one that the
            network takes.

    Raises:
        UserError: the weights are not the ones that the hash names, or the network refuses the size.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        library: Library,
        properties: ImageProperties,
        weights: str | None,
        trained: Trained,
        input_size: int | None = None,
    ) -> None:
        if input_size is not None:
            input_size = whole_number(library.name, "input_size", input_size, 1)
        if library.fixed_size and input_size not in (None, library.size):
            raise UserError(f"{library.name} takes images of {library.size} px alone, not {input_size}")
        side = input_size or (library.size if library.fixed_size else properties.size)
        super().__init__(_num_features(library, side))
        self.network = library.network
        self.input_size, self._interpolation = side, library.interpolation
        scale = torch.tensor(properties.std) / torch.tensor(library.std)
        shift = (torch.tensor(properties.mean) - torch.tensor(library.mean)) / torch.tensor(library.std)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)
        self.weights, self._library, self.frozen = weights, library, trained in ("none", "head")
        if self.frozen:
            self._load()
            self.register_state_dict_post_hook(_drop_network)  # type: ignore[no-untyped-call]
            self.register_load_state_dict_post_hook(_forgive_network)  # type: ignore[no-untyped-call]
        for parameter in _untrained(library, trained):
            parameter.requires_grad_(False)
        if weights is not None:
            for parameter in self.network.parameters():
                parameter.rate_factor = BACKBONE_RATE  # type: ignore[attr-defined]

    @property
    def features_key(self) -> str:
        """Whatever features depend on, beside pixels and view."""
        return f"{weights_hash(self.network)}-{self.input_size}px-{_digest_of(self.scale, self.shift)}"

    def _load(self) -> None:
        if self.weights is None:
            return
        name, _, told = self.weights.rpartition("#")
        found = self._library.load(name)
        if found != told:
            raise UserError(
                f"weights of {self._library.name} have the hash {found}, not {told}: the file has changed"
            )

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) -> (B, D)."""
        images = images * self.scale + self.shift
        if images.shape[-1] != self.input_size:
            size = (self.input_size, self.input_size)
            images = F.interpolate(images, size=size, mode=self._interpolation, antialias=True)
        features: Tensor = self.network(images)
        return features.flatten(1)

    def start_from(self, batches: Iterable[Tensor]) -> None:
        """Read the pretrained weights."""
        super().start_from(batches)
        if not self.frozen:
            self._load()

    def train(self, mode: bool = True) -> Pretrained:
        """Pretrained batch normalisation keeps its statistics, a frozen network all its state."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        elif self.weights is not None:
            for module in self.network.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _num_features(library: Library, size: int) -> int:
    """D, from one forward pass: libraries' own figures leave out layers behind the pooling."""
    library.network.eval()
    try:
        with torch.no_grad():
            features = library.network(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{library.name} refuses images of {size} px ({error}); its pretraining had {library.size}: "
            f"--set backbone.input_size={library.size}"
        ) from None
    # Some keep the map of one pixel that pooling leaves.
    if not isinstance(features, Tensor) or features.numel() != features.shape[1]:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"{library.name} gives no pooled features but {shape}; take another network")
    return features.flatten(1).shape[1]


def _untrained(library: Library, trained: Trained) -> list[nn.Parameter]:
    named = dict(library.network.named_parameters())
    if trained == "all":
        return []
    if trained in ("none", "head"):
        return list(named.values())
    first = next((n for n in named if library.last_stage and n.startswith(f"{library.last_stage}.")), None)
    if first is None:
        raise UserError(f"{library.name}: its last stage is not known; take --train all or none")
    names = list(named)
    return [named[name] for name in names[: names.index(first)]]


def _digest_of(*tensors: Tensor) -> str:
    numbers = repr([tensor.flatten().tolist() for tensor in tensors])
    return hashlib.sha256(numbers.encode()).hexdigest()[:8]


def _drop_network(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [n for n in state if n.startswith(f"{prefix}network.")]:
        del state[name]


def _forgive_network(module: nn.Module, incompatible: Any) -> None:
    missing = incompatible.missing_keys
    missing[:] = [name for name in missing if "network." not in name]


def build(
    name: str,
    properties: ImageProperties,
    weights: str | None = None,
    trained: Trained = "all",
    *,
    input_size: int | None = None,
) -> Pretrained:
    """Build a network of a library; arguments as `Pretrained`, and its name.

    Raises:
        UserError: an unknown network, or as `Pretrained`.
    """
    return Pretrained(library_network(name), properties, weights, trained, input_size)
