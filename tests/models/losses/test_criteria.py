"""What holds for every loss: options, precision, gradients, scores, heads, refusals."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sla_bench.adapters.pieces import get_loss
from sla_bench.errors import UserError
from sla_bench.models.losses.criteria import CosineHead
from sla_bench.registry import LOSSES

COUNTS = [500, 120, 30, 7, 1]
OPTIONS = [(name, option) for name, entry in LOSSES.items() for option in entry.options]
# Another value of each option, away from its default.
OTHER = {
    "beta": 0.9,
    "start": 0.5,
    "gamma": 3.0,
    "max_margin": 0.2,
    "scale": 10.0,
    "tau": 2.0,
    "smoothing": 0.2,
}
# From which part of the training on classes are weighted unless told otherwise.
STARTS = {"cb-rw": 0.0, "cb-focal": 0.0, "ce-drw": 0.8, "ldam-drw": 0.8}


@pytest.fixture(params=list(LOSSES))
def name(request):
    return request.param


def test_registered_options_are_those_of_the_constructor(name):
    parameters = inspect.signature(LOSSES.load(name).__init__).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert tuple(options) == LOSSES[name].options
    assert options.get("start") == STARTS.get(name)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_each_option_changes_the_loss_or_the_scores(name, option, make_batch):
    logits, labels = make_batch(5)

    def reading(**options):
        criterion = get_loss(name, COUNTS, **options)
        criterion.reweight(0.9 if option == "beta" else 0.6 if STARTS.get(name) == 0.8 else 0.0)
        return torch.cat([criterion(logits, labels)[None], criterion.scores(logits).flatten()])

    difference = (reading(**{option: OTHER[option]}) - reading()).abs().max()
    assert difference > 1e-3


@pytest.mark.parametrize(("name", "option"), OPTIONS)
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0.5", True, None])
def test_options_of_a_wrong_value_are_refused(name, option, value):
    with pytest.raises(UserError, match=f"{option} must be a"):
        get_loss(name, COUNTS, **{option: value})


@pytest.mark.parametrize(
    ("name", "option"), [(n, o) for n, o in OPTIONS if o in ("gamma", "max_margin", "scale", "tau")]
)
def test_options_that_would_switch_the_loss_off_are_refused(name, option):
    with pytest.raises(UserError, match="above 0, got 0"):
        get_loss(name, COUNTS, **{option: 0})


def test_unknown_names_and_options_are_refused():
    with pytest.raises(UserError, match="unknown loss 'ldam-drv'; did you mean 'ldam-drw'"):
        get_loss("ldam-drv", COUNTS)
    with pytest.raises(UserError, match="'gama' is not an option of loss 'focal'; did you mean 'gamma'"):
        get_loss("focal", COUNTS, gama=2.0)
    with pytest.raises(UserError, match="'start' is not an option of loss 'ce'; known: smoothing"):
        get_loss("ce", COUNTS, start=0.5)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5, 0, 3], "class 1 of 3 has 0 training images"),
        ([5, 2, -3], "class 2 of 3 has -3 training images"),
        (torch.tensor([1.0, 2.0]), r"must be integers \(N,\), got float32 \(2,\)"),
        ([1.5, 2], "must be integers"),
        ([True, True], "must be integers"),
        ([[1, 2], [3, 4]], r"got int64 \(2, 2\)"),
        ([[1, 2], [3]], "must be integers"),
        ([], "must be integers"),
        ("many", "must be integers"),
    ],
)
def test_bad_class_counts_are_refused(name, counts, message):
    with pytest.raises(UserError, match=message):
        get_loss(name, counts)


def test_counts_may_be_a_list_a_tensor_or_an_array(name, make_batch):
    logits, labels = make_batch(5)
    tensor = torch.tensor(COUNTS)
    values = [get_loss(name, counts)(logits, labels) for counts in (COUNTS, tensor, tensor.int().numpy())]
    assert values[0] == values[1] == values[2]


def test_gradients_agree_with_finite_differences(name, make_batch):
    logits, labels = make_batch(5, batch=7)
    # Cosine logits, so that LDAM's softmax is not saturated everywhere.
    logits = torch.tanh(logits).requires_grad_()
    criterion = get_loss(name, COUNTS)
    for progress in (0.0, 0.9):
        criterion.reweight(progress)
        assert torch.autograd.gradcheck(lambda f: criterion(f, labels), (logits,))
        assert torch.autograd.gradcheck(criterion.scores, (logits,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("right", [True, False])
def test_huge_logits_give_finite_losses_and_gradients(name, right, dtype):
    labels = torch.arange(5)
    sign = 1.0 if right else -1.0
    logits = (sign * (2e4 * torch.eye(5, dtype=dtype) - 1e4)).requires_grad_()
    criterion = get_loss(name, COUNTS)
    for progress in (0.0, 0.9):
        criterion.reweight(progress)
        loss = criterion(logits, labels)
        (grad,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()
        assert (loss < 1e-6) == right


def test_low_precision_is_left_at_the_door(name, make_batch):
    logits, labels = make_batch(5)
    low = torch.tanh(logits).bfloat16()
    criterion = get_loss(name, COUNTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = criterion(low, labels)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(criterion(low.double(), labels)), rel=1e-5)


def test_nothing_of_a_criterion_is_trained_or_saved(name):
    criterion = get_loss(name, COUNTS)
    assert not list(criterion.parameters())
    assert not criterion.state_dict()


def test_the_order_of_the_classes_means_nothing(name, make_batch):
    logits, labels = make_batch(5)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    criterion = get_loss(name, COUNTS)
    renamed = get_loss(name, torch.tensor(COUNTS)[order])
    for progress in (0.0, 0.9):
        criterion.reweight(progress)
        renamed.reweight(progress)
        torch.testing.assert_close(
            renamed(logits[:, order], order.argsort()[labels]), criterion(logits, labels)
        )
    torch.testing.assert_close(renamed.scores(logits[:, order]), criterion.scores(logits)[:, order])


def test_heads(name):
    criterion = get_loss(name, COUNTS)
    head = criterion.head(16)
    assert isinstance(head, CosineHead if name.startswith("ldam") else nn.Linear)
    assert head(torch.randn(2, 3, 16)).shape == (2, 3, 5)
    assert torch.isfinite(criterion(head(torch.randn(4, 16)), torch.arange(4)))


@settings(max_examples=20)
@given(classes=st.integers(2, 8), count=st.integers(1, 5000), seed=st.integers(0, 2**20))
def test_equal_counts_reduce_the_losses_to_the_plain_ones(make_batch, classes, count, seed):
    logits, labels = make_batch(classes, seed=seed)
    plain = F.cross_entropy(logits, labels)
    for name in ("cb-rw", "balanced-softmax", "logit-adjust"):
        criterion = get_loss(name, [count] * classes)
        torch.testing.assert_close(criterion(logits, labels), plain, rtol=1e-5, atol=1e-7)
        shift = criterion.scores(logits) - logits
        torch.testing.assert_close(shift, shift[:, :1].expand_as(shift))
    focal, weighted = get_loss("focal", [count] * classes), get_loss("cb-focal", [count] * classes)
    torch.testing.assert_close(weighted(logits, labels), focal(logits, labels), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((4, 6), torch.arange(4), r"5 classes takes logits \(B, 5\).*got \(4, 6\) and \(4,\)"),
        ((4, 5), torch.arange(3), r"got \(4, 5\) and \(3,\)"),
        ((1, 4, 5), torch.arange(4)[None], "takes logits"),
        ((4, 5), torch.arange(4).int(), "labels int64"),
        ((0, 5), torch.empty(0, dtype=torch.int64), "at least one image"),
        ((2, 5), torch.tensor([0, 5]), r"must be 0\.\.4, got 0\.\.5"),
        ((2, 5), torch.tensor([-100, 1]), r"must be 0\.\.4, got -100\.\.1"),
    ],
)
def test_wrong_input_is_refused(name, shape, labels, message):
    with pytest.raises(UserError, match=message):
        get_loss(name, COUNTS)(torch.zeros(shape), labels)
