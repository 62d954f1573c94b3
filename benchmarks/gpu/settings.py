"""Settings whose images per second are measured."""

from __future__ import annotations

from dataclasses import dataclass

from sla_bench.config import Acceleration


@dataclass(frozen=True)
class Speed:
    """A way to run a backbone.

    Args:
        how: the backbone is run.
        backbone: name in the registry.
        processes: at a time, on one device.
        batch: images of a step of each process.
    """

    how: Acceleration
    backbone: str
    processes: int = 1
    batch: int = 128

    @property
    def name(self) -> str:
        """As in "captured resnet32-sla, 4 processes"."""
        return f"{self.how} {self.backbone}, {self.processes} process{'es' * (self.processes > 1)}"


TWELVE = (
    *(Speed("eager", name) for name in ("resnet32-sla", "airbench", "conv4", "resnet12")),
    *(Speed("captured", name) for name in ("resnet32-sla", "airbench", "conv4")),
    *(Speed("compiled", name) for name in ("resnet32-sla", "airbench")),
    Speed("eager", "resnet32-sla", 4),
    Speed("captured", "resnet32-sla", 4),
    Speed("eager", "airbench", 4),
)
"""Dropout of ResNet-12 can't be captured; compiled ones cost the most preparation."""
SMALL = (Speed("eager", "resnet8", batch=8), Speed("eager", "conv4-32", 2, batch=8))
"""For the test of the script on a CPU."""
