from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import ClassScores
from sla_bench.objectives.scores import aggregate, distillation_loss, joint_labels, own_columns, split_joint
from sla_bench.objectives.sla import SLA
from sla_bench.registry import TRANSFORMS
from sla_bench.views.transforms import COLOR_PERM3, ROTATION

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "visible_core.npz")
IMAGES, LABELS = torch.from_numpy(GOLDEN["sla_images"]), torch.from_numpy(GOLDEN["sla_labels"])
CLASSES = 7
KINDS = ["ag", "sd"]


def golden(name, kind, what):
    return torch.from_numpy(np.asarray(GOLDEN[f"sla_{name}_{kind}_{what}"]))


def golden_joint(name, kind):
    num_views = TRANSFORMS.load(name).num_views
    return split_joint(golden(name, kind, "joint_logits"), num_views).view(
        len(LABELS), num_views, CLASSES, num_views
    )


def sla_loss(joint, labels, reduction="mean"):
    """The joint cross entropy of logits (B, M, N, M)."""
    views = joint.shape[1]
    flat = joint.flatten(2)
    criteria = {"joint": CrossEntropy(torch.ones(flat.shape[-1], dtype=torch.int64))}
    return ClassScores({"joint": torch.nn.Identity()}, criteria, flat, labels, views, reduction).ce("joint")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_predictions_are_those_of_the_official_code(name, kind):
    joint = golden_joint(name, kind)
    torch.testing.assert_close(aggregate(joint), golden(name, kind, "agg_logits"), rtol=0, atol=1e-6)
    if kind == "ag":
        assert torch.equal(own_columns(joint)[:, 0], golden(name, kind, "single_logits"))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_losses_are_those_of_the_official_code(name, kind, reduction):
    joint = golden_joint(name, kind)
    loss = sla_loss(joint, LABELS, reduction)
    if kind == "sd":
        upright = golden(name, kind, "single_logits")
        loss = loss + F.cross_entropy(upright, LABELS) + distillation_loss(upright, aggregate(joint))
    expected = float(golden(name, kind, f"{reduction}_loss"))
    assert float(loss) == pytest.approx(expected, rel=2e-6)


def test_joint_labels_count_transformations_inside_classes():
    assert joint_labels(torch.tensor([0, 2]), 4).tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert joint_labels(torch.tensor([0, 2]), 4).dtype == torch.int64


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_distillation_is_the_scaled_divergence_from_teacher_to_student(temperature):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 5, generator=generator).double()
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    expected = temperature**2 * (p * (p / q).log()).sum(1).mean()
    assert float(distillation_loss(student, teacher, temperature)) == pytest.approx(float(expected))
    assert float(distillation_loss(teacher, teacher, temperature)) == pytest.approx(0, abs=1e-12)


def test_the_teacher_gets_no_gradient_from_distillation():
    student, teacher = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).unbind()
    student.requires_grad_()
    teacher.requires_grad_()
    distillation_loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def linear_sla(**options):
    """SLA on raw pixels, and the features of all views."""
    torch.manual_seed(0)
    module = SLA(3 * 8 * 8, CLASSES, **options)
    return module, module.views(IMAGES).flatten(1)


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_module_without_distillation_minimises_the_joint_loss(reduction):
    module, features = linear_sla(reduction=reduction)
    logits = module.joint(features)
    rows = F.cross_entropy(logits, joint_labels(LABELS, 4).flatten(), reduction="none").view(-1, 4)
    expected = rows.mean() if reduction == "mean" else rows.sum(1).mean()
    assert module.loss(features, LABELS).item() == pytest.approx(expected.item(), rel=1e-6)
    assert sorted(dict(module.named_parameters())) == ["joint.bias", "joint.weight"]


def test_module_with_distillation_adds_both_terms_of_the_second_head():
    module, features = linear_sla(distill=True, temperature=2.0, single_weight=0.3, transform=COLOR_PERM3)
    joint = module.joint(features).view(len(IMAGES), 3, CLASSES, 3)
    upright = module.single(features.view(len(IMAGES), 3, -1)[:, 0])
    expected = (
        sla_loss(joint, LABELS)
        + distillation_loss(upright, aggregate(joint), 2.0)
        + 0.3 * F.cross_entropy(upright, LABELS)
    )
    assert module.loss(features, LABELS).item() == pytest.approx(expected.item(), rel=1e-6)


def test_prediction_modes_read_the_right_head_and_columns():
    module, features = linear_sla(distill=True)
    upright = IMAGES.flatten(1)
    joint = module.joint(features).view(len(IMAGES), 4, CLASSES, 4)
    torch.testing.assert_close(module.predict(features), aggregate(joint))
    torch.testing.assert_close(module.predict(features, "ag"), aggregate(joint))
    torch.testing.assert_close(module.predict(upright, "si"), joint[:, 0, :, 0])
    torch.testing.assert_close(module.predict(upright, "sd"), module.single(upright))
    assert module.predict(upright, "si").shape == (len(IMAGES), CLASSES)


def test_module_takes_a_transform_by_name_or_as_it_is():
    assert SLA(4, 3, "color_perm3").transform is COLOR_PERM3
    assert SLA(4, 3, ROTATION).num_views == 4
    with pytest.raises(UserError, match="did you mean 'rotation'"):
        SLA(4, 3, "rotatoin")


def test_a_step_along_the_gradient_lowers_the_loss_of_both_heads():
    module, features = linear_sla(distill=True)
    before = module.loss(features, LABELS)
    before.backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())
    with torch.no_grad():
        for p in module.parameters():
            p.sub_(p.grad, alpha=1e-2)
    assert module.loss(features, LABELS) < before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"temperature": 0.0, "distill": True}, "temperature must be a finite number above 0"),
        ({"temperature": float("nan"), "distill": True}, "temperature must be a finite number above 0"),
        ({"temperature": "2,0", "distill": True}, "temperature must be a finite number above 0, got '2,0'"),
        ({"single_weight": -1.0, "distill": True}, "single_weight must be a finite number of at least 0"),
        ({"temperature": 2.0}, "add distill=True"),
        ({"single_weight": 0.5}, "add distill=True"),
        ({"reduction": "avg"}, "unknown reduction 'avg'"),
        ({"num_classes": 0}, "got 4 and 0"),
        ({"num_features": 0}, "got 0 and 3"),
    ],
)
def test_options_without_meaning_are_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        SLA(**{"num_features": 4, "num_classes": 3, **options})


def test_one_feature_one_class_and_no_weight_of_the_second_head_will_do():
    module = SLA(1, 1, distill=True, single_weight=0.0)
    features = torch.ones(4, 1)
    weightless = module.loss(features, torch.tensor([0]))
    # One class: the second head is always right, and its divergence from the vote is 0.
    joint = module.joint(features).view(1, 4, 1, 4)
    torch.testing.assert_close(weightless, sla_loss(joint, torch.tensor([0])))


def test_wrong_rows_and_modes_are_refused():
    module, features = linear_sla()
    with pytest.raises(UserError, match="6 images in 4 views give 24 rows of features, got 6"):
        module.loss(features[:6], LABELS)
    with pytest.raises(UserError, match="all 4 views of each image, got 6 rows"):
        module.predict(features[:6], "ag")
    with pytest.raises(UserError, match="distill=True"):
        module.predict(features[:6], "sd")
    with pytest.raises(UserError, match="unknown mode 'tta'"):
        module.predict(features, "tta")
    with pytest.raises(UserError, match="14 joint logits do not divide into 4"):
        split_joint(torch.zeros(2, 14), 4)
