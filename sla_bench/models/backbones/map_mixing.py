"""Manifold mixup: pairs are mixed as pixels or after a stage."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sla_bench.models.backbones.base import Backbone
from sla_bench.seeds import torch_seeded
from sla_bench.views.mixing import draw_seed
from sla_bench.views.transfer import to_device

_ALPHA = 2.0


class MapMixing:
    """A backbone that mixes the first of the V images of each example with that of another example.

    Verma et al. 2019, arXiv 1806.05236, with the shares of S2M2 (Mangla et al. 2020, arXiv 1907.12087).

    Args:
        backbone: with stages.
        per_example: V.

    Attributes:
        partners: int64 (B,), the example that each is mixed with.
        share: of the example itself, in 0..1, from Beta(2, 2).
        place: 0 are the pixels, l the maps after stage l.
    """

    def __init__(self, backbone: Backbone, per_example: int) -> None:
        self.backbone, self.per_example = backbone, per_example
        self.partners, self.share, self.place = torch.empty(0, dtype=torch.int64), 1.0, 0

    def draw(self, examples: int, generator: Generator) -> None:
        """Draw partners, share and place for the next batch of B examples."""
        self.partners = torch.randperm(examples, generator=generator)
        self.place = int(torch.randint(len(self.backbone.stages) + 1, (), generator=generator))
        with torch_seeded(draw_seed(generator)):
            self.share = float(torch.distributions.Beta(_ALPHA, _ALPHA).sample())

    def __call__(self, images: Tensor) -> Tensor:
        """Embed images, those of an example together: (B*V, 3, H, W) -> (B*V, D)."""
        if self.place == 0:
            mixed: Tensor = self.backbone(self._mixed(images))
            return mixed
        end = self.backbone.stages[self.place - 1][-1]
        hook = end.register_forward_hook(lambda module, given, maps: self._mixed(maps))
        try:
            features: Tensor = self.backbone(images)
        finally:
            hook.remove()
        return features

    def _mixed(self, maps: Tensor) -> Tensor:
        first = maps[:: self.per_example]
        found = maps.clone()
        other = first[to_device(self.partners, maps.device)]
        found[:: self.per_example] = self.share * first + (1 - self.share) * other
        return found
