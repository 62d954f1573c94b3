"""MAML: gradient steps on the whole network, for each episode."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.errors import UserError, positive
from sla_bench.models.backbones.base import Backbone
from sla_bench.models.heads.base import check_labels, check_shapes
from sla_bench.models.heads.inner_loop import InnerLoop, normalize_by_supports, set_num_supports
from sla_bench.models.peers import learn2learn


class MAML(nn.Module):
    """Network and linear classifier take gradient steps on the supports (Finn et al. 2017, arXiv 1703.03400).

    The start of the network is what is learned; the classifier starts at zero, for any number of ways, as
    that of `ANIL`. Batches are normalised by the supports (`SupportBatchNorm2d`).

    Args:
        inner_steps: gradient steps in training, from 0.
        inner_rate: their rate, above 0; it is not rescaled with the number of ways.
        first_order: do not differentiate through the inner gradients.
        test_inner_steps: steps at test; None means `inner_steps`.
        scale: initial value of the learnable factor on all logits, as of all heads here.

    Raises:
        UserError: an option is out of range, or learn2learn is not installed.
    """

    def __init__(
        self,
        *,
        inner_steps: int = 5,
        inner_rate: float = 0.01,
        first_order: bool = False,
        test_inner_steps: int | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.inner_loop = InnerLoop("MAML", inner_steps, inner_rate, first_order, test_inner_steps)
        self.scale = nn.Parameter(torch.tensor(positive("MAML", "scale", scale)))

    @property
    def support_passes(self) -> int:
        """How often each support passes through the network: once a step, and once for its statistics."""
        return self.inner_loop.steps(self.training) + 1

    def forward(
        self, network: Backbone, support: Tensor, support_labels: Tensor, query: Tensor, ways: int
    ) -> Tensor:
        """Adapt a copy of the network to the supports of each episode and score its queries.

        Args:
            network: the start; dropout inside it draws from its own generator.
            support: flattened square images (E, S, 3*H*W).
            support_labels: int64 (E, S), values 0..ways-1, each class at least once per episode.
            query: (E, Q, 3*H*W).
            ways: number of classes.

        Returns:
            Logits (E, Q, ways), float32, or float64 if the images are.

        Raises:
            UserError: shapes or labels do not fit, or a test's logits are NaN or infinite.
        """
        check_shapes(support, support_labels, query, ways)
        check_labels(support_labels, support_labels[..., None] == _classes(support_labels, ways), ways)
        # Copies share an existing generator; without one, each copy would start its own.
        _ = network.generator
        with torch.enable_grad():
            start: Backbone = learn2learn().clone_module(network)
        normalize_by_supports(start)
        episodes = zip(_images(support), support_labels, _images(query), strict=True)
        logits = torch.stack([self._episode(start, *episode, ways) for episode in episodes])
        if not self.training and not bool(torch.isfinite(logits).all()):
            raise UserError(
                f"MAML: logits are not finite after {self.inner_loop.steps(False)} inner steps of rate "
                f"{self.inner_loop.rate:g}: lower inner_rate or test_inner_steps"
            )
        return logits * self.scale.to(logits.dtype)

    def _episode(self, start: Backbone, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Logits (Q, ways) of one episode's queries."""

        def loss(adapted: _Classifier) -> Tensor:
            return F.cross_entropy(adapted(support, len(support)), labels)

        adapted: _Classifier = self.inner_loop.adapt(_Classifier(start, ways, support), loss, self.training)
        # The supports come along: the adapted network has other statistics of them.
        logits: Tensor = adapted(torch.cat([support, query]), len(support))
        return logits[len(support) :]


class _Classifier(nn.Module):
    """A network with a linear layer: images (B, 3, H, W), supports first -> (B, ways)."""

    def __init__(self, network: Backbone, ways: int, like: Tensor) -> None:
        super().__init__()
        self.network = network
        self.weight = nn.Parameter(like.new_zeros(ways, network.num_features))
        self.bias = nn.Parameter(like.new_zeros(ways))

    def forward(self, images: Tensor, num_supports: int) -> Tensor:
        set_num_supports(self.network, num_supports)
        features = self.network(images.contiguous(memory_format=torch.channels_last))
        with torch.autocast(device_type=images.device.type, enabled=False):
            return F.linear(features.to(self.weight.dtype), self.weight, self.bias)


def _images(pixels: Tensor) -> Tensor:
    """(E, B, 3*H*W) -> (E, B, 3, H, W)."""
    size = math.isqrt(pixels.shape[2] // 3)
    if 3 * size**2 != pixels.shape[2]:
        raise UserError(f"MAML takes square images of 3 channels, flattened; got {pixels.shape[2]} values")
    images: Tensor = pixels.unflatten(2, (3, size, size))
    return images


def _classes(labels: Tensor, ways: int) -> Tensor:
    return torch.arange(ways, device=labels.device)
