"""Batch normalisation in eval mode is an affine map per channel: the convolution before it can do it."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

Module = TypeVar("Module", bound=nn.Module)


def fold(model: Module) -> Module:
    """Copy a model for inference, with each batch normalisation folded into the convolution before it.

    Folded are the pairs of `nn.Conv2d` and `nn.BatchNorm2d` that follow each other in an `nn.Sequential`, at
    any depth; any other batch normalisation stays and uses its running statistics.

    Args:
        model: is not changed.

    Returns:
        A copy in eval mode that computes what `model.eval()` would compute, up to rounding.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in folded.modules():
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)
    return folded


def _fold_sequence(layers: nn.Sequential) -> None:
    for i in range(len(layers) - 1):
        conv, norm = layers[i], layers[i + 1]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers[i] = fuse_conv_bn_eval(conv, norm)
            layers[i + 1] = nn.Identity()
