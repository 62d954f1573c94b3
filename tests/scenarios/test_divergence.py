"""A diverging training names its images, and reproduces the failure."""

import pytest
import torch
from spanned import tasks_of

from sla_bench.errors import DivergedError
from sla_bench.registry import SCENARIOS

CASES = {
    "fewshot": (
        ("steps=4", "validations=1", "validation_episodes=4", "validation_images=16"),
        {"dataset": ["fc100"], "train_ways": 2, "ways": 2, "shots": [1], "train_queries": 2},
        2 * (1 + 2),
    ),
    "imbalanced": (
        ("epochs=2", "batch_size=16", "validations=1"),
        {"dataset": ["cifar10"], "max_class_size": 10, "ratio": [5.0]},
        16,
    ),
    "standard": (("steps=4", "batch_size=16", "validations=1"), {"dataset": ["cifar10"]}, 16),
}


def diverge(scenario, seed, data_root):
    settings, options, _ = CASES[scenario]
    (task,) = tasks_of(
        scenario,
        [*settings, "learning_rate=1e30"],
        method=["baseline"],
        budget="smoke",
        seed=[seed],
        **options,
    )
    torch.set_num_threads(1)
    with pytest.raises(DivergedError, match=r"at step \d of \d+ \(learning rate \S+e\+") as caught:
        SCENARIOS.load(scenario).run(task.run, data_root, torch.device("cpu"))
    return caught.value.log


@pytest.mark.parametrize("scenario", CASES)
def test_a_training_that_diverges_names_the_images_of_its_batch(scenario, data_root):
    log, again, other = (diverge(scenario, seed, data_root) for seed in (3, 3, 4))
    assert log == again != other
    images = log.splitlines()[-1].removeprefix("seed 3, images of the training split: ").split(", ")
    assert len(images) == CASES[scenario][2]
    assert all(image.isdigit() for image in images)
