"""`predict`: the classes of images by a recorded run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sla_bench.cli.stores import records_of
from sla_bench.errors import UserError
from sla_bench.paths import nearest_path
from sla_bench.registry import SCENARIOS

_MODES = ("si", "ag", "sd", "tta")
_MOST_SHOWN = 5
SOME_LEFT_OUT = 3
"""Exit code: the table is written without the unreadable images."""


def predict(
    *images: Path,
    run: str | None = None,
    out: Path = Path("predictions.csv"),
    mode: Annotated[list[str] | None, Parameter(consume_multiple=(1, 2**31))] = None,
    skip_bad: bool = False,
    results: Path = Path("results"),
    device: str = "auto",
) -> int:
    """Predict the classes of images with a trained classifier, and write them to a CSV file.

    The file has a row for each image and mode: path, mode, class, probability.

    Parameters
    ----------
    images: Path
        Image files, and folders, which are searched recursively.
    run: str
        Name of a folder in results/<scenario>/runs/ (its beginning is enough), or its path.
    out: Path
        The CSV file; - is the standard output.
    mode: list[str]
        si: single inference, ag: aggregated over the views, sd: the distilled head, tta: mean over the views;
        default: sd or ag where the run has it, else si. Repeatable.
    skip_bad: bool
        Leave out unreadable images, and name them; the exit code is then 3. Without this option the first
        unreadable image ends the command, and no table is written.
    results: Path
        Folder of the recorded runs.
    device: str
        auto, cpu, cuda or cuda:0.
    """
    from sla_bench.data.folder_tree import find_images, left_out_of
    from sla_bench.data.preparation import terminal_progress
    from sla_bench.records.files import check_output, words_beside, write_output
    from sla_bench.records.jobs import pick_device
    from sla_bench.records.saved_classifier import load_classifier
    from sla_bench.streams import print_lines

    folder = _folder_of(run, results)
    asked, further = _modes_and_images(mode or [])
    paths = [*images, *further]
    files = find_images(paths)
    for place in (path for path in paths if path.is_dir()):
        print_lines((f"{place}: {line}" for line in left_out_of(place).lines()), file=sys.stderr)
    classifier = load_classifier(folder, pick_device(device))
    modes = list(dict.fromkeys(asked or classifier.modes[:1]))
    check_output(out, "--out")
    with terminal_progress(f"predicting {len(files):,} images") as progress:
        rows, bad = _predicted(classifier, files, modes, skip_bad, progress)
    table = _csv(rows).encode()
    write_output(out, lambda file: file.write(table))
    words = words_beside(out)
    print(f"{out}: {len(files) - len(bad):,} images, {', '.join(modes)}", file=words)
    if not bad:
        return 0
    print(f"{len(bad):,} images can't be read and are left out:", file=sys.stderr)
    print_lines(bad, sys.stderr)
    return SOME_LEFT_OUT


def _predicted(
    classifier: Any, files: Sequence[Path], modes: Sequence[str], skip_bad: bool, progress: Any
) -> tuple[list[tuple[str, str, str, float]], list[str]]:
    """The rows of the table, and a sentence for each unreadable image.

    Raises:
        UserError: an image is unreadable and must not be left out, or all images are unreadable.
    """
    rows: list[tuple[str, str, str, float]] = []
    bad: list[str] = []
    done = 0
    for block in classifier.read_blocks(files):
        if block.unreadable and not skip_bad:
            raise UserError(f"{block.unreadable[0].message}; --skip-bad leaves out such images")
        bad += [one.message for one in block.unreadable]
        absent = {one.position for one in block.unreadable}
        positions = range(done, done + len(block.pixels) + len(absent))
        readable = [files[position] for position in positions if position not in absent]
        by_mode = {name: classifier.predict(block.pixels, name) for name in modes if readable}
        for place, file in enumerate(readable):
            for name, (classes, probabilities) in by_mode.items():
                found = int(classes[place])
                rows.append((_text(file), name, classifier.class_names[found], probabilities[place, found]))
        done = positions.stop
        progress(done, len(files))
    if not rows:
        raise UserError(f"all {len(files):,} images are unreadable; {bad[0]}")
    return rows, bad


def _modes_and_images(values: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Tell the values of --mode apart: `sd`, `sd,ag`, and files after the last mode."""
    modes: list[str] = []
    images: list[Path] = []
    for value in values:
        names = value.split(",")
        is_file = not set(names) <= set(_MODES) and Path(value).exists()
        if is_file:
            images.append(Path(value))
        else:
            modes += names
    return modes, images


def _which_run(results: Path) -> UserError:
    """The error for a command without a run, with the latest suitable runs."""
    from sla_bench.records.store import Store
    from sla_bench.tables.terminal import label

    able = [name for name, entry in SCENARIOS.items() if entry.fixed_classes]
    records = [record for name in able for record in Store(results, name).records()]
    if not records:
        return UserError(
            f"predict needs --run RUN_ID, a trained classifier, and {results} has none; "
            f"python -m sla_bench run {able[0]} --dataset folder:PATH trains some"
        )
    records.sort(key=lambda record: (record.folder / "done.json").stat().st_mtime, reverse=True)
    shown = "; ".join(f"{record.run_id} ({label(record.config)})" for record in records[:_MOST_SHOWN])
    more = f"; {len(records) - _MOST_SHOWN} more by `runs`" if len(records) > _MOST_SHOWN else ""
    return UserError(f"predict needs --run RUN_ID; the latest in {results}: {shown}{more}")


def _folder_of(run: str | None, results: Path) -> Path:
    from sla_bench.tables.run_list import find_run

    if run is None:
        raise _which_run(results)
    if (path := Path(run)).exists():
        return path
    if len(path.parts) != 1:
        raise UserError(f"there is no folder {run}{nearest_path(path)}; `runs` lists the recorded runs")
    return find_run(records_of(SCENARIOS, results), run).folder


def _text(file: Path) -> str:
    """The path; bytes that are not UTF-8 are escaped."""
    return str(file).encode("utf-8", "backslashreplace").decode()


def _csv(rows: list[tuple[Any, ...]]) -> str:
    """The table; paths and classes stay unchanged, since other tables are joined by them."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=["path", "mode", "class", "probability"])
    return table.to_csv(index=False, float_format="%.6g")
