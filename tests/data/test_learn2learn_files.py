"""`learn2learn:NAME`: learn2learn's files, read without learn2learn."""

import shutil
from functools import partial

import numpy as np
import pytest
import real_formats
from real_formats import SPLITS

from sla_bench.data.few_shot_files import learn2learn_files
from sla_bench.data.named import dataset_named, load_dataset
from sla_bench.errors import UserError
from sla_bench.grids.tasks import form_of, recipe_values
from sla_bench.registry import DATASETS
from sla_bench.tables.comparisons import PublishedValues, published_figures

NAMES = tuple(DATASETS.arguments["learn2learn"].known)
WRITERS = {name: partial(real_formats.write_for_learn2learn, name=name) for name in NAMES}
WRITERS["CIFARFS, processed"] = real_formats.write_processed_cifar_fs


@pytest.mark.parametrize("case", WRITERS)
def test_read_where_its_classes_keep_them(tmp_path, case):
    name = f"learn2learn:{case.partition(',')[0]}"
    written = WRITERS[case](tmp_path)
    for split in SPLITS:
        found = load_dataset(name, split, data_root=tmp_path)
        images, names = written[split]
        ours = sorted(
            (found.class_names[y], x.tobytes()) for x, y in zip(found.images, found.labels, strict=True)
        )
        assert ours == sorted((n, x.tobytes()) for x, n in zip(images, names, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_properties_recipes_and_published_figures_are_those_of_our_own(name):
    like = DATASETS.like(f"learn2learn:{name}")
    theirs, ours = dataset_named(f"learn2learn:{name}"), dataset_named(like)
    assert theirs.properties == ours.properties
    assert theirs.classes == ours.classes
    form = form_of("fewshot")
    for budget in ("quick", "paper"):
        assert recipe_values(form, budget, theirs.name) == recipe_values(form, budget, ours.name)
    rows = published_figures().query("dataset == @like").to_dict("records")
    for row in rows:
        found = PublishedValues().beside({**row, "dataset": theirs.name, "metric": "accuracy"}, {})
        assert found["published"] == row["accuracy"]
    assert rows or like not in set(published_figures()["dataset"])


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("FC100", "FC100_{train,val,test}.pickle"),
        ("CIFARFS", "cifarfs/processed/"),
        ("MiniImagenet", "mini-imagenet-cache-{train"),
        ("TieredImagenet", "tiered-imagenet/{train,val,test}_images_png.pkl"),
    ],
)
def test_missing_files_are_one_sentence_that_says_where_they_belong(tmp_path, name, where):
    with pytest.raises(UserError) as error:
        load_dataset(f"learn2learn:{name}", "train", data_root=tmp_path)
    message = str(error.value)
    assert f"below {tmp_path}" in message
    assert where in message
    assert f"learn2learn.vision.datasets.{name}(root, mode, download=True)" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("learn2learn:fc100", r"unknown dataset 'learn2learn:fc100'; did you mean 'learn2learn:FC100'\?"),
        ("learn2learn:MiniImageNet", r"did you mean 'learn2learn:MiniImagenet'\?"),
        ("learn2learn", "needs an argument: write learn2learn:FC100 or learn2learn:CIFARFS or"),
        ("learn2learn:", "needs an argument: write learn2learn:FC100"),
        ("folder", "needs an argument: write folder:PATH"),
        ("fc100:x", "takes no argument"),
    ],
)
def test_wrong_arguments_are_answered_with_the_right_ones(name, sentence):
    with pytest.raises(UserError, match=sentence):
        dataset_named(name)


def test_the_registry_and_the_files_know_the_same_names():
    for name in NAMES:
        assert learn2learn_files(name).name == f"learn2learn:{name}"
    with pytest.raises(UserError, match="did you mean 'FC100'"):
        learn2learn_files("FC10")


def test_maps_lie_in_a_folder_without_a_colon_and_its_files_stay_as_they_are(tmp_path):
    real_formats.write_processed_cifar_fs(tmp_path / "data")
    before = sorted(p.relative_to(tmp_path) for p in (tmp_path / "data" / "cifarfs").rglob("*"))
    images = load_dataset("learn2learn:CIFARFS", "val", data_root=tmp_path / "data")
    assert (tmp_path / "data" / "prepared" / "learn2learn-CIFARFS" / "val.npy").exists()
    assert before == sorted(p.relative_to(tmp_path) for p in (tmp_path / "data" / "cifarfs").rglob("*"))
    shutil.rmtree(tmp_path / "data" / "cifarfs")
    again = load_dataset("learn2learn:CIFARFS", "val", data_root=tmp_path / "data")
    np.testing.assert_array_equal(images.images, again.images)
