import os
import subprocess
import sys

import pytest
from tiny_jobs import tiny_jobs

from sla_bench.cli.app import run_command_line
from sla_bench.errors import UserError
from sla_bench.records import cores
from sla_bench.records.cores import thread_limits, usable_cores
from sla_bench.records.launch_options import Launch
from sla_bench.registry import LAUNCHERS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"launcher": "rya"}, "did you mean 'ray'"),
        ({"ray_address": "auto"}, "--ray-address needs --launcher ray"),
        ({"threads": 10_000}, "--threads 10000: this process may use [0-9]+ cores"),
        ({"launcher": "ray", "device": "cuda:1"}, "use --device cuda"),
        ({"launcher": "ray", "device": "cuda", "gpus_per_run": 0.0}, "above 0"),
        ({"launcher": "ray", "device": "cpu", "gpus_per_run": 1.0}, "idle"),
    ],
)
def test_options_that_would_do_nothing_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        Launch(**given)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_share_of_a_gpu_is_a_number(value, capsys):
    assert run_command_line(["run", "fewshot", "--gpus-per-run", value, "--dry-run"]) == 2
    assert capsys.readouterr().err == (
        f"sla-bench: --gpus-per-run {value!r}: input should be a finite number\n"
    )


@pytest.mark.parametrize(
    ("given", "gpus"),
    [
        ({}, 0),
        ({"device": "cuda"}, 1),
        ({"device": "cuda", "gpus_per_run": 0.25}, 0.25),
        ({"gpus_per_run": 0.5}, 0.5),
    ],
)
def test_a_run_reserves_a_gpu_where_it_is_told_to_use_one(given, gpus):
    assert Launch(launcher="ray", **given).gpus == gpus


def test_launchers_of_the_registry_are_there_without_ray():
    code = (
        "import sys\nsys.modules['ray'] = None\nfrom sla_bench.registry import LAUNCHERS\n"
        "assert all(callable(LAUNCHERS.load(name)) for name in LAUNCHERS)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert set(LAUNCHERS) == {"local", "ray"}


@pytest.mark.parametrize(
    ("content", "most"), [("max 100000\n", None), ("200000 100000\n", 2), ("50000 100000\n", 1), ("", None)]
)
def test_the_quota_of_a_container_bounds_the_cores(content, most, tmp_path, monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "_CPU_QUOTA", tmp_path / "cpu.max")
    assert usable_cores() == 8
    (tmp_path / "cpu.max").write_text(content)
    assert usable_cores() == (8 if most is None else most)


def test_threads_are_limited_inside_and_as_before_after(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with thread_limits(2):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("2", "2")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "xpu"])
def test_a_device_that_is_not_there_is_one_line_before_anything_is_started(device, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out")
    with pytest.raises(UserError, match=f"--device {device}: .*use --device cpu"):
        next(LAUNCHERS.load("local")(jobs, Launch(device=device)))
    assert not (tmp_path / "out").exists()
