"""Baseline and SLA on long-tailed images, in one file without the package.

    python examples/sla_in_one_file.py FOLDER      # holds cifar-100-binary/ or cifar-100-python/
    python examples/sla_in_one_file.py             # without CIFAR-100: letters that are drawn here

SLA (Lee, Hwang, Shin, ICML 2020, arXiv 1910.05872) learns the joint label (class i, quarter turn j), number
4 i + j. At test all four views vote, each with the logits of its own turn (AG), or the upright view alone
decides (SI). A step of SLA passes four times the images, so the baseline is also trained for four times the
steps (x4), and its four views are random crops, because it never saw a turn.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torchvision.datasets import CIFAR100

M = 4
LETTERS = "ABCDEFGHJKLMPQRTUVWY"


def long_tail(labels: np.ndarray, ratio: float = 100.0, seed: int = 0) -> np.ndarray:
    """Positions of a long tail: class i of N keeps n_max ratio^(-i / (N - 1)) images (LDAM-DRW)."""
    counts, random = np.bincount(labels), np.random.RandomState(seed)
    kept = []
    for i, available in enumerate(counts):
        positions = np.flatnonzero(labels == i)
        random.shuffle(positions)
        kept.append(positions[: int(available * (1 / ratio) ** (i / (len(counts) - 1)))])
    return np.concatenate(kept)


def cifar100(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 3, 32, 32) and labels (n,) of "train" or "test"."""
    if (binary := folder / "cifar-100-binary" / f"{split}.bin").is_file():
        rows = np.fromfile(binary, np.uint8).reshape(-1, 2 + 3072)
        return rows[:, 2:].reshape(-1, 3, 32, 32), rows[:, 1].astype(np.int64)
    data = CIFAR100(folder, train=split == "train")
    return data.data.transpose(0, 3, 1, 2), np.array(data.targets)


def letters(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Upright letters of random place, size and colours: uint8 (n, 3, 32, 32), labels (n,)."""
    random, labels = np.random.default_rng(seed), np.repeat(np.arange(len(LETTERS)), per_class)
    images = []
    for label in labels:
        back, ink = random.integers(0, 256, (2, 3))
        image = Image.new("RGB", (32, 32), tuple(back.tolist()))
        font = ImageFont.load_default(int(random.integers(14, 29)))
        place = tuple(random.uniform(10, 22, 2).tolist())
        ImageDraw.Draw(image).text(place, LETTERS[label], tuple(ink.tolist()), font, anchor="mm")
        noisy = np.asarray(image, np.float32) + random.normal(0, 32, (32, 32, 3))
        images.append(noisy.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
    return np.stack(images), labels


class Group(nn.Module):
    """Convolution, pooling, normalisation, GELU; convolution, normalisation, GELU."""

    def __init__(self, channels: int, wider: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, wider, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(wider, wider, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(wider, momentum=0.4), nn.BatchNorm2d(wider, momentum=0.4)
        for conv in (self.conv1, self.conv2):
            nn.init.dirac_(conv.weight.data[: conv.in_channels])

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H // 2, W // 2)."""
        maps = F.gelu(self.norm1(F.max_pool2d(self.conv1(maps), 2)))
        return F.gelu(self.norm2(self.conv2(maps)))


class Network(nn.Module):
    """airbench94 (Jordan 2024, arXiv 2404.00498) at half its width."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        turned = images[torch.randperm(len(images))[:5000]]
        turned = torch.cat([turned.rot90(j, (2, 3)) for j in range(M)])
        patches = torch.cat([turned, turned.flip(3)]).unfold(2, 2, 1).unfold(3, 2, 1)
        patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        variances, axes = torch.linalg.eigh((patches.T @ patches / len(patches)).double())
        filters = (axes / (variances + 5e-4).sqrt()).T.reshape(12, 3, 2, 2).float()
        self.register_buffer("whitening", torch.cat([filters, -filters]))
        self.whitening_bias = nn.Parameter(torch.zeros(24))
        self.groups = nn.Sequential(Group(24, 32), Group(32, 128), Group(128, 128))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> embeddings (B, 128)."""
        maps: Tensor = self.groups(F.gelu(F.conv2d(images, self.whitening, self.whitening_bias)))
        return maps.amax((2, 3))


def turns(images: Tensor) -> Tensor:
    """All quarter turns: (B, 3, H, H) -> (4 B, 3, H, H), the turns of one image side by side."""
    return torch.stack([images.rot90(j, (2, 3)) for j in range(M)], 1).flatten(0, 1)


def crops(images: Tensor) -> Tensor:
    """Each image shifted by up to four pixels, black beyond its edge, and mirrored or not."""
    n, size = len(images), images.shape[-1]
    row, column = torch.randint(0, 9, (2, n, 1, 1))
    rows, columns = row + torch.arange(size)[:, None], column + torch.arange(size)
    columns = torch.where(torch.rand(n, 1, 1) < 0.5, columns.flip(2), columns)
    padded = F.pad(images, (4, 4, 4, 4))
    return padded.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], rows, columns].permute(0, 3, 1, 2)


def joint_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits (B * 4, N * 4) with the joint labels of classes (B,)."""
    return F.cross_entropy(logits, (M * labels[:, None] + torch.arange(M)).flatten())


def joint_scores(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B, N) of SLA+AG and SLA+SI from logits (B * 4, N * 4)."""
    own = logits.unflatten(0, (-1, M)).unflatten(-1, (-1, M)).diagonal(dim1=1, dim2=3)
    return own.mean(-1), own[..., 0]


def rate_factor(step: int, steps: int) -> float:
    """Factor of the learning rate at step 0, 1, ...: it rises for a fifth of the steps and falls to 0."""
    return min((step + 1) / (0.2 * steps), 1.0) * min((1 - step / steps) / 0.8, 1.0)


def train(images: Tensor, labels: Tensor, classes: int, joint: bool, epochs: int) -> list[nn.Module]:
    """Fit the network and a linear head with SGD; returns both."""
    network = Network(images).to(memory_format=torch.channels_last)
    head = nn.Linear(128, classes * M if joint else classes)
    parameters = [*network.parameters(), *head.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 1.5e-3},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.2, momentum=0.9, nesterov=True)
    batches = -(-len(images) // 128)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: rate_factor(k, epochs * batches))
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).tensor_split(batches):
            batch = crops(images[chosen])
            batch = (turns(batch) if joint else batch).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                embeddings = network(batch)
            logits = head(embeddings.float())
            loss = joint_loss(logits, labels[chosen]) if joint else F.cross_entropy(logits, labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return [network.eval(), head]


@torch.inference_mode()
def accuracies(
    network: nn.Module, head: nn.Module, images: Tensor, labels: Tensor, joint: bool
) -> list[float]:
    """In percent: of the votes of four views, of the upright view."""
    hits = []
    for batch, true in zip(images.split(500), labels.split(500), strict=True):
        views = turns(batch) if joint else torch.stack([batch, *map(crops, [batch] * 3)], 1).flatten(0, 1)
        logits = head(network(views.contiguous(memory_format=torch.channels_last)))
        votes = logits.unflatten(0, (-1, M))
        scores = joint_scores(logits) if joint else (votes.mean(1), votes[:, 0])
        hits.append(torch.stack([score.argmax(1) == true for score in scores]))
    return (100 * torch.cat(hits, 1).float().mean(1)).tolist()


def main() -> None:
    """Print the accuracies of the baseline, of the baseline of four times the steps, and of SLA."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="holds CIFAR-100 [default: letters]")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--ratio", type=float, default=100.0, help="largest class / smallest class")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    real = [cifar100(options.folder, split) for split in ("train", "test")] if options.folder else None
    (train_images, train_labels), (test_images, test_labels) = real or [letters(400, 0), letters(100, 1)]
    kept = long_tail(train_labels, options.ratio)
    images, tests = (torch.tensor(x).float() / 255 for x in (train_images[kept], test_images))
    spread, mean = torch.std_mean(images, (0, 2, 3), keepdim=True)
    images, tests = (images - mean) / spread, (tests - mean) / spread
    labels, true = torch.tensor(train_labels[kept]), torch.tensor(test_labels)
    classes = int(true.max()) + 1
    print(f"{len(images):,} training images, {classes} classes, largest / smallest {options.ratio:g}")
    for name, joint, longer in (("baseline", False, 1), ("baseline-x4", False, M), ("SLA", True, 1)):
        torch.manual_seed(options.seed)
        trained = train(images, labels, classes, joint, longer * options.epochs)
        four, single = accuracies(*trained, tests, true, joint)
        print(f"{name:12} {single:5.1f} % with one view, {four:5.1f} % with four", flush=True)


if __name__ == "__main__":
    main()
