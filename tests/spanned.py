"""Tasks as a command spans them."""

from sla_bench.grids.tasks import form_of, options_model, span


def tasks_of(scenario, settings=(), **given):
    """The tasks of a scenario's options, the others at their defaults, and of `--set`."""
    form = form_of(scenario)
    return span(form, options_model(form)(**given).model_dump(), settings)


def runs_of(scenario, settings=(), **given):
    """The trainings of these tasks."""
    return [task.run for task in tasks_of(scenario, settings, **given)]
