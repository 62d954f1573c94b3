"""`predict`: the classes of images by a recorded run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sla_bench.cli.stores import records_of
from sla_bench.errors import UserError
from sla_bench.registry import SCENARIOS
from sla_bench.words import nearest_path

_MODES = ("si", "ag", "sd", "tta", "flip")
_MOST_SHOWN = 5
SOME_LEFT_OUT = 3
"""Exit code: the table is written without the unreadable images."""


def predict(
    *images: Path,
    run: str | None = None,
    support: Path | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    learner: str | None = None,
    size: int | None = None,
    save: Path | None = None,
    out: Path = Path("predictions.csv"),
    mode: Annotated[list[str] | None, Parameter(consume_multiple=(1, 2**31))] = None,
    skip_bad: bool = False,
    results: Path = Path("results"),
    device: str = "auto",
) -> int:
    """Predict the classes of images, and write them to a CSV file.

    The classifier is that of a run, or with --support a few-shot classifier of your own classes, which takes
    seconds and no training. The file has a row for each image and mode: path, mode, class, probability, and
    with --support the nearest support picture.

    Parameters
    ----------
    images: Path
        Image files, and folders, which are searched recursively.
    run: str
        Name of a folder in results/<scenario>/runs/ (its beginning is enough), or its path; with --support a
        few-shot run, whose network is used.
    support: Path
        Folder with a folder of pictures for each class, or a classifier that --save has written.
    backbone: str
        Pretrained network for --support, such as timm:NAME [default: pretrained:lite0].
    weights: str
        Weights of the network: default, or a file.
    learner: str
        Head for --support [default: finetune, or that of the run].
    size: int
        Pixels that pictures are scaled to with --support [default: those of the pretraining or the run].
    save: Path
        Write the classifier of --support to this file.
    out: Path
        The CSV file; - is the standard output.
    mode: list[str]
        si: single inference, ag: aggregated over the views, sd: the distilled head, tta: mean over the views;
        default: sd or ag where the run has it, else si. Repeatable. With --support one of si, ag (joint
        labels on the support), tta, flip.
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
    from sla_bench.records.classifiers import load_classifier
    from sla_bench.records.files import check_output, words_beside, write_output
    from sla_bench.records.jobs import pick_device
    from sla_bench.words import print_lines

    few_shot: dict[str, Any] = {"backbone": backbone, "weights": weights, "learner": learner}
    few_shot |= {"size": size, "save": save}
    folder = None if support is not None else _folder_of_classifier(run, results, few_shot)
    asked, further = _modes_and_images(mode or [])
    paths = [*images, *further]
    files = find_images(paths)
    for place in (path for path in paths if path.is_dir()):
        print_lines((f"{place}: {line}" for line in left_out_of(place).lines()), file=sys.stderr)
    check_output(out, "--out")
    if save is not None:
        check_output(save, "--save")
    on = pick_device(device)
    if support is not None:
        classifier: Any = _few_shot(support, run, results, asked, on, **few_shot)
    else:
        classifier = load_classifier(str(folder), on)
    modes = list(dict.fromkeys(asked or classifier.modes[:1]))
    with terminal_progress(f"predicting {len(files):,} images") as progress:
        rows, bad = _predicted(classifier, files, modes, skip_bad, progress)
    table = _csv(rows, support is not None).encode()
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
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """The rows of the table, and a sentence for each unreadable image.

    Raises:
        UserError: an image is unreadable and must not be left out, or all images are unreadable.
    """
    rows: list[tuple[Any, ...]] = []
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
            for name, prediction in by_mode.items():
                found = int(prediction.classes[place])
                row = (
                    _text(file),
                    name,
                    classifier.class_names[found],
                    prediction.probabilities[place, found],
                )
                nearest = getattr(prediction, "nearest", None)
                own = () if nearest is None else (classifier.support_names[int(nearest[place])],)
                rows.append((*row, *own))
        done = positions.stop
        progress(done, len(files))
    if not rows:
        raise UserError(f"all {len(files):,} images are unreadable; {bad[0]}")
    return rows, bad


def _folder_of_classifier(run: str | None, results: Path, few_shot: Mapping[str, Any]) -> Path:
    """The folder of a run with a classifier.

    Raises:
        UserError: there is none, or an option of --support is given.
    """
    if given := [name for name, value in few_shot.items() if value is not None]:
        raise UserError(f"--{given[0]} has no effect without --support FOLDER")
    return _folder_of(run, results)


def _few_shot(
    support: Path,
    run: str | None,
    results: Path,
    modes: Sequence[str],
    device: Any,
    backbone: str | None,
    weights: str | None,
    learner: str | None,
    size: int | None,
    save: Path | None,
) -> Any:
    """The classifier of --support.

    Raises:
        UserError: several modes, two networks, or options of a saved classifier.
    """
    from sla_bench.records.classifiers import few_shot_classifier, load_few_shot_classifier

    if len(modes) > 1:
        raise UserError(f"--support takes one --mode, got {', '.join(modes)}")
    if support.is_file():
        given = [backbone, weights, learner, size, run, *modes]
        if any(value is not None for value in given):
            raise UserError(f"{support} is a saved classifier, which has its network, head and mode already")
        classifier = load_few_shot_classifier(support, device)
    else:
        if run is not None and backbone is not None:
            raise UserError("--run and --backbone name two networks; take one of them")
        network = str(_folder_of(run, results)) if run is not None else backbone or "pretrained:lite0"
        mode = modes[0] if modes else "si"
        classifier = few_shot_classifier(support, network, mode, learner, weights, size, device=device)
    if save is not None:
        classifier.save(save)
    return classifier


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


def _csv(rows: list[tuple[Any, ...]], few_shot: bool = False) -> str:
    """The table; paths and classes stay unchanged, since other tables are joined by them."""
    import pandas as pd

    columns = ["path", "mode", "class", "probability", *["nearest"] * few_shot]
    table = pd.DataFrame(rows, columns=columns)
    return table.to_csv(index=False, float_format="%.6g")
