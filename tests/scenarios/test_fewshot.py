from pathlib import Path

import numpy as np
import pytest
import torch
from real_formats import write_folder
from spanned import tasks_of
from training_factors import COST

from sla_bench.data.base import LabeledImages
from sla_bench.evaluation.embedding import embed
from sla_bench.objectives.episodes import EpisodeFeatures
from sla_bench.registry import LEARNERS, METHODS
from sla_bench.scenarios.base import Shared, first_images
from sla_bench.scenarios.fewshot import run as fewshot
from sla_bench.scenarios.fewshot.episode_reader import EpisodeReader
from sla_bench.training.episodes import fixed_episodes

pytestmark = pytest.mark.usefixtures("reduced_glyphs")
CPU = torch.device("cpu")
SHORT = ["steps=3", "validations=1", "validation_episodes=8", "jackknife_episodes=0", "episodes=12"]
FEW_SHOT = [n for n in METHODS if not (METHODS.load(n).not_on_episodes or METHODS.load(n).classifier_only)]


def task(*settings, **options):
    given = {"method": ["sla"], "budget": "smoke", **options}
    (one,) = tasks_of("fewshot", [*SHORT, *settings], **given)
    return one


def train(one, root):
    return fewshot.run(one.run, root, CPU)


def evaluate(one, training, root):
    return fewshot.evaluate(one.run, one.evaluations[0], training.state, root, CPU)


@pytest.mark.parametrize("method", FEW_SHOT)
def test_every_method_trains_and_is_read(method, root):
    one = task("train_queries=3", method=[method])
    training = train(one, root)
    result = evaluate(one, training, root)
    assert training.summary["train_images"] > 0
    for row, metrics in result.metrics.items():
        hits = result.samples[f"hits/{row}"]
        assert hits.shape == (12, 5)
        assert metrics["accuracy"] == pytest.approx(hits.mean() / 15)
        assert 0 < metrics["ci95_closed"] < 0.2
        assert metrics["open_tasks"] >= 2


@pytest.mark.parametrize("learner", [n for n, e in LEARNERS.items() if not e.needs_learn2learn])
def test_every_learner_trains_with_sla(learner, root):
    one = task("train_queries=2", "train_shots=2", learner=[learner], shots=[2])
    accuracy = evaluate(one, train(one, root), root).metrics["SLA+AG"]["accuracy"]
    assert 0.05 < accuracy < 0.95


def test_images_through_the_backbone_count_what_is_compared(root):
    images = {}
    for method in FEW_SHOT:
        images[method] = train(task("steps=1", method=[method]), root).summary["train_images"]
    assert images.pop("baseline") == 5 * (5 + 10)
    assert images == {name: 75 * COST.get(name, 4) for name in images}


def test_the_same_config_gives_the_same_weights_and_another_seed_others(root):
    first, second = train(task(), root), train(task(), root)
    assert all(torch.equal(first.state[k], second.state[k]) for k in first.state)
    other = train(task(seed=[1]), root)
    assert any(not torch.equal(first.state[k], other.state[k]) for k in first.state)
    assert first.history[0]["train_loss"] == second.history[0]["train_loss"]


def test_methods_share_initial_weights(root):
    one = task()
    dataset = fewshot.dataset_named("glyphs")
    models = [
        fewshot.build_model(one.run, dataset, fewshot.build_objective(task(method=[m]).run, "rotation"), 0)
        for m in ("baseline", "sla", "mt")
    ]
    for name, value in models[0].state_dict().items():
        assert all(torch.equal(value, m.state_dict()[name]) for m in models[1:]), name


def test_ordinary_training_does_not_depend_on_the_transform_of_tta(root):
    rotated, permuted = (task(method=["baseline"], transform=[t]) for t in ("rotation", "color_perm"))
    assert rotated.run == permuted.run
    training = train(rotated, root)
    one, other = evaluate(rotated, training, root), evaluate(permuted, training, root)
    assert np.array_equal(one.samples["hits/baseline"], other.samples["hits/baseline"])
    assert np.array_equal(one.samples["classes"], other.samples["classes"])


def test_test_episodes_do_not_depend_on_method_seed_or_number(root):
    base, sla = task(method=["baseline"]), task("episodes=20", seed=[3])
    few = evaluate(base, train(base, root), root).samples
    many = evaluate(sla, train(sla, root), root).samples
    assert np.array_equal(few["classes"], many["classes"][:12])
    assert np.array_equal(few["open_classes"], many["open_classes"])


def test_tests_of_one_training_embed_its_test_images_once(root, images_read):
    one = task(learner=["simpleshot"])
    training, shared = train(one, root), Shared()
    read = []
    for shots in (1, 5):
        test = one.evaluations[0].model_copy(update={"shots": shots})
        alone = fewshot.evaluate(one.run, test, training.state, root, CPU)
        images_read.clear()
        found = fewshot.evaluate(one.run, test, training.state, root, CPU, shared=shared)
        read.append(len(images_read))
        for name, values in alone.samples.items():
            assert np.array_equal(found.samples[name], values)
    assert read[0] > 0 == read[1]


def test_images_of_another_data_set_are_embedded_beside_those_of_the_own(root, tmp_path):
    write_folder(tmp_path / "boats", 16, per_class=8, size=32)
    one = task(learner=["simpleshot"])
    training, shared = train(one, root), Shared()
    other = {"test_dataset": f"folder:{tmp_path / 'boats'}:32", "shots": 1, "queries": 3}
    elsewhere = one.evaluations[0].model_copy(update=other)
    fewshot.evaluate(one.run, one.evaluations[0], training.state, root, CPU, shared=shared)
    found = fewshot.evaluate(one.run, elsewhere, training.state, root, CPU, shared=shared)
    alone = fewshot.evaluate(one.run, elsewhere, training.state, root, CPU)
    assert np.array_equal(found.samples["hits/SLA+AG"], alone.samples["hits/SLA+AG"])


def test_an_ensemble_averages_models_of_disjoint_seeds(root):
    one = task(method=["ens-M"])
    training = train(one, root)
    members = {k.split(".")[1] for k in training.state}
    assert members == {"0", "1", "2", "3"}
    weights = [training.state[f"members.{m}.head.scale"] for m in sorted(members)]
    first = [v for k, v in training.state.items() if k.endswith("weight") and ".0." in k and v.dim() == 4]
    assert len({float(w.sum()) for w in first}) == len(first)
    alone = task(method=["baseline"])
    baseline = train(alone, root)
    assert torch.equal(baseline.state["members.0.head.scale"], weights[0])


def test_one_query_at_a_time_gives_the_same_logits(root):
    one = task(method=["sla"])
    training = train(one, root)
    dataset = fewshot.dataset_named("glyphs")
    objective = fewshot.build_objective(one.run, "rotation")
    model = fewshot.build_model(one.run, dataset, objective, 0)
    model.load_state_dict({k.removeprefix("members.0."): v for k, v in training.state.items()})
    images = fewshot.load_images(one.run, "test", root)
    reader = EpisodeReader(images, dataset, None, CPU)
    episodes = fixed_episodes(images.labels, 5, 5, 3, count=1, seed=0)
    together = reader.embeddings(model, objective.transform, "fp32")
    support, queries = together[episodes.support], together[episodes.query]
    features = EpisodeFeatures(support, episodes.support_labels, queries, episodes.query_labels, 5)
    with torch.no_grad():
        expected = objective.read(features, model.head)
        for q, image in enumerate(episodes.query[0]):
            alone = embed(model.backbone, reader.batches, image[None], objective.transform)
            single = EpisodeFeatures(
                support, episodes.support_labels, alone[None], episodes.query_labels[:, q : q + 1], 5
            )
            for row, logits in objective.read(single, model.head).items():
                torch.testing.assert_close(logits[0, 0], expected[row][0, q], rtol=1e-4, atol=1e-5)


def test_training_leaves_the_global_generator_alone(root):
    before = torch.random.get_rng_state()
    train(task("steps=1"), root)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_bf16_changes_the_result_and_heads_stay_in_fp32(root):
    fp32, bf16 = train(task(), root), train(task(precision="bf16"), root)
    key = next(k for k in fp32.state if k.endswith("weight"))
    assert fp32.state[key].dtype == bf16.state[key].dtype == torch.float32
    assert not torch.equal(fp32.state[key], bf16.state[key])


def test_class_split_follows_the_seed_where_the_data_have_none(tmp_path):
    import real_formats

    real_formats.write_fashion_mnist(tmp_path, 20, 5)
    names = set()
    for seed in range(6):
        one = task(dataset=["fashion_mnist"], ways=3, seed=[seed])
        images = fewshot.load_images(one.run, "test", tmp_path)
        names.add(images.class_names)
    assert len(names) > 1


def test_first_images_are_the_first_of_each_class():
    labels = np.array([1, 0, 1, 0, 1, 2])
    assert first_images(labels, 1).tolist() == [0, 1, 5]
    assert first_images(labels, 2).tolist() == [0, 1, 2, 3, 5]
    assert first_images(labels, None).tolist() == list(range(6))


def learnable(classes=20, per_class=40):
    """Classes that differ in colour: easy to learn, and turning them changes nothing."""
    rng = np.random.default_rng(0)
    colours = rng.integers(30, 225, (classes, 1, 1, 3))
    labels = np.repeat(np.arange(classes), per_class)
    noise = rng.integers(-30, 30, (len(labels), 32, 32, 3))
    images = (colours[labels] + noise).clip(0, 255).astype(np.uint8)
    return LabeledImages(images, labels.astype(np.int64), tuple(map(str, range(classes))))


def test_what_can_be_learned_is_learned(monkeypatch):
    monkeypatch.setattr(fewshot, "load_images", lambda config, split, root: learnable())
    monkeypatch.setattr(fewshot, "load_test", lambda config, evaluation, root: learnable())
    one = task("steps=15", method=["baseline"])
    assert evaluate(one, train(one, Path()), Path()).metrics["baseline"]["accuracy"] > 0.9
