"""Accelerated backbones: the same values, statistics and files as the backbone alone."""

import copy
from types import SimpleNamespace

import pytest
import torch

from sla_bench.errors import UserError
from sla_bench.models.backbones.airbench import airbench
from sla_bench.models.backbones.resnet12 import resnet12
from sla_bench.training.acceleration import accelerated

ON_GPU = SimpleNamespace(device=torch.device("cuda"))


def network(seed=0):
    return airbench(28, width=0.1, generator=torch.Generator().manual_seed(seed)).train()


@pytest.fixture
def graphs(monkeypatch):
    """Stand in for CUDA: warm up as `make_graphed_callables` does, and replay by calling the module."""
    seen = []

    def make(module, arguments):
        assert module.training
        assert not torch.is_autocast_cache_enabled()
        seen.append(arguments)
        for _ in range(3):
            module(torch.randn(4, 3, 28, 28))
        return lambda images: module(images)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make)
    return seen


def test_a_captured_backbone_starts_from_the_state_that_it_had(graphs):
    backbone, plain = network(), network()
    captured = accelerated(backbone, "captured", "fp32", lambda: ON_GPU)
    assert graphs == [(ON_GPU,)]
    images = torch.randn(4, 3, 28, 28)
    assert torch.equal(captured(images), plain(images))
    for name, value in plain.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name
    # A copy for validation knows nothing of the graph.
    assert "forward" not in vars(copy.deepcopy(backbone))


@pytest.mark.parametrize(
    ("backbone", "batch", "sentence"),
    [
        (network, None, "batches of several shapes"),
        (network, lambda: torch.zeros(1), "an NVIDIA GPU, and the run is on cpu"),
        (lambda: resnet12(28), lambda: ON_GPU, "the dropout of ResNet12"),
    ],
)
def test_what_a_graph_cannot_hold_is_refused(backbone, batch, sentence):
    with pytest.raises(UserError, match=f"--capture: .*{sentence}"):
        accelerated(backbone(), "captured", "fp32", batch)


def test_resnet12_without_dropout_can_be_captured(graphs):
    assert accelerated(resnet12(28, drop_rate=0.0).train(), "captured", "fp32", lambda: ON_GPU)


@pytest.mark.slow
def test_a_compiled_backbone_trains_its_own_weights(monkeypatch):
    compile_it = torch.compile
    # The backend that needs no compiler; what is traced is the same.
    monkeypatch.setattr(torch, "compile", lambda m, **options: compile_it(m, backend="aot_eager", **options))
    backbone, plain = network(), network()
    compiled = accelerated(backbone, "compiled", "fp32", None)
    images = torch.randn(4, 3, 28, 28)
    for one in (compiled, plain):
        one(images).square().sum().backward()
    for (name, own), other in zip(backbone.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, msg=name)
    assert backbone.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(backbone.state_dict(), plain.state_dict())


def test_eager_is_the_backbone_itself():
    backbone = network()
    assert accelerated(backbone, "eager", "bf16", None) is backbone
