"""`analyse`: trained classifiers, read on every view of their test images."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from sla_bench.cli.options import NO_FOLDERS, Folders
from sla_bench.cli.stores import records_of
from sla_bench.errors import UserError
from sla_bench.registry import SCENARIOS
from sla_bench.words import print_lines


def analyse(
    *run_id: str,
    scenario: str | None = None,
    device: str = "auto",
    folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS,
) -> int:
    """Read trained classifiers on every view of their test images: accuracy, agreement, confusions.

    The analysis is recorded beside the evaluation, printed, drawn, and shown in the report; recorded
    analyses are skipped.

    Parameters
    ----------
    run_id: str
        Names of folders in results/<scenario>/runs/ (the beginning is enough); default: all classifiers
        whose model was kept.
    scenario: str
        Without ids: only this one.
    device: str
        auto, cpu, cuda or cuda:0.
    """
    from sla_bench.records.analyses import analyses_of
    from sla_bench.records.files import check_writable

    records = _chosen(run_id, scenario, folders)
    analyses = analyses_of(records)
    still_open = [analysis for analysis in analyses if not analysis.is_recorded()]
    if len(still_open) < len(analyses):
        print(f"{len(analyses) - len(still_open)} of {len(analyses)} analyses are recorded already")
    for analysis in still_open:
        check_writable(analysis.run.folder)
    claimed, refused = _read(still_open, device, folders) if still_open else ([], {})
    seen = {a.evaluation.data: a.evaluation.state for a in still_open if a.is_recorded()}
    if any(analysis.is_recorded() for analysis in analyses):
        _show([record.run_id for record in records], {r.config.scenario for r in records}, folders, seen)
    for reason, run_ids in refused.items():
        print_lines([f"not analysed, {reason}: {', '.join(run_ids)}"], sys.stderr)
    # The other command may have been an `analyse` that has recorded the run by now.
    left = dict.fromkeys(analysis.run.run_id for analysis in claimed if not analysis.is_recorded())
    if left:
        print(
            f"skipped runs that another command works on: {', '.join(left)}; "
            "repeat this command when the other has ended",
            file=sys.stderr,
        )
    return 2 if left or refused else 0


def _chosen(run_ids: Sequence[str], scenario: str | None, folders: Folders) -> list[Any]:
    if run_ids and scenario is not None:
        raise UserError("name runs, or all of a scenario with --scenario, not both")
    return _named(run_ids, folders) if run_ids else _with_models(scenario, folders)


def _named(run_ids: Sequence[str], folders: Folders) -> list[Any]:
    from sla_bench.records.analyses import check_analysable
    from sla_bench.tables.run_list import find_run

    records = records_of(SCENARIOS, folders.out)
    found = {record.run_id: record for record in (find_run(records, run_id) for run_id in run_ids)}
    for record in found.values():
        check_analysable(record)
    return list(found.values())


def _with_models(scenario: str | None, folders: Folders) -> list[Any]:
    from sla_bench.records.analyses import has_model

    able = [name for name, entry in SCENARIOS.items() if entry.fixed_classes]
    if scenario is not None and SCENARIOS.check(scenario) not in able:
        raise UserError(
            f"--scenario {scenario}: the classes are new in each test episode; use {' or '.join(able)}"
        )
    names = able if scenario is None else [scenario]
    records = records_of(names, folders.out)
    found = [record for record in records if has_model(record) and record.evaluations]
    if not records:
        raise UserError(
            f"no finished runs of {' or '.join(names)} in {folders.out}; "
            f"python -m sla_bench run {names[-1]} --method all makes some"
        )
    if not found:
        raise UserError(
            f"the {len(records)} trainings in {folders.out} have no model: they were recorded with "
            "--keep-models none or imported; delete them to train again, with --keep-models all"
        )
    print(f"{len(found)} of {len(records)} trainings have a model")
    return found


def _read(analyses: Sequence[Any], device: str, folders: Folders) -> tuple[list[Any], dict[str, list[str]]]:
    """Do the analyses.

    Returns:
        Analyses of claimed runs, held elsewhere; reason -> ids of runs with missing or changed data.
    """
    from sla_bench.data.preparation import terminal_progress
    from sla_bench.records.analyses import perform_analysis
    from sla_bench.records.in_progress import RunClaimedError
    from sla_bench.records.jobs import Fingerprints, pick_device
    from sla_bench.tables.terminal import label

    chosen, prints = pick_device(device), Fingerprints(folders.data_root)
    claimed = []
    refused: dict[str, list[str]] = {}
    for place, analysis in enumerate(analyses, 1):
        views = analysis.evaluation.config.transform
        what = f"{place} of {len(analyses)}: {label(analysis.run.config)}, views of {views}"
        with terminal_progress(what) as progress:

            def show(phase: str, done: int, total: int, note: str = "", tell: Any = progress) -> None:
                del phase, note
                tell(done, total)

            try:
                perform_analysis(analysis, folders.data_root, chosen, prints, show)
            except RunClaimedError:
                claimed.append(analysis)
            except UserError as error:
                refused.setdefault(str(error), []).append(analysis.run.run_id)
    return claimed, refused


def _show(run_ids: Sequence[str], scenarios: set[str], folders: Folders, seen: Mapping[str, str]) -> None:
    from sla_bench.records.store import Store
    from sla_bench.tables.files import write_learning_curves, write_view_plots
    from sla_bench.tables.row_cache import shown_records
    from sla_bench.tables.terminal import print_views
    from sla_bench.tables.view_results import view_settings

    stores = [
        Store(folders.out, name, folders.tables, seen).snapshot() for name in SCENARIOS if name in scenarios
    ]
    chosen = [record for store in stores for record in shown_records(store) if record.run_id in run_ids]
    print_views(view_settings(chosen))
    for store in stores:
        paths = [*write_view_plots(store), *write_learning_curves(store)]
        print(f"{store.tables}/: {', '.join(path.name for path in paths if path.suffix == '.png')}")
