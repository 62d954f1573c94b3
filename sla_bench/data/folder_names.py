"""The grammar of `folder:PATH[:SIZE][,option=value]...`, also of `hf:`; needs no numpy."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import takewhile
from typing import Any

from sla_bench.errors import UserError, nearest

DEFAULT_SIZE = 84
PREFIX, HUGGING_FACE = "folder:", "hf:"
_WITH_SIZE = re.compile(r"(.+):(\d+)", re.DOTALL)
_LAST_ITEM = re.compile(r"(.+),\s*([A-Za-z_-]+)\s*(?:=([^,=/\\]*))?", re.DOTALL)
_FITS = {"crop": "crop", "center": "crop", "centre": "crop", "pad": "pad", "stretch": "stretch"}
_FLAGS = dict.fromkeys(("yes", "true", "on", "1"), True) | dict.fromkeys(("no", "false", "off", "0"), False)


@dataclass(frozen=True)
class FolderName:
    """A folder of images and how they are prepared and augmented; `str` gives the one name of it.

    Options with their default, and those whose value is the default of the size, do not stand in the name.

    Args:
        path: of the folder, as it was written.
        size: height = width in pixels; None: 84, not said.
        fit: "crop": the central square; "pad": the whole picture with bars; "stretch": both sides scaled.
        flip: training mirrors left and right.
        jitter: strength of the colour jitter in training, 0 to 1.
        crop_padding: pixels of padding before the random crop of training; None: follows from the size.
        min_images: classes of fewer images are left out.
        image: column of the images in a table; None: found by its type.
        label: column of the labels in a table; None: found by its type.
        prefix: "folder:" or "hf:".

    Raises:
        UserError: a size that is not between 8 and 1024, a padding larger than the size, or a column of a
            folder.
    """

    path: str
    size: int | None = None
    fit: str = "crop"
    flip: bool = True
    jitter: float = 0.4
    crop_padding: int | None = None
    min_images: int = 1
    image: str | None = None
    label: str | None = None
    prefix: str = PREFIX

    def __post_init__(self) -> None:
        if not 8 <= self.pixels <= 1024:
            raise UserError(
                f"{self.prefix}{self.path}: images must be 8 to 1024 pixels wide, not {self.pixels}"
            )
        if self.padding > self.pixels:
            raise UserError(
                f"{self.prefix}{self.path}: crop_padding={self.padding} is more than the {self.pixels} "
                "pixels of an image"
            )
        if self.prefix == PREFIX and (column := self.image or self.label):
            raise UserError(f"{PREFIX}{self.path}: {column!r} names a column, and a folder has none")
        if self.crop_padding == _usual_padding(self.pixels):
            object.__setattr__(self, "crop_padding", None)

    @property
    def pixels(self) -> int:
        """Height = width of the images."""
        return DEFAULT_SIZE if self.size is None else self.size

    @property
    def padding(self) -> int:
        """Pixels of padding before the random crop."""
        return _usual_padding(self.pixels) if self.crop_padding is None else self.crop_padding

    def changed(self, options: Mapping[str, Any]) -> FolderName:
        """The same folder with other options.

        Args:
            options: name -> text or value.

        Raises:
            UserError: an option that does not exist, or a value that it can't have.
        """
        read = {}
        for name, value in options.items():
            if name not in OPTIONS:
                raise UserError(f"unknown option {name!r} of {self.prefix}PATH; {nearest(name, OPTIONS)}")
            read[name] = OPTIONS[name](name, value)
        return replace(self, **read)

    def __str__(self) -> str:
        size = "" if self.size is None else f":{self.size}"
        usual = FolderName(self.path, self.size, prefix=self.prefix)
        said = [
            f",{n}={_written(getattr(self, n))}" for n in OPTIONS if getattr(self, n) != getattr(usual, n)
        ]
        return f"{self.path}{size}{''.join(said)}"


def parse(text: str, prefix: str = PREFIX) -> FolderName:
    """Read what stands behind a prefix, by default `folder:`.

    A path that exists as it was written is the path, whatever it ends with; else the longest that exists once
    options and size are taken away; else all known options are taken away.

    Raises:
        UserError: an unknown option, one that is given twice, or a value that it can't have.
    """
    cuts = list(_cuts(text))
    for rest, items in cuts:
        for path, size in _sizes(rest):
            if _exists(path):
                return _named(path, size, items, text, prefix)
    # Nothing exists: commas and equals signs may belong to the path.
    known = [cuts[0], *takewhile(lambda cut: _is_option(*cut[1][0]), cuts[1:])]
    rest, items = known[-1]
    return _named(*_sizes(rest)[-1], items, text, prefix)


def canonical_dataset(name: str, options: Mapping[str, Any] | None = None) -> str:
    """The one name of a data set, with some options changed.

    Args:
        name: of any data set.
        options: of a folder, such as {"flip": False}.

    Raises:
        UserError: wrong options, or a data set that takes none.
    """
    prefix = f"{name.partition(':')[0]}:"
    if prefix in (PREFIX, HUGGING_FACE):
        return f"{prefix}{parse(name.removeprefix(prefix), prefix).changed(options or {})}"
    if options:
        option = f"data.{next(iter(options))}"
        raise UserError(
            f"{option}: only folder:PATH takes such options, images of {name!r} are prepared as published"
        )
    return name


Items = list[tuple[str, str | None]]


def _cuts(text: str) -> Iterator[tuple[str, Items]]:
    """The text, with none, one, two, ... options taken away from its end."""
    rest, items = text, Items()
    yield rest, items
    while match := _LAST_ITEM.fullmatch(rest):
        rest, items = match[1], [(match[2].lower().replace("-", "_"), match[3]), *items]
        yield rest, items


def _sizes(rest: str) -> list[tuple[str, int | None]]:
    """A path as it is and, where it ends like one with a size, without."""
    match = _WITH_SIZE.fullmatch(rest)
    return [(rest, None), *([(match[1], int(match[2]))] if match else [])]


def _is_option(key: str, value: str | None) -> bool:
    return key in OPTIONS or (value is not None and bool(get_close_matches(key, OPTIONS, 1, 0.5)))


def _named(path: str, size: int | None, items: Items, text: str, prefix: str) -> FolderName:
    options: dict[str, str] = {}
    try:
        for key, value in items:
            if value is None:
                raise UserError(f"{key!r} needs a value, such as fit=pad or flip=no")
            if late := _WITH_SIZE.fullmatch(value):
                raise UserError(
                    f"the size stands before the options: {prefix}{path}:{late[2]},{key}={late[1]}"
                )
            if key in options:
                raise UserError(f"{key} is given twice")
            options[key] = value
        return FolderName(path, size, prefix=prefix).changed(options)
    except UserError as error:
        raise UserError(f"{prefix}{text}: {str(error).removeprefix(f'{prefix}{path}: ')}") from None


def _exists(path: str) -> bool:
    # Unlike pathlib it takes names of any length and homes that nobody has.
    return os.path.exists(os.path.expanduser(path))  # noqa: PTH110, PTH111


def _usual_padding(size: int) -> int:
    return max(4, round(size * 8 / 84))


def _fit(name: str, value: Any) -> str:
    word = str(value).strip().lower()
    if word not in _FITS:
        raise UserError(f"{name}={value}: unknown value; {nearest(word, ('crop', 'pad', 'stretch'))}")
    return _FITS[word]


def _flag(name: str, value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in _FLAGS:
        raise UserError(f"{name}={value}: write {name}=yes or {name}=no")
    return _FLAGS[word]


def _text(name: str, value: Any) -> str:
    del name
    return str(value).strip()


def _share(name: str, value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise UserError(f"{name}={value}: a number from 0 to 1 is wanted, 0 for none")
    return number


def _count(lowest: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        number = _number(value)
        if not lowest <= number < math.inf or number != int(number):
            raise UserError(f"{name}={value}: a whole number from {lowest} is wanted")
        return int(number)

    return read


def _number(value: Any) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "fit": _fit,
    "flip": _flag,
    "jitter": _share,
    "crop_padding": _count(0),
    "min_images": _count(1),
    "image": _text,
    "label": _text,
}
"""Options in the order of the name, each with what reads its value."""
