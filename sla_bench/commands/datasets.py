"""`datasets`: what there is, what is on disk, how to get the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from sla_bench.commands.options import NO_DATA, Data
from sla_bench.commands.printing import print_lines

datasets_app = App(name="datasets", help="What data sets there are, what is on disk, how to get the rest.")


@datasets_app.default
def list_datasets(*, data: Annotated[Data, Parameter(name="*")] = NO_DATA) -> int:
    """List the data sets and whether their files are there."""
    from sla_bench.datasets.overview import overview

    Console(soft_wrap=True, highlight=False).print(overview(data.data_root))
    return 0


@datasets_app.command
def info(
    name: str,
    *,
    data: Annotated[Data, Parameter(name="*")] = NO_DATA,
    sheet: Path | None = None,
) -> int:
    """Say what a data set is, what is on disk, and how to get it.

    Parameters
    ----------
    name: str
        Data set.
    sheet: Path
        Write a contact sheet of the training images to this PNG file.
    """
    from sla_bench.datasets.overview import describe, write_sheet

    print_lines(describe(name, data.data_root).splitlines())
    if sheet is not None:
        write_sheet(name, data.data_root, sheet)
        print(sheet)
    return 0


@datasets_app.command
def prepare(
    name: str,
    *,
    data: Annotated[Data, Parameter(name="*")] = NO_DATA,
    source: Path | None = None,
    workers: int | None = None,
    skip_bad: bool = False,
) -> int:
    """Render, convert or download once what runs need; where it was stopped, it goes on.

    Parameters
    ----------
    name: str
        Data set.
    source: Path
        Where its files lie, if not below the data root.
    workers: int
        Processes that decode images; default: one per core.
    skip_bad: bool
        Leave out images that can't be decoded, and name them, here and in the records of runs. Without it
        the first one stops the preparation.
    """
    from sla_bench.datasets.encoded_images import available_cores
    from sla_bench.datasets.named import dataset_named
    from sla_bench.datasets.overview import understood
    from sla_bench.datasets.preparation import Preparation

    dataset = dataset_named(name)
    print_lines(understood(dataset.pinned(), data.data_root))
    how = Preparation(available_cores() if workers is None else workers, skip_bad)
    for path in dataset.prepare(data.data_root, source, how):
        print(path)
    for part, images in dataset.left_out(data.data_root).items():
        left_out = f"{part}: {len(images):,} images that can't be decoded are left out: {', '.join(images)}"
        print_lines([left_out])
    return 0


@datasets_app.command
def verify(name: str, *, data: Annotated[Data, Parameter(name="*")] = NO_DATA) -> int:
    """Compare the files on disk with what they should be.

    Parameters
    ----------
    name: str
        Data set.
    """
    from sla_bench.datasets.overview import verify as verify_files

    print_lines(verify_files(name, data.data_root))
    return 0
