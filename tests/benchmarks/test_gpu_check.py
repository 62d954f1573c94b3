"""The check of a GPU, on a CPU: it resumes, it notices a device that is wrong, and it ends with a picture."""

import math
from dataclasses import replace

import pytest
import torch

from benchmarks.gpu import agreement as agreements
from benchmarks.gpu.agreement import CASES, agreement, distance
from benchmarks.gpu.rows import Row, Rows
from benchmarks.gpu.settings import TWELVE, Speed
from benchmarks.gpu.throughput import images_per_second
from benchmarks.gpu_check import check
from sla_bench.data.glyphs import GLYPHS
from sla_bench.registry import BACKBONES, SCENARIOS

CPU = torch.device("cpu")


@pytest.fixture
def reduced_glyphs(monkeypatch):
    monkeypatch.setattr("sla_bench.data.glyphs.GLYPHS", GLYPHS.reduced(30, 10))


def test_rows_outlive_the_process_and_a_later_one_replaces_an_earlier(tmp_path):
    path = tmp_path / "below" / "rows.csv"
    first = [
        Row("speed", "a", "images per second", 3.5, seconds=1.0),
        Row("speed", "b", "x", note="late, so"),
    ]
    Rows(path).add(first)
    again = Rows(path)
    read = again.all()[0]
    assert (read.name, read.note, read.value, read.seconds) == ("a", "", 3.5, 1.0)
    assert again.has("speed", "a")
    # Tried again.
    assert not again.has("speed", "b")
    again.add([Row("speed", "b", "x", 2.0)])
    assert [row.value for row in Rows(path).all()] == [3.5, 2.0]


@pytest.mark.parametrize(
    ("value", "limit", "fails"),
    [(0.1, 0.2, False), (0.3, 0.2, True), (math.nan, 0.2, True), (9.0, math.nan, False)],
)
def test_a_row_fails_above_its_limit_and_without_a_value(value, limit, fails):
    row = Row("agreement", "a", "weights", value, limit)
    assert row.fails is fails
    assert ("TOO LARGE" in row.words()) is fails


def test_twelve_settings_of_four_backbones_are_listed_once():
    assert len({setting.name for setting in TWELVE}) == len(TWELVE) == 12
    assert {setting.backbone for setting in TWELVE} == {"resnet32-sla", "airbench", "conv4", "resnet12"}
    assert all(setting.backbone in BACKBONES for setting in TWELVE)
    assert {(setting.how, setting.processes) for setting in TWELVE} >= {("eager", 4), ("captured", 4)}


@pytest.mark.slow
def test_a_device_that_is_wrong_is_noticed(tmp_path, monkeypatch, reduced_glyphs):
    name = next(iter(CASES))
    assert [row.value for row in agreement(name, CPU, tmp_path)] == [0, 0, 0]
    load, calls = SCENARIOS.load, []

    class Wrong:
        evaluate = staticmethod(load(CASES[name].scenario).evaluate)

        @staticmethod
        def run(*arguments, **how):
            training = load(CASES[name].scenario).run(*arguments, **how)
            calls.append(training)
            if len(calls) == 2:
                training.history[0]["train_loss"] *= 1.01
                training.state = {
                    n: v * 1.1 if v.is_floating_point() else v for n, v in training.state.items()
                }
            return training

    monkeypatch.setattr(agreements.SCENARIOS, "load", lambda *names: load(*names) if names[1:] else Wrong)
    rows = {row.quantity: row for row in agreement(name, CPU, tmp_path)}
    assert rows["training loss"].fails
    assert rows["weights"].fails
    assert rows["weights"].value == pytest.approx(0.1, rel=0.05)


def test_the_distance_of_weights_is_relative_to_their_size():
    ours = {"a": torch.tensor([3.0, 4.0]), "count": torch.tensor(1)}
    theirs = {"a": torch.tensor([3.0, 4.5]), "count": torch.tensor(2)}
    assert distance(ours, theirs) == pytest.approx(0.1)


@pytest.mark.slow
def test_the_whole_check_on_a_cpu_resumes_and_draws_its_picture(tmp_path, monkeypatch, reduced_glyphs):
    cell = Row("cell", "glyphs20", "accuracy %", 50.0)
    monkeypatch.setattr("benchmarks.gpu_check.train_cells", lambda *arguments: [cell])
    assert check(5, "cpu", tmp_path, tmp_path / "none") == 0
    rows = Rows(tmp_path / "gpu_check.csv").all()
    speeds = [row for row in rows if row.part == "speed"]
    assert len(speeds) == 2
    assert all(row.value > 0 < row.seconds for row in speeds)
    assert {row.quantity for row in rows} == {
        *("training loss", "weights", "predictions", "images per second", "accuracy %")
    }
    assert (tmp_path / "gpu_check.png").stat().st_size > 5000
    monkeypatch.setattr("benchmarks.gpu_check.images_per_second", None)
    monkeypatch.setattr("benchmarks.gpu_check.agreement", None)
    assert check(5, "cpu", tmp_path, tmp_path / "none") == 0


@pytest.mark.slow
def test_a_setting_that_the_device_cannot_do_has_a_note_and_no_value():
    row = images_per_second(replace(Speed("captured", "resnet8"), batch=8), "cpu", 0.1)
    assert math.isnan(row.value)
    assert "CUDA graphs need an NVIDIA GPU" in row.note
