import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pretrained_networks import needs_timm, weights_file
from safetensors import safe_open
from safetensors.torch import save_file

import sla_bench
from sla_bench.cli.app import run_command_line
from sla_bench.config import FewShotRun
from sla_bench.data.base import ImageProperties
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.records import classifiers
from sla_bench.scenarios.base import build_backbone
from sla_bench.scenarios.fewshot.prediction import _best_temperature
from sla_bench.scenarios.pretraining import complete

NETWORK = "timm:test_resnet"
COLOURS = {"blue": (20, 30, 200), "green": (30, 180, 40), "red": (220, 40, 30)}


def picture(colour, seed):
    random = np.random.default_rng(seed)
    return (np.array(colour) + random.integers(-30, 30, (40, 50, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Support of three classes with three pictures each, and two further pictures of each class."""
    for part, count in (("support", 3), ("new", 2)):
        for k, (name, colour) in enumerate(COLOURS.items()):
            (tmp_path / part / name).mkdir(parents=True)
            for j in range(count):
                image = Image.fromarray(picture(colour, 100 * k + j + 10 * count))
                image.save(tmp_path / part / name / f"{j}.png")
    return tmp_path


def arguments(folder):
    return {"backbone": NETWORK, "weights": str(weights_file(folder)), "size": 32}


@needs_timm
@pytest.mark.parametrize("method", ["si", "ag", "tta", "flip"])
@pytest.mark.parametrize("learner", ["finetune", "protonet", "simpleshot", "cosine"])
def test_new_pictures_get_the_class_of_their_support(folder, method, learner):
    classifier = sla_bench.few_shot_classifier(
        folder / "support", method=method, learner=learner, **arguments(folder)
    )
    assert classifier.class_names == tuple(COLOURS)
    found = classifier.predict(sorted((folder / "new").rglob("*.png")))
    assert found.classes.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert [place // 3 for place in found.nearest] == [0, 0, 1, 1, 2, 2]


@needs_timm
def test_a_saved_classifier_answers_the_same_and_one_class_more_needs_no_training(folder):
    classifier = sla_bench.few_shot_classifier(folder / "support", method="ag", **arguments(folder))
    classifier.save(folder / "saved.safetensors")
    again = sla_bench.load_few_shot_classifier(folder / "saved.safetensors")
    images = [picture(colour, 7) for colour in COLOURS.values()]
    np.testing.assert_array_equal(
        again.predict(images).probabilities, classifier.predict(images).probabilities
    )
    assert again.temperature == classifier.temperature
    more = again.with_class("white", [picture((230, 230, 230), seed) for seed in range(3)])
    assert more.class_names == (*COLOURS, "white")
    assert more.predict([*images, picture((225, 230, 235), 9)]).classes.tolist() == [0, 1, 2, 3]


@needs_timm
def test_the_command_writes_class_probability_and_nearest_support(folder, capsys):
    weights = str(weights_file(folder))
    given = ["predict", "--support", str(folder / "support"), str(folder / "new"), "--backbone", NETWORK]
    out = ["--out", str(folder / "p.csv"), "--save", str(folder / "saved.safetensors")]
    assert run_command_line([*given, "--weights", weights, "--size", "32", *out]) == 0
    rows = list(csv.DictReader((folder / "p.csv").open()))
    assert list(rows[0]) == ["path", "mode", "class", "probability", "nearest"]
    assert all(f"/{row['class']}/" in row["path"] and row["class"] in row["nearest"] for row in rows)
    saved = ["predict", "--support", str(folder / "saved.safetensors"), str(folder / "new"), "--out"]
    assert run_command_line([*saved, str(folder / "q.csv")]) == 0
    assert (folder / "q.csv").read_text() == (folder / "p.csv").read_text()
    capsys.readouterr()
    assert run_command_line(["predict", str(folder / "new"), "--size", "32"]) == 2
    assert "--size has no effect without --support" in capsys.readouterr().err


@needs_timm
def test_grey_and_transparent_pictures_are_supports_too(folder):
    Image.fromarray(picture((128, 128, 128), 0)[..., 0]).save(folder / "support" / "red" / "grey.png")
    Image.fromarray(picture((220, 40, 30), 0)).convert("RGBA").save(folder / "support" / "red" / "alpha.png")
    classifier = sla_bench.few_shot_classifier(folder / "support", **arguments(folder))
    assert classifier.predict([picture((20, 30, 200), 1)]).classes.tolist() == [0]


def recorded(monkeypatch, run, network):
    """As if a folder held this run with this network."""
    monkeypatch.setattr(classifiers, "_network", lambda *_: (run, network.state_dict()))


@needs_timm
def test_a_saved_classifier_of_a_fine_tuned_network_keeps_the_tuned_weights(folder, monkeypatch):
    values = {"dataset": "folder:", "backbone": NETWORK}
    given = {"backbone": NETWORK, "weights": str(weights_file(folder)), "train": "all"}
    complete("fewshot", values, given)
    run = FewShotRun(**values, learner="finetune")
    tuned = build_backbone(run, ImageProperties(32))
    torch.manual_seed(3)
    for parameter in tuned.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    recorded(monkeypatch, run, tuned)
    classifier = sla_bench.few_shot_classifier(folder / "support", size=32)
    classifier.save(folder / "saved.safetensors")
    again = sla_bench.load_few_shot_classifier(folder / "saved.safetensors")
    images = [picture(colour, 7) for colour in COLOURS.values()]
    np.testing.assert_array_equal(
        again.predict(images).probabilities, classifier.predict(images).probabilities
    )


@pytest.mark.parametrize("size", [None, 16])
def test_pictures_for_the_network_of_a_run_are_normalised_as_its_own(folder, monkeypatch, size):
    run = FewShotRun(dataset="cifar_fs", backbone="conv4")
    own = dataset_named("cifar_fs").properties
    recorded(monkeypatch, run, build_backbone(run, own))
    classifier = sla_bench.few_shot_classifier(folder / "support", size=size)
    assert classifier.properties == replace(own, size=size or own.size)


@needs_timm
def test_a_saved_file_that_lacks_a_part_or_cannot_be_written_is_one_line(folder, capsys):
    classifier = sla_bench.few_shot_classifier(folder / "support", **arguments(folder))
    with pytest.raises(UserError, match="cannot write"):
        classifier.save(folder / "nowhere" / "saved.safetensors")
    classifier.save(folder / "saved.safetensors")
    with safe_open(folder / "saved.safetensors", "pt") as opened:
        notes, tensors = opened.metadata(), {n: opened.get_tensor(n) for n in ("support", "labels")}
    for broken in ({"support": tensors["support"]}, {**tensors, "labels": tensors["labels"][:-1]}):
        save_file(broken, folder / "broken.safetensors", notes)
        with pytest.raises(UserError, match="not a few-shot classifier"):
            sla_bench.load_few_shot_classifier(folder / "broken.safetensors")
    given = ["predict", "--support", str(folder / "support"), str(folder / "new"), "--save", str(folder)]
    assert run_command_line(given) == 2
    assert "--save" in capsys.readouterr().err


@needs_timm
def test_mistakes_are_one_line(folder):
    given = arguments(folder)
    with pytest.raises(UserError, match="1 class"):
        sla_bench.few_shot_classifier({"one": [picture((0, 0, 0), 0)]}, **given)
    with pytest.raises(UserError, match="no picture of 'two'"):
        sla_bench.few_shot_classifier({"one": [picture((0, 0, 0), 0)], "two": []}, **given)
    with pytest.raises(UserError, match="did you mean 'ag'"):
        sla_bench.few_shot_classifier(folder / "support", method="agg", **given)
    with pytest.raises(UserError, match="size must be a whole number of at least 1, got 0"):
        sla_bench.few_shot_classifier(folder / "support", **{**given, "size": 0})
    with pytest.raises(UserError, match="is not a folder"):
        sla_bench.few_shot_classifier(folder / "suport", **given)
    (folder / "support" / "red" / "text.png").write_text("not a picture")
    with pytest.raises(UserError, match=r"text\.png"):
        sla_bench.few_shot_classifier(folder / "support", **given)
    (folder / "bad.safetensors").write_text(json.dumps({}))
    with pytest.raises(UserError, match="not a few-shot classifier"):
        sla_bench.load_few_shot_classifier(folder / "bad.safetensors")


def test_the_temperature_is_the_one_that_platts_targets_are_most_likely_under():
    """For two classes and one logit the best temperature is in closed form: all margins equal, n right."""
    margin, images = 3.0, 8
    logits = torch.tensor([[margin, 0.0]] * images, dtype=torch.float64)
    _, found = _best_temperature(logits, torch.zeros(images, dtype=torch.int64))
    target = (images + 1) / (images + 2)
    assert found == pytest.approx(margin / np.log(target / (1 - target)), rel=0.06)
