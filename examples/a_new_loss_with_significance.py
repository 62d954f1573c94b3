"""A loss of your own against those of the suite, on a long tail: gains with intervals and adjusted p.

python examples/a_new_loss_with_significance.py --seeds 5    (docs/adding-a-piece.md: the same in the suite)
"""

import argparse

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import sla_bench

FEATURES, CLASSES = 1024, 20
COUNTS = sla_bench.long_tailed_counts(CLASSES, 300, "exp", ratio=50)


def new_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Class-dependent temperatures (Ye et al. 2020, arXiv 2001.01385): cross entropy of f (n / n_max)^0.2."""
    return F.cross_entropy(logits * (torch.tensor(COUNTS) / max(COUNTS)) ** 0.2, labels)


def hits(name: str, seed: int, steps: int, train, test) -> np.ndarray:
    """Train with one loss from one seed; which test images are right, (T,)."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    own = None if name == "new" else sla_bench.get_loss(name, class_counts=COUNTS)
    head = nn.Linear(FEATURES, CLASSES) if own is None else own.head(FEATURES)
    model = nn.Sequential(*layers, nn.Flatten(), head)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for batch in torch.randint(len(train[1]), (steps, 64)):
        optimizer.zero_grad()
        (own or new_loss)(model(train[0][batch]), train[1][batch]).backward()
        optimizer.step()
    with torch.no_grad():
        logits = model.eval()(test[0])
    return ((logits if own is None else own.scores(logits)).argmax(1) == test[1]).double().numpy()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--steps", type=int, default=400)
args = parser.parse_args()
train, test = (sla_bench.load_dataset("glyphs20", split, by="images") for split in ("trainval", "test"))
index = sla_bench.long_tailed_indices(train.labels, ratio=50, max_class_size=300)
pixels = [torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1 for x in (train.images[index], test.images)]
data = [(x, torch.from_numpy(y)) for x, y in zip(pixels, (train.labels[index], test.labels), strict=True)]
names = ("ce", "cb-rw", "balanced-softmax", "ldam", "new")
right = {name: np.stack([hits(name, s, args.steps, *data) for s in range(args.seeds)]) for name in names}
gain = {n: sla_bench.paired_relative_gain(right["ce"], right[n], strata=test.labels) for n in names[1:]}
p = 0.0
for rank, name in enumerate(sorted(gain, key=lambda name: gain[name].p_value)):
    g, p = gain[name], max(p, min(1.0, (len(gain) - rank) * gain[name].p_value))  # Holm
    print(f"{name:17}{100 * right[name].mean():.1f} %, over ce {100 * g.estimate:+.1f} %", end="")
    print(f" ({100 * g.low:+.1f} to {100 * g.high:+.1f}), p {p:.2g} after Holm over {len(gain)}")
