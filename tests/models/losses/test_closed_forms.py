"""Each loss against its formula, one image at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from sla_bench.adapters.pieces import get_loss
from sla_bench.errors import UserError
from sla_bench.models.losses.criteria import CosineHead, Focal

COUNTS = [400, 81, 16, 1]


def mean_over_images(logits, labels, formula):
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    return sum(formula(row, label) for row, label in rows) / len(labels)


def log_softmax(row, label):
    return row[label] - math.log(sum(math.exp(v) for v in row))


def test_balanced_softmax(make_batch):
    logits, labels = make_batch(4)

    def formula(row, label):
        weighted = [n * math.exp(v) for n, v in zip(COUNTS, row, strict=True)]
        return -math.log(weighted[label] / sum(weighted))

    criterion = get_loss("balanced-softmax", COUNTS)
    expected = mean_over_images(logits, labels, formula)
    assert float(criterion(logits, labels)) == pytest.approx(expected, rel=1e-6)
    assert torch.equal(criterion.scores(logits), logits)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_focal(gamma, make_batch):
    logits, labels = make_batch(4)

    def formula(row, label):
        log_p = log_softmax(row, label)
        return -((1 - math.exp(log_p)) ** gamma) * log_p

    loss = get_loss("focal", COUNTS, gamma=gamma)(logits, labels)
    assert float(loss) == pytest.approx(mean_over_images(logits, labels, formula), rel=1e-9)


@pytest.mark.parametrize("gamma", [0.01, 0.5, 1.0, 3.0])
def test_focal_has_a_gradient_where_the_probability_rounds_to_one(gamma):
    logits = torch.tensor([[200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    Focal([5, 5], gamma=gamma)(logits, torch.zeros(2, dtype=torch.int64)).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0].abs().max() == 0
    assert logits.grad[1].abs().min() > 0


def test_ldam(make_batch):
    logits, labels = make_batch(4)
    # n^(1/4) is sqrt(20), 3, 2 and 1; the smallest class has the margin 0.5.
    margins = [0.5 / math.sqrt(20), 0.5 / 3, 0.25, 0.5]

    def formula(row, label):
        shifted = [30 * (v - (margins[label] if k == label else 0)) for k, v in enumerate(row)]
        top = max(shifted)
        return -log_softmax([v - top for v in shifted], label)

    criterion = get_loss("ldam", COUNTS)
    expected = mean_over_images(logits, labels, formula)
    assert float(criterion(logits, labels)) == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(criterion.scores(logits), 30 * logits)


def test_logit_adjustment_reads_the_prior_out(make_batch):
    logits, labels = make_batch(4)
    criterion = get_loss("logit-adjust", COUNTS, tau=1.0)
    assert torch.equal(criterion(logits, labels), F.cross_entropy(logits, labels))
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    # A classifier with p(y | x) proportional to prior_y g_y(x) is read as g: Bayes' rule.
    read = F.softmax(criterion.scores(logits + prior.log()), dim=1)
    torch.testing.assert_close(read, F.softmax(logits, dim=1), rtol=1e-5, atol=1e-8)
    stronger = get_loss("logit-adjust", COUNTS, tau=2.0).scores(logits) - logits
    torch.testing.assert_close(stronger, (-2 * prior.log()).expand_as(logits), rtol=1e-6, atol=0)


def test_cosine_head_gives_cosines():
    head = CosineHead(6, 4)
    torch.testing.assert_close(head.weight.norm(dim=0), torch.ones(4))
    with torch.no_grad():
        head.weight.mul_(torch.tensor([0.1, 1.0, 5.0, 100.0]))
    features = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    expected = F.cosine_similarity(features[..., None, :], head.weight.T, dim=-1)
    torch.testing.assert_close(head(features), expected)
    torch.testing.assert_close(head(7 * features), expected)
    # The features that maximise a class's logit are its weights.
    torch.testing.assert_close(head(head.weight.T).diagonal(), torch.ones(4))


def test_cosine_head_is_initialised_like_uniform_columns_of_length_one():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        head = CosineHead(6, 4)
        torch.manual_seed(3)
        # The three steps of the published code.
        expected = torch.empty(6, 4).uniform_(-1, 1).renorm_(2, 1, 1e-5).mul_(1e5)
    torch.testing.assert_close(head.weight.detach(), expected, rtol=1e-3, atol=1e-5)


def test_a_zero_feature_has_zero_logits_and_a_finite_gradient():
    features = torch.zeros(1, 6, requires_grad=True)
    logits = CosineHead(6, 4)(features)
    assert logits.abs().max() == 0
    logits.sum().backward()
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("name", ["ce", "cb-rw"])
@pytest.mark.parametrize("views", [1, 4])
def test_smoothing_is_spread_over_the_other_joint_labels_and_weighs_images(name, views, make_batch):
    counts = torch.tensor([50, 20, 3]).repeat_interleave(views)
    logits, labels = make_batch(len(counts), batch=30)
    weights = 1 / (1 - 0.9999 ** counts.double()) if name == "cb-rw" else torch.ones(len(counts)).double()
    target = torch.full_like(logits, 0.1 / (len(counts) - 1))
    target[torch.arange(30), labels] = 0.9
    losses = -(target * logits.log_softmax(1)).sum(1)
    expected = (weights[labels] * losses).sum() / weights[labels].sum()
    found = get_loss(name, counts, smoothing=0.1)(logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "name", ["ldam", "ldam-drw", "balanced-softmax", "logit-adjust", "focal", "cb-focal"]
)
def test_smoothing_is_refused_where_margins_or_class_sizes_shape_the_target(name):
    with pytest.raises(UserError, match="'smoothing' is not an option of loss"):
        get_loss(name, [5, 3], smoothing=0.1)
