import json
import re
import shutil

import pandas as pd
import pytest
import real_formats

from sla_bench.cli.app import run_command_line
from sla_bench.tables import files

SETTINGS = ["--set", "epochs=1", "--set", "batch_size=8", "--ratio", "4", "--max-class-size"]


def command(dataset, size, *arguments, data_root, out):
    folders = ["--data-root", str(data_root), "--out", str(out)]
    start = ["run", "imbalanced", "--dataset", dataset, "--budget", "smoke"]
    return [*start, *SETTINGS, str(size), *arguments, *folders]


def refused(capsys, arguments, *fragments):
    assert run_command_line(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    for fragment in fragments:
        assert fragment.lower() in lines[0].lower(), (fragment, lines[0])


@pytest.mark.slow
def test_cifar_files_run_from_the_command_to_the_pictures(tmp_path, capsys):
    real_formats.write_cifar10(tmp_path, 10, 2)
    out = tmp_path / "out"
    assert run_command_line(command("cifar10", 10, "--seed", "0", "1", data_root=tmp_path, out=out)) == 0
    shown = capsys.readouterr().out
    assert "SLA+SD" in shown
    assert "macro F1" in shown
    names = {p.name for p in (out / "imbalanced").iterdir()}
    pictures = {f"{n}.png" for n in ("class_sizes", "class_accuracies", "confusions", "gains", "accuracies")}
    assert pictures <= names
    table = pd.read_csv(out / "imbalanced" / "leaderboard.csv")
    row = table[(table["method"] == "SLA+SD") & (table["metric"] == "accuracy")].iloc[0]
    assert (row["setting"], row["learner"], row["seeds"]) == ("exp ratio 4", "ce", 2)
    assert row["interval_kind"] == "crossed"
    assert {"accuracy", "macro F1", "G-mean", "ECE", "NLL"} <= set(table["metric"])


@pytest.mark.slow
def test_a_run_without_its_weights_can_not_be_evaluated_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    real_formats.write_cifar10(tmp_path, 10, 2)
    out = tmp_path / "out"
    arguments = command("cifar10", 10, "--method", "baseline", data_root=tmp_path, out=out)
    assert run_command_line([*arguments, "--keep-models", "none"]) == 0
    (folder,) = (out / "imbalanced" / "runs").iterdir()
    assert not (folder / "model.safetensors").exists()
    assert json.loads((folder / "done.json").read_text())["subset_hash"]
    assert run_command_line([*arguments, "--keep-models", "none"]) == 0
    assert "1 of 1 runs are recorded already" in capsys.readouterr().out
    shutil.rmtree(folder / "evaluations")
    assert run_command_line(arguments) == 2
    assert "has no model.safetensors" in capsys.readouterr().err


@pytest.mark.slow
def test_heads_of_stage_two_come_with_the_run_and_later_from_its_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    real_formats.write_cifar10(tmp_path, 10, 2)
    out = tmp_path / "out"
    arguments = command("cifar10", 8, "--method", "baseline", data_root=tmp_path, out=out)
    assert run_command_line([*arguments, "--stage-two", "ncm", "crt"]) == 0
    (folder,) = (out / "imbalanced" / "runs").iterdir()
    evaluate = ["evaluate", folder.name, "--data-root", str(tmp_path), "--out", str(out), "--stage-two"]
    assert run_command_line([*evaluate, "tau-norm"]) == 0
    table = pd.read_csv(out / "imbalanced" / "leaderboard.csv")
    rows = table[table["metric"] == "accuracy"]
    heads = ["baseline, cRT", "baseline, tau-norm", "baseline, NCM"]
    assert [m for m in rows["method"] if "," in m] == heads
    assert rows["method"].iloc[0] == "baseline"
    assert set(rows[rows["method"].isin(heads)]["reference"]) == {"baseline"}
    assert rows["budget"].nunique() == rows["setting"].nunique() == 1
    assert run_command_line(["report", "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    for row in rows.itertuples():
        # Each row shows the accuracy of its own evaluation.
        (cell,) = re.findall(rf'"method":"{re.escape(row.method)}","commands".*?"runs"', page)
        assert f'"{folder.name}","{row.value:.2f}"' in cell
    (folder / "model.safetensors").unlink()
    capsys.readouterr()
    assert run_command_line([*evaluate, "lws"]) == 2
    assert "has no model.safetensors" in capsys.readouterr().err
    refused(capsys, [*evaluate, "crd"], "unknown stage-two head 'crd'; did you mean 'crt'?")


def test_what_the_data_can_not_serve_is_said_in_one_line(tmp_path, capsys):
    real_formats.write_cifar10(tmp_path, 10, 2)
    out = tmp_path / "out"
    refused(
        capsys, command("cifar10", 10, "--loss", "cee", data_root=tmp_path, out=out), "unknown loss 'cee'"
    )
    refused(capsys, command("fc100", 10, data_root=tmp_path, out=out), "fc100")
    far = ["--set", "loss.start=1.5", "--loss", "cb-rw", "--method", "baseline"]
    arguments = command("cifar10", 10, *far, data_root=tmp_path, out=out)
    assert run_command_line(arguments) == 2
    assert "after the last epoch" in capsys.readouterr().err


def test_a_corrupt_gzip_file_is_named(tmp_path, capsys):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for stem in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{stem}-ubyte.gz").write_bytes(b"\x1f\x8b\x08 not a gzip file")
    arguments = command("fashion_mnist", 10, data_root=tmp_path, out=tmp_path / "out")
    refused(capsys, arguments, "train-images-idx3-ubyte.gz")
