"""Losses of the methods that draw views, against naive formulas in double precision, and their identities."""

from dataclasses import replace

import pytest
import torch
from spanned import runs_of
from training_factors import DRAWN, ROTATIONS_FIRST

from sla_bench.errors import UserError
from sla_bench.models.backbones.conv4 import conv4_32
from sla_bench.models.heads.protonet import ProtoNet
from sla_bench.models.heads.ridge import RidgeHead
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import Classes, OnClasses
from sla_bench.objectives.episodes import EpisodeFeatures, OnEpisodes
from sla_bench.registry import LOSSES, METHODS, TRANSFORMS
from sla_bench.seeds import torch_seeded
from sla_bench.views.transforms import Transform

B, N, D, M = 6, 3, 5, 4
OF_CLASSIFIERS = {"skd0", "skd1", "rfs-distil", "hsakd", "alike", "bcl", "s2m2"}
COUNTS = torch.tensor([40, 9, 2])
LABELS = torch.tensor([0, 1, 2, 0, 0, 1])
ROTATION = TRANSFORMS.load("rotation")
UPRIGHT = Transform("upright")


def on_classes(name, transform=ROTATION, reduction="mean", **options):
    method = replace(METHODS.load(name), **options)
    with torch_seeded(0):
        return OnClasses(method, D, Classes(COUNTS, CrossEntropy, reduction), transform).double()


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def drawn_batch(objective):
    features = torch.randn(B, objective.images_per_image, D, generator=seeded(), dtype=torch.float64)
    return features, objective.drawn(B, seeded(2))


def log_p(logits, label):
    return logits[label] - torch.logsumexp(logits, 0)


def tells(alpha, beta):
    def formula(o, z, y, numbers):
        (features,), (j,) = z, numbers
        return -alpha * log_p(o.head(features), y) - beta * log_p(o.view_head(features), j)

    return formula


def joint(o, z, y, numbers):
    terms = [-log_p(o.joint_head(f), y * M + j) for f, j in zip(z, numbers, strict=True)]
    return sum(terms) / len(terms)


FORMULAS = {
    "rot-x1": tells(0.5, 0.5),
    "lorot-i": tells(1.0, 0.1),
    "lorot-e": tells(1.0, 0.1),
    "sla-x1": joint,
    "sla-half": joint,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_are_their_formulas_on_the_drawn_images(name):
    objective = on_classes(name)
    features, numbers = drawn_batch(objective)
    assert numbers.shape == (B, DRAWN[name])
    loss, _ = objective.loss(features, LABELS, numbers)
    parts = zip(features, LABELS.tolist(), numbers.tolist(), strict=True)
    expected = sum(FORMULAS[name](objective, z, y, j) for z, y, j in parts) / B
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    ours, theirs = (torch.autograd.grad(value, list(objective.parameters())) for value in (loss, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_the_second_head_has_a_target_for_each_number():
    sizes = {name: on_classes(name).view_head.out_features for name in ("rot-x1", "lorot-i", "lorot-e")}
    assert sizes == {"rot-x1": 4, "lorot-i": 4, "lorot-e": 16}


def test_of_one_view_sla_x1_is_the_baseline():
    sla, baseline = on_classes("sla-x1", UPRIGHT), on_classes("baseline", UPRIGHT)
    assert torch.equal(sla.joint_head.weight, baseline.head.weight)
    features, numbers = drawn_batch(sla)
    assert torch.equal(sla.loss(features, LABELS, numbers)[0], baseline.loss(features, LABELS)[0])
    read = sla.read(features)
    assert torch.equal(read["SLA-x1+AG"], baseline.read(features)["baseline"])
    assert torch.equal(read["SLA-x1+SI"], read["SLA-x1+AG"])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_two_of_two_views_are_sla(reduction):
    two = TRANSFORMS.load("rotation2")
    half, sla = on_classes("sla-half", two, reduction), on_classes("sla", two, reduction)
    features, numbers = drawn_batch(half)
    in_order = features.gather(1, numbers.argsort(1)[..., None].expand_as(features))
    ours, theirs = half.loss(features, LABELS, numbers)[0], sla.loss(in_order, LABELS)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=0)


def test_lorot_with_an_empty_box_and_without_its_task_is_the_baseline():
    lorot, baseline = on_classes("lorot-i", box=0, weight=0.0), on_classes("baseline")
    assert torch.equal(lorot.head.weight, baseline.head.weight)
    images, numbers = torch.randn(B, 3, 8, 8), lorot.drawn(B, seeded())
    assert lorot.shown(images, numbers, seeded()) is baseline.shown(images, None, seeded())
    features, _ = drawn_batch(baseline), None
    assert torch.equal(lorot.loss(features[0], LABELS, numbers)[0], baseline.loss(features[0], LABELS)[0])


@pytest.mark.parametrize("name", ["rot-x1", "lorot-i", "lorot-e"])
def test_the_training_accuracy_is_that_of_the_class(name):
    objective = on_classes(name)
    features, numbers = drawn_batch(objective)
    hits = objective.head(features[:, 0]).argmax(1) == LABELS
    assert float(objective.loss(features, LABELS, numbers)[1]) == pytest.approx(float(hits.double().mean()))


# Episodes: two ways with two supports each; way 0 is shown in views 2 and 1, way 1 in views 0 and 3.
SUPPORT_LABELS = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
SUPPORT_VIEWS = torch.tensor([[2, 1, 0, 3], [3, 0, 1, 2]])[..., None]
QUERY_LABELS = torch.tensor([[0, 1, 1], [1, 0, 0]])
QUERY_VIEWS = torch.tensor([[1, 0, 3], [2, 3, 0]])[..., None]


def episodes():
    z = torch.randn(2, 7, 1, D, generator=seeded(), dtype=torch.float64)
    numbers = (SUPPORT_VIEWS, QUERY_VIEWS)
    return EpisodeFeatures(z[:, :4], SUPPORT_LABELS, z[:, 4:], QUERY_LABELS, 2, numbers)


def test_sla_x1_of_an_episode_is_a_task_over_the_pairs_that_have_supports():
    features, head = episodes(), ProtoNet().double()
    terms = []
    for e in range(2):
        # Each support is a class of its own here: (way, view).
        pairs = list(zip(SUPPORT_LABELS[e].tolist(), SUPPORT_VIEWS[e, :, 0].tolist(), strict=True))
        for q in range(3):
            distance = (features.query[e, q, 0] - features.support[e, :, 0]).square().sum(1) / D
            label = pairs.index((int(QUERY_LABELS[e, q]), int(QUERY_VIEWS[e, q, 0])))
            terms.append(-log_p(-distance, label))
    loss, accuracy = OnEpisodes(METHODS.load("sla-x1"), ROTATION).loss(features, head, 0.0, None)
    torch.testing.assert_close(loss, sum(terms) / 6, rtol=1e-12, atol=0)
    assert 0 <= accuracy <= 1
    parts = [
        OnEpisodes(METHODS.load("sla-x1"), ROTATION).loss(one, head, 0.0, None)[0] for one in features.split()
    ]
    torch.testing.assert_close(loss, sum(parts) / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "alpha", "beta"), [("rot-x1", 0.5, 0.5), ("lorot-i", 1, 0.1), ("lorot-e", 1, 0.1)]
)
def test_an_episode_tells_the_number_of_supports_and_queries(name, alpha, beta):
    features, head, objective = episodes(), RidgeHead().double(), OnEpisodes(METHODS.load(name), ROTATION)
    with torch_seeded(0):
        view_head = objective.view_head(D)
    fitted = head(features.support[:, :, 0], SUPPORT_LABELS, features.query[:, :, 0], 2)
    classes = [-log_p(fitted[e, q], int(QUERY_LABELS[e, q])) for e in range(2) for q in range(3)]
    told = []
    for z, numbers in ((features.support, SUPPORT_VIEWS), (features.query, QUERY_VIEWS)):
        logits = view_head(z.float()).flatten(0, 2)
        told += [-log_p(row, int(j)) for row, j in zip(logits, numbers.flatten(), strict=True)]
    expected = alpha * sum(classes) / 6 + beta * sum(told) / 14
    loss, _ = objective.loss(features, head, 0.0, view_head)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_of_one_view_an_episode_of_sla_x1_is_the_baselines():
    features, head = episodes(), RidgeHead().double()
    zeros = tuple(torch.zeros_like(numbers) for numbers in features.numbers)
    of_one = OnEpisodes(METHODS.load("sla-x1"), UPRIGHT)
    loss, _ = of_one.loss(replace(features, numbers=zeros), head, 0.1, None)
    baseline, _ = OnEpisodes(METHODS.load("baseline"), UPRIGHT).loss(
        replace(features, numbers=None), head, 0.1, None
    )
    assert torch.equal(loss, baseline)
    assert of_one.drawn(SUPPORT_LABELS, QUERY_LABELS, seeded())[0].eq(0).all()


@pytest.mark.parametrize("scenario", ["fewshot", "imbalanced", "standard"])
def test_lorot_refuses_other_transforms_and_boxes_larger_than_the_images(scenario):
    with pytest.raises(UserError, match=r"'lorot-e' cannot be used here: .* transform 'color_perm' does"):
        runs_of(
            scenario,
            method=["lorot-e"],
            transform=["color_perm"],
            dataset=["cifar_fs" if scenario == "fewshot" else "cifar10"],
        )
    with pytest.raises(
        UserError, match=r"a box of 33 pixels is larger than images of 32; lower --set method\.box"
    ):
        runs_of(scenario, ["method.box=33"], method=["lorot-i"])
    with pytest.raises(UserError, match="LoRot-I: weight must be a finite number of at least 0, got -1"):
        runs_of(scenario, ["method.weight=-1"], method=["lorot-i"])


@pytest.mark.parametrize("scenario", ["fewshot", "imbalanced", "standard"])
def test_relatives_names_what_the_scenario_admits_and_leaves_out_what_a_transform_refuses(scenario):
    anywhere = {*FORMULAS, "baseline-x2", "baseline-x2M"}
    found = {run.method for run in runs_of(scenario, method=["relatives"])}
    of_classifiers = {*OF_CLASSIFIERS, *ROTATIONS_FIRST}
    assert found == (anywhere if scenario == "fewshot" else anywhere | of_classifiers)
    assert not found & {run.method for run in runs_of(scenario, method=["all", "controls"])}
    left_out = {"lorot-i", "lorot-e", *ROTATIONS_FIRST} & found
    given = {"transform": ["color_perm"], "dataset": ["cifar_fs" if scenario == "fewshot" else "cifar10"]}
    assert found - {run.method for run in runs_of(scenario, method=["relatives"], **given)} == left_out


def test_a_training_of_twice_the_steps_does_not_depend_on_the_transform():
    (run,) = runs_of("standard", method=["baseline-x2"])
    assert run.transform is None
    assert OnEpisodes(METHODS.load("baseline-x2"), TRANSFORMS.load("color_perm")).step_factor == 2


@pytest.mark.parametrize("method", ROTATIONS_FIRST)
def test_rotation_prediction_refuses_other_transforms_and_episodes(method):
    with pytest.raises(
        UserError, match=r"it predicts rotations, and transform 'color_perm' does something else"
    ):
        runs_of("imbalanced", method=[method], transform=["color_perm"], dataset=["cifar10"])
    with pytest.raises(UserError, match=r"refused for few-shot: its pretraining is built for fixed classes"):
        runs_of("fewshot", method=[method])


def test_rotation_prediction_is_the_cross_entropy_of_the_turn():
    with torch_seeded(0):
        classes = Classes(COUNTS, CrossEntropy)
        objective = OnClasses(METHODS.load("ssp").pretext, D, classes, ROTATION).double()
    features, numbers = drawn_batch(objective)
    expected = -sum(log_p(objective.view_head(features[b, 0]), int(numbers[b, 0])) for b in range(B)) / B
    torch.testing.assert_close(objective.loss(features, LABELS, numbers)[0], expected, rtol=1e-12, atol=0)


def student(name, **options):
    """An objective with features of its views, and the scores of the network before."""
    objective = on_classes(name, **options)
    features = torch.randn(B, objective.images_per_image, D, generator=seeded(), dtype=torch.float64)
    return objective, features, 3 * torch.randn(B, N, generator=seeded(2), dtype=torch.float64)


def taught(teacher, logits, temperature):
    """T^2 KL(teacher || student) of one image."""
    p, q = (torch.softmax(scores / temperature, 0) for scores in (teacher, logits))
    return temperature**2 * (p * (p / q).log()).sum()


def test_a_student_of_rfs_learns_from_labels_and_from_the_scores_before():
    objective, z, before = student("rfs-distil")
    logits = objective.head(z[:, 0])
    terms = [0.5 * taught(before[b], logits[b], 4) - 0.5 * log_p(logits[b], int(LABELS[b])) for b in range(B)]
    loss, accuracy = objective.loss(z, LABELS, before=before)
    torch.testing.assert_close(loss, sum(terms) / B, rtol=1e-12, atol=0)
    assert float(accuracy) == pytest.approx(float((logits.argmax(1) == LABELS).double().mean()))
    without = student("rfs-distil", weight=0.0)[0]
    assert torch.equal(without.loss(z, LABELS, before=before)[0], on_classes("baseline").loss(z, LABELS)[0])


def test_a_student_of_skd_follows_the_scores_before_and_pulls_turned_images_to_the_upright():
    objective, z, before = student("skd1")
    u = objective.head(z)
    terms = [
        taught(before[b], u[b, 0], 2)
        + 0.1 * sum((u[b, j] - u[b, 0]).square().sum().sqrt() for j in (1, 2, 3)) / 3
        for b in range(B)
    ]
    loss, accuracy = objective.loss(z, LABELS, before=before)
    torch.testing.assert_close(loss, sum(terms) / B, rtol=1e-12, atol=0)
    assert float(accuracy) == pytest.approx(float((u[:, 0].argmax(1) == LABELS).double().mean()))
    # The labels have no part in it.
    assert torch.equal(loss, objective.loss(z, LABELS.flip(0), before=before)[0])


def test_the_view_is_told_from_the_scores_of_the_loss():
    """Of margins the scores are s cos: a scale of the cosines scales what tells the view."""
    with torch_seeded(0):
        classes = Classes(COUNTS, LOSSES.load("ldam"))
        objective = OnClasses(METHODS.load("skd0"), D, classes, ROTATION)
    assert objective.view_head.in_features == N
    z = torch.randn(B, M, D, generator=seeded())
    expected = objective.view_head(objective.criterion.scores(objective.head(z)))
    torch.testing.assert_close(objective.recognised_view(z), expected)


@pytest.mark.parametrize("method", sorted(OF_CLASSIFIERS))
def test_methods_about_a_classifier_refuse_learners_that_train_on_episodes(method):
    sentence = (
        rf"'{method}' is about a classifier .* 'protonet' is trained on episodes; take --learner simples"
    )
    with pytest.raises(UserError, match=sentence):
        runs_of("fewshot", method=[method])
    found = {run.method for run in runs_of("fewshot", method=["relatives"], learner=["protonet", "finetune"])}
    assert method in found


@pytest.mark.parametrize(
    ("method", "option", "value", "words"),
    [
        ("skd0", "weight", -1.0, "SKD0: weight must be a finite number of at least 0"),
        ("skd1", "temperature", 0.0, "SKD1: temperature must be a finite number above 0"),
        ("bcl", "temperature", 0.0, "BCL: temperature must be a finite number above 0"),
        ("rfs-distil", "weight", 1.0, r"RFS-distil: weight must be a number in \[0, 1\)"),
    ],
)
def test_options_of_students_out_of_range_are_refused(method, option, value, words):
    with pytest.raises(UserError, match=words):
        runs_of("standard", [f"method.{option}={value}"], method=[method])


def test_each_stage_has_a_joint_head_on_features_of_its_own():
    backbone = conv4_32(16)
    width, stages = backbone.num_features, 4
    with torch_seeded(0):
        objective = OnClasses(METHODS.load("hsakd"), width, Classes(COUNTS, CrossEntropy), ROTATION)
        objective.branch_off(backbone)
    objective = objective.double()
    z = torch.randn(B, M, stages * width, generator=seeded(), dtype=torch.float64)
    total = 0
    for b, y in enumerate(LABELS.tolist()):
        own, *branches = z[b].split(width, dim=1)
        total = total - log_p(objective.head(own[0]), y)
        # The last stage's features are those of the network.
        for head, ends in zip(objective.stage_heads, [*branches, own], strict=True):
            total = total + sum(-log_p(head(ends[j]), y * M + j) for j in range(M)) / M
    loss, accuracy = objective.loss(z, LABELS)
    torch.testing.assert_close(loss, total / B, rtol=1e-12, atol=0)
    hits = objective.head(z[:, 0, :width]).argmax(1) == LABELS
    assert float(accuracy) == pytest.approx(float(hits.double().mean()))
    # At test the network alone is read.
    assert set(objective.read(z[..., :width])) == {"HSAKD", "HSAKD+TTA"}


def test_views_are_pulled_to_their_image_and_away_from_others():
    objective, z, _ = student("alike", weight=0.7, temperature=0.5)
    p = objective.projection_head(z)
    total = 0
    for b, y in enumerate(LABELS.tolist()):
        total = total - sum(log_p(objective.head(z[b, j]), y) for j in range(M)) / M
        for j in range(1, M):
            cosines = [p[b, j] @ p[c, 0] / (p[b, j].norm() * p[c, 0].norm()) for c in range(B)]
            total = total - 0.7 * log_p(torch.stack(cosines) / 0.5, b) / (M - 1)
    torch.testing.assert_close(objective.loss(z, LABELS)[0], total / B, rtol=1e-12, atol=0)
    without, da = student("alike", weight=0.0)[0], on_classes("da")
    assert torch.equal(without.loss(z, LABELS)[0], da.loss(z, LABELS)[0])


def test_branches_need_a_backbone_that_tells_its_stages():
    with pytest.raises(
        UserError, match="'hsakd' needs the stages of its backbone, which torchvision:resnet18 does"
    ):
        runs_of("standard", method=["hsakd"], backbone=["torchvision:resnet18"])


def test_mixed_images_have_two_labels_and_the_others_a_class_and_a_view():
    objective = on_classes("s2m2")
    z, numbers = drawn_batch(objective)
    assert numbers[:, 0].eq(0).all()
    assert set(objective.drawn(100, seeded())[:, 1].tolist()) == set(range(M))
    partners, share = torch.tensor([3, 2, 5, 0, 1, 4]), 0.3
    total = 0
    for b, y in enumerate(LABELS.tolist()):
        mixed, turned = z[b]
        total = total - share * log_p(objective.head(mixed), y)
        total = total - (1 - share) * log_p(objective.head(mixed), int(LABELS[partners[b]]))
        total = total - log_p(objective.head(turned), y) / 2
        total = total - log_p(objective.view_head(turned), int(numbers[b, 1])) / 2
    loss, _ = objective.loss(z, LABELS, numbers, None, (partners, share))
    torch.testing.assert_close(loss, total / B, rtol=1e-12, atol=0)
