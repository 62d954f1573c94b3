"""Learners that adapt in each episode, through the whole few-shot scenario."""

import math

import numpy as np
import pytest
import torch
from peer_modules import peer
from test_fewshot import CPU, FEW_SHOT, evaluate
from test_fewshot import task as few_shot_task

from sla_bench.grids.tasks import evaluation_of
from sla_bench.records.checkpoints import FileCheckpoints
from sla_bench.scenarios.fewshot import run as fewshot

peer("learn2learn")
pytestmark = [pytest.mark.learn2learn, pytest.mark.usefixtures("reduced_glyphs")]
TINY = ("steps=2", "validation_episodes=2", "episodes=3", "validation_images=20", "images_per_class=6")


def task(learner, *settings, method="baseline", **options):
    small = {"ways": 2, "shots": [1], "train_queries": 2, "queries": 2, "transform": ["rotation2"]}
    return few_shot_task(*TINY, *settings, learner=[learner], method=[method], **{**small, **options})


def train(one, root, folder=None, progress=None):
    checkpoints = None if folder is None else FileCheckpoints(folder, seconds=0)
    further = {} if progress is None else {"progress": progress}
    return fewshot.run(one.run, root, CPU, checkpoints=checkpoints, **further)


@pytest.mark.parametrize("learner", ["anil", "maml"])
@pytest.mark.parametrize("method", FEW_SHOT)
def test_every_method_trains_and_is_read(learner, method, root):
    one = task(learner, "learner.test_inner_steps=4", method=method)
    training = train(one, root)
    result = evaluate(one, training, root)
    assert all(math.isfinite(row["train_loss"]) for row in training.history)
    passes = 5 if learner == "maml" else 1
    for row, expected in fewshot.build_objective(one.run, "rotation2").rows.items():
        metrics = result.metrics[row]
        assert metrics["accuracy"] == pytest.approx(result.samples[f"hits/{row}"].mean() / 2)
        assert metrics["support_passes"] == expected.support * passes
        assert metrics["query_passes"] == expected.query


def test_images_through_the_network_count_each_inner_step(root):
    for method, factor in (("baseline", 1), ("sla", 2)):
        one = task("maml", "learner.inner_steps=3", "steps=1", method=method)
        assert train(one, root).summary["train_images"] == factor * 2 * (1 * 4 + 2)


@pytest.mark.parametrize("method", ["baseline", "sla", "mt"])
def test_episodes_of_a_batch_one_after_another_train_like_all_at_once(method, root, monkeypatch):
    settings = ("steps=1", "validations=1", "batch_episodes=3", "optimizer=sgd", "learning_rate=0.1")
    one = task("maml", *settings, method=method)
    apart = train(one, root)
    monkeypatch.setattr(fewshot.EpisodeFeatures, "split", lambda self: [self])
    together = train(one, root)
    if method == "mt":
        # The second task normalises by the batch, which is one episode or three.
        assert apart.history[0]["train_loss"] != together.history[0]["train_loss"]
        return
    assert apart.history[0]["train_loss"] == pytest.approx(together.history[0]["train_loss"], rel=1e-5)
    for name, value in apart.state.items():
        torch.testing.assert_close(value, together.state[name], rtol=1e-3, atol=1e-5)


class PowerFailureError(Exception):
    pass


@pytest.mark.parametrize(
    ("learner", "backbone"), [("anil", "conv4-32"), ("maml", "conv4-32"), ("maml", "l2l-cnn4")]
)
def test_an_interrupted_run_ends_with_the_same_bits(learner, backbone, root, tmp_path):
    check_resuming(task(learner, method="sla", backbone=[backbone]), root, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learner", "backbone"), [("maml", "resnet12"), ("anil", "l2l-resnet12"), ("maml", "l2l-resnet12")]
)
def test_with_dropout_too(learner, backbone, root, tmp_path):
    check_resuming(task(learner, backbone=[backbone]), root, tmp_path)


def check_resuming(one, root, folder):
    def fail_after_a_step(phase, done, total, note=""):
        raise PowerFailureError

    whole = train(one, root)
    with pytest.raises(PowerFailureError):
        train(one, root, folder, fail_after_a_step)
    resumed = train(one, root, folder)
    assert all(torch.equal(value, whole.state[name]) for name, value in resumed.state.items())
    assert resumed.history[-1]["train_loss"] == whole.history[-1]["train_loss"]


def test_precision_is_that_of_the_adapted_network(root):
    fp32, bf16 = (train(task("maml", precision=p), root) for p in ("fp32", "bf16"))
    assert all(v.dtype == fp32.state[k].dtype for k, v in bf16.state.items())
    assert any(not torch.equal(v, fp32.state[k]) for k, v in bf16.state.items())


def test_a_finished_training_is_tested_at_other_shots(root):
    one = task("maml")
    training = train(one, root)
    changes = {"shots": 2, "episodes": 4, "queries": 3, "ways": 3}
    again = evaluation_of(one.run, changes, ["images_per_class=6"])
    result = evaluate(again, training, root)
    assert result.samples["classes"].shape == (4, 3)
    assert evaluation_of(one.run, {}, []).evaluations[0].episodes == 100


def test_the_state_is_that_of_backbone_and_head(root):
    keys = set(train(task("maml"), root).state)
    assert "members.0.head.scale" in keys
    others = set(train(task("protonet"), root).state)
    assert keys == others


def test_more_inner_steps_change_the_test(root):
    one = task("maml", "episodes=10")
    training = train(one, root)
    longer = task("maml", "episodes=10", "learner.test_inner_steps=10", "learner.inner_rate=0.5")
    a, b = evaluate(one, training, root), evaluate(longer, training, root)
    assert not np.array_equal(a.samples["hits/baseline"], b.samples["hits/baseline"])
