"""SLA in somebody else's training loop, on somebody else's network."""

from importlib import resources

import pytest
import torch
from torchvision.models import resnet18

import sla_bench

CLASSES = 3


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def network():
    """torchvision's ResNet-18 without its classifier: 512 features."""
    module = resnet18(weights=None)
    module.fc = torch.nn.Identity()
    return module


def batch(images=9):
    """Squares that are bright in one of three places: the class; and noise."""
    labels = torch.arange(images) % CLASSES
    pictures = 0.3 * torch.randn(images, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    corners = [(0, 0), (0, 8), (4, 4)]
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        top, left = corners[label]
        picture[label, top : top + 8, left : left + 8] += 3
    return pictures, labels


def test_a_torchvision_network_learns_with_sla_in_an_ordinary_loop():
    torch.set_num_threads(1)
    backbone = network()
    sla = sla_bench.SLA(num_features=512, num_classes=CLASSES, transform="rotation", distill=True)
    optimizer = torch.optim.Adam([*backbone.parameters(), *sla.parameters()], lr=1e-3)
    images, labels = batch()
    losses = []
    for _ in range(10):
        loss = sla.loss(backbone(sla.views(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None for p in [*backbone.parameters(), *sla.parameters()])
    with torch.no_grad():
        # Batch statistics: running ones need more steps than a test has.
        voted = sla.predict(backbone(sla.views(images)), "ag")
        single, distilled = (sla.predict(backbone(images), mode) for mode in ("si", "sd"))
    for logits in (voted, single, distilled):
        assert logits.shape == (len(labels), CLASSES)
    assert float((voted.argmax(1) == labels).float().mean()) > 0.8


def test_the_heads_are_an_ordinary_module_to_save_and_load(tmp_path):
    from safetensors.torch import load_file, save_file

    one, other = (sla_bench.SLA(8, CLASSES, distill=True) for _ in range(2))
    save_file(one.state_dict(), tmp_path / "heads.safetensors")
    other.load_state_dict(load_file(tmp_path / "heads.safetensors"))
    features = torch.randn(4 * one.num_views, 8)
    for mode in ("ag", "si", "sd"):
        assert torch.equal(one.predict(features, mode), other.predict(features, mode))


def test_the_package_says_that_it_is_typed():
    assert resources.files("sla_bench").joinpath("py.typed").is_file()
