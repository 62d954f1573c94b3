"""A folder with large and small classes: several losses, with and without SLA; then classify pictures.

Run from a clone; without --folder, glyphs are drawn into a folder. Other options are passed to the command:
python examples/long_tail_on_your_folder.py --folder PATH --size 64 --loss ce --loss ldam-drw --budget quick
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from example_folder import glyphs_folder

import sla_bench

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--folder", type=Path)
parser.add_argument("--size", type=int, default=32, help="pixels; pictures are scaled and cut to squares")
parser.add_argument("--out", type=Path, default=Path("results-of-examples"))
args, further = parser.parse_known_args()
path = args.folder or glyphs_folder(sla_bench.long_tailed_counts(10, 200, ratio=20))
dataset = f"folder:{path}:{args.size}"

command = [sys.executable, "-m", "sla_bench", "run", "imbalanced", "--dataset", dataset]
command += ["--out", str(args.out), *further]
if "--budget" not in further:
    command += ["--budget", "smoke"]  # only shows that everything runs; quick is the least for figures
if "--loss" not in further:
    command += ["--loss", "ce", "--loss", "balanced-softmax"]
if code := subprocess.call(command):
    sys.exit(code)

# The test images are as unequal as the folder: macro F1 counts each class alike, accuracy does not.
with (args.out / "imbalanced" / "leaderboard.csv").open(newline="") as file:
    rows = [row for row in csv.DictReader(file) if dataset in row["dataset"] and row["metric"] == "macro F1"]
for row in rows:
    print(f"{row['learner']:16} {row['method']:13} macro F1 {float(row['value']):.1f} %")
# Not the best row: chosen on the test images it would look better than it is.
chosen = next((row for row in rows if row["method"].startswith("SLA")), rows[0])
run_id = chosen["run_ids"].split()[0]
classifier = sla_bench.load_classifier(args.out / "imbalanced" / "runs" / run_id)
pictures = sorted(p for p in path.glob("*/*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))[::100]
classes, probabilities = classifier.predict(pictures)
for picture, found, chances in zip(pictures, classes, probabilities, strict=True):
    print(f"{picture.relative_to(path)}: {classifier.class_names[found]} ({chances[found]:.2f})")
print(f"More: python -m sla_bench predict --run {run_id} --results {args.out} FOLDER")
