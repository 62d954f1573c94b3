"""Balanced contrastive learning: naive formula in double precision, its relation to supervised contrast."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.objectives.classes import Classes, OnClasses
from sla_bench.objectives.scores import balanced_contrast
from sla_bench.registry import LOSSES, METHODS, TRANSFORMS
from sla_bench.seeds import torch_seeded

B, N, D, M, T = 6, 4, 5, 4, 0.3
COUNTS = torch.tensor([40, 9, 2, 7])
# No image of the last class is in the batch.
LABELS = torch.tensor([0, 1, 2, 0, 0, 1])


def build(name="bcl", loss="ce", **options):
    method = replace(METHODS.load(name), **options)
    with torch_seeded(0):
        return OnClasses(method, D, Classes(COUNTS, LOSSES.load(loss)), TRANSFORMS.load("rotation"))


def features(dtype=torch.float64):
    return torch.randn(B, M, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def directions(count, seed=0):
    drawn = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(drawn, dim=1)


def layers(head, rows):
    """A two-layer projection of (R, D), normalised over the rows, brought to length 1."""
    first, norm, _, last = head
    hidden = rows @ first.weight.T + first.bias
    mean, deviation = hidden.mean(0), (hidden.var(0, correction=0) + norm.eps).sqrt()
    hidden = ((hidden - mean) / deviation * norm.weight + norm.bias).clamp(min=0)
    out = hidden @ last.weight.T + last.bias
    return out / out.norm(dim=1, keepdim=True)


def naive(points, labels, prototypes, temperature):
    """Mean over the points, with loops."""
    total = 0
    for a, point in enumerate(points):
        of_class = [[prototype] for prototype in prototypes]
        for b, other in enumerate(points):
            if b != a:
                of_class[labels[b]].append(other)
        powers = [[torch.exp(point @ other / temperature) for other in group] for group in of_class]
        everyone = sum(sum(group) / len(group) for group in powers)
        own = powers[labels[a]]
        total = total - sum(torch.log(power / everyone) for power in own) / len(own)
    return total / len(points)


@pytest.mark.parametrize(("loss", "by_class"), [("ce", 0), ("balanced-softmax", 0), ("ldam", 1)])
def test_the_loss_is_the_runs_own_beside_the_naive_contrast(loss, by_class):
    """The weights of a class are a row, or a column in a layer of cosines."""
    objective, z = build(loss=loss, weight=0.7, temperature=T).double(), features()
    points = layers(objective.projection_head, z.flatten(0, 1))
    weights = objective.head.weight.T if by_class else objective.head.weight
    prototypes = layers(objective.prototype_head, weights)
    contrast = naive(points, LABELS.repeat_interleave(M).tolist(), prototypes, T)
    da = build("da", loss).double()
    expected = da.loss(z, LABELS)[0] + 0.7 * contrast
    found, accuracy = objective.loss(z, LABELS)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert torch.equal(accuracy, da.loss(z, LABELS)[1])
    # Prototypes teach the class layer, too.
    (ours,) = torch.autograd.grad(found, objective.head.weight, retain_graph=True)
    (theirs,) = torch.autograd.grad(0.7 * contrast, objective.head.weight)
    (alone,) = torch.autograd.grad(da.loss(z, LABELS)[0], da.head.weight)
    assert theirs.abs().max() > 0
    torch.testing.assert_close(ours, theirs + alone, rtol=1e-8, atol=1e-10)


def test_without_its_weight_it_is_da():
    assert torch.equal(
        build(weight=0.0).loss(features(torch.float32), LABELS)[0],
        build("da").loss(features(torch.float32), LABELS)[0],
    )


def supervised_contrast(points, labels):
    """Khosla et al. 2020, arXiv 2004.11362, L_out of each point, (A,)."""
    similar = (points @ points.T / T).fill_diagonal_(-torch.inf)
    same = (labels[:, None] == labels).fill_diagonal_(False)
    everyone = similar.exp().sum(1).log()
    return torch.stack([everyone[a] - similar[a][same[a]].mean() for a in range(len(points))])


def test_without_prototypes_it_is_supervised_contrast_less_the_log_of_a_class():
    """Of n others in every class all means have one factor, 1 / n."""
    labels = torch.tensor([0] * 5 + [1] * 4 + [2] * 4)
    points, none = directions(len(labels)), torch.empty(0, 3, dtype=torch.float64)
    found, theirs = balanced_contrast(points, labels, none, T), supervised_contrast(points, labels)
    torch.testing.assert_close(found[:5], theirs[:5] - math.log(4), rtol=1e-12, atol=0)
    # Of n images in every class a point has n - 1 others in its own.
    labels, points = labels[1:], points[1:]
    found, theirs = balanced_contrast(points, labels, none, T), supervised_contrast(points, labels)
    assert (found > theirs - math.log(4)).all()
    assert (found < theirs - math.log(3)).all()


def test_more_images_of_another_class_do_not_count_more():
    points, labels, prototypes = directions(5), torch.tensor([0, 0, 1, 2, 2]), directions(3, seed=1)
    # Class 1 five times, its prototype included.
    more = torch.cat([points, points[2:3].expand(4, -1), prototypes[1:2].expand(4, -1)])
    found = balanced_contrast(more, torch.cat([labels, torch.ones(8, dtype=torch.int64)]), prototypes, T)
    once = balanced_contrast(points, labels, prototypes, T)
    torch.testing.assert_close(found[[0, 1, 3, 4]], once[[0, 1, 3, 4]], rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_in_low_precision(dtype):
    objective, z = build(temperature=0.01).to(dtype), features(dtype).requires_grad_()
    with torch.no_grad():
        z[1] = z[0]
    loss, _ = objective.loss(z, LABELS)
    gradients = torch.autograd.grad(loss, [z, *objective.parameters()])
    assert loss.dtype == torch.float32
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients[:3])


def test_other_class_layers_are_refused_with_a_sentence():
    objective = build()
    objective.head = torch.nn.Sequential(objective.head)
    with pytest.raises(UserError, match="BCL needs a weight for each class and feature, which a Sequential"):
        objective.loss(features(torch.float32), LABELS)
