"""Few-shot learning on a folder of pictures, PATH/<class>/*.jpg: does SLA help there, and by how much?

Run from a clone; without --folder, glyphs are drawn into a folder. Other options are passed to the command:
python examples/few_shot_on_your_folder.py --folder PATH --size 64 --ways 3 --budget quick --seed 0 --seed 1
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from example_folder import glyphs_folder

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--folder", type=Path)
parser.add_argument("--size", type=int, default=32, help="pixels; pictures are scaled and cut to squares")
parser.add_argument("--out", type=Path, default=Path("results-of-examples"))
args, further = parser.parse_known_args()
# The classes are split into training, validation and test: 5-way episodes want 15 of them.
path = args.folder or glyphs_folder([60] * 15)
dataset = f"folder:{path}:{args.size}"

command = [sys.executable, "-m", "sla_bench", "run", "fewshot", "--dataset", dataset, "--out", str(args.out)]
if "--budget" not in further:
    command += ["--budget", "smoke"]  # only shows that everything runs; quick is the least for figures
if "--method" not in further:
    command += ["--method", "baseline", "--method", "sla", "--method", "baseline-xM"]
if code := subprocess.call([*command, *further]):
    sys.exit(code)

print(f"\nGains of SLA on {path}")
with (args.out / "fewshot" / "leaderboard.csv").open(newline="") as file:
    rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset]
for row in rows:
    if row["method"] in ("SLA+AG", "SLA+SI") and row["relative_gain_pct"]:
        against = f"{row['setting']}, {row['method']} against {row['reference']}"
        interval = "no interval of one seed"
        if row["gain_ci95_low"]:
            interval = f"{float(row['gain_ci95_low']):+.1f} to {float(row['gain_ci95_high']):+.1f}"
        print(f"{against}: {float(row['relative_gain_pct']):+.1f} % ({interval}; seeds: {row['gain_seeds']})")
