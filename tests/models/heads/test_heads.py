"""What holds for every head: golden values, symmetry, precision, refusals."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from sla_bench.errors import UserError
from sla_bench.models.heads.cosine import CosineHead
from sla_bench.models.heads.finetune import LogisticHead
from sla_bench.models.heads.protonet import ProtoNet
from sla_bench.models.heads.ridge import RidgeHead
from sla_bench.models.heads.simpleshot import SimpleShot
from sla_bench.models.heads.svm import SVMHead
from sla_bench.registry import LEARNERS

HEADS = {"protonet": ProtoNet, "metaoptnet-rr": RidgeHead, "metaoptnet-svm": SVMHead}
ALL = HEADS | {"simpleshot": SimpleShot, "cosine": CosineHead, "finetune": LogisticHead}
KEYS = {"protonet": "proto", "metaoptnet-rr": "ridge", "metaoptnet-svm": "svm_cs"}
SETTINGS = {"5w1s": 5, "5w5s": 5, "5w15s": 5}


@pytest.fixture(params=list(HEADS))
def name(request):
    return request.param


@pytest.fixture(params=list(ALL))
def any_head(request):
    return ALL[request.param]()


def error(value, reference):
    """Largest difference, relative to the largest value of the reference."""
    value, reference = value.detach().double(), reference.detach().double()
    return float((value - reference).abs().max() / reference.abs().max())


def golden_episode(golden, setting, dtype):
    support, labels, query = (golden[f"{setting}_{part}"] for part in ("support", "labels", "query"))
    return support.to(dtype), labels, query.to(dtype)


def test_registry_names_these_heads():
    assert {name: LEARNERS.load(name) for name in ALL} == ALL
    assert {n for n, entry in LEARNERS.items() if entry.trains_on == "classes"} == set(ALL) - set(HEADS)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 1e-3)])
def test_logits_are_golden(name, setting, dtype, tolerance, golden):
    logits = HEADS[name]()(*golden_episode(golden, setting, dtype), SETTINGS[setting])
    assert logits.dtype == dtype
    reference = "cs_exact" if name == "metaoptnet-svm" else KEYS[name]
    assert error(logits, golden[f"{setting}_{reference}_logits"]) < tolerance


@pytest.mark.parametrize(("setting", "ways"), [("20w1s", 20), ("20w5s", 20)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 1e-3)])
def test_logits_of_twenty_ways_are_golden(name, setting, ways, dtype, tolerance, golden):
    logits = HEADS[name]()(*golden_episode(golden, setting, dtype), ways)
    key = {"protonet": "proto", "metaoptnet-rr": "r2d2", "metaoptnet-svm": "cs_exact"}[name]
    # Ridge in MetaOptNet's form is twice the head of R2-D2.
    factor = 2 if key == "r2d2" else 1
    assert error(logits, factor * golden[f"{setting}_{key}_logits"]) < tolerance


@pytest.mark.parametrize("setting", SETTINGS)
def test_gradients_are_golden(name, setting, golden):
    support, labels, query = golden_episode(golden, setting, torch.float64)
    support.requires_grad_()
    query.requires_grad_()
    logits = HEADS[name]()(support, labels, query, SETTINGS[setting])
    cross_entropy(logits.flatten(0, 1), golden[f"{setting}_query_labels"].flatten()).backward()
    key = f"{setting}_{KEYS[name]}_grad"
    # The SVM's golden gradient comes from an iterative solver; finite differences below are the sharp test.
    tolerance = 5e-3 if name == "metaoptnet-svm" else 2e-5
    assert error(support.grad, golden[f"{key}_support"]) < tolerance
    assert error(query.grad, golden[f"{key}_query"]) < tolerance


@pytest.mark.parametrize("shots", [1, 3])
def test_gradients_agree_with_finite_differences(name, shots, make_episodes):
    support, labels, query = make_episodes(shots=shots)
    head = HEADS[name]()
    g = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 7, 5, generator=g, dtype=torch.float64)

    def value(s, q):
        return (head(s, labels, q, 5) * weight).sum()

    leaves = [support.requires_grad_(), query.requires_grad_()]
    grads = torch.autograd.grad(value(*leaves), leaves)
    for i, grad in enumerate(grads):
        for _ in range(4):
            step = torch.randn(leaves[i].shape, generator=g, dtype=torch.float64)
            ends = []
            for size in (1e-5, -1e-5):
                moved = [leaf.detach() for leaf in leaves]
                moved[i] = moved[i] + size * step
                ends.append(value(*moved).detach())
            slope = float((ends[0] - ends[1]) / 2e-5)
            assert float((grad * step).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_order_and_names_mean_nothing(any_head, make_episodes):
    support, labels, query = make_episodes()
    g = torch.Generator().manual_seed(2)
    logits = any_head(support, labels, query, 5)
    points, queries, classes = (torch.randperm(size, generator=g) for size in (15, 7, 5))
    assert error(any_head(support[:, points], labels[:, points], query, 5), logits) < 1e-10
    assert error(any_head(support, labels, query[:, queries], 5), logits[:, queries]) < 1e-10
    renamed = any_head(support, classes[labels], query, 5)
    assert error(renamed[:, :, classes], logits) < 1e-10


def test_queries_and_episodes_do_not_see_each_other(any_head, make_episodes):
    support, labels, query = make_episodes(episodes=3)
    # An easy episode is done long before the others.
    support[1] *= torch.nn.functional.one_hot(labels[1], 12)
    logits = any_head(support, labels, query, 5)
    alone = torch.cat([any_head(support, labels, query[:, i : i + 1], 5) for i in range(query.shape[1])], 1)
    assert error(alone, logits) < 1e-10
    parts = [slice(i, i + 1) for i in range(3)]
    alone = torch.cat([any_head(support[i], labels[i], query[i], 5) for i in parts])
    assert error(alone, logits) < 1e-10


def test_classes_may_differ_in_size(name, make_episodes):
    support, labels, query = make_episodes(shots=4)
    kept = torch.arange(20) != int(torch.nonzero(labels[0] == 2)[0])
    head = HEADS[name]()
    logits = head(support[:, kept], labels[:, kept], query, 5)
    assert torch.isfinite(logits).all()
    assert error(logits, head(support, labels, query, 5)) > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_left_at_the_door(any_head, dtype, make_episodes):
    support, labels, query = make_episodes()
    support, query = support.to(dtype), query.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = any_head(support, labels, query, 5)
    assert logits.dtype == torch.float32
    assert error(logits, any_head(support.double(), labels, query.double(), 5)) < 1e-4


def test_low_precision_gradients(name, make_episodes):
    support, labels, query = make_episodes()
    exact = support.bfloat16().double().requires_grad_()
    low = support.bfloat16().requires_grad_()
    head = HEADS[name]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        head(low, labels, query.bfloat16(), 5).square().sum().backward()
    head(exact, labels, query.bfloat16().double(), 5).square().sum().backward()
    assert low.grad.dtype == torch.bfloat16
    assert error(low.grad, exact.grad) < 1e-2


def test_scale_multiplies_and_learns(name, make_episodes):
    support, labels, query = make_episodes()
    plain, scaled = HEADS[name](), HEADS[name](scale=7.0)
    logits = plain(support, labels, query, 5)
    assert error(scaled(support, labels, query, 5), 7 * logits) < 1e-7
    assert [n for n, _ in plain.named_parameters()] == ["scale"]
    logits.square().sum().backward()
    assert float(plain.scale.grad) == pytest.approx(2 * float(logits.detach().square().sum()), rel=1e-6)


@pytest.mark.parametrize(
    ("cls", "option"), [(RidgeHead, "regularization"), (SVMHead, "regularization"), (SVMHead, "C")]
)
def test_each_option_changes_the_logits(cls, option, make_episodes):
    episode = make_episodes()
    assert error(cls(**{option: 0.03})(*episode, 5), cls()(*episode, 5)) > 1e-2


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", True, None])
@pytest.mark.parametrize(
    ("cls", "option"),
    [(ProtoNet, "scale"), (RidgeHead, "regularization"), (SVMHead, "regularization"), (SVMHead, "C")],
)
def test_options_are_checked(cls, option, value):
    with pytest.raises(UserError, match=f"{cls.__name__}: {option} must be a finite number above 0"):
        cls(**{option: value})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["support", "query"])
def test_bad_numbers_are_refused(name, bad, where, make_episodes):
    support, labels, query = make_episodes()
    (support if where == "support" else query)[1, 2, 3] = bad
    with pytest.raises(UserError, match="not finite"):
        HEADS[name]()(support, labels, query, 5)


def test_wrong_input_is_refused(make_episodes):
    support, labels, query = make_episodes()
    head = ProtoNet()
    for wrong, message in [
        ((support[0], labels, query, 5), "takes support"),
        ((support, labels[:, :-1], query, 5), "takes support"),
        ((support, labels, query[:, :, 1:], 5), "differ in episodes or features"),
        ((support, labels, query[:1], 5), "differ in episodes or features"),
        ((support, labels.int(), query, 5), "labels int64"),
        ((support.long(), labels, query, 5), "must be floating"),
        ((support, labels, query, 4), r"must be 0\.\.3, got 0\.\.4"),
        ((support, labels, query, 6), "episode 0 has no support point of class 5"),
        ((support, labels, query, 0), "ways must be at least 1"),
    ]:
        with pytest.raises(UserError, match=message):
            head(*wrong)
