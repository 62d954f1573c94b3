"""learn2learn's data sets on small files, against our reading of the files."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from fixed_models import nearly_equal, our_hits, trained_protonet
from peer_modules import peer
from real_formats import write_for_learn2learn

import sla_bench
from sla_bench.data.named import dataset_named
from sla_bench.registry import DATASETS

pytestmark = pytest.mark.learn2learn
l2l = peer("learn2learn")
MODES = {"train": "train", "val": "validation", "test": "test"}
NAMES = tuple(DATASETS.arguments["learn2learn"].known)


@pytest.fixture(scope="module")
def model(glyph_root):
    return trained_protonet(glyph_root)


@pytest.mark.parametrize("name", NAMES)
def test_its_class_and_our_reader_see_the_same_images_and_classes(tmp_path, name):
    write_for_learn2learn(tmp_path, name)
    for split, mode in MODES.items():
        ours = sla_bench.load_dataset(f"learn2learn:{name}", split, data_root=tmp_path)
        theirs = getattr(l2l.vision.datasets, name)(str(tmp_path), mode)
        read = sla_bench.from_torch_dataset(theirs)
        assert classes_by_content(read) == classes_by_content(ours)
        through = sla_bench.from_torch_dataset(l2l.data.MetaDataset(theirs))
        assert through.checksum == read.checksum


def classes_by_content(images):
    """The images of each class, whatever the order of classes and images."""
    return sorted(
        sorted(image.tobytes() for image in images.images[images.labels == label])
        for label in range(images.num_classes)
    )


def test_its_benchmark_tasks_give_a_fixed_model_the_same_accuracy_in_both(tmp_path, model):
    """`get_tasksets` draws; our evaluation gets its tasks as episodes, learn2learn's classifier as pixels."""
    write_for_learn2learn(tmp_path, "FC100")
    random.seed(0)
    tasks = l2l.vision.benchmarks.get_tasksets(
        "fc100", test_ways=5, test_samples=8, num_tasks=60, root=str(tmp_path)
    ).test
    images = sla_bench.load_dataset("learn2learn:FC100", "test", data_root=tmp_path)
    episodes = sla_bench.TasksetEpisodes(tasks, shots=3).sample(60)
    np.testing.assert_array_equal(sla_bench.from_torch_dataset(tasks).images, images.images)
    plain = replace(dataset_named("learn2learn:FC100").properties, mean=(0, 0, 0), std=(1, 1, 1))
    ours = our_hits(model, images, plain, episodes.flatten(torch.Generator().manual_seed(1)))
    theirs = [prototypical_hits(model.backbone, *tasks[number], shots=3) for number in range(60)]
    assert 0 < ours.sum() < 60 * 25
    assert nearly_equal(ours, theirs)


def prototypical_hits(backbone, batch, labels, shots):
    """The evaluation loop of learn2learn's example of prototypical networks, for one task."""
    with torch.no_grad():
        (support, support_labels), (query, query_labels) = l2l.data.partition_task(batch, labels, shots=shots)
        classifier = l2l.nn.PrototypicalClassifier(backbone(support), support_labels)
        return int((classifier(backbone(query)).argmax(1) == query_labels).sum())
