"""Lists with different numbers of images of a class, and where the numbers are told."""

import csv

import numpy as np
import pytest
import real_formats
from real_formats import MINI_IMAGENET as WNIDS

from sla_bench.cli.app import run_command_line
from sla_bench.data.cifar100_few_shot import CIFAR_FS
from sla_bench.data.few_shot_files import MINI_IMAGENET
from sla_bench.data.overview import overview
from sla_bench.errors import UserError


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


def test_numbers_are_of_what_is_prepared_only(tmp_path):
    real_formats.write_cifar100(tmp_path)
    assert CIFAR_FS.class_counts(tmp_path) == {}
    assert MINI_IMAGENET.class_counts(tmp_path) == {}
