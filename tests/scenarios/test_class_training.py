"""Few-shot tests of backbones trained as classifiers of training classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from spanned import tasks_of
from test_fewshot import CPU, SHORT, evaluate, learnable, train

from sla_bench.config import ClassifierRun
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.evaluation.embedding import embed
from sla_bench.grids.asked import asked_of
from sla_bench.grids.tasks import form_of
from sla_bench.models.losses.base import smoothed_cross_entropy
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.registry import LEARNERS, METHODS
from sla_bench.scenarios.fewshot import class_training
from sla_bench.scenarios.fewshot import run as fewshot
from sla_bench.scenarios.fewshot.class_training import BaseClasses, as_classifier_run
from sla_bench.scenarios.fewshot.episode_reader import EpisodeReader
from sla_bench.views.augment import ImageBatches
from sla_bench.views.transforms import ROTATION

pytestmark = pytest.mark.usefixtures("reduced_glyphs")
FROZEN = [name for name, entry in LEARNERS.items() if entry.trains_on == "classes"]
FEW_SHOT = [n for n in METHODS if not METHODS.load(n).not_on_episodes]
ON_CLASSES = [n for n in FEW_SHOT if not METHODS.load(n).not_on_classes]


def tasks(*settings, **options):
    given = {"method": ["sla"], "learner": ["simpleshot"], "budget": "smoke", **options}
    return tasks_of("fewshot", [*SHORT, *settings], **given)


def task(*settings, **options):
    (one,) = tasks(*settings, **options)
    return one


def model_of(one):
    objective = fewshot.build_objective(one.run, "rotation")
    return fewshot.build_model(one.run, dataset_named("glyphs"), objective, 0).eval()


@pytest.mark.parametrize("method", ["baseline", "rot-aux", "mt", "sla", "skd0", "skd1", "rfs-distil", "s2m2"])
def test_every_kind_of_method_with_a_classifier_trains_and_is_read(method, root):
    one = task("steps=1", "train_queries=1", "train_shots=1", method=[method])
    result = evaluate(one, train(one, root), root)
    rows = list(fewshot.build_objective(one.run, "rotation").rows)
    saw_turns = method in ("mt", "sla", "skd0", "skd1", "s2m2")
    assert list(result.metrics) == rows + [f"{rows[0]}+crops"] * (not saw_turns)
    for row, metrics in result.metrics.items():
        assert metrics["accuracy"] == pytest.approx(result.samples[f"hits/{row}"].mean() / 15)


def test_as_many_images_pass_the_backbone_as_in_training_on_episodes(root):
    alike = [task("steps=1", "batch_episodes=2", learner=[name]) for name in ("protonet", "simpleshot")]
    images = [train(one, root).summary["train_images"] for one in alike]
    assert images[0] == images[1]


def test_the_head_has_no_part_in_the_training(root):
    states = [
        train(task(learner=[learner], selection="last", method=["mt"]), root).state for learner in FROZEN
    ]
    for name, value in states[0].items():
        assert name.split(".")[2] in ("backbone", "head"), name
        if ".backbone." in name:
            assert all(torch.equal(value, state[name]) for state in states[1:]), name


def test_the_backbone_starts_like_that_of_the_other_learners_and_is_trained(root):
    one = task("steps=1", "learning_rate=1e-12", method=["baseline"])
    model = fewshot.build_model(
        one.run, dataset_named("glyphs"), fewshot.build_objective(one.run, "rotation"), 0
    )
    still, moved = train(one, root).state, train(task(method=["baseline"]), root).state
    for name, value in model.backbone.named_parameters():
        torch.testing.assert_close(still[f"members.0.backbone.{name}"], value.detach())
        assert not torch.equal(moved[f"members.0.backbone.{name}"], value), name


def test_a_test_leaves_the_weights_alone_and_repeats_itself(root):
    one = task(learner=["cosine"])
    training = train(one, root)
    before = {name: value.clone() for name, value in training.state.items()}
    first, second = evaluate(one, training, root), evaluate(one, training, root)
    assert all(torch.equal(value, training.state[name]) for name, value in before.items())
    assert all(np.array_equal(value, second.samples[name]) for name, value in first.samples.items())


def test_each_view_is_centred_by_its_own_mean_over_training_images(root, monkeypatch):
    monkeypatch.setattr(class_training, "IMAGES_PER_CLASS", 7)
    monkeypatch.setattr(class_training, "_CHUNK", 50)
    one, dataset = task(), dataset_named("glyphs")
    model = model_of(one)
    training, test = (fewshot.load_images(one.run, split, root) for split in ("train", "test"))
    batches = ImageBatches(training, dataset.properties, device=CPU)
    centred = EpisodeReader(test, dataset, 5, CPU, BaseClasses(training, batches))
    plain = EpisodeReader(test, dataset, 5, CPU)
    first = np.concatenate([np.flatnonzero(training.labels == c)[:7] for c in range(training.num_classes)])
    for transform in (None, ROTATION):
        base = embed(model.backbone, batches, torch.from_numpy(first), transform)
        expected = plain.embeddings(model, transform, "fp32") - base.mean(0)
        torch.testing.assert_close(centred.embeddings(model, transform, "fp32"), expected)


def test_nothing_but_the_training_split_centres(root, monkeypatch):
    seen = []
    original = BaseClasses.__init__

    def spy(self, images, batches):
        seen.append(images.class_names)
        original(self, images, batches)

    monkeypatch.setattr(BaseClasses, "__init__", spy)
    one = task(method=["baseline"])
    evaluate(one, train(one, root), root)
    assert seen == [fewshot.load_images(one.run, "train", root).class_names] * 2
    uncentred = task(method=["baseline"], learner=["finetune"])
    evaluate(uncentred, train(uncentred, root), root)
    plain = task("learner.centred=false", method=["baseline"])
    evaluate(plain, train(plain, root), root)
    assert len(seen) == 2


def test_simpleshot_reads_joint_heads_as_one_head_per_view(root):
    # Means of points know nothing of each other, so the joint head of W*M ways says nothing new.
    one = task()
    samples = evaluate(one, train(one, root), root).samples
    assert np.array_equal(samples["hits/SLA+SI"], samples["hits/SLA+plain"])
    assert np.array_equal(samples["hits/SLA+AG"], samples["hits/SLA+plain+TTA"])


def test_crops_cost_as_many_passes_as_views_and_without_their_chance_are_the_images(root, monkeypatch):
    one = task(method=["baseline"])
    training = train(one, root)
    result = evaluate(one, training, root)
    metrics = result.metrics["baseline+crops"]
    assert (metrics["support_passes"], metrics["query_passes"]) == (4, 4)
    assert result.samples["hits/baseline+crops"].shape == result.samples["hits/baseline"].shape
    monkeypatch.setattr(ImageBatches, "augmented", lambda self, index, generator: self.plain(index))
    same = evaluate(one, training, root).samples
    assert np.array_equal(same["hits/baseline+crops"], same["hits/baseline"])


def test_crops_of_supports_cost_passes_and_without_their_chance_are_the_supports(root, monkeypatch):
    """Nearest means of three equal supports in place of each are those of the supports."""
    settings, given = ("support_crops=3",), {"method": ["mt"]}
    one, plain = task(*settings, **given), task(**given)
    assert one.run == plain.run
    assert one.evaluations[0].digest() != plain.evaluations[0].digest()
    training = train(one, root)
    expected, drawn = evaluate(plain, training, root), evaluate(one, training, root)
    monkeypatch.setattr(ImageBatches, "augmented", lambda self, index, *_: self.plain(index))
    still = evaluate(one, training, root)
    for row, metrics in drawn.metrics.items():
        assert metrics["support_passes"] == 3 * expected.metrics[row]["support_passes"]
        assert metrics["query_passes"] == expected.metrics[row]["query_passes"]
        hits = f"hits/{row}"
        assert drawn.samples[hits].shape == expected.samples[hits].shape
        assert not np.array_equal(drawn.samples[hits], expected.samples[hits])
        assert np.array_equal(still.samples[hits], expected.samples[hits])
    assert asked_of(one.run, one.evaluations[0]).words() == "5-way 5-shot 3 crops a shot"


def test_the_vote_of_crops_has_crops_of_supports_for_each(root):
    one = task("support_crops=2", method=["baseline"])
    metrics = evaluate(one, train(one, root), root).metrics["baseline+crops"]
    assert (metrics["support_passes"], metrics["query_passes"]) == (2 * 4, 4)


def test_an_episodic_training_is_not_read_on_crops(root):
    one = task(method=["baseline"], learner=["protonet"])
    assert set(evaluate(one, train(one, root), root).metrics) == {"baseline", "baseline+TTA"}


def test_methods_about_episodes_are_refused_by_name_and_left_out_of_groups():
    with pytest.raises(UserError, match=r"method 'views' is about episodes.*of learner 'cosine'"):
        task(method=["views"], learner=["cosine"])
    for name in ("baseline-NMway", "rotpool-NMway"):
        with pytest.raises(UserError, match="trained without them, as a classifier"):
            task(f"method={name}")
    found = {
        (t.run.learner, t.run.method) for t in tasks(method=["controls"], learner=["protonet", "finetune"])
    }
    controls = {n for n in FEW_SHOT if METHODS.load(n).group == "controls"}
    assert {m for learner, m in found if learner == "protonet"} == controls
    assert {m for learner, m in found if learner == "finetune"} == controls & set(ON_CLASSES)


def test_label_smoothing_is_that_of_the_episodes(root):
    g = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 4, generator=g), torch.tensor([0, 1, 2, 3, 0, 1])
    target = torch.full((6, 4), 0.1 / 3)
    target[torch.arange(6), labels] = 0.9
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(CrossEntropy([2, 2, 1, 1], smoothing=0.1)(logits, labels), expected)
    torch.testing.assert_close(smoothed_cross_entropy(logits, labels, 0.1), expected)
    plain, smooth = (train(task("steps=1", f"label_smoothing={eps}"), root) for eps in (0, 0.2))
    assert plain.history[0]["train_loss"] != smooth.history[0]["train_loss"]


def test_the_training_of_the_classifier_is_the_runs():
    run = task("learning_rate=0.5", "optimizer=sgd", "weight_decay=0.25", "batch_episodes=3").run
    classifier = as_classifier_run(run)
    assert isinstance(classifier, ClassifierRun)
    assert classifier.batch_size == 3 * 5 * (5 + 10)
    shared = ClassifierRun.model_fields.keys() & type(run).model_fields.keys()
    assert {"learning_rate", "schedule", "method", "seed", "precision", "validations"} <= shared
    assert all(getattr(classifier, name) == getattr(run, name) for name in shared - {"batch_size"})


@pytest.mark.parametrize("learner", FROZEN)
def test_what_can_be_learned_is_learned(learner, monkeypatch):
    monkeypatch.setattr(fewshot, "load_images", lambda config, split, root: learnable())
    monkeypatch.setattr(fewshot, "load_test", lambda config, evaluation, root: learnable())
    one = task("steps=15", method=["baseline"], learner=[learner])
    training = train(one, Path())
    assert training.history[-1]["train_accuracy"] > 0.2
    assert evaluate(one, training, Path()).metrics["baseline"]["accuracy"] > 0.9


def test_crops_of_supports_are_refused_for_learners_that_adapt_the_network():
    one = task("support_crops=2")
    form = form_of("fewshot")
    assert form.test_refusal(one.run, one.evaluations[0]) is None
    sentence = form.test_refusal(one.run.model_copy(update={"learner": "maml"}), one.evaluations[0])
    assert sentence.startswith("--support-crops 2: learner 'maml' adapts the network to each episode")
