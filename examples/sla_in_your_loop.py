"""SLA in your training loop, against the network without SLA."""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

import sla_bench


def network() -> nn.Module:
    """Any module serves that turns images (B, 3, H, W) into features (B, D); here D is 256."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def tensors(split: str, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a split as normalised images (N, 3, 32, 32) and labels (N,), at most `limit` of them."""
    data = sla_bench.load_dataset("glyphs20", split, by="images")
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:limit]
    images = torch.from_numpy(data.images)[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.from_numpy(data.labels)[chosen]


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--images", type=int, default=10_000, help="at most so many per split")
args = parser.parse_args()
(images, labels), (test, truth) = tensors("train", args.images), tensors("test", args.images)


def train(backbone: nn.Module, head: nn.Module, loss_of) -> None:
    """An ordinary loop; both trainings see the same batches."""
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=1e-3)
    for batch in torch.randint(len(labels), (args.steps, 64), generator=torch.Generator().manual_seed(1)):
        optimizer.zero_grad()
        loss_of(images[batch], labels[batch]).backward()
        optimizer.step()
    backbone.eval()


torch.manual_seed(0)
plain, linear = network(), nn.Linear(256, 20)
backbone, sla = network(), sla_bench.SLA(num_features=256, num_classes=20, distill=True)
backbone.load_state_dict(plain.state_dict())
train(plain, linear, lambda x, y: F.cross_entropy(linear(plain(x)), y))
train(backbone, sla, lambda x, y: sla.loss(backbone(sla.views(x)), y))  # what changes with SLA

with torch.no_grad():
    readings = {"baseline": linear(plain(test)), "SLA+AG": sla.predict(backbone(sla.views(test)), "ag")}
    readings |= {f"SLA+{mode.upper()}": sla.predict(backbone(test), mode) for mode in ("si", "sd")}
for name, logits in readings.items():
    print(f"{name:9} {100 * (logits.argmax(1) == truth).float().mean():.1f} %")
print("Equal steps, so SLA saw four times the images: train the baseline four times as long, too.")
