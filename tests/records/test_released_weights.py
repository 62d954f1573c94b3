"""Weights of a run in one file: out, in again, and what is refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from made_up_records import write_records
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from sla_bench.cli.app import run_command_line
from sla_bench.models.weights import weights_bytes


@pytest.fixture
def out(tmp_path):
    """Two made-up runs, one of them with weights."""
    import torch

    store, run_ids = write_records(tmp_path / "out", {"baseline": 0.5, "SLA+AG": 0.6})
    weights = {
        "members.0.backbone.w": torch.arange(6.0).view(2, 3),
        "members.0.head.scale": torch.tensor(2.0),
    }
    (store.run_folder(run_ids[0]) / "model.safetensors").write_bytes(weights_bytes(weights))
    (store.run_folder(run_ids[1]) / "model.safetensors").unlink()
    return tmp_path / "out", store, run_ids


def export(out, run_id, file, *further):
    return run_command_line(["export", str(file), "--weights", run_id, "--out", str(out), *further])


def test_weights_leave_with_their_rows_and_come_back_to_the_same_bytes(tmp_path, out, capsys):
    out, store, (run_id, *_) = out
    folder = store.run_folder(run_id)
    before = (folder / "model.safetensors").read_bytes()
    file = tmp_path / "best.safetensors"
    assert export(out, run_id[:8], file) == 0
    assert f"weights of run {run_id}, {file.stat().st_size:,} bytes" in capsys.readouterr().out
    first = file.read_bytes()
    assert export(out, run_id, file) == 0
    assert file.read_bytes() == first
    # Any program that reads safetensors finds tensors and notes.
    tensors = load_file(file)
    assert np.array_equal(tensors["members.0.backbone.w"], np.arange(6).reshape(2, 3))
    with safe_open(file, "np") as opened:
        notes = opened.metadata()
    assert notes["run_id"] == run_id
    assert json.loads(notes["config"]) == json.loads((folder / "config.json").read_text())
    assert run_command_line(["leaderboard", "--out", str(out)]) == 0
    table = pd.read_csv(out / "fewshot" / "leaderboard.csv")
    own = table[[run_id in ids for ids in table["run_ids"]]]
    rows = json.loads(notes["table_rows"])
    assert [row["method"] for row in rows] == own["method"].tolist()
    assert [row["value"] for row in rows] == pytest.approx(own["value"].tolist(), rel=1e-5)
    (folder / "model.safetensors").unlink()
    assert run_command_line(["import", str(file), "--out", str(out)]) == 0
    assert (folder / "model.safetensors").read_bytes() == before


def test_what_is_refused(tmp_path, out, capsys):
    out, store, (run_id, other, *_) = out
    file = tmp_path / "best.safetensors"
    assert export(out, run_id, file) == 0
    capsys.readouterr()

    def refused(words, message):
        assert run_command_line([*words, "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert message in said, said
        assert said.count("\n") == 1

    refused(["export", str(tmp_path / "best.zip"), "--weights", run_id], "NAME.safetensors")
    refused(["export", "--weights", run_id], "NAME.safetensors")
    refused(["export", str(file), "--weights", run_id, "--untested"], "--weights writes one run")
    refused(["export", str(file), "--weights", other], "has no model.safetensors")
    refused(["export", str(file), "--weights", "ffff"], "no finished run begins with 'ffff'")
    with safe_open(file, "np") as opened:
        notes = opened.metadata()
    tensors = load_file(file)
    for changed, message in [
        ({"run_id": ""}, "does not name its run"),
        ({"run_id": "../../../etc"}, "does not name its run"),
        ({"run_id": "0123456789ab"}, "run 0123456789ab is not recorded"),
        ({"run_id": other}, f"another config than run {other}"),
        ({"config": "{"}, "another config than run"),
        ({"format": "else 1"}, "was made by another program"),
    ]:
        save_file(tensors, tmp_path / "changed.safetensors", {**notes, **changed})
        refused(["import", str(tmp_path / "changed.safetensors")], message)
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-3])
    refused(["import", str(tmp_path / "cut.safetensors")], "damaged or not a safetensors file")
    refused(["import", str(tmp_path / "none.safetensors")], "cannot read")
    # Weights that are there stay.
    own = store.run_folder(run_id) / "model.safetensors"
    shutil.copy(file, own)
    assert run_command_line(["import", str(file), "--out", str(out)]) == 0
    assert own.read_bytes() == file.read_bytes()
