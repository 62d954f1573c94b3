"""Is a GPU right, and how fast is it? Agreement with the CPU, images per second, real trainings.

    python benchmarks/gpu_check.py --minutes 8           # on an NVIDIA GPU
    python benchmarks/gpu_check.py --minutes 1           # on a CPU: a test of this script, on small networks

Rows go to gpu_check.csv in `--out` as soon as they are known, and gpu_check.png shows them; rows that are
there are skipped, so that the same command resumes. First, short trainings are repeated on the CPU: loss,
weights and predictions have to agree within the tolerance of their row. Then images per second of eager,
compiled and captured backbones, one or four processes at a time, each with cores of its own; compilation and
capture are timed apart. The rest of the minutes goes to real trainings of budget paper, which leave
checkpoints: CIFAR-100 with ratio 100 where its files lie below `--data-root`, else drawn glyphs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu.agreement import CASES, agreement
from benchmarks.gpu.cells import train_cells
from benchmarks.gpu.picture import draw
from benchmarks.gpu.rows import Row, Rows
from benchmarks.gpu.settings import SMALL, TWELVE, Speed
from benchmarks.gpu.throughput import images_per_second
from sla_bench.records.jobs import pick_device

_SECONDS = 8.0
"""For which a setting is timed, start and compilation apart, so that twelve leave time for cells."""


def check(minutes: float, device: str, out: Path, data_root: Path) -> int:
    """Do all that is not done yet; returns the number of quantities that are out of their tolerance.

    Args:
        minutes: for all of it.
        device: as `--device`.
        out: folder of the rows, the picture and the records.
        data_root: where the data lie.
    """
    until = time.monotonic() + 60 * minutes
    place, rows = pick_device(device), Rows(out / "gpu_check.csv")
    small = place.type != "cuda"
    for name, case in CASES.items():
        if not rows.has("agreement", name) and not (small and case.how != "eager"):
            rows.add(agreement(name, place, out / "data"))
    for setting in SMALL if small else TWELVE:
        if not rows.has("speed", setting.name):
            rows.add([_timed(setting, str(place), min(_SECONDS, until - time.monotonic()), small)])
    rows.add(train_cells(until - time.monotonic(), str(place), out / "records", data_root, small))
    draw(rows.all(), out / "gpu_check.png")
    for row in rows.all():
        print(row.words())
    return sum(row.fails for row in rows.all())


def _timed(setting: Speed, device: str, seconds: float, small: bool) -> Row:
    if seconds <= 1:
        return Row("speed", setting.name, "images per second", note="no time was left")
    return images_per_second(setting, device, 0.3 if small else seconds)


def main() -> int:
    """Return the exit code: 1 where a quantity is out of its tolerance."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything, above 0 (8)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (auto)")
    parser.add_argument("--out", type=Path, default=Path("results/gpu-check"), help="folder of the results")
    parser.add_argument("--data-root", type=Path, default=Path("datasets"), help="folder of the data files")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes has to be above 0, got {options.minutes:g}")
    return int(check(options.minutes, options.device, options.out, options.data_root) > 0)


if __name__ == "__main__":
    sys.exit(main())
