from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from training_factors import DRAWN, TRAINING

from sla_bench.errors import UserError
from sla_bench.objectives.classes import Classes, OnClasses
from sla_bench.objectives.scores import joint_labels
from sla_bench.registry import LOSSES, METHODS, TRANSFORMS

B, M, N, D = 6, 4, 3, 5
COUNTS = torch.tensor([40, 9, 2])
METHOD_NAMES = [name for name in METHODS if not METHODS.load(name).not_on_classes]


def build(method, loss="ce", reduction="mean", loss_options=None, **options) -> OnClasses:
    torch.manual_seed(0)
    classes = Classes(COUNTS, lambda counts: LOSSES.load(loss)(counts, **(loss_options or {})), reduction)
    return OnClasses(replace(METHODS.load(method), **options), D, classes, TRANSFORMS.load("rotation"))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(B, M, D, generator=generator), torch.tensor([0, 1, 2, 0, 0, 1])


def cross_entropy(logits, label):
    return -torch.log(torch.exp(logits[label]) / torch.exp(logits).sum())


def mean_over(images, term):
    return sum(term(b) for b in range(images)) / images


def divergence(teacher, student):
    p, q = torch.softmax(teacher, 0), torch.softmax(student, 0)
    return (p * (p / q).log()).sum()


def joint(objective, z):
    """w(z_j) for each view: (M, N*M)."""
    return objective.joint_head(z)


def vote(objective, z):
    w = joint(objective, z)
    return torch.stack([sum(w[j, i * M + j] for j in range(M)) / M for i in range(N)])


def joint_term(objective, z, y):
    return sum(cross_entropy(joint(objective, z)[j], y * M + j) for j in range(M)) / M


def binary(logits, column):
    """Mean over the columns of the cross entropy of yes and no."""
    p = 1 / (1 + torch.exp(-logits))
    return -sum((p[i] if i == column else 1 - p[i]).log() for i in range(len(p))) / len(p)


# The column "training loss" of the protocol's table, one image at a time.
FORMULAS = {
    "baseline": lambda o, z, y: cross_entropy(o.head(z[0]), y),
    "da": lambda o, z, y: sum(cross_entropy(o.head(z[j]), y) for j in range(M)) / M,
    "mt": lambda o, z, y: (
        sum(cross_entropy(o.head(z[j]), y) + cross_entropy(o.view_head(z[j]), j) for j in range(M)) / M
    ),
    "rot-aux": lambda o, z, y: (
        cross_entropy(o.head(z[0]), y)
        + o.method.weight * sum(cross_entropy(o.view_head(z[j]), j) for j in range(M)) / M
    ),
    "sla": joint_term,
    "sla+sd": lambda o, z, y: (
        joint_term(o, z, y)
        + divergence(vote(o, z).detach(), o.head(z[0]))
        + o.method.single_weight * cross_entropy(o.head(z[0]), y)
    ),
    "sla+u": lambda o, z, y: joint_term(o, z, y) + o.method.single_weight * cross_entropy(o.head(z[0]), y),
    "da+sd": lambda o, z, y: (
        sum(cross_entropy(o.teacher_head(z[j]), y) for j in range(M)) / M
        + o.method.single_weight * cross_entropy(o.head(z[0]), y)
        + divergence(o.teacher_head(z).mean(0).detach(), o.head(z[0]))
    ),
    "skd0": lambda o, z, y: (
        sum(cross_entropy(o.head(z[j]), y) + 2 * binary(o.view_head(o.head(z[j])), j) for j in range(M)) / M
    ),
}


@pytest.mark.parametrize("method", FORMULAS)
def test_losses_are_the_protocols_formulas(method, batch):
    features, labels = batch
    options = {"weight": 0.3} if method == "rot-aux" else {}
    options |= {"single_weight": 0.7} if "+" in method else {}
    objective = build(method, **options)
    given = features if objective.method.trains_on_views else features[:, :1]
    expected = mean_over(B, lambda b: FORMULAS[method](objective, features[b], int(labels[b])))
    loss, _ = objective.loss(given, labels)
    torch.testing.assert_close(loss, expected)
    ours = torch.autograd.grad(loss, list(objective.parameters()))
    theirs = torch.autograd.grad(expected, list(objective.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_every_objective_of_the_table_is_covered():
    # Those of the drawn ones, of students, branches and projections are in test_relatives.py.
    as_the_baseline = {"baseline-x2", "baseline-x2M", "baseline-xM", "baseline-repM", "ens-M", "ssp"}
    students = {"skd1", "rfs-distil", "hsakd", "alike", "bcl"}
    assert set(METHOD_NAMES) - set(FORMULAS) - set(DRAWN) == {*as_the_baseline, *students, "ssp+sla"}


def test_the_temperature_divides_both_sides_and_scales_the_divergence(batch):
    features, labels = batch
    objective = build("sla+sd", temperature=2.0, single_weight=0.0)
    total, _ = objective.loss(features, labels)
    expected = mean_over(
        B,
        lambda b: (
            joint_term(objective, features[b], int(labels[b]))
            + 4 * divergence(vote(objective, features[b]) / 2, objective.head(features[b, 0]) / 2)
        ),
    )
    torch.testing.assert_close(total, expected)


def test_the_sum_over_views_multiplies_the_joint_term_alone(batch):
    features, labels = batch
    mean, total, single = (
        build("sla+u", reduction=reduction, single_weight=weight).loss(features, labels)[0]
        for reduction, weight in (("mean", 0.0), ("sum", 0.0), ("sum", 1.0))
    )
    torch.testing.assert_close(total, M * mean)
    head = build("sla+u").head(features[:, 0])
    torch.testing.assert_close(single - total, F.cross_entropy(head, labels))


def test_reads_are_votes_of_their_own_columns(batch):
    features, _ = batch
    objective = build("sla")
    read = objective.read(features)
    expected = torch.stack([vote(objective, z) for z in features])
    torch.testing.assert_close(read["SLA+AG"], expected)
    first = torch.stack([joint(objective, z)[0, ::M] for z in features])
    torch.testing.assert_close(read["SLA+SI"], first)
    torch.testing.assert_close(build("sla+sd").read(features)["SLA+SD teacher"].shape, expected.shape)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_reads_are_the_rows_that_are_announced(method, batch):
    objective = build(method)
    read = objective.read(batch[0])
    assert list(read) == [*objective.rows, *objective.further_rows]
    assert all(scores.shape == (B, N) for scores in read.values())
    assert all(passes >= 1 for passes in objective.rows.values())


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_read_offs_of_one_pass_need_the_upright_view_alone(method, batch):
    objective = build(method)
    read, upright = objective.read(batch[0]), objective.read(batch[0][:, :1])
    cheap = [
        row
        for row, passes in {**objective.rows, **objective.further_rows}.items()
        if passes == objective.members
    ]
    assert cheap
    for row in cheap:
        torch.testing.assert_close(upright[row], read[row])


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_modes_name_each_read_off_once_and_their_own_first(method):
    objective = build(method)
    assert sorted(objective.modes.values()) == sorted([*objective.rows, *objective.further_rows])
    assert next(iter(objective.modes.values())) == next(iter(objective.rows))
    assert set(objective.modes) <= {"si", "ag", "sd", "tta"}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("method", ["sla", "sla+sd", "da+sd", "baseline"])
def test_counts_of_joint_labels_are_those_of_the_class(method, loss, batch):
    """Weights of a joint label are its class's, so M equal views weigh like the image alone."""
    features, labels = batch
    objective = build(method, loss)
    objective.reweight(0.9)
    given = features if objective.method.trains_on_views else features[:, :1]
    value, _ = objective.loss(given, labels)
    value.backward()
    assert torch.isfinite(value)
    if method in ("sla", "sla+sd"):
        weights = objective.joint_criterion.reweighting
        own = LOSSES.load(loss)(COUNTS).reweighting
        if weights is not None:
            own.reweight(0.9)
            torch.testing.assert_close(weights.current, own.current.repeat_interleave(M))


def test_deferred_weights_reach_both_heads():
    objective = build("sla+sd", "ldam-drw")
    objective.reweight(0.5)
    before = [objective.joint_criterion.reweighting.current, objective.criterion.reweighting.current]
    objective.reweight(0.8)
    after = [objective.joint_criterion.reweighting.current, objective.criterion.reweighting.current]
    for one, other in zip(before, after, strict=True):
        assert one is None or torch.equal(one, torch.ones_like(one))
        assert other is not None
        assert not torch.equal(other, torch.ones_like(other))


def test_distillation_reads_scores_and_carries_no_class_weights(batch):
    """With LDAM the teacher speaks in s cos: the divergence is that of the scores."""
    features, labels = batch
    objective = build("sla+sd", "ldam", single_weight=0.0)
    total, _ = objective.loss(features, labels)
    flat = objective.joint_head(features).flatten(0, 1)
    joint_loss = objective.joint_criterion(flat, joint_labels(labels, M).flatten())
    scores = objective.read(features)
    expected = mean_over(B, lambda b: divergence(scores["SLA+SD teacher"][b], scores["SLA+SD"][b]))
    torch.testing.assert_close(total - joint_loss, expected)


def test_the_scope_view_is_a_softmax_over_the_views_own_columns(batch):
    features, labels = batch
    objective = build("sla", joint_scope="view")
    expected = mean_over(
        B,
        lambda b: (
            sum(cross_entropy(joint(objective, features[b])[j, j::M], int(labels[b])) for j in range(M)) / M
        ),
    )
    torch.testing.assert_close(objective.loss(features, labels)[0], expected)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_training_is_what_the_protocol_says(method):
    objective = build(method)
    step_factor, copies, members, views = TRAINING[method]
    assert (objective.step_factor, objective.copies, objective.members) == (step_factor, copies, members)
    assert objective.method.trains_on_views is views
    assert objective.images_per_image == copies * (M if views else DRAWN.get(method, 1))


SINGLE_ROWS = {
    "ssp+sla": "SSP+SLA+SI",
    "sla": "SLA+SI",
    "sla-x1": "SLA-x1+SI",
    "sla-half": "SLA-half+SI",
    "sla+sd": "SLA+SD",
    "sla+u": "SLA+U",
    "da+sd": "DA+SD",
}


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_validation_reads_the_image_as_it_is(method):
    objective = build(method)
    assert objective.single_row == SINGLE_ROWS.get(method, next(iter(objective.rows)))
    assert not objective.single_row.endswith("+TTA")


@pytest.mark.parametrize(
    ("method", "option"),
    [("sla+sd", "single_weight"), ("sla+sd", "temperature"), ("sla+u", "single_weight"),
     ("da+sd", "single_weight"), ("da+sd", "temperature"), ("rot-aux", "weight")],
)  # fmt: skip
def test_options_are_1_unless_told_otherwise(method, option, batch):
    features, labels = batch
    plain, one, two = (
        build(method, **o).loss(features, labels)[0] for o in ({}, {option: 1.0}, {option: 2.0})
    )
    assert torch.equal(plain, one)
    assert not torch.isclose(plain, two)


@pytest.mark.parametrize("method", ["baseline", "da", "mt", "da+sd", "baseline-repM", "rot-aux"])
def test_the_training_accuracy_counts_every_image_that_carries_a_label(method, batch):
    features, labels = batch
    objective = build(method)
    given = features if method in ("da", "mt", "da+sd", "baseline-repM") else features[:, :1]
    head = objective.teacher_head if method == "da+sd" else objective.head
    hits = [int(head(z).argmax()) == int(y) for image, y in zip(given, labels, strict=True) for z in image]
    _, right = objective.loss(features if method == "rot-aux" else given, labels)
    assert 0 < sum(hits) < len(hits)
    assert float(right) == pytest.approx(sum(hits) / len(hits))


@pytest.mark.parametrize("method", ["sla", "sla+sd"])
@pytest.mark.parametrize("scope", ["all", "view"])
def test_the_training_accuracy_of_joint_labels(method, scope, batch):
    features, labels = batch
    objective = build(method, **({"joint_scope": scope} if method == "sla" else {}))
    hits = []
    for image, y in zip(features, labels.tolist(), strict=True):
        for j, scores in enumerate(joint(objective, image)):
            own = method == "sla" and scope == "view"
            hits.append(int((scores[j::M] if own else scores).argmax()) == (y if own else y * M + j))
    _, right = objective.loss(features, labels)
    assert 0 < sum(hits) < len(hits)
    assert float(right) == pytest.approx(sum(hits) / len(hits))


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("rot-aux", {"weight": 0.0}, "must be a finite number above 0"),
        ("sla", {"joint_scope": "vew"}, "did you mean 'view'"),
        ("sla+sd", {"temperature": 0.0}, "temperature must be a finite number above 0"),
        ("da+sd", {"single_weight": -1.0}, "single_weight must be a finite number of at least 0"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(method, options, sentence):
    with pytest.raises(UserError, match=sentence):
        build(method, **options)


@pytest.mark.parametrize("loss", ["ce", "ldam", "balanced-softmax"])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_heads_by_view_are_what_predictions_are_read_from(method, loss, batch):
    objective, (features, _) = build(method, loss), batch
    read, heads = objective.read(features), objective.by_view(features)
    for name, scores in heads.items():
        if scores.ndim == 4:
            assert scores.shape == (B, M, N, M)
            upright = scores[:, 0, :, 0]
            mean = sum(scores[:, j, :, j] for j in range(M)) / M
        else:
            assert scores.shape == (B, M, N)
            upright, mean = scores[:, 0], scores.mean(1)
        votes = name in ("SLA", "SLA-x1", "SLA-half", "SSP+SLA")
        single, averaged = (f"{name}+SI", f"{name}+AG") if votes else (name, f"{name}+TTA")
        if name.endswith("teacher"):
            single, averaged = None, name
        assert single is None or torch.equal(read[single], upright)
        torch.testing.assert_close(read[averaged], mean)
    assert {row.removesuffix("+TTA").removesuffix("+SI").removesuffix("+AG") for row in read} == set(heads)
    assert objective.method.invariant_heads <= set(heads)


def test_which_heads_are_taught_invariance_and_which_tell_the_view(batch):
    objectives = {name: build(name) for name in METHOD_NAMES}
    invariant = {n: set(found) for n, o in objectives.items() if (found := o.method.invariant_heads)}
    alone = {
        "da": {"DA"},
        "mt": {"MT"},
        "rot-x1": {"rot-x1"},
        "skd0": {"SKD0"},
        "skd1": {"SKD1"},
        "s2m2": {"S2M2"},
    }
    alone |= {"alike": {"alike"}, "bcl": {"BCL"}}
    assert invariant == {**alone, "da+sd": {"DA+SD teacher"}}
    told = {name: o.recognised_view(batch[0]) for name, o in objectives.items()}
    assert {name for name, scores in told.items() if scores is not None} == {
        "mt",
        "rot-aux",
        "rot-x1",
        "skd0",
        "s2m2",
    }
    mt = objectives["mt"]
    torch.testing.assert_close(told["mt"][2, 3], mt.view_head(batch[0][2, 3]))
