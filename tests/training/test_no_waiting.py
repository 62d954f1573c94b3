"""Between two looks at its flags no step of a training reads anything back from its device."""

import contextlib

import pytest
import torch
from real_formats import write_category_pickles, write_cifar10
from spanned import tasks_of

from sla_bench.models.backbones.base import Backbone
from sla_bench.registry import SCENARIOS
from sla_bench.training.finite import FiniteWatch

STEPS = 4
FEWSHOT = (f"steps={STEPS}", "validations=1", "validation_episodes=4", "validation_images=20")
CLASSES = ("batch_size=16", "validations=1")
CASES = {
    "standard": ("standard", (f"steps={STEPS}", *CLASSES), {"dataset": ["cifar10"], "method": ["sla+sd"]}),
    "mixed": ("standard", (f"steps={STEPS}", *CLASSES), {"dataset": ["cifar10"], "mix": ["cutout"]}),
    "imbalanced": ("imbalanced", ("epochs=9", *CLASSES), {"dataset": ["cifar10"], "loss": ["ldam-drw"]}),
    "episodes": ("fewshot", FEWSHOT, {"dataset": ["fc100"], "learner": ["protonet"], "method": ["sla"]}),
    "pools": ("fewshot", FEWSHOT, {"dataset": ["fc100"], "learner": ["protonet"], "method": ["views"]}),
    "classes": ("fewshot", FEWSHOT, {"dataset": ["fc100"], "learner": ["simpleshot"]}),
}
SMALL = {
    "fewshot": {"train_ways": 2, "ways": 2, "shots": [1], "train_queries": 2},
    "imbalanced": {"max_class_size": 10, "ratio": [5.0]},
    "standard": {},
}


class EnoughError(Exception):
    pass


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_cifar10(root)
    write_category_pickles(root, "fc100", 20)
    return root


def stop_after(step):
    def progress(phase, done, total, note=""):
        if (phase, done) == ("training", step):
            raise EnoughError

    return progress


@pytest.fixture
def on_meta(monkeypatch):
    """Let a training run on the device "meta", whose tensors have no values: whoever asks for one fails."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: contextlib.nullcontext())
    monkeypatch.setattr(Backbone, "generator", torch.Generator())


@pytest.mark.parametrize("case", CASES)
def test_steps_ask_for_no_value(case, data_root, on_meta):
    scenario, settings, options = CASES[case]
    task = tasks_of(
        scenario, settings, **{"method": ["baseline"], "budget": "smoke", **SMALL[scenario], **options}
    )[0]
    with pytest.raises(EnoughError):
        SCENARIOS.load(scenario).run(
            task.run, data_root, torch.device("meta"), progress=stop_after(STEPS - 1)
        )


def test_the_device_of_this_test_notices_whoever_asks():
    watch = FiniteWatch(torch.nn.Linear(2, 2, device="meta"))
    loss = torch.ones((), device="meta")
    for step in range(1, 16):
        assert watch.note(step, 0.1, str, loss) is None
    with pytest.raises((RuntimeError, NotImplementedError)):
        watch.note(16, 0.1, str, loss)
