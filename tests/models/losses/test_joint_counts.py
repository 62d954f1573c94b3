"""Losses over joint labels: repeated counts give the classes' weights and margins."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sla_bench.adapters.pieces import get_loss
from sla_bench.objectives.scores import aggregate, joint_labels, split_joint
from sla_bench.registry import LOSSES

COUNTS = torch.tensor([300, 40, 5])
VIEWS = 4
JOINT = COUNTS.repeat_interleave(VIEWS)


def repeated(per_class):
    return per_class.repeat_interleave(VIEWS)


def test_weights_and_margins_are_those_of_the_class():
    one, joint = get_loss("ldam-drw", COUNTS), get_loss("ldam-drw", JOINT)
    torch.testing.assert_close(joint.reweighting.weights, repeated(one.reweighting.weights))
    torch.testing.assert_close(joint.margins, repeated(one.margins))


@pytest.mark.parametrize("name", LOSSES)
def test_a_joint_label_is_treated_as_its_class(name, make_batch):
    """With all other views' columns out of the way, the joint loss of a view is the loss of the class."""
    logits, labels = make_batch(len(COUNTS))
    one, joint = get_loss(name, COUNTS), get_loss(name, JOINT)
    view = 2
    wide = torch.full((len(labels), len(COUNTS), VIEWS), -1e9, dtype=torch.float64)
    wide[..., view] = logits
    for progress in (0.0, 0.9):
        one.reweight(progress)
        joint.reweight(progress)
        torch.testing.assert_close(
            joint(wide.flatten(1), joint_labels(labels, VIEWS)[:, view]), one(logits, labels)
        )


@pytest.mark.parametrize("name", LOSSES)
def test_aggregated_scores_rank_classes_as_without_views(name):
    """Where all views agree on f, the aggregated scores have the softmax of the class's own scores."""
    logits = torch.randn(6, len(COUNTS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    joint_logits = repeated_columns(logits)[:, None].expand(-1, VIEWS, -1)
    scores = split_joint(get_loss(name, JOINT).scores(joint_logits), VIEWS)
    expected = F.softmax(get_loss(name, COUNTS).scores(logits), dim=1)
    torch.testing.assert_close(F.softmax(aggregate(scores), dim=1), expected, rtol=1e-5, atol=1e-8)


def repeated_columns(logits):
    return logits.repeat_interleave(VIEWS, dim=1)


def test_logit_adjustment_lifts_small_classes_in_the_joint_scores():
    flat = torch.zeros(1, VIEWS, len(JOINT))
    scores = aggregate(split_joint(get_loss("logit-adjust", JOINT).scores(flat), VIEWS))
    torch.testing.assert_close(scores[0].diff(), (COUNTS[:-1] / COUNTS[1:]).log())


def test_the_mean_over_views_is_weighted_by_class_alone(make_batch):
    """B*M rows in one call, or view by view: the same, since every view has the same labels."""
    logits, _ = make_batch(len(JOINT), batch=5 * VIEWS)
    labels = joint_labels(torch.tensor([0, 2, 1, 0, 2]), VIEWS)
    criterion = get_loss("cb-rw", JOINT)
    by_view = logits.view(5, VIEWS, -1)
    each = [criterion(by_view[:, j], labels[:, j]) for j in range(VIEWS)]
    torch.testing.assert_close(criterion(logits, labels.flatten()), torch.stack(each).mean())
