"""Golden smoke runs: command line in, results as text out."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from golden_markdown import tables_of

HERE = Path(__file__).parent
FILES = HERE / "smoke"
SCENARIOS = ("fewshot", "imbalanced", "standard")

RUN_NAME = ("learner", "loss", "method", "mix", "ensemble", "seed")
"""Fields of a config that tell the runs of `smoke.yaml` apart."""
ROW_NAME = ("setting", "learner", "method", "metric", "reference")
"""Columns of a CSV file that tell its rows apart."""


def make_runs(data_root, out):
    """Train and evaluate all runs of `smoke.yaml` as a user would."""
    folders = ["--data-root", str(data_root), "--out", str(out)]
    arguments = [
        "run",
        str(HERE / "smoke.yaml"),
        *folders,
        "--device",
        "cpu",
        "--keep-models",
        "none",
        "--threads",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "sla_bench", *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def read_results(out):
    """Scenario -> runs, CSV, Markdown as nested mappings, without seconds, dates, versions, devices."""
    return {scenario: _scenario(out / scenario) for scenario in SCENARIOS}


def _scenario(folder):
    runs = _named(_run(path.parent) for path in folder.glob("runs/*/done.json"))
    table = _read_csv((folder / "leaderboard.csv").read_text())
    names = {row[column] for row in table.values() for column in ROW_NAME} - {""}
    markdown = tables_of((folder / "leaderboard.md").read_text(), names)
    return {"runs": runs, "csv": table, "markdown": markdown}


def _run(folder):
    config = json.loads((folder / "config.json").read_text())
    history = list(csv.DictReader(io.StringIO((folder / "history.csv").read_text())))
    evaluations = _named(_evaluation(path.parent) for path in folder.glob("evaluations/*/metrics.json"))
    return _name(config, RUN_NAME, {"mix": "none"} if config["scenario"] == "imbalanced" else {}), {
        "run_id": folder.name,
        "config": config,
        "done": _without_times(json.loads((folder / "done.json").read_text())),
        "history": _named((_name(row, ("member", "step")), _without_times(row)) for row in history),
        "evaluations": evaluations,
    }


def _evaluation(folder):
    config = json.loads((folder / "config.json").read_text())
    with np.load(folder / "samples.npz") as file:
        samples = {name: _values(file[name]) for name in file.files}
    return _name(config, ("ways", "shots", "transform", "stage_two"), {"stage_two": None}), {
        "evaluation_id": folder.name,
        "config": config,
        "metrics": _without_times(json.loads((folder / "metrics.json").read_text())),
        "samples": samples,
    }


def _values(array):
    if array.ndim > 1:
        return [_values(row) for row in array]
    # The shortest decimals that stand for a number of 32 bits say all that is in it.
    return [float(str(v)) for v in array] if array.dtype.kind == "f" else array.tolist()


def _name(values, fields, younger=MappingProxyType({})):
    """Fields and values; a field that is younger than the kept files is left out at its default."""
    told = [f for f in fields if f in values and not (f in younger and values[f] == younger[f])]
    return " ".join(f"{field}={values[field]}" for field in told)


def _named(pairs):
    """A mapping of the pairs; two of one name would hide each other."""
    named = {}
    for name, content in sorted(pairs, key=lambda pair: pair[0]):
        assert name not in named, f"two are called {name!r}"
        named[name] = content
    return named


def _without_times(content):
    if isinstance(content, dict):
        kept = {
            key: value
            for key, value in content.items()
            if not (key.endswith("seconds") or key in ("recorded_at", "devices"))
        }
        return {key: _without_times(value) for key, value in kept.items()}
    return content


def _read_csv(text):
    rows = csv.DictReader(io.StringIO(text))
    return _named((" | ".join(row[column] for column in ROW_NAME), _without_times(row)) for row in rows)


def machine():
    """Facts on which the last bits of a training depend, besides its threads."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    wanted = ("vendor_id", "cpu family", "model", "model name", "cache size")
    return {
        **{key: facts.get(key) for key in wanted},
        "instructions": " ".join(sorted(re.findall(r"\b(?:avx|amx|fma)\w*", facts.get("flags", "")))),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def write_files(results, folder=FILES):
    """Keep the results as text of a line for each value, so that git shows what has changed."""
    folder.mkdir(exist_ok=True)
    (folder / "machine.json").write_text(json.dumps(machine(), indent=1) + "\n")
    for scenario, content in results.items():
        rest = {key: value for key, value in content.items() if key != "csv"}
        (folder / f"{scenario}.json").write_text(_lines(rest) + "\n")
        with (folder / f"{scenario}.csv").open("w", newline="") as file:
            rows = list(content["csv"].values())
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def read_files(folder=FILES):
    """Read the results that `write_files` wrote, and the machine on which it ran."""
    results = {}
    for scenario in SCENARIOS:
        kept = json.loads((folder / f"{scenario}.json").read_text())
        results[scenario] = {**kept, "csv": _read_csv((folder / f"{scenario}.csv").read_text())}
    return results, json.loads((folder / "machine.json").read_text())


def _lines(content, indent=0):
    """JSON in which a mapping that is long, or a list of mappings, takes a line for each item."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    if len(text) < 100 or not (isinstance(content, dict) or isinstance(content[0], dict)):
        return text
    space = "\n" + " " * (indent + 1)
    if isinstance(content, list):
        return "[" + ",".join(space + _lines(value, indent + 1) for value in content) + "]"
    lines = (
        f"{space}{json.dumps(key, ensure_ascii=False)}: {_lines(content[key], indent + 1)}"
        for key in sorted(content)
    )
    return "{" + ",".join(lines) + "}"
