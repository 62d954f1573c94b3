import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from real_formats import write_cifar10
from spanned import tasks_of

from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.scenarios.base import member_states
from sla_bench.scenarios.classify.presets import IMBALANCED, STANDARD, split
from sla_bench.views.augment import ImageBatches

CPU = torch.device("cpu")
SHORT = ("steps=4", "batch_size=16", "validations=2")
BATCH, EPOCHS = 16, 2


def task(settings=SHORT, scenario="standard", **given):
    given = {"dataset": ["cifar10"], "method": ["sla+sd"], **given}
    (one,) = tasks_of(scenario, settings, **given)
    return one.run, one.evaluations[0]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("data")
    write_cifar10(root)
    return root


def trained(data_root, settings=SHORT, **given):
    run, evaluation = task(settings, **given)
    return run, evaluation, STANDARD.run(run, data_root, CPU)


@pytest.mark.parametrize("method", ["baseline", "sla+sd"])
def test_without_validation_it_is_the_imbalanced_training_of_the_data_as_they_are(method, data_root):
    steps = EPOCHS * math.ceil(100 / BATCH)
    recipe = (f"batch_size={BATCH}", "validations=2", "weight_decay=3e-4", "warmup=0.1")
    run, _, ours = trained(data_root, (*recipe, f"steps={steps}"), method=[method], val_fraction=0)
    whole = (*recipe, f"epochs={EPOCHS}", "max_class_size=null")
    other, _ = task(whole, "imbalanced", method=[method], imbalance="none")
    theirs = IMBALANCED.run(other, data_root, CPU)
    assert run.selection == "last"
    assert ours.state.keys() == theirs.state.keys()
    assert all(torch.equal(value, theirs.state[name]) for name, value in ours.state.items())


def test_a_tenth_of_each_class_is_held_out_and_never_trained_on(data_root):
    run, _ = task()
    images = STANDARD.choose(run, data_root).images
    train, validation = split(run, images)
    assert validation.counts.tolist() == [1] * 10
    assert train.counts.tolist() == [9] * 10
    assert sorted([*train.index, *validation.index]) == list(range(100))
    same = split(run.model_copy(update={"seed": 5}), images)
    other = split(run.model_copy(update={"val_seed": 1}), images)
    assert np.array_equal(same.validation.index, validation.index)
    assert not np.array_equal(other.validation.index, validation.index)


def test_positions_of_a_file_are_held_out(data_root, tmp_path):
    file = tmp_path / "held out.txt"
    file.write_text("7\n3\n\n50\n")
    run, _ = task(val_indices=str(file))
    train, validation = split(run, STANDARD.choose(run, data_root).images)
    assert validation.index.tolist() == [3, 7, 50]
    assert not set(train.index) & {3, 7, 50}
    assert len(train.index) == 97
    # The content counts, not the name: what has changed since is refused.
    file.write_text("8\n3\n50\n")
    with pytest.raises(UserError, match="changed since"):
        split(run, STANDARD.choose(run, data_root).images)


def test_positions_beyond_the_images_or_of_whole_classes_are_refused(data_root, tmp_path):
    images = STANDARD.choose(task()[0], data_root).images
    file = tmp_path / "index.json"
    file.write_text("[1, 100]")
    with pytest.raises(UserError, match="100 training images, position 100 is out of range"):
        split(task(val_indices=str(file))[0], images)
    file.write_text(json.dumps(np.flatnonzero(images.labels == 4).tolist()))
    with pytest.raises(UserError, match="no training image of class 'deer'"):
        split(task(val_indices=str(file))[0], images)


@pytest.mark.parametrize("method", ["baseline", "sla", "sla+sd", "da+sd"])
def test_validation_is_the_accuracy_of_single_inference(method, data_root):
    run, _, training = trained(data_root, method=[method], val_fraction=0.5)
    images = STANDARD.choose(run, data_root).images
    validation = split(run, images).validation
    dataset = dataset_named("cifar10")
    model = STANDARD.build_model(run, dataset, images.class_counts, "rotation", seed=0).eval()
    model.load_state_dict(member_states(training.state)[0])
    plain = ImageBatches(images, dataset.properties, device=CPU).plain(torch.from_numpy(validation.index))
    with torch.no_grad():
        features = model.backbone(model.objective.transform.views(plain).flatten(0, 1)).view(50, 4, -1)
        read = model.objective.read(features)
    row = {"sla": "SLA+SI"}.get(method, next(iter(model.objective.rows)))
    expected = (read[row].argmax(1).numpy() == validation.labels).mean()
    assert training.history[-1]["val_accuracy"] == pytest.approx(expected)


def test_selection_by_validation_keeps_the_first_of_the_best_steps(data_root):
    settings = ("steps=6", "batch_size=16", "validations=6")
    _, _, training = trained(data_root, settings, selection="validation", val_fraction=0.5)
    seen = [row["val_accuracy"] for row in training.history]
    assert training.summary["best_step"] == [1 + int(np.argmax(seen))]
    _, _, last = trained(data_root, settings, selection="last", val_fraction=0.5)
    assert last.summary["best_step"] == [6]
    assert [row["val_accuracy"] for row in last.history] == seen


def test_an_ensemble_begins_with_the_run_itself_and_votes(data_root):
    run, evaluation, one = trained(data_root, method=["baseline"])
    settings = (*SHORT, "ensemble=3")
    ensemble, _, three = trained(data_root, settings, method=["baseline"])
    assert ensemble.ensemble == 3
    assert three.summary["train_images"] == 3 * one.summary["train_images"]
    members = member_states(three.state)
    assert len(members) == 3
    assert all(torch.equal(v, members[0][n]) for n, v in member_states(one.state)[0].items())
    assert not torch.equal(members[1]["objective.head.weight"], members[0]["objective.head.weight"])
    result = STANDARD.evaluate(ensemble, evaluation, three.state, data_root, CPU)
    assert {row: m["query_passes"] for row, m in result.metrics.items()} == {
        "baseline ens-3": 3,
        "baseline+crops ens-3": 12,
        "baseline+TTA ens-3": 12,
    }
    single = STANDARD.evaluate(run, evaluation, one.state, data_root, CPU)
    assert {row: m["query_passes"] for row, m in single.metrics.items()} == {
        "baseline": 1,
        "baseline+crops": 4,
        "baseline+TTA": 4,
    }


ONE_STEP = ("steps=1", "batch_size=8", "validations=1")


@pytest.mark.parametrize(
    ("method", "knows"), [("sla+sd", False), ("rot-aux", False), ("da", True), ("sla", True)]
)
def test_turned_views_are_shown_only_of_heads_that_saw_them_and_crops_of_the_others(method, knows, data_root):
    run, evaluation, training = trained(data_root, ONE_STEP, method=[method])
    result = STANDARD.evaluate(run, evaluation, training.state, data_root, CPU)
    shown = [row for row, metrics in result.metrics.items() if metrics["shown"]]
    assert any(row.endswith("+crops") for row in shown) != knows
    assert any(row.endswith(("+TTA", "+AG")) for row in shown) == knows


def test_crops_are_as_many_passes_as_views_drawn_from_the_test_seed(data_root, monkeypatch):
    run, evaluation, training = trained(data_root, ONE_STEP, method=["baseline"])
    drawn = []
    original = ImageBatches.augmented

    def augmented(self, index, generator):
        drawn.append(len(index))
        return original(self, index, generator)

    def read(**changes):
        test = evaluation.model_copy(update=changes)
        return STANDARD.evaluate(run, test, training.state, data_root, CPU).samples

    monkeypatch.setattr(ImageBatches, "augmented", augmented)
    first = read()
    assert sum(drawn) == 3 * len(first["labels"])
    other = read(test_seed=1)
    assert not np.array_equal(first["nll/baseline+crops"], other["nll/baseline+crops"])
    assert np.array_equal(first["nll/baseline"], other["nll/baseline"])
    # Crops that change nothing.
    monkeypatch.setattr(ImageBatches, "augmented", lambda self, index, generator: self.plain(index))
    same = read()
    np.testing.assert_allclose(same["nll/baseline+crops"], same["nll/baseline"], rtol=2**-10, atol=1e-5)


def test_as_many_baselines_as_views_are_the_control(data_root):
    given = {"dataset": ["cifar10"], "ensemble": [4, 5], "transform": ["rotation", "rotation2"]}
    runs = [t.run for t in tasks_of("standard", **given)]
    found = {(r.method, r.ensemble, r.transform) for r in runs}
    assert found == {
        ("baseline", 1, None),
        ("sla", 1, "rotation"),
        ("sla", 1, "rotation2"),
        ("ens-M", 1, "rotation"),
        ("baseline", 4, None),
        ("baseline", 5, None),
    }


def folder_of(root, classes):
    """A folder of images, of which so many are in each class."""
    rng = np.random.default_rng(0)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(root / name / f"{i}.png")
    return [f"folder:{root}"]


def test_one_class_is_refused(tmp_path):
    run, _ = task(dataset=folder_of(tmp_path / "photos", {"cat": 12}))
    with pytest.raises(UserError, match="a classifier needs"):
        STANDARD.run(run, tmp_path, CPU)


def test_other_classes_at_test_are_refused_before_anything_is_trained(data_root, monkeypatch):
    dataset = dataset_named("cifar10")
    load = type(dataset).load

    def renamed(self, split, *arguments, **named):
        images = load(self, split, *arguments, **named)
        if split == "test":
            names = ("aeroplane", *images.class_names[1:])
            return type(images)(images.images, images.labels, names)
        return images

    monkeypatch.setattr(type(dataset), "load", renamed)
    monkeypatch.setattr(
        "sla_bench.scenarios.classify.run.train_members", lambda *_: pytest.fail("it was trained")
    )
    run, _ = task()
    with pytest.raises(UserError, match="same classes, only one of them has aeroplane, airplane"):
        STANDARD.run(run, data_root, CPU)


def test_a_class_of_one_image_can_not_be_held_out(data_root):
    run, _ = task()
    images = STANDARD.choose(run, data_root).images
    keep = np.r_[np.flatnonzero(images.labels != 3), np.flatnonzero(images.labels == 3)[:1]]
    small = type(images)(images.images[keep], images.labels[keep], images.class_names)
    train, validation = split(run, small)
    assert (train.counts[3], validation.counts[3]) == (1, 0)
    assert validation.counts.sum() > 0
    one_each = type(images)(images.images[:10], np.arange(10), images.class_names)
    with pytest.raises(UserError, match=r"each class of cifar10 has one training image"):
        split(run, one_each)
    assert len(split(task(val_fraction=0)[0], small).train.index) == len(small)
