import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from pretrained_networks import needs_timm, weights_file

import sla_bench
from sla_bench.cli.app import run_command_line
from sla_bench.errors import UserError
from sla_bench.scenarios.fewshot.prediction import _best_temperature

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


@needs_timm
def test_mistakes_are_one_line(folder):
    given = arguments(folder)
    with pytest.raises(UserError, match="1 class"):
        sla_bench.few_shot_classifier({"one": [picture((0, 0, 0), 0)]}, **given)
    with pytest.raises(UserError, match="no picture of 'two'"):
        sla_bench.few_shot_classifier({"one": [picture((0, 0, 0), 0)], "two": []}, **given)
    with pytest.raises(UserError, match="did you mean 'ag'"):
        sla_bench.few_shot_classifier(folder / "support", method="agg", **given)
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
