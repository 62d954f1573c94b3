"""`datasets`: the data sets, their files, and how to get them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from sla_bench.cli.options import NO_DATA, Data
from sla_bench.errors import UserError
from sla_bench.words import confirm, print_lines

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
datasets_app = App(name="datasets", help="List, describe, prepare, verify and clear data sets.")


@datasets_app.default
def list_datasets(*, data: Annotated[Data, Parameter(name="*")] = NO_DATA) -> int:
    """List the data sets, the state of their files, and how to get missing files."""
    from sla_bench.data.overview import overview

    Console(soft_wrap=True, highlight=False).print(overview(data.data_root))
    return 0


@datasets_app.command
def info(
    name: str,
    *,
    data: Annotated[Data, Parameter(name="*")] = NO_DATA,
    sheet: Path | None = None,
) -> int:
    """Describe a data set: content, files on disk, and how to get them.

    Parameters
    ----------
    name: str
        Data set.
    sheet: Path
        Write a contact sheet of the training images to this PNG file; - is the standard output.
    """
    from sla_bench.data.overview import describe, sheet_of
    from sla_bench.records.files import check_output, words_beside, write_output

    if sheet is None:
        print_lines(describe(name, data.data_root).splitlines())
        return 0
    words, form = words_beside(sheet), _picture_format(sheet)
    check_output(sheet, "--sheet")
    print_lines(describe(name, data.data_root).splitlines(), words)
    picture = sheet_of(name, data.data_root)
    write_output(sheet, lambda file: picture.save(file, form))
    print(sheet, file=words)
    return 0


def _picture_format(path: Path) -> str:
    """Pillow's name of the format that the ending of a file asks for; PNG for pipes and devices."""
    from sla_bench.records.files import is_plain_file

    form = _FORMATS.get(path.suffix.lower()) if is_plain_file(path) else "PNG"
    if form is None:
        raise UserError(f"cannot write a picture as {path.name!r}: give it a name that ends in .png")
    return form


@datasets_app.command
def prepare(
    name: str,
    *,
    data: Annotated[Data, Parameter(name="*")] = NO_DATA,
    source: Path | None = None,
    workers: int | None = None,
    skip_bad: bool = False,
) -> int:
    """Render, convert or download the images that runs need, once; a stopped preparation resumes.

    Parameters
    ----------
    name: str
        Data set.
    source: Path
        Folder of its files, if not below the data root.
    workers: int
        Threads that decode images; default: one per core.
    skip_bad: bool
        Leave out images that can't be decoded, and name them, here and in the records of runs. Without this
        option the first such image stops the preparation.
    """
    from sla_bench.data.named import dataset_named
    from sla_bench.data.overview import understood
    from sla_bench.data.preparation import Preparation

    dataset = dataset_named(name)
    print_lines(understood(dataset.pinned(), data.data_root))
    for path in dataset.prepare(data.data_root, source, Preparation(workers, skip_bad)):
        print(path)
    for part, images in dataset.left_out(data.data_root).items():
        left_out = f"{part}: {len(images):,} images that can't be decoded are left out: {', '.join(images)}"
        print_lines([left_out])
    print_lines(dataset.remarks(data.data_root))
    return 0


@datasets_app.command
def verify(name: str, *, data: Annotated[Data, Parameter(name="*")] = NO_DATA) -> int:
    """Compare the files on disk with their checksums and descriptions.

    Parameters
    ----------
    name: str
        Data set.
    """
    from sla_bench.data.overview import verify as verify_files

    print_lines(verify_files(name, data.data_root))
    return 0


@datasets_app.command
def clear(
    name: str | None = None,
    *,
    data: Annotated[Data, Parameter(name="*")] = NO_DATA,
    yes: bool = False,
) -> int:
    """Show prepared and rendered images below the data root, with sizes, and delete them if you agree.

    Original files are never touched; deleted images are prepared again when a run needs them.

    Parameters
    ----------
    name: str
        Only this data set; default: all.
    yes: bool
        Don't ask. Without this option and without a terminal, the command only shows.
    """
    from sla_bench.data.clearing import clear as delete
    from sla_bench.data.clearing import prepared_below

    found = prepared_below(data.data_root, name)
    if not found:
        print(f"nothing{f' of {name}' if name else ''} is prepared below {data.data_root / 'prepared'}")
        return 0
    sizes = {one: one.num_bytes for one in found}
    total = sum(sizes.values())
    of = {one: f", of {one.source}" if one.source else "" for one in found}
    print_lines(f"{_megabytes(sizes[one])}  {one.folder}{of[one]}" for one in found)
    if not yes and not sys.stdin.isatty():
        print(f"{_megabytes(total)}  in all; --yes deletes them")
        return 0
    confirm(f"{len(found)} folders with {_megabytes(total).strip()} would be deleted", "Delete them?", yes)
    freed, stayed = 0, 0
    for one, why in delete(found):
        left = one.num_bytes
        freed += sizes[one] - left
        if why:
            stayed += 1
            print_lines([f"{one.folder} stays: {why}"], sys.stderr)
    print(f"freed {_megabytes(freed).strip()}")
    return 2 if stayed else 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:10,.1f} MB"
