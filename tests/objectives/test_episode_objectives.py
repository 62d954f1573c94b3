import math
from dataclasses import replace

import pytest
import torch
from training_factors import DRAWN, TRAINING

from sla_bench.errors import UserError
from sla_bench.models.heads.protonet import ProtoNet
from sla_bench.models.heads.ridge import RidgeHead
from sla_bench.models.losses.base import smoothed_cross_entropy
from sla_bench.objectives.episodes import EpisodeFeatures, EpisodeScores, OnEpisodes
from sla_bench.registry import METHODS, TRANSFORMS

E, W, K, Q, M, D = 3, 4, 2, 3, 4, 8
ROTATION = TRANSFORMS.load("rotation")
FEW_SHOT = [n for n in METHODS if not (METHODS.load(n).not_on_episodes or METHODS.load(n).classifier_only)]


@pytest.fixture
def features():
    g = torch.Generator().manual_seed(0)
    support_labels = torch.arange(W).repeat_interleave(K).expand(E, -1)
    query_labels = torch.stack([torch.randperm(W * Q, generator=g) % W for _ in range(E)])
    return EpisodeFeatures(
        torch.randn(E, W * K, M, D, generator=g, dtype=torch.float64),
        support_labels,
        torch.randn(E, W * Q, M, D, generator=g, dtype=torch.float64),
        query_labels,
        W,
    )


def objective(name, **options):
    return OnEpisodes(replace(METHODS.load(name), **options), ROTATION)


@pytest.mark.parametrize("name", FEW_SHOT)
def test_each_objective_reads_its_rows_and_trains(name, features):
    piece, head = objective(name), RidgeHead().double()
    view_head = piece.view_head(D)
    features.support.requires_grad_()
    loss, accuracy = piece.loss(features, head, 0.1, view_head)
    loss.backward()
    assert features.support.grad.abs().sum() > 0
    assert 0 <= accuracy <= 1
    logits = piece.read(features, head)
    assert list(logits) == list(piece.rows)
    assert piece.method.single_row in piece.rows
    assert all(v.shape == (E, W * Q, W) for v in logits.values())


def test_sla_of_prototypes_is_plain_at_test(features):
    read = objective("sla").read(features, ProtoNet().double())
    torch.testing.assert_close(read["SLA+SI"], read["SLA+plain"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(read["SLA+AG"], read["SLA+plain+TTA"], rtol=1e-12, atol=1e-12)


def test_sla_of_ridge_differs_from_plain(features):
    read = objective("sla").read(features, RidgeHead().double())
    assert (read["SLA+AG"] - read["SLA+plain+TTA"]).abs().max() > 1e-4


def naive_joint_logits(features, head):
    """The official layout, one image at a time: row (query, view), column class * M + transformation."""
    support, labels = [], []
    for s in range(W * K):
        for j in range(M):
            support.append(features.support[:, s, j])
            labels.append(features.support_labels[:, s] * M + j)
    rows = [features.query[:, q, j] for q in range(W * Q) for j in range(M)]
    return head(torch.stack(support, 1), torch.stack(labels, 1), torch.stack(rows, 1), W * M)


def test_sla_is_the_official_layout(features):
    head = RidgeHead(regularization=3.0).double()
    flat = naive_joint_logits(features, head)
    rows = flat.view(E, W * Q, M, W * M)
    expected = sum(rows[:, :, j, j::M] for j in range(M)) / M
    read = objective("sla").read(features, head)
    torch.testing.assert_close(read["SLA+AG"], expected)
    torch.testing.assert_close(read["SLA+SI"], rows[:, :, 0, 0::M])
    joint = (features.query_labels[..., None] * M + torch.arange(M)).reshape(-1)
    log_p = flat.reshape(-1, W * M).log_softmax(-1)
    loss, _ = objective("sla").loss(features, head, 0.0, None)
    torch.testing.assert_close(loss, -log_p.gather(1, joint[:, None]).mean())


def test_joint_scope_view_only_compares_within_the_view(features):
    head = RidgeHead().double()
    rows = naive_joint_logits(features, head).view(E, W * Q, M, W * M)
    own = torch.stack([rows[:, :, j, j::M] for j in range(M)], 2)
    target = features.query_labels[..., None].expand(E, W * Q, M)
    expected = -own.log_softmax(-1).gather(-1, target[..., None]).mean()
    loss, _ = objective("sla", joint_scope="view").loss(features, head, 0.0, None)
    torch.testing.assert_close(loss, expected)
    with pytest.raises(UserError, match="did you mean 'view'"):
        objective("sla", joint_scope="views")


def test_da_pools_all_views_under_the_images_label(features):
    head = ProtoNet().double()
    prototypes = torch.stack(
        [
            torch.stack([features.support[e][features.support_labels[e] == w].mean((0, 1)) for w in range(W)])
            for e in range(E)
        ]
    )
    distance = (features.query[:, :, :, None] - prototypes[:, None, None]).square().sum(-1)
    log_p = (-distance / D).log_softmax(-1)
    target = features.query_labels[..., None].expand(E, W * Q, M)
    loss, _ = objective("da").loss(features, head, 0.0, None)
    torch.testing.assert_close(loss, -log_p.gather(-1, target[..., None]).mean())
    repeated, _ = objective("baseline-repM").loss(features, head, 0.0, None)
    torch.testing.assert_close(repeated, loss)


def test_second_tasks_add_the_view_loss(features):
    head = ProtoNet().double()
    torch.manual_seed(0)
    for name, base, weight in (("mt", "da", 1.0), ("rot-aux", "baseline", 1.0)):
        piece = objective(name)
        view_head = piece.view_head(D)
        assert sum(p.numel() for p in view_head.parameters()) == D * M + M
        loss, _ = piece.loss(features, head, 0.0, view_head)
        alone, _ = objective(base).loss(features, head, 0.0, None)
        torch.testing.assert_close(loss, alone + weight * view_loss(features, view_head))
    piece = objective("rot-aux", weight=0.25)
    loss, _ = piece.loss(features, head, 0.0, view_head)
    torch.testing.assert_close(loss, alone + 0.25 * view_loss(features, view_head))
    with pytest.raises(UserError, match="above 0"):
        objective("rot-aux", weight=0)


def view_loss(features, view_head):
    return EpisodeScores(features, None, view_head=view_head).ce("view")


def test_view_loss_is_the_cross_entropy_of_the_view(features):
    head = torch.nn.Linear(D, M)
    every = torch.cat([features.support, features.query], 1).float()
    expected = -torch.stack([head(every[:, :, j]).log_softmax(-1)[..., j] for j in range(M)]).mean()
    torch.testing.assert_close(view_loss(features, head), expected)


def test_views_has_no_negatives_across_views(features):
    head = RidgeHead().double()
    losses = []
    for j in range(M):
        logits = head(features.support[:, :, j], features.support_labels, features.query[:, :, j], W)
        losses.append(
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), features.query_labels.flatten())
        )
    loss, _ = objective("views").loss(features, head, 0.0, None)
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_label_smoothing_leaves_the_label_one_minus_eps():
    logits, labels, eps = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([1]), 0.1
    log_p = logits.log_softmax(-1)[0]
    expected = -((1 - eps) * log_p[1] + eps / 2 * (log_p[0] + log_p[2]))
    torch.testing.assert_close(smoothed_cross_entropy(logits, labels, eps), expected)
    assert math.isclose(smoothed_cross_entropy(logits, labels, 0.0).item(), -log_p[1].item(), rel_tol=1e-6)


def test_label_smoothing_may_not_put_the_label_below_the_others():
    logits, labels = torch.zeros(1, 2), torch.tensor([0])
    torch.testing.assert_close(smoothed_cross_entropy(logits, labels, 0.5).item(), math.log(2))
    with pytest.raises(UserError, match=r"label_smoothing of 2 ways is 0\.5 at most, got 0\.6"):
        smoothed_cross_entropy(logits, labels, 0.6)


@pytest.mark.parametrize("name", FEW_SHOT)
def test_training_is_what_the_protocol_says(name):
    piece = objective(name)
    assert (piece.step_factor, piece.copies, piece.members, piece.method.trains_on_views) == TRAINING[name]


UPRIGHT = [n for n in FEW_SHOT if TRAINING[n][1] == 1 and not TRAINING[n][3] and n not in DRAWN]


@pytest.mark.parametrize("name", UPRIGHT)
def test_the_baselines_episode_is_that_of_the_images_as_they_are(name, features):
    head = RidgeHead().double()
    logits = head(features.support[:, :, 0], features.support_labels, features.query[:, :, 0], W)
    log_p = logits.log_softmax(-1).gather(-1, features.query_labels[..., None])
    loss, right = objective(name).loss(features, head, 0.0, None)
    torch.testing.assert_close(loss, -log_p.mean())
    hits = sum(
        int(logits[e, q].argmax() == features.query_labels[e, q]) for e in range(E) for q in range(W * Q)
    )
    assert float(right) == pytest.approx(hits / (E * W * Q))


@pytest.mark.parametrize("name", [n for n in FEW_SHOT if not n.startswith("sla")])
def test_an_ordinary_test_reads_the_upright_images_and_the_mean_of_a_head_per_view(name, features):
    head, piece = RidgeHead().double(), objective(name)
    per_view = [
        head(features.support[:, :, j], features.support_labels, features.query[:, :, j], W) for j in range(M)
    ]
    read = piece.read(features, head)
    torch.testing.assert_close(read[piece.method.name], per_view[0])
    torch.testing.assert_close(read[f"{piece.method.name}+TTA"], sum(per_view) / M)
    assert piece.method.single_row == piece.method.name


def test_an_ordinary_head_reads_the_backbone_of_sla_too(features):
    head = RidgeHead().double()
    read = objective("sla").read(features, head)
    plain = objective("baseline").read(features, head)
    torch.testing.assert_close(read["SLA+plain"], plain["baseline"])
    torch.testing.assert_close(read["SLA+plain+TTA"], plain["baseline+TTA"])


def test_checkpoints_are_chosen_with_single_inference_whatever_the_method():
    assert objective("sla").method.single_row == "SLA+SI"
    for name in FEW_SHOT:
        piece = objective(name)
        assert piece.rows[piece.method.single_row].query == piece.members


@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        ("sla", {}, lambda flat, q, j: (flat[q, j], "joint")),
        ("sla", {"joint_scope": "view"}, lambda flat, q, j: (flat[q, j, j::M], "class")),
    ],
)
def test_the_training_accuracy_of_sla_counts_every_view_of_every_query(name, options, rows, features):
    head = RidgeHead().double()
    flat = naive_joint_logits(features, head).view(E, W * Q, M, W * M)
    hits = 0
    for e in range(E):
        for q in range(W * Q):
            for j in range(M):
                scores, kind = rows(flat[e], q, j)
                label = int(features.query_labels[e, q])
                hits += int(scores.argmax()) == (label * M + j if kind == "joint" else label)
    _, right = objective(name, **options).loss(features, head, 0.0, None)
    assert 0 < hits < E * W * Q * M
    assert float(right) == pytest.approx(hits / (E * W * Q * M))


def test_the_training_accuracy_has_no_gradient(features):
    features.query.requires_grad_()
    loss, right = objective("sla").loss(features, RidgeHead().double(), 0.0, None)
    assert loss.requires_grad
    assert not right.requires_grad


def test_a_head_is_fitted_once_for_all_rows_and_terms_that_read_it(features):
    fitted, head = [], RidgeHead().double()

    def counting(support, labels, query, ways):
        fitted.append(ways)
        return head(support, labels, query, ways)

    objective("sla").read(features, counting)
    assert fitted == [W * M, *[W] * M]
    scores = EpisodeScores(features, counting)
    scores.ce("joint")
    scores.ce("own")
    assert fitted == [W * M, *[W] * M, W * M]
    # Validation asks for one row.
    assert list(objective("sla").read(features, counting, ["SLA+SI"])) == ["SLA+SI"]
    assert fitted == [W * M, *[W] * M, W * M, W * M]


def test_an_episode_has_no_teacher(features):
    with pytest.raises(ValueError, match="no teacher scores"):
        EpisodeScores(features, RidgeHead().double()).read("teacher")


def test_episodes_are_split_into_batches_of_one(features):
    parts = features.split()
    assert len(parts) == E
    for e, part in enumerate(parts):
        assert part.ways == W
        for field in ("support", "support_labels", "query", "query_labels"):
            assert torch.equal(getattr(part, field), getattr(features, field)[e : e + 1])


def test_costs_that_the_table_shows():
    rows = {name: {r: (p.support, p.query) for r, p in objective(name).rows.items()} for name in FEW_SHOT}
    assert rows["baseline"] == {"baseline": (1, 1), "baseline+TTA": (4, 4)}
    assert rows["sla"] == {"SLA+AG": (4, 4), "SLA+SI": (4, 1), "SLA+plain": (1, 1), "SLA+plain+TTA": (4, 4)}
    assert rows["ens-M"]["ens-M"] == (4, 4)
    assert objective("ens-M").members == 4
    assert objective("baseline-xM").step_factor == 4
    assert objective("baseline-repM").copies == 4
