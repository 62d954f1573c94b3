"""Layouts of the few-shot data sets: round trips, and what is wrong with damaged ones."""

import csv
import pickle
from functools import partial

import numpy as np
import pytest
import real_formats
from real_formats import MINI_IMAGENET as WNIDS
from real_formats import SPLITS, python2_pickle

from sla_bench.cli.app import run_command_line
from sla_bench.data.cifar100_few_shot import CIFAR_FS, FC100
from sla_bench.data.few_shot_files import MINI_IMAGENET, TIERED_IMAGENET
from sla_bench.data.omniglot import OMNIGLOT
from sla_bench.data.overview import overview
from sla_bench.errors import UserError

pickles = real_formats.write_category_pickles
LAYOUTS = {
    "fc100 pickles": (FC100, partial(pickles, dataset="fc100")),
    "cifar_fs pickles": (CIFAR_FS, partial(pickles, dataset="cifar_fs")),
    "cifar_fs r2d2": (CIFAR_FS, real_formats.write_r2d2),
    "cifar_fs processed": (CIFAR_FS, real_formats.write_processed_cifar_fs),
    "mini pickles": (MINI_IMAGENET, partial(pickles, dataset="mini_imagenet", per_class=2)),
    "mini cache": (MINI_IMAGENET, real_formats.write_mini_cache),
    "mini cache, val": (MINI_IMAGENET, partial(real_formats.write_mini_cache, val="val")),
    "mini csv": (MINI_IMAGENET, real_formats.write_mini_csv),
    "mini easyfsl": (MINI_IMAGENET, partial(real_formats.write_mini_csv, style="easyfsl")),
    "omniglot": (OMNIGLOT, real_formats.write_omniglot),
    "tiered npz": (TIERED_IMAGENET, real_formats.write_tiered_npz),
    "tiered png": (TIERED_IMAGENET, real_formats.write_tiered_png),
}


def as_multiset(images, names):
    return sorted((name, image.tobytes()) for name, image in zip(names, images, strict=True))


def names_of(loaded):
    return [loaded.class_names[label] for label in loaded.labels]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(tmp_path, layout):
    dataset, write = LAYOUTS[layout]
    written = write(tmp_path)
    for split in SPLITS:
        loaded = dataset.load(split, "classes", tmp_path)
        images, names = written[split]
        assert loaded.num_classes == dataset.classes[split]
        assert loaded.images.shape[1] == dataset.properties.size
        assert loaded.images.flags.writeable
        assert as_multiset(loaded.images, names_of(loaded)) == as_multiset(images, names)
    assert dataset.files(tmp_path)
    assert {status for _, status in dataset.verify(tmp_path)} <= {"ok", "unknown"}


def write_and_split(root, dataset):
    written = real_formats.write_cifar100(root)
    images = np.concatenate([written["train"][0], written["test"][0]])
    names = np.array(written["train"][1] + written["test"][1])
    chosen = real_formats.CIFAR_FS if dataset is CIFAR_FS else None
    for split in SPLITS:
        members = chosen[split] if chosen else real_formats.fc100_names(split)
        index = np.flatnonzero(np.isin(names, members))
        yield split, images[index], names[index].tolist(), members


@pytest.mark.parametrize("dataset", [FC100, CIFAR_FS], ids=lambda dataset: dataset.name)
def test_cifar100_train_and_test_joined_by_class(tmp_path, dataset):
    for split, images, names, members in write_and_split(tmp_path, dataset):
        loaded = dataset.load(split, "classes", tmp_path)
        assert loaded.class_names == tuple(sorted(members))
        assert names_of(loaded) == names
        np.testing.assert_array_equal(loaded.images, images)
        assert set(loaded.class_counts.tolist()) == {6}
    assert [status for _, status in dataset.verify(tmp_path)] == ["unknown"] * 2
    assert dataset.prepare(tmp_path) == [tmp_path / "cifar-100-python" / part for part in ("train", "test")]


def edit(path, change):
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    change(content)
    path.write_bytes(python2_pickle(content))


def drop_one(content):
    content["data"] = content["data"][1:]
    content["labels"] = content["labels"][1:]


def relabel_one(content):
    content["labels"][0] = content["labels"][-1]


DAMAGES = {
    "image without label": (lambda c: c.update(labels=c["labels"][:-1]), "images but"),
    "lost image": (drop_one, "same number of images"),
    "wrong label": (relabel_one, "same number of images"),
    "no labels": (lambda c: c.pop("labels"), "no 'labels'"),
    "labels as texts": (lambda c: c.update(labels=["a"] * len(c["labels"])), "whole numbers"),
    "too many images": (
        lambda c: c.update(data=np.repeat(c["data"], 120, 0), labels=np.repeat(c["labels"], 120).tolist()),
        "more than the 600 published",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_category_pickle(tmp_path, damage):
    pickles(tmp_path, "fc100")
    change, words = DAMAGES[damage]
    edit(tmp_path / "FC100" / "FC100_test.pickle", change)
    with pytest.raises(UserError, match=words):
        FC100.load("test", "classes", tmp_path)
    assert (tmp_path / "FC100" / "FC100_test.pickle", "bad") in FC100.verify(tmp_path)


def test_swapped_files_with_original_labels(tmp_path):
    """Both have 20 classes and are disjoint: only the labels tell."""
    pickles(tmp_path, "fc100")
    for split in ("val", "test"):
        wrong = real_formats.fc100_names("test" if split == "val" else "val")
        fine = [real_formats.FINE.index(name) for name in wrong]
        edit(
            tmp_path / "FC100" / f"FC100_{split}.pickle",
            lambda c, fine=fine: c.update(labels=np.repeat(fine, 6).tolist()),
        )
    with pytest.raises(UserError, match="holds the val classes where the test classes belong"):
        FC100.load("test", "classes", tmp_path)


def test_original_labels_give_names(tmp_path):
    pickles(tmp_path, "fc100")
    names = real_formats.fc100_names("val")
    fine = [real_formats.FINE.index(name) for name in names]
    edit(
        tmp_path / "FC100" / "FC100_train.pickle",
        lambda c: c.update(labels=[label + 1000 for label in c["labels"]]),
    )
    edit(tmp_path / "FC100" / "FC100_test.pickle", lambda c: c.update(labels=[-i - 1 for i in c["labels"]]))
    edit(tmp_path / "FC100" / "FC100_val.pickle", lambda c: c.update(labels=np.repeat(fine, 6).tolist()))
    assert FC100.load("val", "classes", tmp_path).class_names == tuple(names)


@pytest.mark.parametrize("layout", ["fc100 pickles", "mini cache", "tiered npz", "tiered png"])
@pytest.mark.parametrize("keep", [0.999, 0.5, 0.01])
def test_truncated_files(tmp_path, layout, keep):
    dataset, write = LAYOUTS[layout]
    write(tmp_path)
    kind, base = dataset._find(tmp_path)
    path = kind.files(base, "val")[0]
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(UserError, match="truncated or damaged"):
        dataset.load("val", "classes", tmp_path)
    if dataset is TIERED_IMAGENET:
        assert not list((tmp_path / "prepared").rglob("val*"))


def test_png_and_npz_of_tiered_give_the_same_pixels(tmp_path):
    real_formats.write_tiered_npz(tmp_path / "npz")
    real_formats.write_tiered_png(tmp_path / "png")
    a = TIERED_IMAGENET.load("val", "classes", tmp_path / "npz")
    b = TIERED_IMAGENET.load("val", "classes", tmp_path / "png")
    np.testing.assert_array_equal(a.images, b.images)
    assert not np.array_equal(a.images, a.images[..., ::-1])
    assert (a.class_names[3], b.class_names[3]) == ("class 3", "val thing 3")


def test_mini_cache_whose_dict_forgets_an_image(tmp_path):
    real_formats.write_mini_cache(tmp_path)
    edit(
        tmp_path / "mini-imagenet-cache-test.pkl",
        lambda c: c["class_dict"].update(n01930112=c["class_dict"]["n01930112"][:1]),
    )
    with pytest.raises(UserError, match="each of the 40 images exactly once"):
        MINI_IMAGENET.load("test", "classes", tmp_path)


CSV_DAMAGES = {
    "header": (lambda text: text.replace("filename,label", "name,kind"), "columns filename,label"),
    "a class less": (lambda text: text.rsplit("\n", 2)[0] + "\n", "1 missing"),
    "an image twice": (lambda text: text + text.splitlines()[1] + "\n", "as line 2 does"),
    "missing image": (lambda text: text.replace("00000003.png", "99999999.png"), "missing, though"),
    "cut row": (lambda text: text + "n01", "empty field"),
}


@pytest.mark.parametrize("damage", CSV_DAMAGES)
def test_damaged_lists(tmp_path, damage):
    real_formats.write_mini_csv(tmp_path)
    path = tmp_path / "miniImageNet" / "test.csv"
    change, words = CSV_DAMAGES[damage]
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=words):
        MINI_IMAGENET.load("test", "classes", tmp_path)


@pytest.mark.parametrize("name", ["cifar100_few_shot", "mini_imagenet", "tiered_imagenet"])
def test_the_malicious_pickle_never_runs(tmp_path, name):
    dataset = {
        "cifar100_few_shot": FC100,
        "mini_imagenet": MINI_IMAGENET,
        "tiered_imagenet": TIERED_IMAGENET,
    }[name]
    layout = dataset.layouts[1]
    base = tmp_path / layout.folders[0]
    base.mkdir()
    mark = tmp_path / "it-ran"
    evil = b"cos\nmkdir\n(V" + str(mark).encode() + b"\ntR."
    for path in layout.all_files(base):
        path.write_bytes(evil)
    with pytest.raises(UserError, match=r"was not loaded.*os\.mkdir"):
        dataset.load("train", "classes", tmp_path)
    assert not mark.exists()


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def listed(tmp_path):
    """Three images of each class for training, two for the test; one validation class has one of two."""
    real_formats.write_mini_csv(tmp_path / "three", per_class=3)
    real_formats.write_mini_csv(tmp_path / "two", per_class=2)
    base = tmp_path / "miniImageNet"
    (tmp_path / "two" / "miniImageNet").rename(base)
    for path in (tmp_path / "three" / "miniImageNet" / "images").iterdir():
        if path.name[:9] in WNIDS["train"]:
            path.rename(base / "images" / path.name)
    (tmp_path / "three" / "miniImageNet" / "train.csv").replace(base / "train.csv")
    header, first, *further = rows_of(base / "val.csv")
    assert first[1] == further[0][1] == WNIDS["val"][0]
    write_rows(base / "val.csv", [header, *further])
    return tmp_path


@pytest.mark.parametrize("style", ["ravi", "easyfsl"])
def test_a_list_decides_how_many_images_a_class_has(tmp_path, style):
    images, names = real_formats.write_mini_csv(tmp_path, style, per_class=4)["test"]
    path = tmp_path / "miniImageNet" / "test.csv"
    header, *rows = rows_of(path)
    kept = [i for i in range(len(rows)) if i % 4 <= (i // 4) % 4]
    write_rows(path, [header, *(rows[i] for i in kept)])
    loaded = MINI_IMAGENET.load("test", "classes", tmp_path)
    assert loaded.class_counts.tolist() == [1, 2, 3, 4] * 5
    np.testing.assert_array_equal(loaded.images, images[kept])
    assert [loaded.class_names[label] for label in loaded.labels] == [names[i] for i in kept]


def test_no_class_has_more_images_than_published(tmp_path):
    real_formats.write_mini_csv(tmp_path)
    base = tmp_path / "miniImageNet"
    header, first, *further = rows_of(base / "test.csv")
    copies = [f"copy{i}_{first[0]}" for i in range(600)]
    for copy in copies:
        (base / "images" / copy).hardlink_to(base / "images" / first[0])
    write_rows(base / "test.csv", [header, first, *([copy, first[1]] for copy in copies), *further])
    with pytest.raises(
        UserError, match=rf"601 images of the class '{first[1]}', more than the 600 published"
    ):
        MINI_IMAGENET.load("test", "classes", tmp_path)


def test_info_and_the_table_tell_the_numbers_of_prepared_images(listed, capsys):
    def printed(*words):
        assert run_command_line(["datasets", *words, "--data-root", str(listed)]) == 0
        return capsys.readouterr().out

    assert "prepared:" not in printed("info", "mini_imagenet")
    printed("prepare", "mini_imagenet", "--workers", "1")
    line = next(line for line in printed("info", "mini_imagenet").splitlines() if "prepared:" in line)
    assert line.partition(":")[2].strip() == (
        "train 192 images, 64 classes of 3; val 31 images, 16 classes of 1-2; test 40 images, 20 classes of 2"
    )
    names, _, _, states = (list(column.cells) for column in overview(listed).columns)
    assert states[names.index("mini_imagenet")] == "there, 3/1-2/2 images a class"
    assert states[names.index("omniglot")] == "missing"
    assert "val: 31 images, 16 classes of 1-2, checksum" in printed("verify", "mini_imagenet")
