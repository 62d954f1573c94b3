"""Objectives under mixes: mixed labels are soft targets over joint labels."""

import pytest
import torch
from test_classifier_objectives import METHOD_NAMES, B, D, M, N, build
from torch.nn import functional as F

from sla_bench.data.base import ImageProperties
from sla_bench.objectives.scores import aggregate, distillation_loss, split_joint
from sla_bench.registry import LOSSES, MIXES
from sla_bench.views.mixing import Mixed

PROPERTIES = ImageProperties(8)
LABELS = torch.tensor([0, 1, 2, 0, 0, 1])
OTHERS = torch.tensor([2, 0, 1, 0, 2, 2])
WEIGHT = 0.3


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_every_objective_trains_under_every_mix(method, mix):
    objective = build(method)
    backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, D))
    options = {"probability": 1.0} if mix in ("mixup", "cutmix") else {}
    piece = MIXES.load(mix)(PROPERTIES, **options)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(B * objective.copies, 3, 8, 8, generator=generator)
    mixed = piece(images, LABELS, generator)
    pictures = mixed.images
    numbers = objective.drawn(len(pictures), generator)
    pictures = objective.shown(pictures, numbers, generator)
    features = backbone(pictures).view(B, objective.images_per_image, D)
    partners = (torch.randperm(B, generator=generator), 0.3)
    before = torch.randn(B, objective.criterion.num_classes, generator=generator)
    loss, accuracy = mixed.loss(lambda labels: objective.loss(features, labels, numbers, before, partners))
    loss.backward()
    assert torch.isfinite(loss)
    assert 0 <= float(accuracy) <= 1
    parameters = [*objective.named_parameters(), *backbone.named_parameters()]
    for name, parameter in parameters:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def mixed_batch():
    features = torch.randn(B, M, D, generator=torch.Generator().manual_seed(1))
    return features, Mixed(torch.zeros(0), LABELS, OTHERS, WEIGHT)


def soft(labels, others, classes):
    return WEIGHT * F.one_hot(labels, classes) + (1 - WEIGHT) * F.one_hot(others, classes)


def soft_joint_loss(objective, features):
    """mean over images and views of CE(w(z_j), WEIGHT (y, j) + (1 - WEIGHT) (y', j)), view after view."""
    total = torch.zeros(())
    for j in range(M):
        targets = soft(LABELS * M + j, OTHERS * M + j, N * M).float()
        total = total + F.cross_entropy(objective.joint_head(features[:, j]), targets) / M
    return total


def assert_same(ours, expected, objective):
    torch.testing.assert_close(ours, expected)
    gradients = [
        torch.autograd.grad(loss, list(objective.parameters()), retain_graph=True, allow_unused=True)
        for loss in (ours, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_the_joint_loss_is_the_cross_entropy_against_the_joint_label_mixed_within_the_view():
    objective = build("sla")
    features, mixed = mixed_batch()
    loss, _ = mixed.loss(lambda labels: objective.loss(features, labels))
    assert_same(loss, soft_joint_loss(objective, features), objective)


@pytest.mark.parametrize("method", ["sla+sd", "sla+u"])
def test_the_divergence_counts_once_and_the_second_head_has_soft_targets(method):
    objective = build(method, single_weight=0.7)
    features, mixed = mixed_batch()
    loss, _ = mixed.loss(lambda labels: objective.loss(features, labels))
    logits = objective.head(features[:, 0])
    expected = soft_joint_loss(objective, features)
    expected = expected + 0.7 * F.cross_entropy(logits, soft(LABELS, OTHERS, N).float())
    if method == "sla+sd":
        expected = expected + distillation_loss(
            logits, aggregate(split_joint(objective.joint_head(features), M))
        )
    assert_same(loss, expected, objective)


@pytest.mark.parametrize("method", ["da", "mt"])
def test_views_under_the_images_label_have_soft_targets_and_the_view_is_counted_once(method):
    objective = build(method)
    features, mixed = mixed_batch()
    loss, _ = mixed.loss(lambda labels: objective.loss(features, labels))
    targets = soft(LABELS, OTHERS, N).float().repeat_interleave(M, dim=0)
    expected = F.cross_entropy(objective.head(features).flatten(0, 1), targets)
    if method == "mt":
        views = torch.arange(M).repeat(B)
        expected = expected + F.cross_entropy(objective.view_head(features).flatten(0, 1), views)
    assert_same(loss, expected, objective)


@pytest.mark.parametrize("loss", LOSSES)
def test_other_criteria_are_mixed_by_their_losses(loss):
    objective = build("sla+sd", loss)
    objective.reweight(0.9)
    features, mixed = mixed_batch()
    value, _ = mixed.loss(lambda labels: objective.loss(features, labels))
    first, other = (objective.loss(features, labels)[0] for labels in (LABELS, OTHERS))
    torch.testing.assert_close(value, WEIGHT * first + (1 - WEIGHT) * other)
    assert torch.isfinite(value)
