"""LDAM-DRW's long-tailed subsets, from the files to the scenario, index for index."""

from pathlib import Path

import numpy as np
import pytest
from real_formats import random_images
from spanned import tasks_of

from sla_bench.scenarios.classify.presets import long_tail

CORE = np.load(Path(__file__).parents[1] / "golden" / "visible_core.npz")
INDICES = [key for key in CORE.files if key.startswith("lt_indices_")]


def run_of(dataset, imbalance, factor, seed):
    given = {"dataset": [dataset], "imbalance": imbalance, "ratio": [1 / factor], "subset_seed": seed}
    (task,) = tasks_of("imbalanced", budget="paper", method=["baseline"], loss=["ce"], **given)
    return task.run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """CIFAR-10's binary version, of 2,000 training images with the labels of the golden values."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    labels = CORE["lt_labels"].astype(np.uint8)
    rows = random_images(len(labels), 32).transpose(0, 3, 1, 2).reshape(len(labels), -1)
    records = np.concatenate([labels[:, None], rows], axis=1)
    for number, part in enumerate(np.array_split(records, 5), 1):
        (folder / f"data_batch_{number}.bin").write_bytes(part.tobytes())
    (folder / "test_batch.bin").write_bytes(records[np.argsort(labels, kind="stable")[::200]].tobytes())
    return root


@pytest.mark.parametrize("key", INDICES)
def test_the_scenario_takes_the_images_of_the_published_code(root, key):
    _, _, imbalance, factor, seed = key.split("_")
    data = long_tail(run_of("cifar10", imbalance, float(factor), int(seed)), root)
    np.testing.assert_array_equal(data.index, CORE[key])
    np.testing.assert_array_equal(data.images.images, random_images(2000, 32))
    np.testing.assert_array_equal(data.images.labels, CORE["lt_labels"])
