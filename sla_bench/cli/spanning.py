"""Commands over a grid: a subcommand per scenario, or a grid file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from sla_bench.cli.options import Settings, TrainingExecution
from sla_bench.errors import UserError
from sla_bench.grids.settings import DATA
from sla_bench.grids.tasks import Task, form_of, options_model, span
from sla_bench.registry import SCENARIOS
from sla_bench.words import print_lines

SEVERAL_VALUES = Parameter(consume_multiple=(1, sys.maxsize))
"""Options that repeat take several values at once, too: `--seed 0 1 2`."""
Prepare = Callable[[list[Task], str, Any], Callable[[], int]]
"""Checks tasks of a scenario, and returns a function that does them and returns the exit code.

Arguments: the tasks, the scenario, and their execution.
"""


def add_grids(
    app: App, prepare: Prepare, execution_type: type[TrainingExecution] = TrainingExecution
) -> None:
    """Let a command take the options of any scenario, or a grid file.

    Args:
        app: of the command.
        prepare: checks the tasks.
        execution_type: the options of the execution.
    """
    for name in SCENARIOS:
        _add_scenario(app, name, prepare, execution_type)
    _add_file(app, prepare, execution_type)


def _add_scenario(app: App, name: str, prepare: Prepare, execution_type: type[TrainingExecution]) -> None:
    form = form_of(name)
    options_type = options_model(form)
    no_options, no_execution = options_type(), execution_type()

    def of_scenario(
        *,
        options: Any = no_options,
        execution: Any = no_execution,
        controls: bool = False,
        min_images: int | None = None,
        set_: list[str] | None = None,
    ) -> int:
        values: dict[str, Any] = options.model_dump()
        if controls:
            values["method"] = [*values["method"], "controls"]
        settings = [*(set_ or []), *([] if min_images is None else [f"{DATA}.min_images={min_images}"])]
        tasks = span(form, values, settings)
        announce(tasks, execution.data_root)
        return prepare(tasks, name, execution)()

    of_scenario.__doc__ = f"""{SCENARIOS[name].summary}

    Parameters
    ----------
    controls: bool
        Add the controls to the methods: is it SLA, or just more images, views and ways?
    min_images: int
        Leave out classes of folder:PATH with fewer images.
    """
    # The options' type is built at run time, so the signature can't name it.
    of_scenario.__annotations__ = {
        "options": Annotated[options_type, Parameter(name="*")],
        "execution": Annotated[execution_type, Parameter(name="*")],
        "controls": bool,
        "min_images": int | None,
        "set_": Settings,
        "return": int,
    }
    app.command(of_scenario, name=name)


def _add_file(app: App, prepare: Prepare, execution_type: type[TrainingExecution]) -> None:
    no_execution = execution_type()

    def of_file(
        file: Path | None = None,
        *,
        execution: Any = no_execution,
        yes: bool = False,
        allow_dirty: bool = False,
    ) -> int:
        from sla_bench.grids.files import open_grid_file
        from sla_bench.records.environment import check_committed

        if file is None:
            app.help_print()
            return 0
        grids = open_grid_file(file, yes, elsewhere=(*execution_type.model_fields, "yes", "allow_dirty"))
        tasks = grids.tasks()
        if grids.committed_code and not (allow_dirty or execution.dry_run):
            check_committed(file)
        announce([task for of_one in tasks.values() for task in of_one], execution.data_root)
        # Errors of the last scenario come before the first has trained for hours.
        prepared = {name: prepare(of_one, name, execution) for name, of_one in tasks.items()}
        return max(_exit_code(scenario, do) for scenario, do in prepared.items())

    of_file.__doc__ = f"""{app.help}

    Parameters
    ----------
    file: Path
        A grid file (docs/running.md), or a scenario below with its options.
    yes: bool
        Don't ask before a grid of more than 10,000 runs.
    allow_dirty: bool
        Run a grid with `committed_code: true` even if this code has local changes or an unknown commit.
    """
    of_file.__annotations__ = {
        "file": Path | None,
        "execution": Annotated[execution_type, Parameter(name="*")],
        "yes": bool,
        "allow_dirty": bool,
        "return": int,
    }
    app.default(of_file)


def announce(tasks: Sequence[Task], data_root: Path) -> None:
    """Print the layout found in the data to stderr, and refuse data that cannot serve the tasks.

    Raises:
        UserError: as `sla_bench.records.readiness.check_data`.
    """
    from sla_bench.records.readiness import check_data

    print_lines(check_data(tasks, data_root), file=sys.stderr)


def _exit_code(scenario: str, do: Callable[[], int]) -> int:
    """Do the tasks of a scenario; an error does not stop the other scenarios of a file."""
    try:
        return do()
    except UserError as error:
        print(f"{scenario}: {error}", file=sys.stderr)
        return 2
