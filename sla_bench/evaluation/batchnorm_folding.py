"""Folds batch normalisation in eval mode into the convolution before it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable
from typing import TypeVar

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

Module = TypeVar("Module", bound=nn.Module)


def fold(model: Module) -> Module:
    """Copy a model for inference, with each batch normalisation folded into the convolution before it.

    Folded are the pairs of `nn.Conv2d` and `nn.BatchNorm2d` that follow each other in an `nn.Sequential`, and
    those whose names a module lists in an attribute `conv_bn_pairs`, at any depth; any other batch
    normalisation stays and uses its running statistics.

    Args:
        model: is not changed.

    Returns:
        A copy in eval mode that computes what `model.eval()` would compute, up to rounding.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in folded.modules():
        for conv_name, norm_name in _pairs(module):
            conv, norm = getattr(module, conv_name), getattr(module, norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return folded


def _pairs(module: nn.Module) -> Iterable[tuple[str, str]]:
    """Names of two children each; the second alone is applied to the output of the first."""
    if isinstance(module, nn.Sequential):
        # A layer may stand in a sequence more than once, and `named_children` would name it only once.
        return itertools.pairwise(tuple(module._modules))  # noqa: SLF001
    return getattr(module, "conv_bn_pairs", ())
