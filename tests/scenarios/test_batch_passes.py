"""Images through the network in training, counted at any batch."""

import contextlib

import pytest
import torch
from spanned import tasks_of
from torch.nn.modules.module import register_module_forward_pre_hook
from training_factors import COST, DRAWN

from sla_bench.models.backbones.base import Backbone
from sla_bench.registry import SCENARIOS

CPU = torch.device("cpu")
SHORT = {
    "standard": ("steps=4", "batch_size=8", "validations=1"),
    "imbalanced": ("epochs=1", "batch_size=8", "validations=1"),
    "fewshot": ("steps=4", "batch_episodes=2", "validations=1", "validation_episodes=2", "train_queries=1"),
}


@contextlib.contextmanager
def counted():
    """The sizes of the batches that pass through a backbone in training."""
    sizes = []

    def count(module, inputs):
        if isinstance(module, Backbone) and module.training:
            sizes.append(len(inputs[0]))

    hook = register_module_forward_pre_hook(count)
    try:
        yield sizes
    finally:
        hook.remove()


def trained(scenario, root, *settings, **given):
    (one,) = tasks_of(scenario, [*SHORT[scenario], *settings], **given)
    torch.set_num_threads(1)
    with counted() as sizes:
        training = SCENARIOS.load(scenario).run(one.run, root, CPU)
    assert training.summary["train_images"] == sum(sizes)
    return training, sizes


@pytest.mark.parametrize(
    ("scenario", "method"),
    [*(("standard", m) for m in ("baseline", "sla+sd", "baseline-repM", "ens-M")), ("imbalanced", "sla")],
)
def test_a_classifier_keeps_its_images_at_another_batch(scenario, method, data_root):
    given = {"dataset": ["cifar10"], "method": [method]}
    if scenario == "imbalanced":
        given |= {"ratio": [2.0], "max_class_size": 4}
    usual = trained(scenario, data_root, **given)[0].summary["train_images"]
    for batch in (4, 16):
        training, sizes = trained(scenario, data_root, batch_images=batch, **given)
        assert set(sizes) == {batch}
        assert sum(sizes) == pytest.approx(usual, rel=0.05)
        updates = max(row["step"] for row in training.history)
        assert len(sizes) == updates * (4 if method == "ens-M" else 1)


def passes(scenario, root, method, *settings, **given):
    """Images through the network in training, views counted."""
    return sum(trained(scenario, root, *settings, method=[method], **given)[1])


@pytest.mark.parametrize("scenario", ["standard", "imbalanced"])
def test_a_classifier_of_drawn_views_costs_what_its_page_says(scenario, data_root):
    given = {"dataset": ["cifar10"]} | (
        {"ratio": [2.0], "max_class_size": 4} if scenario == "imbalanced" else {}
    )
    usual = passes(scenario, data_root, "baseline", **given)
    for method, factor in COST.items():
        assert passes(scenario, data_root, method, **given) == factor * usual, method


@pytest.mark.usefixtures("reduced_glyphs")
def test_an_episode_of_drawn_views_costs_what_its_page_says(root):
    usual = passes("fewshot", root, "baseline", **FEW)
    for method in ("rot-x1", "sla-x1", "sla-half", "lorot-e"):
        assert passes("fewshot", root, method, **FEW) == DRAWN[method] * usual, method


FEW = {"dataset": ["glyphs"], "budget": "smoke", "shots": [1], "train_shots": 1, "ways": 2}


@pytest.mark.usefixtures("reduced_glyphs")
@pytest.mark.parametrize("method", ["baseline", "sla", "baseline-NMway", "baseline-xM"])
def test_a_training_on_episodes_keeps_its_images_at_one_and_at_four_episodes_a_step(method, root):
    usual, sizes = trained("fewshot", root, method=[method], **FEW)
    # Supports and queries pass one after the other.
    episode = sum(sizes[:2]) // 2
    for episodes in (1, 4):
        training, now = trained("fewshot", root, method=[method], batch_images=episode * episodes, **FEW)
        assert {sum(step) for step in zip(now[::2], now[1::2], strict=True)} == {episode * episodes}
        assert training.summary["train_images"] == usual.summary["train_images"]


@pytest.mark.usefixtures("reduced_glyphs")
@pytest.mark.parametrize("method", ["sla", "baseline-xM"])
def test_the_backbone_of_a_classifier_has_a_batch_of_its_own(method, root):
    given = {**FEW, "method": [method], "learner": ["simpleshot"]}
    usual = trained("fewshot", root, **given)[0].summary["train_images"]
    training, sizes = trained("fewshot", root, batch_images=16, **given)
    assert set(sizes) == {16}
    assert training.summary["train_images"] == pytest.approx(usual, rel=0.05)
