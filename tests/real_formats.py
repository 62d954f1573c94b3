"""Small files in the formats of the real data sets."""

# Needs numpy, scipy and Pillow only. Each function writes random pixels below `root`, in the layout of the
# makers' archive, and returns the expected reading: `{split: (images uint8 (N, H, W, 3), class name of each
# image)}` in the order of the files. Every class is there, with fewer images than in the published files.

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

Splits = dict[str, tuple[np.ndarray, list[str]]]
SPLITS = ("train", "val", "test")
SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
FINE = sorted(name for names in SUPERCLASSES.values() for name in names.split())
COARSE_OF = {name: i for i, names in enumerate(SUPERCLASSES.values()) for name in names.split()}
FC100_HELD_OUT = {
    "val": "large_carnivores large_omnivores_and_herbivores non-insect_invertebrates small_mammals",
    "test": "aquatic_mammals insects medium_mammals people",
}
_LISTS = Path(__file__).parents[1] / "sla_bench" / "data" / "class_lists"
MINI_IMAGENET = {split: json.loads((_LISTS / "mini_imagenet.json").read_text())[split] for split in SPLITS}
CIFAR_FS = {
    split: [
        FINE[label] for label in json.loads((_LISTS / "cifar100.json").read_text())["cifar_fs_labels"][split]
    ]
    for split in SPLITS
}


def fc100_names(split: str) -> list[str]:
    held_out = {
        part: [n for superclass in names.split() for n in SUPERCLASSES[superclass].split()]
        for part, names in FC100_HELD_OUT.items()
    }
    if split != "train":
        return sorted(held_out[split])
    return [name for name in FINE if name not in held_out["val"] + held_out["test"]]


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes texts and bytes as Python 2 wrote its `str`."""

    dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        raw = value.encode("ascii") if isinstance(value, str) else value
        if len(raw) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = save_string
    dispatch[bytes] = save_string


def python2_pickle(value: Any) -> bytes:
    """Protocol 2 as by Python 2 with an old numpy: byte strings, and modules by their old names."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, 2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def random_images(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def write_cifar100(root: Path, train_per_class: int = 5, test_per_class: int = 1) -> Splits:
    """`cifar-100-python/{train,test,meta}`: Python 2 pickles, images as rows of 3,072 bytes, shuffled."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    written: Splits = {}
    for part, labels, images, rows in _cifar_parts(100, train_per_class, test_per_class):
        content = {
            "filenames": [f"{FINE[label]}_s_{i:06d}.png" for i, label in enumerate(labels)],
            "batch_label": f"{part}ing batch 1 of 1",
            "fine_labels": labels.tolist(),
            "coarse_labels": [COARSE_OF[FINE[label]] for label in labels],
            "data": rows,
        }
        (folder / part).write_bytes(python2_pickle(content))
        written[part] = (images, [FINE[label] for label in labels])
    names = {"fine_label_names": FINE, "coarse_label_names": list(SUPERCLASSES)}
    (folder / "meta").write_bytes(python2_pickle(names))
    return written


def write_cifar100_binary(root: Path, train_per_class: int = 5, test_per_class: int = 1) -> Splits:
    """`cifar-100-binary/{train,test}.bin` and names, with the images of `write_cifar100`."""
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    written: Splits = {}
    for part, labels, images, rows in _cifar_parts(100, train_per_class, test_per_class):
        coarse = np.array([COARSE_OF[FINE[label]] for label in labels])
        _write_records(folder / f"{part}.bin", [coarse, labels], rows)
        written[part] = (images, [FINE[label] for label in labels])
    (folder / "fine_label_names.txt").write_text("".join(f"{name}\n" for name in FINE))
    (folder / "coarse_label_names.txt").write_text("".join(f"{name}\n" for name in SUPERCLASSES))
    return written


CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_cifar10(root: Path, train_per_class: int = 10, test_per_class: int = 2) -> Splits:
    """`cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}`; classes are not equal in a batch."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    written: Splits = {}
    for part, labels, images, rows in _cifar_parts(10, train_per_class, test_per_class):
        for name, index in _cifar10_batches(part, len(labels)):
            content = {
                "batch_label": name,
                "labels": labels[index].tolist(),
                "data": rows[index],
                "filenames": [f"{CIFAR10_NAMES[labels[i]]}_s_{i:06d}.png" for i in index],
            }
            (folder / name).write_bytes(python2_pickle(content))
        written[part] = (images, [CIFAR10_NAMES[label] for label in labels])
    meta = {"num_cases_per_batch": 10000, "label_names": CIFAR10_NAMES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(python2_pickle(meta))
    return written


def write_cifar10_binary(root: Path, train_per_class: int = 10, test_per_class: int = 2) -> Splits:
    """`cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin`, names; the images of `write_cifar10`."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    written: Splits = {}
    for part, labels, images, rows in _cifar_parts(10, train_per_class, test_per_class):
        for name, index in _cifar10_batches(part, len(labels)):
            _write_records(folder / f"{name}.bin", [labels[index]], rows[index])
        written[part] = (images, [CIFAR10_NAMES[label] for label in labels])
    # The makers' file ends in an empty line.
    (folder / "batches.meta.txt").write_text("".join(f"{name}\n" for name in [*CIFAR10_NAMES, ""]))
    return written


def _cifar_parts(
    classes: int, train_per_class: int, test_per_class: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Part, mixed labels (N,), images (N, 32, 32, 3), and the images as rows (N, 3072)."""
    for seed, (part, per_class) in enumerate((("train", train_per_class), ("test", test_per_class))):
        labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), per_class))
        images = random_images(len(labels), 32, seed)
        rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(labels), 3072)
        yield part, labels, images, rows


def _cifar10_batches(part: str, count: int) -> Iterator[tuple[str, np.ndarray]]:
    files = [f"data_batch_{i}" for i in range(1, 6)] if part == "train" else ["test_batch"]
    yield from zip(files, np.array_split(np.arange(count), len(files)), strict=True)


def _write_records(path: Path, labels: list[np.ndarray], rows: np.ndarray) -> None:
    columns = [column.astype(np.uint8)[:, None] for column in labels]
    path.write_bytes(np.concatenate([*columns, rows], axis=1).tobytes())


def write_photograph_lists(
    root: Path, dataset: str = "imagenet_lt", counts: tuple[int, ...] = (6, 3, 1), size: int = 64
) -> Splits:
    """Lists of `imagenet_lt` or `inaturalist2018` with JPEGs of one colour each; the training list is mixed.

    The images that are returned are single pixels, uint8 (N, 1, 1, 3): the colours.
    """
    folder, stem, parts = {
        "imagenet_lt": ("ImageNet_LT", "ImageNet_LT", ("train", "val", "test")),
        "inaturalist2018": ("iNaturalist18", "iNaturalist18", ("train", "val")),
    }[dataset]
    base = root / folder
    written: Splits = {}
    for seed, part in enumerate(parts):
        per_class = counts if part == "train" else (2,) * len(counts)
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.repeat(np.arange(len(counts)), per_class))
        colours = rng.integers(0, 256, (len(labels), 1, 1, 3), dtype=np.uint8)
        lines = []
        for i, (label, colour) in enumerate(zip(labels, colours, strict=True)):
            class_folder = "val" if (dataset, part) == ("imagenet_lt", "test") else "train"
            path = f"{class_folder}/n{label:08d}/{part}_{i}.JPEG"
            _photograph(base / path, colour, size)
            lines.append(f"{path} {label}\n")
        (base / f"{stem}_{part}.txt").write_text("".join(lines))
        split = "test" if (dataset, part) == ("inaturalist2018", "val") else part
        written[split] = (colours, [f"n{label:08d}" for label in labels])
    return written


def write_inaturalist_json(root: Path, counts: tuple[int, ...] = (6, 3, 1)) -> Splits:
    """`iNaturalist18/{train,val}2018.json` with `train_val2018/SUPERCATEGORY/NUMBER/*.jpg`; ids are mixed."""
    base = root / "iNaturalist18"
    written: Splits = {}
    for seed, (part, split) in enumerate((("train", "train"), ("val", "test"))):
        labels, colours = _photographs(counts if part == "train" else (2,) * len(counts), seed)
        ids = np.random.default_rng(seed).permutation(len(labels)).tolist()
        images, annotations = [], []
        for i, (key, label, colour) in enumerate(zip(ids, labels, colours, strict=True)):
            path = f"train_val2018/Aves/{3000 + label}/{part}{i}.jpg"
            _photograph(base / path, colour)
            images.append({"id": key, "file_name": path, "width": 32, "height": 16, "license": 3})
            annotations.append({"id": key, "image_id": key, "category_id": label})
        content = {
            "info": {"year": 2018},
            "images": images,
            "licenses": [{"id": 3, "name": "some licence"}],
            "annotations": annotations[::-1],
            "categories": [{"id": k, "name": str(k), "supercategory": "Aves"} for k in range(len(counts))],
        }
        (base / f"{part}2018.json").write_text(json.dumps(content))
        written[split] = (colours, [str(3000 + label) for label in labels])
    return written


def write_tiny_imagenet(root: Path, counts: tuple[int, ...] = (3, 2, 2)) -> Splits:
    """`tiny-imagenet-200/` with `wnids.txt` (not in order), boxes, annotations and images without labels."""
    base = root / "tiny-imagenet-200"
    wnids = [f"n{k:08d}" for k in range(len(counts))]
    labels, colours = _photographs(counts, 0)
    order = np.argsort(labels, kind="stable")
    seen: dict[int, int] = {}
    for label, colour in zip(np.array(labels)[order].tolist(), colours[order], strict=True):
        number = seen.setdefault(label, 0)
        seen[label] += 1
        _photograph(
            base / "train" / wnids[label] / "images" / f"{wnids[label]}_{number}.JPEG", colour, 64, 64
        )
    for wnid in wnids:
        (base / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    written = {"train": (colours[order], [wnids[label] for label in sorted(labels)])}
    labels, colours = _photographs((2,) * len(counts), 1)
    lines = []
    for i, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        _photograph(base / "val" / "images" / f"val_{i}.JPEG", colour, 64, 64)
        lines.append(f"val_{i}.JPEG\t{wnids[label]}\t0\t32\t44\t62\n")
    (base / "val" / "val_annotations.txt").write_text("".join(lines))
    _photograph(base / "test" / "images" / "test_0.JPEG", colours[0], 64, 64)
    (base / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in wnids[::-1]))
    (base / "words.txt").write_text("".join(f"{wnid}\tsome thing, another name\n" for wnid in wnids))
    return {**written, "test": (colours, [wnids[label] for label in labels])}


def write_imagenet(root: Path, validation: str = "sorted", counts: tuple[int, ...] = (3, 2, 2)) -> Splits:
    """`train/WNID/*.JPEG`, and `val/` sorted by class, or loose with Kaggle's table."""
    base = root / "imagenet"
    pictures = base / "ILSVRC/Data/CLS-LOC" if validation == "kaggle" else base
    wnids = [f"n{k:08d}" for k in range(len(counts))]
    labels, colours = _photographs(counts, 0)
    order = np.argsort(labels, kind="stable")
    labels, colours = sorted(labels), colours[order]
    for i, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        _photograph(pictures / "train" / wnids[label] / f"{wnids[label]}_{i}.JPEG", colour)
    written = {"train": (colours, [wnids[label] for label in labels])}
    labels, colours = _photographs((2,) * len(counts), 1)
    names = [f"ILSVRC2012_val_{i + 1:08d}" for i in range(len(labels))]
    for name, label, colour in zip(names, labels, colours, strict=True):
        _photograph(
            pictures / "val" / (wnids[label] if validation == "sorted" else "") / f"{name}.JPEG", colour
        )
    found = [wnids[label] for label in labels]
    if validation == "sorted":
        order = np.argsort(labels, kind="stable")
        return {**written, "test": (colours[order], sorted(found))}
    rows = [f"{name},{wnid} 85 1 499 272 {wnid} 1 1 9 9 \n" for name, wnid in zip(names, found, strict=True)]
    (base / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows[::-1]))
    return {**written, "test": (colours, found)}


def write_cub200(root: Path, counts: tuple[int, ...] = (3, 2, 2)) -> Splits:
    """`CUB_200_2011/` with its four lists; training and test images are mixed in them."""
    base = root / "CUB_200_2011"
    labels, colours = _photographs(tuple(count + 2 for count in counts), 0)
    names = [f"{label + 1:03d}.Some_Bird" for label in range(len(counts))]
    place = np.zeros(len(labels), int)
    for label in range(len(counts)):
        place[np.flatnonzero(np.array(labels) == label)[:2]] = 1
    paths = [f"{names[label]}/Some_Bird_{i:04d}_18.jpg" for i, label in enumerate(labels)]
    for path, colour in zip(paths, colours, strict=True):
        _photograph(base / "images" / path, colour)
    columns = {
        "images": paths,
        "image_class_labels": [label + 1 for label in labels],
        "train_test_split": [1 - int(held_out) for held_out in place],
    }
    for stem, values in columns.items():
        text = "".join(f"{i + 1} {value}\n" for i, value in enumerate(values))
        (base / f"{stem}.txt").write_text(text)
    (base / "classes.txt").write_text("".join(f"{i + 1} {name}\n" for i, name in enumerate(names)))
    found = np.array([names[label] for label in labels])
    return {
        split: (colours[place == held_out], found[place == held_out].tolist())
        for split, held_out in (("train", 0), ("test", 1))
    }


def write_mit67(root: Path, counts: tuple[int, ...] = (3, 2, 2)) -> Splits:
    """`MIT67/{TrainImages,TestImages}.txt` over `Images/ROOM/*.jpg`; the last line has no end."""
    base = root / "MIT67"
    rooms = ["airport_inside", "bar", "children_room"]
    written: Splits = {}
    for seed, (part, split) in enumerate((("Train", "train"), ("Test", "test"))):
        labels, colours = _photographs(counts if split == "train" else (2,) * len(counts), seed)
        paths = [f"{rooms[label]}/{split}_{i}_room.jpg" for i, label in enumerate(labels)]
        for path, colour in zip(paths, colours, strict=True):
            _photograph(base / "Images" / path, colour)
        (base / f"{part}Images.txt").write_text("\n".join(paths))
        written[split] = (colours, [rooms[label] for label in labels])
    return written


def write_stanford_dogs(root: Path, lists: str = "lists", counts: tuple[int, ...] = (3, 2, 2)) -> Splits:
    """`StanfordDogs/Images/` and MATLAB lists: cells with paths, labels as doubles from 1."""
    base = root / "StanfordDogs"
    (base / lists).mkdir(parents=True, exist_ok=True)
    names = [f"n{k:08d}-some_dog" for k in range(len(counts))]
    written: Splits = {}
    for seed, split in enumerate(("train", "test")):
        labels, colours = _photographs(counts if split == "train" else (2,) * len(counts), seed)
        paths = [f"{names[label]}/{split}_{i}.jpg" for i, label in enumerate(labels)]
        for path, colour in zip(paths, colours, strict=True):
            _photograph(base / "Images" / path, colour)
        write_dog_list(base / lists / f"{split}_list.mat", paths, labels)
        written[split] = (colours, [names[label] for label in labels])
    return written


def write_dog_list(file: Path, paths: list[str], labels: list[int]) -> None:
    cells = np.empty((len(paths), 1), object)
    cells[:, 0] = paths
    numbers = np.array([[label + 1.0] for label in labels])
    savemat(file, {"file_list": cells, "annotation_list": cells, "labels": numbers})


def _photographs(counts: tuple[int, ...], seed: int) -> tuple[list[int], np.ndarray]:
    """Labels in mixed order, and a colour for each image, uint8 (N, 1, 1, 3)."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts)).tolist()
    return labels, rng.integers(0, 256, (len(labels), 1, 1, 3), dtype=np.uint8)


def _photograph(path: Path, colour: np.ndarray, height: int = 16, width: int | None = None) -> None:
    """A JPEG file of one colour, by default twice as wide as high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.ascontiguousarray(np.broadcast_to(colour, (height, width or 2 * height, 3)))
    Image.fromarray(pixels).save(path, quality=100, subsampling=0)


def write_category_pickles(root: Path, dataset: str, per_class: int = 6) -> Splits:
    """MetaOptNet's `{data, labels}` of `fc100`, `cifar_fs` or `mini_imagenet`; labels don't restart."""
    folder, pattern, sizes, side = {
        "fc100": ("FC100", "FC100_{}.pickle", (60, 20, 20), 32),
        "cifar_fs": ("CIFAR-FS", "CIFAR_FS_{}.pickle", (64, 16, 20), 32),
        "mini_imagenet": ("miniImageNet", "miniImageNet_category_split_{}.pickle", (64, 16, 20), 84),
    }[dataset]
    (root / folder).mkdir(parents=True)
    written: Splits = {}
    first = 0
    for seed, (split, size) in enumerate(zip(SPLITS, sizes, strict=True)):
        labels = np.repeat(np.arange(first, first + size), per_class).tolist()
        images = random_images(len(labels), side, seed)
        phase = "train_phase_train" if dataset == "mini_imagenet" and split == "train" else split
        content = {"data": images, "labels": labels}
        (root / folder / pattern.format(phase)).write_bytes(python2_pickle(content))
        written[split] = (images, [f"class {label}" for label in labels])
        first += size
    return written


def write_r2d2(root: Path, per_class: int = 1) -> Splits:
    """`cifar100/data/CLASS/*.png` and `cifar100/splits/bertinetto/{split}.txt`."""
    base = root / "cifar100"
    (base / "splits" / "bertinetto").mkdir(parents=True)
    written = _write_class_folders(dict.fromkeys(SPLITS, base / "data"), CIFAR_FS, per_class, 32)
    for split in SPLITS:
        text = "".join(f"{name}\n" for name in reversed(CIFAR_FS[split]))
        (base / "splits" / "bertinetto" / f"{split}.txt").write_text(text)
    return written


def write_processed_cifar_fs(root: Path, per_class: int = 1) -> Splits:
    """learn2learn's `cifarfs/processed/{split}/CLASS/*.png`."""
    folders = {split: root / "cifarfs" / "processed" / split for split in SPLITS}
    return _write_class_folders(folders, CIFAR_FS, per_class, 32)


def write_mini_cache(
    root: Path, per_class: int = 2, val: str = "validation", dump: Callable[[Any], bytes] = python2_pickle
) -> Splits:
    """`mini-imagenet-cache-{split}.pkl` with `image_data` and `class_dict`; classes are not in order."""
    root.mkdir(parents=True, exist_ok=True)
    written: Splits = {}
    for seed, split in enumerate(SPLITS):
        wnids = MINI_IMAGENET[split][::-1]
        images = random_images(len(wnids) * per_class, 84, seed)
        members = {w: list(range(i * per_class, (i + 1) * per_class)) for i, w in enumerate(wnids)}
        name = val if split == "val" else split
        content = {"image_data": images, "class_dict": members}
        (root / f"mini-imagenet-cache-{name}.pkl").write_bytes(dump(content))
        written[split] = (images, np.repeat(wnids, per_class).tolist())
    return written


def write_mini_csv(root: Path, style: str = "ravi", per_class: int = 1, suffix: str = "png") -> Splits:
    """Ravi and Larochelle's lists with `images/` ("ravi"), or easy-few-shot-learning's ("easyfsl")."""
    base = root / "miniImageNet"
    (base / "images").mkdir(parents=True) if style == "ravi" else base.mkdir(parents=True)
    written: Splits = {}
    for seed, split in enumerate(SPLITS):
        names = np.repeat(MINI_IMAGENET[split], per_class).tolist()
        images = random_images(len(names), 84, seed)
        rows = []
        for i, (name, image) in enumerate(zip(names, images, strict=True)):
            if style == "ravi":
                rows.append((f"{name}{i:08d}.{suffix}", name))
                path = base / "images" / rows[-1][0]
            else:
                rows.append((name, f"{name}_{i}.{suffix}"))
                path = base / name / rows[-1][1]
                path.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(path)
        with (base / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("filename", "label") if style == "ravi" else ("class_name", "image_name"))
            writer.writerows(rows)
        written[split] = (images, names)
    return written


OMNIGLOT = {
    "images_background": {
        "Alphabet_of_the_Magi": 20, "Anglo-Saxon_Futhorc": 29, "Arcadian": 26, "Armenian": 41,
        "Asomtavruli_(Georgian)": 40, "Balinese": 24, "Bengali": 46,
        "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14, "Braille": 26, "Burmese_(Myanmar)": 34,
        "Cyrillic": 33, "Early_Aramaic": 22, "Futurama": 26, "Grantha": 43, "Greek": 24, "Gujarati": 48,
        "Hebrew": 22, "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16, "Japanese_(hiragana)": 52,
        "Japanese_(katakana)": 47, "Korean": 40, "Latin": 26, "Malay_(Jawi_-_Arabic)": 40,
        "Mkhedruli_(Georgian)": 41, "N_Ko": 33, "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14, "Sanskrit":
        42, "Syriac_(Estrangelo)": 23, "Tagalog": 17, "Tifinagh": 55,
    },
    "images_evaluation": {
        "Angelic": 20, "Atemayar_Qelisayer": 26, "Atlantean": 26, "Aurek-Besh": 26, "Avesta": 26, "Ge_ez":
        26, "Glagolitic": 45, "Gurmukhi": 45, "Kannada": 41, "Keble": 26, "Malayalam": 47, "Manipuri": 40,
        "Mongolian": 30, "Old_Church_Slavonic_(Cyrillic)": 45, "Oriya": 46, "Sylheti": 28,
        "Syriac_(Serto)": 23, "Tengwar": 25, "Tibetan": 42, "ULOG": 26,
    },
}  # fmt: skip
"""Characters of each alphabet (Lake et al. 2015)."""


def write_omniglot(root: Path, drawings: int = 1, size: int = 28, characters: int = 99) -> Splits:
    """`omniglot-py/images_{background,evaluation}/ALPHABET/characterNN/NNNN_DD.png`: 1 bit, black on white.

    At most so many `characters` of an alphabet. The images that are returned are bright on black.
    """
    written: Splits = {}
    number = 0
    for folder, alphabets in OMNIGLOT.items():
        for position, (alphabet, count) in enumerate(sorted(alphabets.items())):
            split = "test" if folder == "images_evaluation" else "val" if position >= 25 else "train"
            images, names = written.setdefault(split, ([], []))  # type: ignore[arg-type]
            for character in range(1, min(count, characters) + 1):
                number += 1
                path = root / "omniglot-py" / folder / alphabet / f"character{character:02d}"
                path.mkdir(parents=True)
                for drawing in range(1, drawings + 1):
                    ink = np.random.default_rng((number, drawing)).random((size, size)) < 0.1
                    Image.fromarray(~ink).save(path / f"{number:04d}_{drawing:02d}.png")
                    images.append(ink)  # type: ignore[attr-defined]
                    names.append(f"{alphabet}/{path.name}")
    return {split: (_grey(np.stack(images)), names) for split, (images, names) in written.items()}


def _grey(ink: np.ndarray) -> np.ndarray:
    """Images uint8 (N, H, W, 3), white where `ink`, bool (N, H, W), is."""
    return np.repeat(ink[..., None].astype(np.uint8) * 255, 3, axis=3)


def write_tiered_npz(root: Path, per_class: int = 1) -> Splits:
    """MetaOptNet's `tieredImageNet/{split}_images.npz`, blue first, and `{split}_labels.pkl`."""
    written: Splits = {}
    for split, images, labels, names in _tiered(root / "tieredImageNet", per_class):
        np.savez_compressed(
            root / "tieredImageNet" / f"{split}_images.npz", images=np.ascontiguousarray(images[..., ::-1])
        )
        content = python2_pickle({"labels": labels})
        (root / "tieredImageNet" / f"{split}_labels.pkl").write_bytes(content)
        written[split] = (images, [f"class {label}" for label in labels])
        del names
    return written


def write_tiered_png(root: Path, per_class: int = 1, dump: Callable[[Any], bytes] = python2_pickle) -> Splits:
    """Ren et al.'s `tiered-imagenet/{split}_images_png.pkl`: vectors of bytes; labels with their texts."""
    written: Splits = {}
    for split, images, labels, names in _tiered(root / "tiered-imagenet", per_class):
        encoded = [np.frombuffer(png(image), np.uint8)[:, None] for image in images]
        (root / "tiered-imagenet" / f"{split}_images_png.pkl").write_bytes(pickle.dumps(encoded, 2))
        content = {
            "label_specific": np.array(labels),
            "label_specific_str": names,
            "label_general": np.array(labels) // 20,
            "label_general_str": [f"category {i}" for i in range(max(labels) // 20 + 1)],
        }
        (root / "tiered-imagenet" / f"{split}_labels.pkl").write_bytes(dump(content))
        written[split] = (images, [names[label] for label in labels])
    return written


def write_for_learn2learn(root: Path, name: str) -> Splits:
    """The files of `learn2learn.vision.datasets.NAME`, where that class looks for them below `root`.

    Of these only FC100 reads pickles of Python 2.
    """
    if name == "CIFARFS":
        return write_r2d2(root / "cifarfs", per_class=3)
    if name == "MiniImagenet":
        return write_mini_cache(root, per_class=3, dump=pickle.dumps)
    if name == "TieredImagenet":
        return write_tiered_png(root, dump=pickle.dumps)
    written = write_category_pickles(root, "fc100", per_class=8)
    for path in (root / "FC100").iterdir():
        path.rename(root / path.name)
    (root / "FC100").rmdir()
    return written


def write_fashion_mnist(root: Path, train_per_class: int = 24, test_per_class: int = 4) -> Splits:
    """`FashionMNIST/raw/*-ubyte.gz`; images are returned with their grey repeated, names as digits."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    written: Splits = {}
    for stem, part, per_class in (("train", "train", train_per_class), ("t10k", "test", test_per_class)):
        labels = np.tile(np.arange(10, dtype=np.uint8), per_class)
        grey = random_images(len(labels), 28, per_class)[..., 0]
        write_idx(folder / f"{stem}-images-idx3-ubyte.gz", grey)
        write_idx(folder / f"{stem}-labels-idx1-ubyte.gz", labels)
        written[part] = (np.repeat(grey[..., None], 3, axis=3), [str(label) for label in labels])
    return written


def write_idx(path: Path, array: np.ndarray) -> None:
    """An idx file of unsigned bytes, gzipped."""
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


def write_folder(path: Path, classes: int = 15, per_class: int = 20, size: int = 84) -> Splits:
    """`PATH/CLASS/*.png`, already square; all images under the key "train", by class and name."""
    folders = {"train": path}
    names = {"train": [f"kind{i:02d}" for i in range(classes)]}
    return _write_class_folders(folders, names, per_class, size)


def png(image: np.ndarray) -> bytes:
    """The image as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _write_class_folders(
    folders: dict[str, Path], classes: dict[str, list[str]], per_class: int, size: int
) -> Splits:
    written: Splits = {}
    for seed, (split, folder) in enumerate(folders.items()):
        names = np.repeat(classes[split], per_class).tolist()
        images = random_images(len(names), size, seed)
        for i, (name, image) in enumerate(zip(names, images, strict=True)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{i:05d}.png").write_bytes(png(image))
        written[split] = (images, names)
    return written


def _tiered(folder: Path, per_class: int):  # type: ignore[no-untyped-def]
    folder.mkdir(parents=True)
    for seed, (split, size) in enumerate(zip(SPLITS, (351, 97, 160), strict=True)):
        labels = np.repeat(np.arange(size), per_class).tolist()
        flat = np.random.default_rng(seed).integers(0, 256, (len(labels), 1, 1, 3), dtype=np.uint8)
        images = np.ascontiguousarray(np.broadcast_to(flat, (len(labels), 84, 84, 3)))
        yield split, images, labels, [f"{split} thing {i}" for i in range(size)]
