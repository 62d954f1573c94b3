"""Folders of pictures in any layout: empty files or drawings."""

from pathlib import Path

from real_formats import png, random_images


def put(folder: Path, count: int = 3, suffix: str = ".png", drawn: bool = False, first: int = 0) -> None:
    """`count` pictures directly in a folder, `0.png` and so on; empty files unless `drawn`."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(folder.name))) + first
    images = random_images(count, 16, seed) if drawn else [None] * count
    for number, image in enumerate(images, start=first):
        (folder / f"{number}{suffix}").write_bytes(b"" if image is None else png(image))


def put_parts(base: Path, parts: dict[str, str], count: int = 3, drawn: bool = False) -> None:
    """`base/PART/CLASS/` with `count` pictures in each; a class is a letter."""
    for part, classes in parts.items():
        for name in classes:
            put(base / part / name, count, drawn=drawn)
