"""Tasks become jobs: run ids, recorded runs, and the work."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sla_bench.config import Acceleration, EvalConfig, RunConfig
from sla_bench.data.base import By, Dataset, Split
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.grids.asked import asked_of
from sla_bench.grids.tasks import Task
from sla_bench.records.data_states import state_of_parts
from sla_bench.records.environment import give_back_memory
from sla_bench.records.files import remove_temporaries
from sla_bench.records.in_progress import Stop, Way, claim, keep_way, way_of_checkpoints
from sla_bench.records.record_files import kept_weights
from sla_bench.records.store import Store
from sla_bench.registry import SCENARIOS

if TYPE_CHECKING:
    import torch

    from sla_bench.scenarios.base import Training
    from sla_bench.training.loop import Progress


@dataclass(frozen=True)
class Job:
    """One training with the evaluations that are wanted of it, and where everything lies.

    Args:
        run_id: hash of config, protocol version and training data.
        run: the training.
        evaluations: eval_id (hash of config, protocol version and test data) -> the evaluation.
        training_data_hash: of the training data; `data_hash` in done.json.
        test_data_hash: of the test data; `data_hash` in metrics.json.
        data_root: where the data lie.
        out: the results folder.
        device: "auto", "cpu", "cuda", ...
        keep_models: whether the weights are written.
        checkpoint_seconds: between checkpoints of the training; 0 writes one at each step.
        data_state: hash of all data that training and test see, the same for all seeds.
        other_tests: eval_id -> hash of the test data and state, of evaluations on another data set.
        threads: of the processor; the last bits of a result depend on them, the run's id does not.
        acceleration: how the backbone is run in training; the same holds.
    """

    run_id: str
    run: RunConfig
    evaluations: dict[str, EvalConfig]
    training_data_hash: str
    test_data_hash: str
    data_root: Path
    out: Path
    device: str
    keep_models: bool = True
    checkpoint_seconds: float = 60.0
    data_state: str = ""
    threads: int = 1
    acceleration: Acceleration = "eager"
    other_tests: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def tested(self, eval_id: str) -> tuple[str, str]:
        """Hash of the test data of an evaluation, and the state of all data that it depends on."""
        return self.other_tests.get(eval_id, (self.test_data_hash, self.data_state))

    @property
    def store(self) -> Store:
        """The records of the job's scenario."""
        return Store(self.out, self.run.scenario)

    def is_recorded(self, store: Store | None = None) -> bool:
        """Nothing is left to do.

        Args:
            store: of the records, for whoever asks about many jobs; default: as they are now.
        """
        return (store or self.store).has_run(self.run_id) and not self.open_evaluations(store)

    def open_evaluations(self, store: Store | None = None) -> dict[str, EvalConfig]:
        """The evaluations that are not recorded yet; `store` as above."""
        known = store or self.store
        return {e: c for e, c in self.evaluations.items() if not known.has_evaluation(self.run_id, e)}


class Fingerprints:
    """Hashes of data splits, each computed once."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self._known: dict[tuple[str, Split, By, int], str] = {}
        self._datasets: dict[str, Dataset] = {}

    def of(self, dataset: str, split: Split, by: By, split_seed: int) -> str:
        """Return the hash of one split.

        Args:
            dataset: its name.
            split: part of it.
            by: what is divided; images are divided alike for all seeds.
            split_seed: chooses the split of classes, where the data set has no fixed one.

        Raises:
            UserError: the files are missing or damaged.
        """
        loaded = self._datasets.get(dataset) or dataset_named(dataset).pinned()
        self._datasets[dataset] = loaded
        seed = split_seed if by == "classes" and loaded.split_depends_on_seed else 0
        key = (dataset, split, by, seed)
        if key not in self._known:
            self._known[key] = loaded.checksum(split, by, self.data_root, split_seed=seed)
        return self._known[key]

    def of_training(self, dataset: str, scenario: str, seed: int) -> str:
        """Return the hash of all splits that a training of a scenario sees; raises as `of`."""
        entry = SCENARIOS[scenario]
        seen = "".join(self.of(dataset, split, entry.by, seed) for split in entry.training_splits)
        return hashlib.sha256(seen.encode()).hexdigest()[:16]

    def of_state(self, dataset: str, scenario: str, test_dataset: str | None = None) -> str:
        """Return the hash of all data that training and test of a scenario see; raises as `of`.

        A seed may choose which of them is in which split. Seed 0 stands for all: its splits change with any
        image, label or class name.
        """
        test = self.of(test_dataset or dataset, "test", SCENARIOS[scenario].by, 0)
        return state_of_parts(self.of_training(dataset, scenario, 0), test)


def make_jobs(tasks: Iterable[Task], data_root: Path, out: Path, device: str, **further: Any) -> list[Job]:
    """Read the data's hashes and name every run.

    Args:
        tasks: what to do.
        data_root: as the next two and `further`, a field of each job.
        out: the results folder.
        device: where to compute.
        **further: fields that have a default.

    Returns:
        Jobs sorted by seed, then in the order of the tasks: a stopped grid leaves complete seeds, and all
        methods of a seed run on the same kind of processor.

    Raises:
        UserError: data files are missing or damaged.
    """
    prints = Fingerprints(data_root)
    jobs = []
    for task in sorted(tasks, key=lambda task: task.run.seed):
        name, seed, scenario = task.run.dataset, task.run.seed, task.run.scenario
        training_data = prints.of_training(name, scenario, seed)
        test_data = prints.of(name, "test", SCENARIOS[scenario].by, seed)
        evaluations, other_tests = {}, {}
        for evaluation in task.evaluations:
            other = evaluation.tested_elsewhere
            data = test_data if other is None else prints.of(other, "test", SCENARIOS[scenario].by, seed)
            eval_id = evaluation.digest(data=data)
            evaluations[eval_id] = evaluation
            if other is not None:
                other_tests[eval_id] = data, prints.of_state(name, scenario, other)
        run_id = task.run.digest(data=training_data)
        jobs.append(
            Job(
                run_id,
                task.run,
                evaluations,
                training_data,
                test_data,
                data_root,
                out,
                device,
                data_state=prints.of_state(name, scenario),
                other_tests=other_tests,
                **further,
            )
        )
    return jobs


def delete_spent_checkpoints(jobs: Iterable[Job]) -> None:
    """Delete checkpoints of recorded jobs, which serve nothing; those of the others stay.

    A process that was killed after the last file of its record has left them.
    """
    for job in jobs:
        checkpoints = job.store.checkpoint_folder(job.run_id)
        if checkpoints.exists() and job.is_recorded():
            shutil.rmtree(checkpoints, ignore_errors=True)


def perform(job: Job, progress: Progress, scenario: Any = None, stop: Stop | None = None) -> None:
    """Train unless recorded, from the last checkpoint on, then add the missing evaluations.

    Args:
        job: what to do.
        progress: told each step.
        scenario: has `run` and `evaluate`; by default the job's own.
        stop: can be asked for meanwhile.

    Raises:
        RunClaimedError: another process works on this run.
        StoppedError: it was asked to stop; a training has left a checkpoint.
        UserError: an error that the user can fix.
    """
    with claim(job.store.lock_file(job.run_id)):
        # What another process has done since the job was made is not done again.
        if not job.is_recorded():
            remove_temporaries(job.store.run_folder(job.run_id))
            _perform(job, progress, scenario or SCENARIOS.load(job.run.scenario), stop or Stop())


def _perform(job: Job, progress: Progress, scenario: Any, stop: Stop) -> None:
    import torch

    from sla_bench.models.weights import read_weights, weights_bytes
    from sla_bench.records.checkpoints import FileCheckpoints
    from sla_bench.scenarios.base import Shared

    store, folder = job.store, job.store.checkpoint_folder(job.run_id)
    # Since the job was planned, another command may have begun the training.
    way = way_of_checkpoints(folder) or Way(threads=job.threads, acceleration=job.acceleration)
    job = replace(job, threads=way.threads, acceleration=way.acceleration)
    torch.set_num_threads(job.threads)
    device = pick_device(job.device)
    checkpoints = FileCheckpoints(folder, job.checkpoint_seconds, stop)
    environment = _environment(job, device)
    training = None
    if store.has_run(job.run_id):
        weights = kept_weights(store.run_folder(job.run_id))
        try:
            state = read_weights(weights)
        except UserError as error:
            raise UserError(f"{error}; delete {weights.parent} to train it again") from None
    else:
        _check_data(job)
        keep_way(folder, way)
        training = scenario.run(job.run, job.data_root, device, progress, checkpoints, job.acceleration)
        state = training.state
        give_back_memory()

    def progress_of_test(phase: str, done: int, total: int, note: str = "") -> None:
        stop.check()
        progress(phase, done, total, note)

    # The record of a run without weights comes last: nothing could be evaluated after it.
    if training is not None and job.keep_models:
        _record(job, training, weights_bytes(state), environment)
    shared = Shared()
    for eval_id, evaluation in job.open_evaluations().items():
        _check_data(job)
        result = scenario.evaluate(
            job.run, evaluation, state, job.data_root, device, progress_of_test, shared
        )
        store.write_evaluation(
            job.run_id,
            eval_id,
            evaluation,
            result.metrics,
            result.samples,
            *job.tested(eval_id),
            asked_of(job.run, evaluation),
        )
    if training is not None and not job.keep_models:
        _record(job, training, None, environment)
    checkpoints.remove()


def _check_data(job: Job) -> None:
    """Refuse data that were changed since the job was made: their record would tell the state of before.

    Raises:
        UserError: so it is.
    """
    run, prints = job.run, Fingerprints(job.data_root)
    by, used = SCENARIOS[run.scenario].by, {run.dataset: job.test_data_hash}
    for eval_id, (data, _) in job.other_tests.items():
        used[job.evaluations[eval_id].tested_elsewhere or run.dataset] = data
    for name, test_data in used.items():
        if not (dataset := dataset_named(name)).changeable:
            continue
        same = prints.of(name, "test", by, run.seed) == test_data
        if name == run.dataset:
            training = prints.of_training(name, run.scenario, run.seed)
            same = same and training == job.training_data_hash
        if not same:
            raise UserError(
                f"{dataset.where(job.data_root)} has changed since this command began; give the same command "
                "again, and it runs on the data as they are now"
            )


def _environment(job: Job, device: torch.device) -> dict[str, Any]:
    """What the training is done with, which images its data lack, and what is unusual with the others."""
    from sla_bench.records.environment import describe

    found = {**describe(job.threads, str(device)), "acceleration": job.acceleration}
    dataset = dataset_named(job.run.dataset)
    found |= dataset.findings(job.data_root, SCENARIOS[job.run.scenario].by)
    left_out = {
        part: {"count": len(images), "images": images}
        for part, images in dataset.left_out(job.data_root).items()
    }
    if not_used := {**left_out, **dataset.not_used()}:
        found["images_left_out"] = not_used
    return found


def _record(job: Job, training: Training, weights: bytes | None, environment: dict[str, Any]) -> None:
    hashes = {"data_hash": job.training_data_hash, "data_state": job.data_state}
    summary = {
        **training.summary,
        **hashes,
        "threads": job.threads,
        "asked": asked_of(job.run).model_dump(mode="json"),
    }
    if "pixel_range" in environment:
        # New images are scaled like those of the training.
        summary["pixel_range"] = environment["pixel_range"]
    job.store.write_run(job.run_id, job.run, weights, training.history, environment, summary)


def pick_device(name: str) -> torch.device:
    """Return the torch device; "auto" takes a GPU where there is one.

    Raises:
        UserError: no such device, or it is not there.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name!r}: write auto, cpu, cuda or cuda:0") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: no GPU is available here; use --device cpu")
    if device.type == "cuda":
        # Asking for no memory: whoever only checks must not take a GPU's.
        if (device.index or 0) >= (count := torch.cuda.device_count()):
            raise UserError(f"--device {name}: this machine has {count} GPUs, the last is cuda:{count - 1}")
        return device
    try:
        torch.zeros(1, device=device).item()
    except (AssertionError, RuntimeError):
        raise UserError(f"--device {name}: torch can't compute on it here; use --device cpu") from None
    return device
