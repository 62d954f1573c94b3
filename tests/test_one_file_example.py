"""examples/sla_in_one_file.py, which imports nothing of the package, computes what the package computes."""

import importlib.util
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from documented import ROOT
from torch.nn import functional as F

import sla_bench
from sla_bench.models.backbones.airbench import airbench, whitening_filters
from sla_bench.scenarios.classify.form import IMBALANCED
from sla_bench.training.loop import build_optimizer, learning_rate_factor, warm_up_factor

SCRIPT = ROOT / "examples" / "sla_in_one_file.py"


@pytest.fixture(scope="module")
def example():
    specification = importlib.util.spec_from_file_location("sla_in_one_file", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_it_imports_nothing_of_the_package():
    assert "sla_bench" not in SCRIPT.read_text(encoding="utf-8")


@pytest.mark.parametrize(("ratio", "seed"), [(100.0, 0), (10.0, 3)])
def test_the_long_tail_has_the_same_images(example, ratio, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 500))
    kept = example.long_tail(labels, ratio, seed)
    assert np.array_equal(kept, sla_bench.long_tailed_indices(labels, "exp", ratio, seed))


def test_the_network_has_the_same_embeddings(example):
    torch.manual_seed(0)
    images = torch.randn(6, 3, 32, 32)
    network = example.Network(images)
    ours = airbench(32)
    ours.load_state_dict(network.state_dict())
    for training in (True, False):
        assert torch.equal(network.train(training)(images), ours.train(training)(images))


def test_the_whitening_filters_span_the_same_whitening(example):
    # Filters that whiten are unique up to a rotation, so the inverse covariance W^T W is the same.
    torch.manual_seed(0)
    images = F.avg_pool2d(torch.randn(64, 3, 34, 34), 3, 1)
    mine, ours = example.Network(images).whitening[:12], whitening_filters([images])[:12]
    inverse = [filters.flatten(1).T @ filters.flatten(1) for filters in (mine, ours)]
    torch.testing.assert_close(*inverse, rtol=1e-3, atol=1e-3 * float(inverse[1].abs().max()))


def test_loss_and_votes_of_joint_labels_are_those_of_the_package(example):
    torch.manual_seed(0)
    logits, labels = torch.randn(5 * 4, 7 * 4), torch.tensor([0, 6, 3, 3, 1])
    expected = F.cross_entropy(logits, sla_bench.joint_labels(labels, 4).flatten())
    torch.testing.assert_close(example.joint_loss(logits, labels), expected)
    votes, single = example.joint_scores(logits)
    torch.testing.assert_close(votes, sla_bench.aggregate(logits.view(5, 4, 7, 4)))
    assert torch.equal(single, logits[::4, ::4])


def test_turns_and_crops_are_the_images_turned_and_shifted(example):
    torch.manual_seed(0)
    images = torch.rand(3, 3, 32, 32)
    turned = sla_bench.get_transform("rotation").views(images)
    assert torch.equal(example.turns(images), turned.flatten(0, 1))
    padded = F.pad(images, (4, 4, 4, 4))
    for crop, image in zip(example.crops(images), padded, strict=True):
        shifts = [image[:, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
        assert any(torch.equal(crop, s) or torch.equal(crop, s.flip(2)) for s in shifts)


def test_the_recipe_is_that_of_budget_fast(example, monkeypatch):
    recipe = IMBALANCED.budgets("fast", "cifar100", "ce")
    for k in range(50):
        theirs = learning_rate_factor("linear", {}, Fraction(k, 50), recipe["warmup"])
        theirs *= warm_up_factor(recipe["warmup"], Fraction(k + 1, 50))
        assert example.rate_factor(k, 50) == pytest.approx(theirs)
    made = []
    original = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda *a, **k: made.append(original(*a, **k)) or made[0])
    network, head = example.train(torch.rand(8, 3, 32, 32), torch.arange(8) % 2, 2, True, 1)
    config = sla_bench.config.ImbalancedRun(dataset="cifar100", **_fields(recipe))
    ours = build_optimizer([*network.parameters(), *head.parameters()], config)
    for mine, group in zip(made[0].param_groups, ours.param_groups, strict=True):
        assert [id(p) for p in mine["params"]] == [id(p) for p in group["params"]]
        assert all(mine[key] == group[key] for key in ("weight_decay", "momentum", "nesterov"))
    assert made[0].defaults["lr"] == recipe["learning_rate"]


def _fields(recipe):
    known = sla_bench.config.ImbalancedRun.model_fields
    return {name: value for name, value in recipe.items() if name in known}


@pytest.mark.slow
def test_letters_are_learned():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--epochs", "2"], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^(\S+) +([\d.]+) % with one view", done.stdout, re.MULTILINE))
    assert list(rows) == ["baseline", "baseline-x4", "SLA"]
    assert float(rows["baseline-x4"]) > 20, "chance is 5 %"
