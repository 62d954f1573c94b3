import numpy as np
import pytest
import torch
from pretrained_networks import needs_timm, weights_file
from spanned import tasks_of

from sla_bench.config import FewShotEvaluation, FewShotRun, columns
from sla_bench.data.base import LabeledImages
from sla_bench.errors import UserError
from sla_bench.grids.asked import asked_of
from sla_bench.objectives.episodes import EpisodeFeatures, EpisodeScores
from sla_bench.registry import LEARNERS, SCENARIOS, TRANSFORMS
from sla_bench.scenarios.fewshot.frozen import C_GRID, FrozenReader
from sla_bench.scenarios.pretraining import notes, seen_classes
from sla_bench.tables.row_key import TRAINING
from sla_bench.tables.table_texts import blocks

NETWORK = "timm:test_resnet"
IMAGENET = ["pretrained_on=ImageNet-1k"]


def tasks(scenario="fewshot", settings=(), **given):
    return tasks_of(scenario, settings, **{"method": ["baseline"], **given})


@needs_timm
def test_weights_are_named_by_their_content_in_the_id_and_in_every_row(tmp_path):
    path = weights_file(tmp_path)
    (moved := tmp_path / "moved.pth").write_bytes(weights_file(tmp_path, ending="pth").read_bytes())
    plain, (one,), (other,), (third,) = (
        tasks(backbone=[NETWORK], **extra)
        for extra in (
            {},
            {"weights": [str(path)]},
            {"weights": [str(moved)]},
            {"weights": [str(weights_file(tmp_path, seed=1))]},
        )
    )
    assert one.run.digest() == other.run.digest() != third.run.digest()
    assert "weights" not in plain[0].run.identity()
    digest = one.run.weights.rpartition("#")[2]
    assert asked_of(one.run).columns["pretrained_on"] == f"unknown data ({digest[:8]})"
    assert asked_of(one.run).words().startswith("frozen 5-way")
    assert asked_of(one.run).label() == "pretrained"
    (named,) = tasks(backbone=[NETWORK], weights=[str(path)], settings=["pretrained_on=ImageNet-1k"])
    assert named.run.pretrained_on == f"ImageNet-1k ({digest[:8]})"


@needs_timm
@pytest.mark.parametrize("network", ["timm:resnet1", "torchvision:resnet19"])
def test_an_unknown_network_with_random_weights_is_refused_before_anything_runs(network):
    with pytest.raises(UserError, match=r"has no network .*did you mean.*resnet18"):
        tasks(backbone=[network])


@needs_timm
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fine_tuned_network_brings_its_frozen_row(tmp_path, scenario):
    found = tasks(
        scenario, backbone=[NETWORK], weights=[str(weights_file(tmp_path))], train=["all"], method=["sla"]
    )
    frozen = "none" if scenario == "fewshot" else "head"
    assert [(task.run.method, task.run.train) for task in found] == [("sla", "all"), ("baseline", frozen)]


@needs_timm
@pytest.mark.parametrize(
    ("scenario", "given", "words"),
    [
        ("fewshot", {"train": ["head"]}, "take --train none"),
        ("standard", {"train": ["none"]}, "take --train head"),
        ("fewshot", {"method": ["mt"]}, "the same network as baseline"),
        ("standard", {"mix": ["cutmix"]}, "mix none"),
        ("standard", {"mix": ["cutmix"], "method": ["all"]}, "mix none"),
        ("fewshot", {"backbone": ["conv4"]}, "has no pretrained weights"),
        ("fewshot", {"learner": ["anil"]}, "--train all --budget smoke or paper"),
        ("fewshot", {"settings": ["backbone.input_size=0"]}, "whole number of at least 1, got 0"),
        ("fewshot", {"settings": ["backbone.input_size=big"]}, "whole number of at least 1, got 'big'"),
        (
            "fewshot",
            {"dataset": ["mini_imagenet"], "settings": ["pretrained_on=ImageNet-1k"]},
            "--allow-seen-classes",
        ),
    ],
)
def test_what_a_pretrained_network_cannot_do_is_said(tmp_path, scenario, given, words):
    with pytest.raises(UserError, match=words):
        tasks(scenario, **{"backbone": [NETWORK], "weights": [str(weights_file(tmp_path))], **given})


@needs_timm
def test_seen_test_classes_are_marked_where_they_are_allowed(tmp_path):
    (task,) = tasks(
        backbone=[NETWORK],
        weights=[str(weights_file(tmp_path))],
        dataset=["mini_imagenet"],
        allow_seen_classes=True,
        settings=["pretrained_on=ImageNet-1k"],
    )
    assert task.run.pretrained_on.endswith("test classes seen")


def test_rows_from_scratch_and_pretrained_rows_stand_in_blocks_of_their_own():
    plain = {**dict.fromkeys(TRAINING, "same"), "pretrained_on": columns()["pretrained_on"]}
    frozen = {**plain, "pretrained_on": "ImageNet-1k (01234567)"}
    assert [len(block) for block in blocks([plain, frozen, plain])] == [2, 1]
    # A missing value would drop its rows where tables are grouped.
    assert isinstance(plain["pretrained_on"], str)


def test_options_of_pretrained_networks_have_no_effect_elsewhere():
    with pytest.raises(UserError, match="has no effect without --weights"):
        tasks(train=["none"])
    with pytest.raises(UserError, match="has no effect without --weights"):
        tasks(allow_seen_classes=True)


@needs_timm
def test_names_of_imagenet_are_found_in_other_spellings():
    assert seen_classes(["Dalmatian", "starfish", "soccer_ball", "dalmatians", "glyph 7", "R"]) == [
        "Dalmatian",
        "starfish",
        "soccer_ball",
        "dalmatians",
    ]


def _features(seed=0, episodes=3, ways=4, shots=2, views=5):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(episodes, ways, 1, 1, 8, generator=generator)

    def drawn(count):
        noise = torch.randn(episodes, ways, count, views, 8, generator=generator)
        return (centres + noise).flatten(1, 2), torch.arange(ways).repeat_interleave(count).expand(
            episodes, -1
        )

    support, query = drawn(shots), drawn(5)
    return EpisodeFeatures(*support, *query, ways)


@pytest.mark.parametrize("learner", ["protonet", "simpleshot"])
def test_joint_labels_equal_test_time_views_for_nearest_means(learner):
    head, features, rotation = LEARNERS.load(learner)(), _features(), TRANSFORMS.load("rotation")
    plain = FrozenReader("baseline", rotation).read(features, head)
    joint = FrozenReader("sla", rotation).read(features, head)
    torch.testing.assert_close(joint["SLA+AG"], plain["baseline+TTA"])
    torch.testing.assert_close(joint["SLA+SI"], plain["baseline"])


def test_rows_without_training_are_fitted_on_the_views_that_they_name():
    head, features, rotation = LEARNERS.load("finetune")(), _features(), TRANSFORMS.load("rotation")
    rows = FrozenReader("baseline", rotation).read(features, head)
    support, query = features.support, features.query
    fitted = [head(support[:, :, j], features.support_labels, query[:, :, j], 4) for j in range(5)]
    torch.testing.assert_close(rows["baseline"], fitted[0])
    torch.testing.assert_close(rows["baseline+TTA"], torch.stack(fitted[:4]).mean(0))
    torch.testing.assert_close(rows["baseline+flip"], (fitted[0] + fitted[4]) / 2)
    turned = EpisodeFeatures(
        support[:, :, :4], features.support_labels, query[:, :, :4], features.query_labels, 4
    )
    joint = FrozenReader("sla", rotation).read(features, head)
    torch.testing.assert_close(joint["SLA+AG"], EpisodeScores(turned, head).read("own", mean=True))
    pooled = FrozenReader("da", rotation).read(features, head)["DA"]
    labels = features.support_labels[..., None].expand(-1, -1, 4).flatten(1)
    torch.testing.assert_close(pooled, head(support[:, :, :4].flatten(1, 2), labels, query[:, :, 0], 4))
    passes = FrozenReader("sla", rotation).rows
    assert (passes["SLA+SI"], passes["SLA+AG"]) == ((4, 1), (4, 4))


class _Photographs:
    """Classes of one colour each, noisy."""

    @staticmethod
    def of(classes, per_class, seed):
        random = np.random.default_rng(seed)
        colours = random.integers(40, 216, (classes, 1, 1, 1, 3))
        pixels = colours + random.integers(-40, 40, (classes, per_class, 32, 32, 3))
        labels = np.repeat(np.arange(classes), per_class)
        names = tuple(f"class {k}" for k in range(classes))
        return LabeledImages(pixels.reshape(-1, 32, 32, 3).astype(np.uint8), labels, names)


@pytest.fixture
def photographs(monkeypatch):
    from sla_bench.data.glyphs import GLYPHS

    def load(self, split, by, data_root, split_seed=0):
        return _Photographs.of(
            6, 24, {"train": 0, "val": 1, "test": 2, "trainval": 3}[split] if by == "classes" else 0
        )

    monkeypatch.setattr(type(GLYPHS), "load", load)


@needs_timm
def test_a_frozen_run_trains_nothing_and_is_read_again_from_its_head_alone(tmp_path, photographs):
    scenario = SCENARIOS.load("fewshot")
    (task,) = tasks(
        backbone=[NETWORK],
        weights=[str(weights_file(tmp_path))],
        learner=["finetune"],
        method=["sla"],
        settings=["validation_episodes=20"],
    )
    training = scenario.run(task.run, tmp_path, torch.device("cpu"))
    assert training.summary["train_images"] == 0
    assert not any("network" in name for name in training.state)
    test = FewShotEvaluation(episodes=20, jackknife_episodes=0)
    read = scenario.evaluate(task.run, test, training.state, tmp_path, torch.device("cpu"))
    assert list(read.metrics) == ["SLA+AG", "SLA+SI"]
    assert all(row["C"] in C_GRID for row in read.metrics.values())
    assert read.metrics["SLA+AG"]["accuracy"] > 0.5
    again = scenario.evaluate(task.run, test, training.state, tmp_path, torch.device("cpu"))
    assert all(np.array_equal(read.samples[name], again.samples[name]) for name in read.samples)


@needs_timm
@pytest.mark.parametrize("train", ["head", "last-stage"])
def test_heads_and_last_stages_learn_fixed_classes(tmp_path, photographs, train):
    scenario = SCENARIOS.load("standard")
    task = tasks(
        "standard",
        backbone=[NETWORK],
        weights=[str(weights_file(tmp_path))],
        train=[train],
        method=["sla"],
        dataset=["glyphs"],
        settings=["steps=60", "validations=1", "learning_rate=0.03"],
    )[0]
    training = scenario.run(task.run, tmp_path, torch.device("cpu"))
    assert (training.summary["train_images"] == 0) == (train == "head")
    read = scenario.evaluate(task.run, task.evaluations[0], training.state, tmp_path, torch.device("cpu"))
    assert read.metrics["SLA+AG"]["accuracy"] > 0.5


@needs_timm
def test_the_note_on_small_pictures_names_the_same_folder_at_the_size_of_the_pretraining():
    run = FewShotRun(dataset="folder:/x/photos:32,fit=pad", backbone=NETWORK, weights="default#0")
    assert "; folder:/x/photos:160,fit=pad keeps more" in next(notes(run, list))
