"""A briefly trained prototypical network, and its hits on episodes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from spanned import tasks_of

from sla_bench.data.base import LabeledImages
from sla_bench.data.glyphs import GLYPHS
from sla_bench.objectives.episodes import OnEpisodes
from sla_bench.registry import METHODS, TRANSFORMS
from sla_bench.scenarios.base import member_states
from sla_bench.scenarios.fewshot import run as fewshot
from sla_bench.scenarios.fewshot.episode_reader import EpisodeReader

CPU = torch.device("cpu")
SMALL_GLYPHS = GLYPHS.reduced(30, 10)


def trained_protonet(data_root, method="baseline", steps=10):
    """An `EpisodicModel` in eval mode with trained weights of Conv-4 with 32 channels, for 32 x 32 images."""
    settings = [f"steps={steps}", "validations=1", "validation_episodes=8", "jackknife_episodes=0"]
    options = {"method": [method], "budget": "smoke"}
    (one,) = tasks_of("fewshot", settings, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sla_bench.data.glyphs.GLYPHS", SMALL_GLYPHS)
        training = fewshot.run(one.run, data_root, CPU)
    (state,) = member_states(training.state)
    model = fewshot.build_model(one.run, SMALL_GLYPHS, fewshot.build_objective(one.run, "rotation"), 0)
    model.load_state_dict(state)
    return model.eval()


def patterned_images(classes=12, per_class=12, noise=240.0):
    """Images 32 x 32: a coarse pattern of each class under noise, so that a brief training is enough."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    patterns = rng.integers(0, 256, (classes, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    pixels = (patterns[labels] + rng.normal(0, noise, (len(labels), 32, 32, 3))).clip(0, 255)
    return LabeledImages(pixels.astype(np.uint8), labels, tuple(f"class {k}" for k in range(classes)))


def our_hits(model, images, properties, episodes):
    """Correct queries of each of T episodes, int64 (T,), by the code that evaluates runs."""
    objective = OnEpisodes(METHODS.load("baseline"), TRANSFORMS.load("rotation"))
    reader = EpisodeReader(images, replace(SMALL_GLYPHS, properties=properties), None, CPU)
    source = reader.chunks(model, None, "fp32")
    return reader.hits([model], [source], objective, episodes, ["baseline"])["baseline"].sum(1)


def nearly_equal(ours, theirs):
    """Equal but for a query or two that lie on a border: theirs does not fold batch normalisation."""
    return int((ours - torch.as_tensor(theirs)).abs().sum()) <= 2
