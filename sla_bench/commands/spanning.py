"""Commands over a grid: one subcommand per scenario with its options, or a grid file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from sla_bench.commands.options import NO_EXECUTION, Execution, Settings
from sla_bench.grid import Task, form_of, options_model, span
from sla_bench.registry import SCENARIOS

Act = Callable[[list[Task], str, Execution, bool], int]
"""What is done with tasks of a scenario, how they are executed, and whether a hint at the controls helps."""


def add_grids(app: App, act: Act) -> None:
    """Let a command take the options of any scenario, or a grid file."""
    for name in SCENARIOS:
        _add_scenario(app, name, act)
    _add_file(app, act)


def _add_scenario(app: App, name: str, act: Act) -> None:
    form = form_of(name)
    options_type = options_model(form)
    no_options = options_type()

    def of_scenario(
        *,
        options: Any = no_options,
        execution: Execution = NO_EXECUTION,
        controls: bool = False,
        set_: list[str] | None = None,
    ) -> int:
        values: dict[str, Any] = options.model_dump()
        if controls:
            values["method"] = [*values["method"], "controls"]
        return act(span(form, values, set_ or []), name, execution, not controls)

    of_scenario.__doc__ = f"""{SCENARIOS[name].summary}

    Parameters
    ----------
    controls: bool
        Add the controls to the methods: is it SLA, or more of something?
    """
    # The type of the options is made at run time, so the signature can't name it.
    of_scenario.__annotations__ = {
        "options": Annotated[options_type, Parameter(name="*")],
        "execution": Annotated[Execution, Parameter(name="*")],
        "controls": bool,
        "set_": Settings,
        "return": int,
    }
    app.command(of_scenario, name=name)


def _add_file(app: App, act: Act) -> None:
    def of_file(
        file: Path | None = None,
        *,
        execution: Annotated[Execution, Parameter(name="*")] = NO_EXECUTION,
        yes: bool = False,
    ) -> int:
        from sla_bench.grid_files import tasks_of_file

        if file is None:
            app.help_print()
            return 0
        tasks = tasks_of_file(file, yes, elsewhere=(*Execution.model_fields, "yes"))
        return max(act(of_one, scenario, execution, False) for scenario, of_one in tasks.items())

    of_file.__doc__ = f"""{app.help}

    Parameters
    ----------
    file: Path
        A grid file, see docs/grids.md; or one of the scenarios below with its options.
    yes: bool
        Don't ask before a grid of more than 10,000 runs.
    """
    app.default(of_file)
