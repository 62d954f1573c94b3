import json

import numpy as np
import pytest
import torch
from made_up_records import write_records
from PIL import Image
from trained_runs import train_runs

import sla_bench
from sla_bench.data.fashion_mnist import FASHION_MNIST
from sla_bench.data.named import load_dataset
from sla_bench.errors import UserError
from sla_bench.records.classifiers import load_classifier
from sla_bench.records.store import Store
from sla_bench.registry import METHODS, SCENARIOS
from sla_bench.scenarios.classify.run import ClassifierScenario

METHOD_NAMES = [name for name in METHODS if not METHODS.load(name).not_on_classes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(folder):
    """Method -> folder of its run."""
    torch.set_num_threads(1)
    return dict(zip(METHOD_NAMES, train_runs(folder, method=METHOD_NAMES), strict=True))


@pytest.fixture(scope="module")
def test_images(runs, folder):
    return load_dataset("cifar10", "test", by="images", data_root=folder / "data")


@pytest.fixture
def distilled(runs):
    return load_classifier(runs["sla+sd"])


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_predictions_are_those_of_the_recorded_evaluation(method, runs, test_images):
    """Of every mode: labels, confidences, and the probability of the true class."""
    classifier = sla_bench.load_classifier(runs[method])
    assert classifier.class_names == test_images.class_names
    (evaluation,) = next(
        record.evaluations
        for record in Store(runs[method].parents[2], "imbalanced").records()
        if record.folder == runs[method]
    )
    samples = evaluation.samples
    read = [name.partition("/")[2] for name in samples if name.startswith("predictions/")]
    # Crops are drawn from the seed of the test; nobody else has them.
    read = [row for row in read if not row.endswith("+crops")]
    modes = classifier._objective.modes
    assert sorted(modes.values()) == sorted(read)
    for mode, row in modes.items():
        found = classifier.predict(test_images.images, mode)
        assert found.classes.tolist() == samples[f"predictions/{row}"].tolist()
        np.testing.assert_allclose(
            found.probabilities.max(1), samples[f"confidence/{row}"], rtol=2**-11, atol=1e-5
        )
        own = found.probabilities[np.arange(len(test_images)), test_images.labels]
        np.testing.assert_allclose(-np.log(own), samples[f"nll/{row}"], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.probabilities.sum(1), 1)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_first_mode_is_the_objectives_own_row(method, runs, test_images):
    classifier = load_classifier(runs[method])
    objective = classifier._objective
    assert objective.modes[classifier.modes[0]] == next(iter(objective.rows))
    by_default = classifier.predict(test_images.images)
    named = classifier.predict(test_images.images, classifier.modes[0])
    assert np.array_equal(by_default.probabilities, named.probabilities)


@pytest.mark.parametrize(
    ("method", "mode", "passes"),
    [
        ("baseline", "si", 1),
        ("baseline", "tta", 4),
        ("sla", "si", 1),
        ("sla", "ag", 4),
        ("sla+sd", "sd", 1),
        ("sla+sd", "ag", 4),
        ("da+sd", "sd", 1),
        ("ens-M", "si", 4),
    ],
)
def test_forward_passes_per_image(method, mode, passes, runs, test_images):
    classifier = load_classifier(runs[method])
    rows = []
    for model in classifier._models:
        model.backbone.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    classifier.predict(test_images.images, mode)
    assert sum(rows) == passes * len(test_images)


def test_one_image_at_a_time_gives_the_same_answer(distilled, test_images):
    images = test_images.images[:6]
    for mode in distilled.modes:
        together = distilled.predict(images, mode).probabilities
        alone = [distilled.predict(images[[k]], mode).probabilities[0] for k in range(6)]
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_tensors_and_files_are_read_like_arrays(distilled, test_images, tmp_path):
    images = test_images.images[:5]
    files = [tmp_path / f"{k}.png" for k in range(5)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    expected = distilled.predict(images).probabilities
    assert np.array_equal(distilled.predict(torch.from_numpy(images)).probabilities, expected)
    assert np.array_equal(distilled.predict(files).probabilities, expected)
    assert np.array_equal(
        distilled.predict(files[0]).probabilities, distilled.predict(files[:1]).probabilities
    )
    assert np.array_equal(distilled.predict([str(file) for file in files]).probabilities, expected)
    assert np.array_equal(distilled.read(files), images)


def made_of(rng, shape, dtype=np.uint8):
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype)


@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 4), (200, 300, 3)])
def test_one_picture_is_the_same_in_all_its_forms(shape, distilled, tmp_path):
    pixels = made_of(np.random.default_rng(3), shape)
    picture = Image.fromarray(pixels[..., 0] if shape[2:] == (1,) else pixels)
    file = tmp_path / "x.png"
    picture.save(file)
    expected = distilled.read(file)
    tensor = torch.from_numpy(pixels)
    forms = [file, str(file), file.read_bytes(), bytearray(file.read_bytes()), pixels, tensor, picture]
    with Image.open(file) as opened:
        forms.append(opened)
        for form in forms:
            assert np.array_equal(distilled.read(form), expected), type(form)
            assert distilled.predict(form).classes == distilled.predict(expected).classes
        assert np.array_equal(distilled.read(iter(forms)), expected.repeat(len(forms), axis=0))


def test_a_block_of_another_size_is_scaled_like_its_images(distilled):
    block = made_of(np.random.default_rng(4), (3, 50, 40, 3))
    assert np.array_equal(distilled.read(block), distilled.read([Image.fromarray(image) for image in block]))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_of_pil_is_read(mode, distilled):
    """As Pillow itself shows it on white."""
    colours = made_of(np.random.default_rng(5), (32, 32, 4))
    first = {"P": "L", "PA": "L", "La": "LA"}.get(mode, "RGBA")
    image = Image.fromarray(colours).convert(first)
    image = (image.convert("P") if mode == "PA" else image).convert(mode)
    plain = image.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, mode))
    plain = (plain if mode in ("LA", "La", "PA", "RGBA", "RGBa") else plain.convert("RGB")).convert("RGBA")
    shown = Image.alpha_composite(Image.new("RGBA", plain.size, "white"), plain).convert("RGB")
    assert np.abs(distilled.read([image])[0].astype(int) - np.asarray(shown)).max() <= 1


def test_classifiers_of_grey_images_see_colours_as_grey(runs, tmp_path):
    classifier = load_classifier(runs["baseline"])
    classifier.properties = FASHION_MNIST.properties
    grey = np.random.default_rng(0).integers(0, 256, (256, 28, 28, 1), np.uint8).repeat(3, axis=3)
    assert np.array_equal(classifier._as_trained(grey), grey)
    red = np.zeros((1, 28, 28, 3), np.uint8)
    red[..., 0] = 255
    assert classifier._as_trained(red).tolist() == np.full((1, 28, 28, 3), 76).tolist()


def test_a_copy_elsewhere_needs_neither_data_nor_results(runs, tmp_path, test_images):
    for name in ("config.json", "done.json", "model.safetensors"):
        (tmp_path / name).write_bytes((runs["sla"] / name).read_bytes())
    images = test_images.images[:4]
    expected = load_classifier(runs["sla"]).predict(images).probabilities
    assert np.array_equal(load_classifier(tmp_path).predict(images).probabilities, expected)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_of_fixed_classes_builds_its_classifier(scenario):
    assert isinstance(SCENARIOS.load(scenario), ClassifierScenario) == SCENARIOS[scenario].fixed_classes


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), "got float32"),
        (np.zeros((5, 28, 28), np.uint8), r"got uint8 \(5, 28, 28\)$"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"got uint8 \(3, 32, 32\); channels come last"),
        ([np.zeros((9, 9), np.uint8), np.zeros((0, 9, 3), np.uint8)], "image 1 must be uint8"),
        ([b"<html>404</html>"], "cannot read the image at position 0"),
        ([Image.new("F", (9, 9))], "position 0: pixels are fractions"),
        ([None], "image 0 must be a file, bytes, an array or a PIL image, not NoneType"),
        (np.zeros((0, 32, 32, 3), np.uint8), "at least one"),
        (["missing.png"], "cannot read the image missing.png"),
    ],
)
def test_images_of_another_form_are_refused(images, sentence, distilled):
    with pytest.raises(UserError, match=sentence) as error:
        distilled.predict(images)
    assert "\n" not in str(error.value)


def test_an_unknown_mode_is_refused_with_those_there_are(distilled, test_images):
    with pytest.raises(UserError, match="mode 'si' is not one of sd, tta, ag"):
        distilled.predict(test_images.images, "si")


def copy_of(run, to, **changes):
    """A copy of a run in which files have another content; None leaves a file out."""
    for name in ("config.json", "done.json", "model.safetensors"):
        content = changes.get(name.partition(".")[0], (run / name).read_bytes())
        if content is not None:
            (to / name).write_bytes(content)
    return to


def edited(run, name, **values):
    return json.dumps({**json.loads((run / name).read_bytes()), **values}).encode()


OF_NO_FIELD = json.dumps(
    {"scenario": "imbalanced", "no_field": 1, **dict.fromkeys(("dataset", "method", "seed", "budget"), "x")}
).encode()
OF_THEN = json.dumps({"protocol": 1, "train_images": 1, "train_seconds": 1, "parameters": 1}).encode()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"done": None}, "is not the folder of a finished run"),
        ({"model": None}, "has no model.safetensors: it was recorded with --keep-models none"),
        ({"config": b"{"}, "is damaged"),
        (
            {"config": OF_NO_FIELD.replace(b"imbalanced", b"fewshort")},
            "unknown scenario 'fewshort'; did you mean 'fewshot'",
        ),
        ({"config": OF_NO_FIELD}, "is damaged"),
        ({"model": b"no weights"}, "is damaged"),
        ({"done": b'{"protocol": 2}'}, r"is damaged \(ValueError"),
        (
            {"done": OF_THEN, "config": OF_NO_FIELD},
            "made under protocol 1, this version follows 2",
        ),
    ],
)
def test_damaged_records_are_refused_in_one_sentence(changes, sentence, runs, tmp_path):
    with pytest.raises(UserError, match=sentence) as error:
        load_classifier(copy_of(runs["sla"], tmp_path, **changes))
    assert "\n" not in str(error.value)


def test_weights_of_another_model_are_refused(runs, tmp_path):
    config = edited(runs["sla"], "config.json", method="sla+sd")
    with pytest.raises(UserError, match=r"model\.safetensors: weights of another model: .* (missing|shape)"):
        load_classifier(copy_of(runs["sla"], tmp_path, config=config))


def test_scores_that_are_not_finite_are_refused(runs, test_images):
    classifier = load_classifier(runs["baseline"])
    with torch.no_grad():
        classifier._objective.head.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="scores are not finite"):
        classifier.predict(test_images.images)


def test_a_path_that_is_no_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "model.safetensors"):
        with pytest.raises(UserError, match="is not the folder of a finished run"):
            load_classifier(path)


def test_a_run_without_weights_is_refused(folder):
    (run,) = train_runs(folder, keep_models=False, method=["baseline"], seed=[7])
    with pytest.raises(UserError, match=r"no model.safetensors.*--keep-models none"):
        load_classifier(run)


def test_a_few_shot_run_is_refused_with_the_reason(tmp_path):
    store, (run_id,) = write_records(tmp_path, {"baseline": 0.5})
    with pytest.raises(UserError, match="scenario fewshot, whose classes are new in each test episode"):
        load_classifier(store.run_folder(run_id))
