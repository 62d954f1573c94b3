"""Networks of timm and torchvision, and the facts about their pretraining."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sla_bench.errors import UserError, first_names
from sla_bench.models.foreign_weights import (
    cached_file,
    given_file,
    packaged_file,
    put_tensors,
    read_tensors,
    weights_hash,
)
from sla_bench.registry import PACKAGED_WEIGHTS

_DATA_OF_TAG = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "laion2b": "LAION-2B",
    "openai": "OpenAI's picture-text pairs",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "webli": "WebLI",
}
UNKNOWN_DATA = "unknown data"


@dataclass(frozen=True)
class Library:
    """A network of a library, without its classifier, and the facts about its pretraining.

    Args:
        name: as `--backbone` has it.
        network: images (B, 3, H, W), normalised its way -> features (B, D).
        classifier: names of its removed layers.
        size: height = width of the images of its pretraining.
        mean: per channel, in units of 0..1, of its normalisation.
        std: per channel, of its normalisation.
        interpolation: "bicubic" or "bilinear".
        fixed_size: it takes images of `size` alone.
        last_stage: beginning of the names of its last stage's parameters; None: it is not known.
        find: the file of the default weights.
        trained_on: data of the default weights.
    """

    name: str
    network: nn.Module
    classifier: tuple[str, ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    fixed_size: bool
    last_stage: str | None
    find: Callable[[], Path]
    trained_on: str

    def load(self, weights: str) -> str:
        """Give the network its weights and return their hash.

        Args:
            weights: "default", or a file.

        Raises:
            UserError: the file is missing, damaged, or of another network.
        """
        path = self.find() if weights == "default" else given_file(weights)
        try:
            put_tensors(self.network, read_tensors(path), self.classifier)
        except UserError as error:
            where = "" if str(path) in str(error) else f" ({path})"
            raise UserError(f"--weights of {self.name}: {error}{where}") from None
        return weights_hash(self.network)


def check_network(name: str) -> None:
    """Find out whether a library has a network, without building it.

    Args:
        name: as `library_network`.

    Raises:
        UserError: as `library_network`.
    """  # noqa: DOC501
    library, _, own = name.partition(":")
    if library == "torchvision":
        if own not in (known := _torchvision_networks()):
            raise _unknown_network(name, own, known)
    elif library == "timm" and not (timm := _timm(name)).is_model(own):
        raise _unknown_network(name, own, timm.list_models())


def library_network(name: str) -> Library:
    """Build a network with random weights.

    Args:
        name: `timm:NAME`, `torchvision:NAME` or `pretrained:NAME`.

    Raises:
        UserError: timm is not installed, or the library has no such network.
    """
    check_network(name)
    library, _, own = name.partition(":")
    if library == "torchvision":
        return _of_torchvision(name, own)
    if library == "timm":
        return _of_timm(name, own)
    packaged = PACKAGED_WEIGHTS[own]
    find = functools.partial(packaged_file, name, packaged)
    return _of_timm(name, packaged.network, find, packaged.trained_on)


def _timm(name: str) -> Any:
    try:
        import timm
    except ImportError:
        extra = "pretrained-small" if name.startswith("pretrained:") else "timm"
        raise UserError(f"backbone {name} needs timm: pip install 'sla-bench[{extra}]'") from None
    return timm


def _of_timm(
    name: str, own: str, find: Callable[[], Path] | None = None, trained_on: str | None = None
) -> Library:
    timm = _timm(name)
    try:
        network = timm.create_model(own, pretrained=False, num_classes=0)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"timm cannot build {own}: {error}") from None
    config = network.pretrained_cfg
    classifier = config.get("classifier") or ()
    stages = getattr(network, "feature_info", None)
    hub_id, url = config.get("hf_hub_id"), config.get("url")
    return Library(
        name=name,
        network=network,
        classifier=(classifier,) if isinstance(classifier, str) else tuple(classifier),
        size=config["input_size"][-1],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        fixed_size=bool(config.get("fixed_input_size")),
        last_stage=stages[-1]["module"] if stages else None,
        find=find or functools.partial(cached_file, name, hub_id, url),
        trained_on=trained_on or _data_of_tag(str(config.get("tag", ""))),
    )


def _torchvision_networks() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models))


def _of_torchvision(name: str, own: str) -> Library:
    from torchvision import models

    # GoogLeNet and Inception train with auxiliary classifiers, which are in their weights.
    more = {"init_weights": False, "aux_logits": True} if own in ("googlenet", "inception_v3") else {}
    network = models.get_model(own, weights=None, **more)
    default: Any = models.get_model_weights(own).DEFAULT
    preset = default.transforms()
    linear = [n for n, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    network.set_submodule(linear, nn.Identity())
    for module in network.modules():
        if type(module).__name__ == "StochasticDepth":
            module.p = 0.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    names = [n for n, _ in network.named_parameters()]
    stages = [n for n in dict.fromkeys(_stage_of(n) for n in names) if n]
    return Library(
        name=name,
        network=network,
        classifier=(linear,),
        size=preset.crop_size[0],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
        fixed_size=hasattr(network, "image_size"),
        last_stage=stages[-1] if stages else None,
        find=functools.partial(cached_file, name, None, default.url),
        trained_on="ImageNet-1k",
    )


def _stage_of(parameter: str) -> str:
    """The stage of a parameter of torchvision, as in "layer4" or "features.7"; empty where it has none."""
    first, _, rest = parameter.partition(".")
    if first.startswith("layer"):
        return first
    return f"features.{rest.partition('.')[0]}" if first == "features" else ""


def _unknown_network(name: str, own: str, known: list[str]) -> UserError:
    near = difflib.get_close_matches(own, known, n=3, cutoff=0.5)
    meant = f"; did you mean {first_names(near)}?" if near else ""
    return UserError(f"{name.partition(':')[0]} has no network {own!r}{meant}")


def _data_of_tag(tag: str) -> str:
    """The data of a tag of timm, as in "sw_in12k_ft_in1k"."""
    found = [words for part in tag.split("_") if (words := _DATA_OF_TAG.get(part))]
    return " and ".join(dict.fromkeys(found)) or UNKNOWN_DATA


@functools.lru_cache(maxsize=32)
def _resolved(backbone: str, weights: str, changed: int) -> tuple[str, str]:
    del changed
    library = library_network(backbone)
    found = library.load(weights)
    path = weights if weights == "default" else str(given_file(weights))
    return f"{path}#{found}", library.trained_on if weights == "default" else UNKNOWN_DATA


def resolve_weights(backbone: str, weights: str) -> tuple[str, str]:
    """Return "default#HASH" or "PATH#HASH", and the data of the pretraining.

    Args:
        backbone: its name.
        weights: "default", a file, or what this function has returned, which is read again.

    Raises:
        UserError: as `Library.load`.
    """
    name = weights.rpartition("#")[0] or weights
    path = given_file(name)
    return _resolved(backbone, name, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.cache
def library_size(name: str) -> int:
    """Height = width of the images of a network's pretraining.

    Raises:
        UserError: as `library_network`.
    """
    return library_network(name).size
