import numpy as np
import pytest
import torch
from spanned import tasks_of

from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.evaluation.class_metrics import classification_metrics
from sla_bench.grids.asked import asked_of
from sla_bench.registry import LOSSES
from sla_bench.scenarios.base import member_states
from sla_bench.scenarios.classify.image_reader import TestImages
from sla_bench.scenarios.classify.presets import IMBALANCED, long_tail
from sla_bench.training.long_tail import long_tailed_counts
from sla_bench.views.augment import ImageBatches

CPU = torch.device("cpu")
SHORT = ("epochs=2", "batch_size=16", "validations=2")


def task(settings=SHORT, **given):
    given = {"dataset": ["cifar10"], "method": ["sla+sd"], "ratio": [5.0], "max_class_size": 10, **given}
    (one,) = tasks_of("imbalanced", settings, **given)
    return one.run, one.evaluations[0]


def trained(data_root, settings=SHORT, **given):
    torch.set_num_threads(1)
    run, evaluation = task(settings, **given)
    training = IMBALANCED.run(run, data_root, CPU)
    return run, evaluation, training


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_serves_distilled_sla(loss, data_root):
    run, evaluation, training = trained(data_root, loss=[loss])
    assert all(np.isfinite(row["train_loss"]) for row in training.history)
    result = IMBALANCED.evaluate(run, evaluation, training.state, data_root, CPU)
    assert set(result.metrics) == {"SLA+SD", "SLA+SD+crops", "SLA+SD+TTA", "SLA+SD teacher"}


def test_images_through_the_backbone_are_what_the_controls_match(data_root):
    images = {
        method: trained(data_root, method=[method])[2].summary["train_images"]
        for method in ("baseline", "sla", "baseline-xM", "baseline-repM", "ens-M")
    }
    assert {m: n / images["baseline"] for m, n in images.items()} == {
        "baseline": 1,
        "sla": 4,
        "baseline-xM": 4,
        "baseline-repM": 4,
        "ens-M": 4,
    }


def test_a_mix_changes_the_training_alone():
    plain, mixed = task(), task(mix=["mixup"])
    assert plain[1] == mixed[1]
    assert "mix" not in plain[0].identity()
    assert "mix_options" not in plain[0].identity()
    assert mixed[0].identity() == {**plain[0].identity(), "mix": "mixup"}
    (other,) = tasks_of("imbalanced", ["mix.alpha=0.2"], method=["sla"], mix=["mixup"])
    assert other.run.mix_options == {"alpha": 0.2}
    assert asked_of(other.run).label() == "quick, mix=mixup, mix.alpha=0.2"


def test_mixed_pictures_train_other_weights_on_as_many_images(data_root):
    plain, mixed = (trained(data_root, mix=[mix])[2] for mix in ("none", "mixup"))
    assert plain.summary["train_images"] == mixed.summary["train_images"]
    assert any(not torch.equal(value, mixed.state[name]) for name, value in plain.state.items())


def test_the_same_config_gives_the_same_weights_and_another_seed_others(data_root):
    first, again, other = (trained(data_root, seed=[s])[2] for s in (0, 0, 1))
    assert all(torch.equal(value, again.state[name]) for name, value in first.state.items())
    assert any(not torch.equal(value, other.state[name]) for name, value in first.state.items())


@pytest.mark.parametrize("loss", ["ce", "ldam"])
def test_methods_start_from_the_same_backbone_and_the_same_head(loss, data_root):
    run, _ = task(loss=[loss])
    data = long_tail(run, data_root)
    dataset = dataset_named(run.dataset)
    heads = []
    for method in ("baseline", "da", "mt", "rot-aux", "sla+sd", "sla+u", "da+sd"):
        config, _ = task(loss=[loss], method=[method])
        model = IMBALANCED.build_model(config, dataset, data.counts, "rotation", seed=3)
        heads.append(torch.cat([p.flatten() for p in model.objective.head.parameters()]))
        backbone = torch.cat([p.flatten() for p in model.backbone.parameters()])
        assert torch.equal(backbone, backbone_weights(dataset, data, loss))
    assert all(torch.equal(head, heads[0]) for head in heads)


def backbone_weights(dataset, data, loss):
    config, _ = task(loss=[loss], method=["sla"])
    model = IMBALANCED.build_model(config, dataset, data.counts, "rotation", seed=3)
    return torch.cat([p.flatten() for p in model.backbone.parameters()])


def test_class_sizes_and_subset_are_in_the_record(data_root):
    run, _, training = trained(data_root, class_order="permuted", seed=[1])
    data = long_tail(run, data_root)
    counts = np.array(training.summary["class_counts"])
    assert sorted(counts, reverse=True) == [int(10 * 0.2 ** (i / 9)) for i in range(10)]
    assert training.summary["subset_hash"] == data.checksum
    assert np.array_equal(np.bincount(data.labels), counts)


def test_members_of_an_ensemble_vote_with_their_scores(data_root):
    run, evaluation, training = trained(data_root, method=["ens-M"])
    whole = IMBALANCED.evaluate(run, evaluation, training.state, data_root, CPU)
    data = long_tail(run, data_root)
    test = TestImages(run, data.images.class_names, None, data_root, CPU)
    scores = []
    for member in range(4):
        model = IMBALANCED.build_model(run, dataset_named("cifar10"), data.counts, "rotation", seed=0).eval()
        model.load_state_dict(member_states(training.state)[member])
        with torch.no_grad():
            features = model.backbone(test.batches.plain(test.index))
            scores.append(model.objective.head(features))
    expected = torch.stack(scores).mean(0).argmax(1).numpy()
    assert (whole.samples["predictions/ens-M"] == expected).mean() > 0.99


def test_metrics_follow_from_the_samples(data_root):
    run, evaluation, training = trained(data_root, loss=["logit-adjust"])
    result = IMBALANCED.evaluate(run, evaluation, training.state, data_root, CPU)
    names = ["many", "medium", "few"]
    stored = [result.samples[f"{what}/SLA+SD"] for what in ("predictions", "confidence", "nll")]
    assert [array.dtype for array in stored] == [np.int32, np.float16, np.float16]
    groups = np.array(training.summary["groups"])
    again = classification_metrics(*stored, result.samples["labels"], groups, names)
    assert {name: result.metrics["SLA+SD"][name] for name in again} == again


def test_best_test_keeps_the_best_checkpoint_on_the_test_images(data_root):
    run, evaluation, training = trained(data_root, selection="best-test", method=["baseline"])
    seen = [row["val_accuracy"] for row in training.history]
    result = IMBALANCED.evaluate(run, evaluation, training.state, data_root, CPU)
    assert result.metrics["baseline"]["accuracy"] == pytest.approx(max(seen))


def test_a_loss_that_is_not_finite_names_step_rate_and_checkpoint(data_root):
    with pytest.raises(UserError, match=r"at step \d+ of \d+ \(learning rate .*validation") as error:
        trained(data_root, (*SHORT, "learning_rate=1e30"), method=["baseline"])
    assert "\n" not in str(error.value)


def test_classes_too_small_for_the_ratio_are_refused(data_root):
    with pytest.raises(UserError, match="ratio"):
        trained(data_root, ratio=[1000.0])


def test_training_and_test_classes_must_be_the_same(data_root):
    run, _ = task()
    with pytest.raises(UserError, match="same classes"):
        TestImages(run, ("a", "b"), None, data_root, CPU)


def test_validation_keeps_the_best_weights_on_training_images_that_are_set_aside(data_root):
    run, _, training = trained(data_root, selection="validation", method=["sla"])
    assert training.summary["class_counts"] == long_tailed_counts(10, 9, "exp", 5.0)
    accuracies = [row["val_accuracy"] for row in training.history]
    assert training.history[int(np.argmax(accuracies))]["step"] == training.summary["best_step"][0]
    data = long_tail(run, data_root)
    assert np.bincount(data.held_out.labels).tolist() == [1] * 10
    model = IMBALANCED.build_model(run, dataset_named("cifar10"), data.counts, "rotation", 0)
    model.load_state_dict(member_states(training.state)[0])
    batches = ImageBatches(data.images, dataset_named("cifar10").properties)
    images = batches.plain(torch.from_numpy(data.held_out.index))
    with torch.no_grad():
        features = model.eval().backbone(torch.cat([images] * 4)).view(4, 10, -1).transpose(0, 1)
        predicted = model.objective.read(features)["SLA+SI"].argmax(1).numpy()
    assert max(accuracies) == pytest.approx((predicted == data.held_out.labels).mean())
