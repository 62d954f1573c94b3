"""Trainings whose first network teaches the second."""

import copy

import pytest
import torch
from test_batch_passes import trained

from sla_bench.models.backbones.base import Backbone
from sla_bench.scenarios.classify import classifier

GIVEN = {"dataset": ["cifar10"], "ratio": [2.0], "max_class_size": 4}


def stages(method, root, monkeypatch):
    """States before each stage, of the teacher before and after the second, and the training's summary."""
    starts, teachers = [], []
    original = classifier._Stage.train

    def spy(self, model, *rest, teacher=None, **more):
        starts.append(copy.deepcopy(model.state_dict()))
        if teacher is None:
            return original(self, model, *rest, **more)
        teachers.append(copy.deepcopy(teacher.state_dict()))
        assert not teacher.training
        result = original(self, model, *rest, teacher=teacher, **more)
        teachers.append(copy.deepcopy(teacher.state_dict()))
        return result

    monkeypatch.setattr(classifier._Stage, "train", spy)
    training, _ = trained("imbalanced", root, method=[method], **GIVEN)
    return starts, teachers, training


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items() if name in other)


@pytest.mark.parametrize("method", ["rfs-distil", "skd1"])
def test_the_first_network_is_trained_and_then_teaches_without_a_change(method, data_root, monkeypatch):
    (first, second), (before, after), training = stages(method, data_root, monkeypatch)
    assert same(before, after)
    assert not same(first, before)
    of_backbone = {name: value for name, value in second.items() if name.startswith("backbone.")}
    # RFS draws a new student, which is the network that a baseline starts from; SKD goes on with its own.
    assert same(of_backbone, before) is (method == "skd1")
    assert same(of_backbone, first) is (method == "rfs-distil")
    assert torch.equal(second["objective.head.weight"], before["objective.head.weight"]) is (method == "skd1")
    end = {name.removeprefix("members.0."): value for name, value in training.state.items()}
    assert not same(end, second)
    steps = [row["step"] for row in training.history]
    assert steps == sorted(steps)
    assert len(steps) == 2


@pytest.mark.parametrize(("method", "turns"), [("rfs-distil", 1), ("skd1", 4)])
def test_a_teacher_sees_each_image_once_as_it_is(method, turns, data_root):
    """Its passes have no gradient, and the images of a training do not count them."""
    taught = []

    def count(module, inputs):
        if isinstance(module, Backbone) and not module.training:
            assert not torch.is_grad_enabled()
            taught.append(len(inputs[0]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        training, sizes = trained("imbalanced", data_root, method=[method], **GIVEN)
    finally:
        hook.remove()
    assert 2 * turns * sum(taught) == sum(sizes) == training.summary["train_images"]
