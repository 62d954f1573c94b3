"""The records: one folder per training, evaluations below it; without torch."""

# results/<scenario>/runs/<run_id>/  config.json history.csv model.safetensors environment.json done.json
# .../evaluations/<eval_id>/         config.json samples.npz metrics.json
# .../analyses/<eval_id>/            the same for an analysis of that evaluation (analyses.py)
#
# `done.json` and `metrics.json` are written last: without them the record does not exist.

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sla_bench.config import EvalConfig, RunConfig
from sla_bench.grids.asked import Asked, asked_of, check_recipe
from sla_bench.grids.tasks import form_of
from sla_bench.records.data_states import on_data, settled, state_of_parts
from sla_bench.records.files import json_bytes, write_together
from sla_bench.records.forked import on_all_cores
from sla_bench.records.record_cache import RecordCache, no_search_for_cycles
from sla_bench.records.record_files import (
    UNFINISHED,
    UNREADABLE,
    WEIGHTS,
    Unreadable,
    checked_samples,
    content_of,
    is_current,
    is_of_newer_version,
    names_in,
    read_evaluation,
    read_mapping,
    read_training,
    recorded_asked,
    samples_bytes,
    signature_of,
)

_WORTH_A_PROCESS = 500  # records


@dataclass(frozen=True)
class EvaluationRecord:
    """One evaluation on disk.

    `told`: what was asked for, as recorded; None in records of earlier versions. `state`: hash of all data
    that training and test saw, see `data_states`. `written`: seconds since 1970.
    """

    folder: Path
    run: RunConfig
    config: EvalConfig
    metrics: dict[str, dict[str, Any]]
    data_hash: str
    protocol: int
    told: Asked | None = None
    state: str = ""
    state_is_recorded: bool = False
    written: float = 0.0

    @cached_property
    def asked(self) -> Asked:
        """Setting, recipe and departures; raises as `asked_of` where the record does not tell them."""
        return self.told or asked_of(self.run, self.config)

    @property
    def data(self) -> str:
        """The data set, as in "cifar_fs on omniglot" where the test is on another than the training."""
        return on_data(self.run.dataset, self.config.tested_elsewhere)

    @cached_property
    def rows(self) -> list[str]:
        """The rows that tables show."""
        shown = (row for row, metrics in self.metrics.items() if metrics.get("shown", True))
        return [row for row in shown if row not in self.asked.hidden]

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """The arrays of samples.npz."""
        return checked_samples((self.folder / "samples.npz").read_bytes())


def evaluation_record(
    run: RunConfig, folder: Path, content: Mapping[str, Any], training_data: str | None = None
) -> EvaluationRecord:
    """The record of an evaluation.

    Args:
        run: the training.
        folder: of the record.
        content: of its files, as from `read_evaluation`; "changed": the time of a file that tells none.
        training_data: hash of the training's data; None: unknown.

    Raises:
        ValidationError: its config is invalid.
    """
    metrics = content["metrics"]
    state = metrics.get("data_state")
    return EvaluationRecord(
        folder,
        run,
        form_of(run.scenario).evaluation.model_validate(content["config"]),
        dict(metrics["rows"]),
        metrics["data_hash"],
        metrics["protocol"],
        recorded_asked(metrics),
        str(state or state_of_parts(training_data, metrics["data_hash"])),
        state is not None,
        float(metrics.get("recorded_at", content.get("changed", 0.0))),
    )


@dataclass(frozen=True)
class RunRecord:
    """One training on disk with its evaluations.

    `signature` changes when one of its files does. `tuned`: it is read as one of the trainings whose learning
    rate was chosen on validation data; the same training can also stand as that of the recipe.
    """

    run_id: str
    folder: Path
    config: RunConfig
    done: dict[str, Any]
    evaluations: tuple[EvaluationRecord, ...]
    signature: str = ""
    tuned: bool = False

    @cached_property
    def asked(self) -> Asked:
        """The same with the test of the budget; raises as `asked_of` where the record does not tell it."""
        return recorded_asked(self.done) or asked_of(self.config)

    @property
    def history(self) -> pd.DataFrame:
        """One row per validation."""
        return pd.read_csv(self.folder / "history.csv")

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware of the training; empty if environment.json can't be read."""
        try:
            return read_mapping(self.folder / "environment.json")
        except (OSError, ValueError):
            return {}

    @property
    def history_rows(self) -> list[dict[str, str]]:
        """The same as texts: a data frame of a few rows costs more than the rest of a table's row."""
        with (self.folder / "history.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @cached_property
    def updates(self) -> tuple[int, ...]:
        """Updates of the optimiser, of each member."""
        return tuple({row["member"]: int(row["step"]) for row in self.history_rows}.values())


class Store:
    """The records of one scenario below a results folder.

    Args:
        root: `results/`.
        scenario: its name.
        tables: where tables and plots are written, `<scenario>/` below it; None: beside the records.
        seen: data set -> the state of its data that tables have to show; else they show the newest.
    """

    def __init__(
        self, root: Path, scenario: str, tables: Path | None = None, seen: Mapping[str, str] | None = None
    ) -> None:
        self.root, self.scenario = root, scenario
        self.folder = root / scenario
        self.tables, self.seen = (tables or root) / scenario, dict(seen or {})

    @property
    def cache_file(self) -> Path:
        """What was read from the records; can be deleted at any time."""
        return self.folder / "cache.sqlite"

    def run_folder(self, run_id: str) -> Path:
        """Where a training lies or will lie."""
        return self.folder / "runs" / run_id

    def lock_file(self, run_id: str) -> Path:
        """Held by the process that works on a run."""
        return self.run_folder(run_id) / ".lock"

    def checkpoint_folder(self, run_id: str) -> Path:
        """What an unfinished training goes on from."""
        return self.run_folder(run_id) / "checkpoints"

    def evaluation_folder(self, run_id: str, eval_id: str) -> Path:
        """Where an evaluation lies or will lie."""
        return self.run_folder(run_id) / "evaluations" / eval_id

    def has_run(self, run_id: str) -> bool:
        """The training is finished, and its record can be read."""
        return is_current(self.run_folder(run_id), "done", read_training, form_of(self.scenario).run)

    def has_evaluation(self, run_id: str, eval_id: str) -> bool:
        """The evaluation is finished, and its record can be read."""
        folder = self.evaluation_folder(run_id, eval_id)
        return is_current(folder, "metrics", read_evaluation, form_of(self.scenario).evaluation)

    def write_run(
        self,
        run_id: str,
        config: RunConfig,
        model: bytes | None,
        history: list[dict[str, float]],
        environment: dict[str, Any],
        summary: dict[str, Any],
    ) -> None:
        """Write a finished training; done.json comes last.

        Args:
            run_id: its name.
            config: what was trained.
            model: the weights in safetensors format; None keeps none.
            history: one row per checkpoint.
            environment: what it was trained with.
            summary: goes to done.json.

        Raises:
            UserError: no permission, or the disk is full.
        """
        files = {
            "config.json": json_bytes(config.model_dump(mode="json")),
            "history.csv": pd.DataFrame(history).to_csv(index=False).encode(),
            **({} if model is None else {WEIGHTS: model}),
            "environment.json": json_bytes(environment),
            "done.json": json_bytes({**summary, "protocol": config.protocol}),
        }
        write_together(self.run_folder(run_id), files)

    def write_evaluation(
        self,
        run_id: str,
        eval_id: str,
        config: EvalConfig,
        metrics: dict[str, dict[str, Any]],
        samples: dict[str, np.ndarray],
        data_hash: str,
        state: str = "",
        asked: Asked | None = None,
    ) -> None:
        """Write a finished evaluation; metrics.json comes last.

        Args:
            run_id: of the training.
            eval_id: its name.
            config: the test.
            metrics: row -> metric -> value.
            samples: arrays from which the metrics can be computed again.
            data_hash: of the test data.
            state: hash of all data that training and test saw; "": it follows from the hashes of both.
            asked: what was asked for; None: it follows from both configs.

        Raises:
            UserError: no permission, or the disk is full.
        """
        about = {
            "rows": metrics,
            "data_hash": data_hash,
            **({"data_state": state} if state else {}),
            **({"asked": asked.model_dump(mode="json")} if asked else {}),
            "recorded_at": time.time(),
            "protocol": config.protocol,
        }
        files = {
            "config.json": json_bytes(config.model_dump(mode="json")),
            "samples.npz": samples_bytes(samples),
            "metrics.json": json_bytes(about),
        }
        write_together(self.evaluation_folder(run_id, eval_id), files)

    def snapshot(self, seen: Mapping[str, str] | None = None) -> Snapshot:
        """The store as it is now, for a command that reads its records more than once.

        Args:
            seen: as of the store; None: that of this one.
        """
        return Snapshot(self.root, self.scenario, self.tables.parent, self.seen if seen is None else seen)

    def records(self) -> list[RunRecord]:
        """The finished trainings, in the order of their ids.

        A folder that is unfinished is left out; `unreadable` lists those that are finished and can't be read.
        """
        return self._read()[0]

    def unreadable(self) -> list[Unreadable]:
        """Finished trainings and evaluations that can't be read, with the reason."""
        return self._read()[1]

    @no_search_for_cycles()
    def _read(self) -> tuple[list[RunRecord], list[Unreadable]]:
        cache = RecordCache(self.cache_file)
        known, finished = cache.load("record"), list(self._finished())
        new = [(f, s) for f, s in finished if s is not None and known.get(f.name, ("",))[0] != s]
        read = on_all_cores(content_of, [folder for folder, _ in new], each=_WORTH_A_PROCESS)
        fresh = {folder.name: content for (folder, _), content in zip(new, read, strict=True)}
        records: list[RunRecord] = []
        unreadable: list[Unreadable] = []
        changed, seen = {}, set()
        for folder, signature in finished:
            content = fresh[folder.name] if folder.name in fresh else known.get(folder.name, ("", False))[1]
            if signature is None or isinstance(content, bool):
                unreadable.append(Unreadable(folder, newer=bool(content)))
                continue
            try:
                record, bad = self._record(folder, json.loads(content.decode()), signature)
            except UNREADABLE as error:
                unreadable.append(Unreadable(folder, is_of_newer_version(error)))
                continue
            records.append(record)
            unreadable += bad
            seen.add(folder.name)
            if folder.name in fresh:
                changed[folder.name] = signature, content
        cache.update("record", changed, gone=known.keys() - seen)
        return settled(records), unreadable

    def _finished(self) -> Iterator[tuple[Path, str | None]]:
        """Folders of finished trainings with their signatures; None where the file system fails."""
        runs = self.folder / "runs"
        for name in names_in(str(runs)):
            try:
                signature = signature_of(f"{runs}/{name}")
            except OSError:
                signature = None
            if signature != UNFINISHED:
                yield runs / name, signature

    def _record(
        self, folder: Path, content: dict[str, Any], signature: str
    ) -> tuple[RunRecord, list[Unreadable]]:
        done = content["done"]
        config = form_of(self.scenario).run.model_validate(content["config"])
        if "asked" not in done:
            check_recipe(config)
        evaluations, unreadable = [], []
        for eval_id, found in content["evaluations"].items():
            place = folder.joinpath("evaluations", eval_id)
            if found is None:
                unreadable.append(Unreadable(place, newer=False))
                continue
            try:
                evaluations.append(evaluation_record(config, place, found, done.get("data_hash")))
            except UNREADABLE as error:
                unreadable.append(Unreadable(place, is_of_newer_version(error)))
        return RunRecord(folder.name, folder, config, done, tuple(evaluations), signature), unreadable


class Snapshot(Store):
    """A store whose records are read when they are first asked for, and not again."""

    def snapshot(self, seen: Mapping[str, str] | None = None) -> Snapshot:
        """This one, or another with the same records that shows other states of the data."""
        if seen is None or seen == self.seen:
            return self
        other = Snapshot(self.root, self.scenario, self.tables.parent, seen)
        other.__dict__["_contents"] = self._contents
        return other

    @cached_property
    def _contents(self) -> tuple[list[RunRecord], list[Unreadable]]:
        return super()._read()

    def _read(self) -> tuple[list[RunRecord], list[Unreadable]]:
        return self._contents

    @cached_property
    def _done(self) -> dict[str, set[str]]:
        """Ids of the runs of this version's protocol -> ids of their evaluations."""
        return {
            r.run_id: {e.folder.name for e in r.evaluations if e.protocol == e.config.protocol}
            for r in self.records()
            if r.done["protocol"] == r.config.protocol
        }

    def has_run(self, run_id: str) -> bool:
        """As of a store; its files are not looked at again."""
        return run_id in self._done

    def has_evaluation(self, run_id: str, eval_id: str) -> bool:
        """As of a store; its files are not looked at again."""
        return eval_id in self._done.get(run_id, ())
