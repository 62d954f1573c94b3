"""Places on GPUs that this machine does not have, and what is said where they are missing."""

import sys
from contextlib import closing
from types import SimpleNamespace

import pytest
import torch
from tiny_jobs import tiny_jobs, workers

from sla_bench.errors import UserError
from sla_bench.records import gpus, local_launcher
from sla_bench.records.gpus import Place, acceleration_of, places_of, shared_places, uses_gpus
from sla_bench.records.launch_options import Launch
from sla_bench.records.local_launcher import launch
from sla_bench.records.planning import Room, room_of


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(gpus, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(gpus, "pick_device", lambda name: torch.device("cuda" if name == "auto" else name))
    monkeypatch.setattr(gpus, "usable_core_numbers", lambda: list(range(8)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ({}, ["cuda:0", "cuda:1"]),
        ({"device": "cuda"}, ["cuda:0", "cuda:1"]),
        ({"device": "cuda:1"}, ["cuda:1"]),
        ({"device": "cpu"}, []),
        ({"workers": 3}, ["cuda:0", "cuda:1", "cuda:0"]),
        ({"gpus_per_run": 0.5}, ["cuda:0", "cuda:1"] * 2),
        ({"gpus_per_run": 1 / 3, "device": "cuda:0"}, ["cuda:0"] * 3),
        ({"gpus_per_run": 0.25, "workers": 2}, ["cuda:0", "cuda:1"]),
    ],
)
def test_each_run_has_a_place_on_a_gpu_and_cores_of_its_own(given, devices, two_gpus):
    places = places_of(Launch(**given))
    assert [place.device for place in places] == devices
    assert len(set(places)) == len(places)
    cores = [core for place in places for core in place.cores]
    assert sorted(cores) == (list(range(8)) if places else [])
    assert room_of(Launch(**given), places).runs == (len(devices) or room_of(Launch(**given)).runs)


def test_cores_are_shared_where_there_are_too_few_and_left_alone_where_they_cannot_be_bound():
    assert [p.cores for p in shared_places(["cuda:0"], 3, [4, 5])] == [(4,), (5,), (4,)]
    assert [p.cores for p in shared_places(["cuda:0"], 2, [])] == [(), ()]


def test_without_a_gpu_a_share_is_refused_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "has_gpu_driver", lambda: False)
    assert not uses_gpus(Launch())
    assert places_of(Launch()) == []
    with pytest.raises(UserError, match=r"--gpus-per-run 0.25: no NVIDIA GPU here; leave the option out"):
        next(launch(tiny_jobs(tmp_path / "data", tmp_path / "out"), Launch(gpus_per_run=0.25)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gpus_per_run": 0.0}, "a share of a GPU is above 0"),
        ({"gpus_per_run": 0.5, "device": "cpu"}, "leaves the GPU idle"),
        ({"compile": True, "capture": True}, "a run has one of them"),
        ({"capture": True, "device": "cpu"}, "CUDA graphs need an NVIDIA GPU"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        Launch(**given)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bind no processes")
def test_workers_are_bound_to_their_cores_and_get_their_device(tmp_path, monkeypatch):
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", seeds=(0, 1))
    (core,) = gpus.usable_core_numbers()[:1]
    places = [Place(0, "cpu", (core,)), Place(1, "cpu", (core,))]
    monkeypatch.setattr(local_launcher, "places_of", lambda settings: places)
    monkeypatch.setattr(local_launcher, "room_of", lambda settings, places: Room(2, 2))
    with closing(launch(jobs, Launch())) as all_news:
        happened = [next(all_news)]
        while happened[-1].kind != "progress":
            happened.append(next(all_news))
        bound = {tuple(worker.cpu_affinity()) for worker in workers()}
    assert (core,) in bound
    assert happened[-1].job.device == "cpu"
    assert happened[0].job.device == "auto"


def test_where_no_compiler_is_runs_say_so_and_go_on_without(monkeypatch):
    monkeypatch.setattr(gpus, "has_gpu_driver", lambda: False)
    monkeypatch.delenv("CXX", raising=False)
    which = {"g++": "/usr/bin/g++"}
    monkeypatch.setattr(gpus, "shutil", SimpleNamespace(which=which.get))
    assert acceleration_of(Launch(compile=True)) == ("compiled", "")
    assert acceleration_of(Launch()) == ("eager", "")
    assert acceleration_of(Launch(capture=True)) == ("captured", "")
    which.clear()
    how, sentence = acceleration_of(Launch(compile=True))
    assert how == "eager"
    assert sentence.startswith(
        "--compile: a C++ compiler (g++ or clang++, or what $CXX names) not found here"
    )
    monkeypatch.setenv("CXX", "/opt/c++")
    which["/opt/c++"] = "/opt/c++"
    assert acceleration_of(Launch(compile=True)) == ("compiled", "")
    monkeypatch.setattr(gpus.importlib.util, "find_spec", lambda name: None)
    assert "triton not found" in acceleration_of(Launch(compile=True, device="cuda"))[1]
