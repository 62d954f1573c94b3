"""Images per second of trainings in processes of their own."""

from __future__ import annotations

import math
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.rows import Row
from benchmarks.gpu.settings import Speed
from sla_bench.config import StandardRun
from sla_bench.data.base import LabeledImages
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import Classes
from sla_bench.records.environment import has_bf16_instructions, let_workers_keep_memory
from sla_bench.records.gpus import Place, shared_places, usable_core_numbers
from sla_bench.scenarios.classify.classifier import build_classifier, train_classifier
from sla_bench.views.augment import ImageBatches

_IMAGES, _CLASSES = 10_000, 100
_WARM_UP = 5
"""Steps before the clock starts."""
_PREPARATION_SECONDS = 120.0
_STEPS = 10**6


class _TimeIsUpError(Exception):
    pass


def images_per_second(setting: Speed, device: str, seconds: float) -> Row:
    """Time the training steps of a setting; processes start together once all are prepared.

    Args:
        setting: backbone, batch, processes, and how the backbone is run.
        device: where to compute.
        seconds: how long to count steps.
    """
    context = multiprocessing.get_context("spawn")
    cores = usable_core_numbers() if device.startswith("cuda") else []
    let_workers_keep_memory()
    pipes, processes = [], []
    for place in shared_places([device], setting.processes, cores):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, setting, place, seconds), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    row = Row("speed", setting.name, "images per second")
    try:
        prepared = [_received(pipe, _PREPARATION_SECONDS) for pipe in pipes]
        for pipe in pipes:
            pipe.send("go")
        rates = [_received(pipe, 2 * seconds + 30) for pipe in pipes]
    except (EOFError, OSError, TimeoutError) as error:
        return Row(row.part, row.name, row.quantity, note=f"failed: {error or type(error).__name__}")
    finally:
        for process in processes:
            process.kill()
            process.join()
    return Row(row.part, row.name, row.quantity, sum(rates), seconds=max(prepared))


def _received(pipe: Connection, seconds: float) -> float:
    if not pipe.poll(seconds):
        raise TimeoutError(f"nothing came in {seconds:.0f} s")
    found = pipe.recv()
    if isinstance(found, str):
        raise OSError(found)
    return float(found)


def _serve(pipe: Connection, setting: Speed, place: Place, seconds: float) -> None:
    """Send the seconds of the preparation, wait for a word, send the rate; or send what went wrong."""
    place.take()
    torch.set_num_threads(1)
    try:
        clock = _Clock(pipe, torch.device(place.device or "cpu"), setting.batch, seconds)
        _train(setting, clock)
    except _TimeIsUpError:
        pass
    except Exception as error:  # noqa: BLE001 - the other settings are timed after any error
        pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


class _Clock:
    """Progress of a training that counts images per second."""

    def __init__(self, pipe: Connection, device: torch.device, batch: int, seconds: float) -> None:
        self._pipe, self.device, self._batch, self._seconds = pipe, device, batch, seconds
        self._created, self._started = time.perf_counter(), math.nan

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        if done < _WARM_UP:
            return
        now = time.perf_counter()
        if done == _WARM_UP:
            self._wait()
            self._pipe.send(time.perf_counter() - self._created)
            self._pipe.recv()
            self._started = time.perf_counter()
        elif now - self._started >= self._seconds:
            self._wait()
            passed = time.perf_counter() - self._started
            self._pipe.send((done - _WARM_UP) * self._batch / passed)
            raise _TimeIsUpError

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _train(setting: Speed, clock: _Clock) -> None:
    dataset = dataset_named("cifar100")
    size = dataset.properties.size
    pixels = np.random.default_rng(0).integers(0, 256, (_IMAGES, size, size, 3), dtype=np.uint8)
    images = LabeledImages(pixels, np.arange(_IMAGES) % _CLASSES, tuple(map(str, range(_CLASSES))))
    fast = clock.device.type == "cuda" or has_bf16_instructions()
    values: dict[str, Any] = {"precision": "bf16" if fast else "fp32", "batch_size": setting.batch}
    config = StandardRun(
        dataset="cifar100", backbone=setting.backbone, method="baseline", optimizer="sgd", **values
    )
    data = Subset(images, np.arange(_IMAGES))
    classes = Classes(torch.from_numpy(data.counts), CrossEntropy)
    model = build_classifier(config, dataset, classes, "rotation", 0).to(clock.device)
    batches = ImageBatches(images, dataset.properties, clock.device)
    train_classifier(config, model, data, batches, _STEPS, 0, progress=clock, acceleration=setting.how)
