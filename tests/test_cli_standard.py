import json

import numpy as np
import pandas as pd
import pytest
from real_formats import write_cifar10

from sla_bench import load_classifier, load_dataset
from sla_bench.cli.app import run_command_line
from sla_bench.records.store import Store
from sla_bench.tables import files

SHORT = ["--budget", "smoke", "--set", "steps=2", "--set", "batch_size=8"]


@pytest.fixture
def data_root(tmp_path):
    write_cifar10(tmp_path / "data")
    return tmp_path / "data"


def command(tmp_path, *arguments):
    folders = ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    return ["run", "standard", "--dataset", "cifar10", *SHORT, *arguments, *folders]


def refused(capsys, arguments, *fragments):
    assert run_command_line(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    for fragment in fragments:
        assert fragment in lines[0], (fragment, lines[0])


@pytest.mark.slow
def test_from_the_command_to_the_pictures_the_report_and_another_evaluation(tmp_path, data_root, capsys):
    out = tmp_path / "out"
    wanted = ["--method", "baseline", "--method", "sla", "--ensemble", "4", "--ensemble", "2"]
    arguments = command(tmp_path, *wanted, "--seed", "0", "--seed", "1")
    assert run_command_line([*arguments, "--dry-run"]) == 0
    assert "8 runs: 8 to run" in capsys.readouterr().out
    assert run_command_line(arguments) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("SLA+AG", "SLA+SI", "ens-M", "baseline ens-2", "macro F1"))
    names = {p.name for p in (out / "standard").iterdir()}
    stems = ("gains", "accuracies", "learning_curves", "cost_accuracy", "confusions")
    assert {f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")} <= names
    assert {"leaderboard.csv", "leaderboard.md", "leaderboard.tex"} <= names

    table = pd.read_csv(out / "standard" / "leaderboard.csv")
    rows = table[(table["metric"] == "accuracy") & (table["reference"] != "ens-M")].set_index("method")
    baseline = rows.loc["baseline"]
    # What an ensemble of M costs is what SLA+AG costs: images in training, passes at test.
    for name, times in {"SLA+AG": 4, "ens-M": 4, "baseline ens-2": 2}.items():
        assert rows.loc[name, "query_passes"] == times
        assert rows.loc[name, "train_images"] == times * baseline["train_images"]
    assert rows.loc["SLA+SI", "query_passes"] == 1
    assert rows.loc["ens-M", "parameters"] == 4 * baseline["parameters"]
    assert "ens-M" in set(table[table["method"] == "SLA+AG"]["reference"])

    records = Store(out, "standard").records()
    (sla,) = [r for r in records if r.config.method == "sla" and r.config.seed == 0]
    assert sla.done["class_counts"] == [9] * 10
    assert sla.done["validation_images"] == 10
    images = load_dataset("cifar10", "test", "images", data_root).images
    classes, _ = load_classifier(sla.folder).predict(images, mode="ag")
    assert np.array_equal(classes, sla.evaluations[0].samples["predictions/SLA+AG"])
    assert run_command_line(["report", "--out", str(out)]) == 0
    assert "baseline ens-2" in (out / "report.html").read_text()
    again = ["evaluate", sla.run_id, "--set", "images_per_class=2", "--data-root", str(data_root)]
    assert run_command_line([*again, "--out", str(out)]) == 0
    capsys.readouterr()
    assert run_command_line(["runs", "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("cifar10 ce resnet8 smoke") == 8


@pytest.mark.slow
def test_validation_on_the_positions_of_a_file_is_in_the_record_and_can_be_repeated(
    tmp_path, data_root, monkeypatch, capsys
):
    del data_root
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    file = tmp_path / "positions.npy"
    np.save(file, np.arange(5))
    arguments = ["--method", "baseline", "--selection", "validation", "--val-indices", str(file)]
    assert run_command_line(command(tmp_path, *arguments)) == 0
    (record,) = Store(tmp_path / "out", "standard").records()
    config = json.loads((record.folder / "config.json").read_text())
    assert config["val_indices"].startswith(f"{file}#")
    assert record.done["validation_images"] == 5
    assert record.history["val_accuracy"].notna().all()
    # The same positions in another file are the same run.
    other = tmp_path / "other.txt"
    other.write_text("4\n3\n2\n1\n0\n")
    capsys.readouterr()
    assert run_command_line(command(tmp_path, *arguments[:-1], str(other), "--dry-run")) == 0
    assert f"{record.run_id}  recorded" in capsys.readouterr().out
    # And the table that was made without the file can be made again.
    file.unlink()
    assert run_command_line(["leaderboard", "standard", "--out", str(tmp_path / "out")]) == 0
    assert run_command_line(["runs", "show", record.run_id, "--out", str(tmp_path / "out")]) == 0
    assert f"--val-indices '{file}#" in capsys.readouterr().out


def test_what_can_not_be_is_said_in_one_line(tmp_path, data_root, capsys):
    del data_root
    refused(capsys, command(tmp_path, "--transform", "rot_color_perm13"), "did you mean 'rot_color_perm12'")
    refused(capsys, command(tmp_path, "--ensemble", "0"), "--ensemble 0", "greater than or equal to 1")
    refused(capsys, command(tmp_path, "--mix", "cut-mix"), "did you mean 'cutmix'")
    refused(capsys, command(tmp_path, "--val-indices", str(tmp_path)), "can't be read")
    grey = command(tmp_path, "--dataset", "fashion_mnist", "--transform", "color_perm")
    refused(capsys, grey, "the images of fashion_mnist are grey")
