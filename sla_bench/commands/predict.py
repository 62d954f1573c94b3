"""`predict`: the classes of images by a recorded run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sla_bench.commands.stores import records_of
from sla_bench.errors import UserError
from sla_bench.registry import SCENARIOS

_AT_A_TIME = 512
"""Images that are in memory at a time."""


def predict(
    *images: Path,
    run: str,
    out: Path = Path("predictions.csv"),
    mode: list[str] | None = None,
    results: Path = Path("results"),
    device: str = "auto",
) -> int:
    """Predict the classes of images with a trained classifier, and write them to a CSV file.

    The file has a row for each image and mode: path, mode, class, probability.

    Parameters
    ----------
    images: Path
        Image files, and folders with images, also in folders below.
    run: str
        Name of a folder in results/<scenario>/runs/ (its beginning is enough), or the path of one.
    out: Path
        The CSV file.
    mode: list[str]
        si: single inference, ag: aggregated over the views, sd: the distilled head, tta: mean over the views;
        default: sd or ag where the run has it, else si. Repeatable.
    results: Path
        Where the recorded runs lie.
    device: str
        auto, cpu, cuda or cuda:0.
    """
    from sla_bench.commands.printing import print_lines
    from sla_bench.datasets.left_out import left_out_of
    from sla_bench.datasets.picture_folders import find_images
    from sla_bench.datasets.progress import terminal_progress
    from sla_bench.harness.files import write_text
    from sla_bench.harness.jobs import pick_device
    from sla_bench.saved_classifier import load_classifier

    files = find_images(images)
    for folder in (path for path in images if path.is_dir()):
        print_lines((f"{folder}: {line}" for line in left_out_of(folder).lines()), file=sys.stderr)
    classifier = load_classifier(_folder_of(run, results), pick_device(device))
    modes = list(dict.fromkeys(mode or classifier.modes[:1]))
    _check_out(out)
    rows: list[tuple[str, str, str, float]] = []
    with terminal_progress(f"predicting {len(files):,} images") as progress:
        for start in range(0, len(files), _AT_A_TIME):
            chosen = files[start : start + _AT_A_TIME]
            pixels = classifier.read(chosen)
            by_mode = {name: classifier.predict(pixels, name) for name in modes}
            for place, file in enumerate(chosen):
                for name, (classes, probabilities) in by_mode.items():
                    found = int(classes[place])
                    row = (_text(file), name, classifier.class_names[found], probabilities[place, found])
                    rows.append(row)
            progress(start + len(chosen), len(files))
    write_text(out, _csv(rows))
    print(f"{out}: {len(files):,} images, {', '.join(modes)}")
    return 0


def _check_out(out: Path) -> None:
    """Before anything is predicted."""
    from sla_bench.harness.files import check_writable

    if out.is_dir():
        raise UserError(f"--out {out} is a folder; it names the file that is written")
    check_writable(out.absolute().parent)


def _folder_of(run: str, results: Path) -> Path:
    from sla_bench.reporting.run_list import find_run

    if (path := Path(run)).exists():
        return path
    if len(path.parts) != 1:
        raise UserError(f"there is no folder {run}; `runs` lists the recorded runs")
    return find_run(records_of(SCENARIOS, results), run).folder


def _text(file: Path) -> str:
    """The path; bytes that are no UTF-8 are written out."""
    return str(file).encode("utf-8", "backslashreplace").decode()


def _csv(rows: list[tuple[Any, ...]]) -> str:
    import pandas as pd

    from sla_bench.reporting.files import escape_formula

    table = pd.DataFrame(rows, columns=["path", "mode", "class", "probability"])
    guarded = table.assign(**{name: table[name].map(escape_formula) for name in ("path", "class")})
    return guarded.to_csv(index=False, float_format="%.6g")
