"""The same weights and episodes, evaluated by learn2learn, easyfsl and this package."""

import pytest
import torch
from fixed_models import SMALL_GLYPHS, nearly_equal, our_hits, patterned_images, trained_protonet
from peer_modules import peer
from torch.utils.data import DataLoader, Sampler

import sla_bench
from sla_bench.adapters.torch_datasets import TorchImages
from sla_bench.models.heads.protonet import ProtoNet
from sla_bench.training.episodes import EpisodeSampler

pytestmark = pytest.mark.learn2learn
l2l = peer("learn2learn")
easyfsl = peer("easyfsl")
easyfsl_datasets, easyfsl_methods = peer("easyfsl.datasets"), peer("easyfsl.methods")
easyfsl_samplers, easyfsl_utils = peer("easyfsl.samplers"), peer("easyfsl.utils")

WAYS, QUERIES, TASKS = 5, 6, 40


@pytest.fixture(scope="module", params=["baseline", "sla"])
def model(request, glyph_root):
    return trained_protonet(glyph_root, request.param)


@pytest.fixture(scope="module")
def images():
    return patterned_images()


@pytest.fixture(params=[1, 5])
def episodes(request, images):
    return EpisodeSampler(images.labels, WAYS, request.param, QUERIES, seed=7).sample(TASKS)


@pytest.fixture
def ours(model, images, episodes):
    flat = episodes.flatten(torch.Generator().manual_seed(3))
    hits = our_hits(model, images, SMALL_GLYPHS.properties, flat)
    assert 0.3 < hits.sum() / (TASKS * WAYS * QUERIES) < 0.98  # neither chance nor the ceiling
    return hits


def test_learn2learns_prototypical_classifier(model, images, episodes, ours):
    taskset = sla_bench.to_taskset(images, episodes, SMALL_GLYPHS.properties)
    theirs = []
    with torch.no_grad():
        for batch, labels in taskset:
            (support, own), (query, wanted) = l2l.data.partition_task(
                batch, labels, shots=episodes.support.shape[2]
            )
            classifier = l2l.nn.PrototypicalClassifier(model.backbone(support), own)
            theirs.append(int((classifier(model.backbone(query)).argmax(1) == wanted).sum()))
    assert nearly_equal(ours, theirs)


@pytest.fixture
def task_sampler(monkeypatch):
    """easyfsl's `TaskSampler` on a current torch, giving fixed tasks."""
    # easyfsl 1.5.0 passes data_source to the base class, which torch no longer takes.
    monkeypatch.setattr(Sampler, "__init__", lambda self, data_source=None: None)

    class FixedTasks(easyfsl_samplers.TaskSampler):
        def __init__(self, dataset, episodes):
            super().__init__(dataset, WAYS, episodes.support.shape[2], QUERIES, TASKS)
            self.images_of_tasks = torch.cat((episodes.support, episodes.query), 2).flatten(1).tolist()

        def __iter__(self):
            return iter(self.images_of_tasks)

    return FixedTasks


def test_easyfsls_evaluation(model, images, episodes, ours, task_sampler):
    dataset = easyfsl_datasets.WrapFewShotDataset(TorchImages(images, SMALL_GLYPHS.properties))
    sampler = task_sampler(dataset, episodes)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
    classifier = easyfsl_methods.PrototypicalNetworks(model.backbone)
    theirs = easyfsl_utils.evaluate(classifier, loader, device="cpu", use_tqdm=False)
    assert theirs * TASKS * WAYS * QUERIES == pytest.approx(int(ours.sum()), abs=2)


def test_the_three_heads_order_the_classes_alike_and_differ_in_scale_as_documented():
    """Ours is -d^2 / D, learn2learn's -d^2, easyfsl's -d."""
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randn(n, 16, generator=generator) for n in (10, 8))
    labels = torch.arange(5).repeat(2)
    with torch.no_grad():
        own = ProtoNet()(support[None], labels[None], query[None], 5)[0]
        squared = l2l.nn.PrototypicalClassifier(support, labels)(query)
        classifier = easyfsl_methods.PrototypicalNetworks()
        classifier.process_support_set(support, labels)
        plain = classifier(query)
    torch.testing.assert_close(own * 16, squared)
    torch.testing.assert_close(-plain.square(), squared)
