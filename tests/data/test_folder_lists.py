import codecs

import pytest
from folder_drawings import put, put_parts

from sla_bench.data.folder import Folder
from sla_bench.data.folder_layouts import list_folder
from sla_bench.data.folder_splits import reading_lines, split_listing
from sla_bench.errors import UserError

SPLITS = ("train", "val", "test")


def classes(path):
    listing = list_folder(path)
    return {
        image: listing.class_names[label] for image, label in zip(listing.images, listing.labels, strict=True)
    }


def parts(path, by="images"):
    listing = list_folder(path)
    return {split: {listing.images[i] for i in split_listing(listing, split, by, 0)[0]} for split in SPLITS}


def flat(path, count=6):
    put(path / "images", count, ".jpg")
    return [f"images/{i}.jpg" for i in range(count)]


def write(path, rows, separator=",", end="\n", mark=b""):
    path.write_bytes(mark + (end.join(separator.join(row) for row in rows) + end).encode())


LABELS = "aabbab"


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv", "train.csv", "trainLabels.csv", "birds.csv"])
@pytest.mark.parametrize(
    "head",
    [
        ("file", "label"),
        ("Filename", "Class"),
        ("image_path", "Category"),
        ("id", "species"),
        ("Image ID", "diagnosis"),
    ],
)
def test_tables_beside_a_folder_of_pictures(tmp_path, name, head):
    names = flat(tmp_path)
    write(tmp_path / name, [head, *((f"{i}.jpg", LABELS[i]) for i in range(6))])
    assert classes(tmp_path) == dict(zip(names, LABELS, strict=True))
    assert name in reading_lines("x", list_folder(tmp_path), "images")[0]


@pytest.mark.parametrize(
    "how",
    [
        {"separator": ";"},
        {"separator": "\t"},
        {"end": "\r\n"},
        {"mark": codecs.BOM_UTF8},
        {"separator": ";", "end": "\r\n", "mark": codecs.BOM_UTF8},
        {"separator": " , "},
    ],
)
def test_tables_of_other_programs(tmp_path, how):
    names = flat(tmp_path)
    write(tmp_path / "labels.csv", [("FILE", "Label"), *((f"{i}.jpg", LABELS[i]) for i in range(6))], **how)
    assert classes(tmp_path) == dict(zip(names, LABELS, strict=True))


@pytest.mark.parametrize(
    "pattern",
    [
        "{}",
        "{}.jpg",
        "images/{}.jpg",
        "./images/{}.jpg",
        "images\\{}.jpg",
        "/home/me/images/{}.jpg",
        "{}.JPG",
    ],
)
def test_pictures_by_name_path_and_without_extension(tmp_path, pattern):
    names = flat(tmp_path)
    write(tmp_path / "labels.csv", [("image", "label"), *((pattern.format(i), LABELS[i]) for i in range(6))])
    assert classes(tmp_path) == dict(zip(names, LABELS, strict=True))


def test_a_link_to_the_folder_of_pictures(tmp_path):
    flat(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(tmp_path / "elsewhere" / "images")
    write(tmp_path / "data" / "labels.csv", [("image", "label"), ("0", "a"), ("1", "b")])
    assert classes(tmp_path / "data") == {"images/0.jpg": "a", "images/1.jpg": "b"}


def test_pictures_beside_the_table_itself_and_no_head(tmp_path):
    put(tmp_path, 4, ".png")
    write(tmp_path / "labels.csv", [(f"{i}.png", "ab"[i % 2]) for i in range(4)])
    assert classes(tmp_path) == {f"{i}.png": "ab"[i % 2] for i in range(4)}


def test_a_column_of_splits(tmp_path):
    names = flat(tmp_path)
    words = ["train", "Training", "valid", "dev", "TEST", "test"]
    write(
        tmp_path / "metadata.csv",
        [("path", "class", "Split"), *((f"{i}.jpg", "ab"[i % 2], words[i]) for i in range(6))],
    )
    assert parts(tmp_path) == {"train": set(names[:2]), "val": set(names[2:4]), "test": set(names[4:])}


def test_a_table_for_each_part_as_kaggle_has_them(tmp_path):
    for part in ("train", "test"):
        put(tmp_path / part, 4)
        write(tmp_path / f"{part}.csv", [("id", "label"), *((str(i), "ab"[i % 2]) for i in range(4))])
    listing = list_folder(tmp_path)
    assert {image.split("/")[0] for image in parts(tmp_path)["test"]} == {"test"}
    assert "train.csv and test.csv with 2 classes: " in reading_lines("x", listing, "images")[0]


def test_kaggles_flat_folder_with_a_test_without_labels(tmp_path):
    put(tmp_path / "train", 10)
    put(tmp_path / "test", 5, first=100)
    write(tmp_path / "train.csv", [("id", "label"), *((str(i), "ab"[i % 2]) for i in range(10))])
    write(tmp_path / "test.csv", [("id",), *((str(i),) for i in range(100, 105))])
    listing = list_folder(tmp_path)
    assert [len(images) for images in parts(tmp_path).values()] == [6, 2, 2]
    assert listing.left_out.found["lists that are not read"] == {"test.csv": 1}
    assert sum(listing.left_out.found["pictures that train.csv does not name"].values()) == 5


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", "])
def test_text_lists_of_paths_and_labels(tmp_path, separator):
    for name in ("n01 tench", "n02"):
        put(tmp_path / "images" / name, 3)
    for number, part in enumerate(SPLITS):
        rows = [
            (f"images/{name}/{number}.png", str(label)) for label, name in enumerate(("n01 tench", "n02"))
        ]
        write(tmp_path / f"{part}.txt", rows, separator)
    assert classes(tmp_path)["images/n01 tench/1.png"] == "n01 tench"
    assert parts(tmp_path)["val"] == {"images/n01 tench/1.png", "images/n02/1.png"}


def test_text_lists_of_paths_alone(tmp_path):
    put_parts(tmp_path, {"images": ["cup cake", "pie"]}, count=4)
    for part, numbers in {"train": (0, 1, 2), "test": (3,)}.items():
        (tmp_path / f"{part}.txt").write_text(
            "".join(f"{c}/{n}\n" for c in ("cup cake", "pie") for n in numbers)
        )
    assert parts(tmp_path)["test"] == {"images/cup cake/3.png", "images/pie/3.png"}
    assert set(classes(tmp_path).values()) == {"cup cake", "pie"}


def test_lists_with_disjoint_classes_serve_few_shot_learning(tmp_path):
    put_parts(tmp_path, {"images": "abcdef"})
    for part, names in zip(SPLITS, ("ab", "cd", "ef"), strict=True):
        write(
            tmp_path / f"{part}.csv",
            [("filename", "label"), *((f"{n}/{i}.png", n) for n in names for i in range(3))],
        )
    assert {part: {image[7] for image in images} for part, images in parts(tmp_path, "classes").items()} == {
        "train": set("ab"), "val": set("cd"), "test": set("ef"),
    }  # fmt: skip
    with pytest.raises(UserError, match="disjoint classes serve few-shot learning only"):
        parts(tmp_path)


def test_class_folders_decide_where_a_list_repeats_them(tmp_path):
    put_parts(tmp_path, {"": "ab"})
    write(tmp_path / "labels.csv", [("file", "label"), ("a/0.png", "a"), ("b/0.png", "b")])
    assert len(classes(tmp_path)) == 6
    lines = reading_lines("x", list_folder(tmp_path), "images")
    assert any("labels.csv is not read: the class folders decide" in line for line in lines)


def test_a_list_decides_where_folders_are_no_classes(tmp_path):
    for number, name in enumerate(("part_1", "part_2")):
        put(tmp_path / name, 3, first=3 * number)
    write(
        tmp_path / "metadata.csv",
        [("image_id", "dx", "label"), *((str(i), "x", LABELS[i]) for i in range(6))],
    )
    assert sorted(classes(tmp_path).values()) == list("aaabbb")


def test_own_splits_of_files(tmp_path):
    put_parts(tmp_path, {"": "ab"})
    rows = [(f"{c}/{i}.png", part) for c in "ab" for i, part in enumerate(SPLITS)]
    write(tmp_path / "splits.csv", [("file", "split"), *rows], ";")
    assert parts(tmp_path) == {part: {f"a/{i}.png", f"b/{i}.png"} for i, part in enumerate(SPLITS)}
    write(
        tmp_path / "splits.csv", [("filename", "label", "split"), *((f, f[0] * 2, s) for f, s in rows[:-1])]
    )
    listing = list_folder(tmp_path)
    assert listing.class_names == ("aa", "bb")
    assert listing.left_out.found == {"pictures that splits.csv does not name": {"b/2.png": 1}}


def test_own_splits_of_classes_in_the_other_scenarios(tmp_path):
    put_parts(tmp_path, {"": "abcd"})
    write(
        tmp_path / "splits.csv",
        [("Class", "Split"), ("a", "Train"), ("b", "valid"), ("c", "test")],
        ";",
        "\r\n",
    )
    assert {image[0] for image in parts(tmp_path, "classes")["val"]} == {"b"}
    (_, line) = reading_lines("x", list_folder(tmp_path), "images")
    assert "splits.csv is not read here: it splits classes" in line
    assert line.endswith("'d', which it leaves out, are used")
    (_, line) = reading_lines("x", list_folder(tmp_path), "classes")
    assert line.endswith("leaves out 'd', which are not used")


def test_labels_reach_the_loaded_images(tmp_path):
    put(tmp_path / "photos" / "images", 12, drawn=True)
    write(
        tmp_path / "photos" / "labels.csv",
        [("file", "label", "split"), *((str(i), "xy"[i % 2], SPLITS[i // 4]) for i in range(12))],
    )
    folder = Folder(tmp_path / "photos", 16)
    first = folder.load("test", "images", tmp_path)
    assert first.class_counts.tolist() == [2, 2]
    everything = Folder(tmp_path / "photos" / "images", 16)
    with pytest.raises(UserError, match=r"12 images lie in it directly; did you mean folder:.*photos"):
        everything.load("test", "images", tmp_path)
    text = (tmp_path / "photos" / "labels.csv").read_text().replace("8,x", "8,y").replace("9,y", "9,x")
    (tmp_path / "photos" / "labels.csv").write_text(text)
    again = folder.load("test", "images", tmp_path)
    assert again.checksum != first.checksum
    assert sorted(map(bytes, again.images)) == sorted(map(bytes, first.images))


ROWS = "file,label,split\n0.jpg,a,"
WRONG = {
    "missing picture": (
        "file,label\n0.jpg,a\n9.jpg,b\n8,b\n",
        r"row 3 of .*labels.csv names '9.jpg', which is not among .* \(2 of 3 are missing\)",
    ),
    "two labels": (
        "file,label\n0.jpg,a\n1.jpg,b\n0,b\n",
        r"row 4 of .* names '0' as 'b', but row 2 .* as 'a'",
    ),
    "unknown split": (f"{ROWS}trian\n", "row 2 of .* has the split 'trian'; did you mean 'train'"),
    "not utf-8": (b"file,label\n0.jpg,caf\xe9\n", "labels.csv: it is not UTF-8; save it as UTF-8"),
    "no training picture": (f"{ROWS}test\n1.jpg,b,test\n", "names no training picture, only test"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_lists_are_named_with_the_row(tmp_path, kind):
    flat(tmp_path)
    text, words = WRONG[kind]
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=words):
        list_folder(tmp_path)


def test_names_that_can_be_two_pictures(tmp_path):
    for name in ("x", "y"):
        put(tmp_path / "images" / name, 2)
    write(tmp_path / "labels.csv", [("file", "label"), ("0.png", "a"), ("1.png", "b")])
    with pytest.raises(UserError, match=r"names '0.png', which can be .*write the folder, too"):
        list_folder(tmp_path)


def test_two_lists_of_one_kind(tmp_path):
    flat(tmp_path)
    for name in ("labels.csv", "metadata.csv"):
        write(tmp_path / name, [("file", "label"), ("0", "a"), ("1", "b")])
    with pytest.raises(UserError, match=r"labels.csv and metadata.csv both list pictures; keep one"):
        list_folder(tmp_path)


def test_rows_without_a_label_are_counted(tmp_path):
    flat(tmp_path)
    write(tmp_path / "labels.csv", [("file", "label"), ("0", "a"), ("1", "b"), ("2", ""), ("", "")])
    assert list_folder(tmp_path).left_out.found["pictures without a label in labels.csv"] == {
        "images/2.jpg": 1
    }
