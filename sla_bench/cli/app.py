"""The command line: all commands, errors and mistyped commands in one line."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)
from pydantic import ValidationError

from sla_bench.cli import records
from sla_bench.cli.advise import advise
from sla_bench.cli.analyse import analyse
from sla_bench.cli.check_piece import check_piece
from sla_bench.cli.datasets import datasets_app
from sla_bench.cli.predict import predict
from sla_bench.cli.run import evaluate, run_app
from sla_bench.cli.runs import runs_app
from sla_bench.cli.tune import tune_app
from sla_bench.errors import UserError, as_user_error, nearest
from sla_bench.fields import SetOnly, fields_with
from sla_bench.grids.tasks import form_of, options_model
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.form import LENGTHS, field_called
from sla_bench.words import forgive_characters, words_from_home

_SUBCOMMANDS = {
    "runs": ("show", "compare", "prune"),
    "datasets": ("info", "prepare", "verify", "clear"),
    "run": tuple(SCENARIOS),
    "tune": tuple(SCENARIOS),
}


def sentence_for(error: CycloptsError) -> str:
    """The line for a command that could not be understood."""
    chain = list(error.command_chain or ())
    if isinstance(error.__cause__, ValidationError):
        return str(as_user_error(error.__cause__))
    if isinstance(error, UnknownOptionError):
        return _unknown_option(error, chain) or str(error)
    if isinstance(error, UnusedCliTokensError):
        return _left_over(error, chain) or str(error)
    if isinstance(error, MissingArgumentError) and chain:
        return _missing(error, chain) or str(error)
    return str(error)


def _unknown_option(error: UnknownOptionError, chain: Sequence[str]) -> str | None:
    written = error.token.keyword or error.token.value
    option, _, value = written.partition("=")
    name = option.lstrip("-").replace("-", "_").lower()
    if chain and chain[-1] in SCENARIOS:
        others = [n for n in SCENARIOS if name in options_model(form_of(n)).model_fields]
        if others and chain[-1] not in others:
            return f"{option} is an option of {' and '.join(others)}, not of {chain[-1]}"
        return _set_only(chain[-1], option, name, value or _following(error, option))
    if chain and chain[0] in ("run", "tune"):
        options = {name for scenario in SCENARIOS for name in form_of(scenario).run.model_fields}
        if name in options | {"controls", "shots", "ways"}:
            return (
                f"{option} is an option of a scenario: write {chain[0]} SCENARIO {option} ..., with one of "
                f"{', '.join(SCENARIOS)}; a grid file has it as the key {name}:"
            )
    return None


def _set_only(scenario: str, option: str, name: str, value: str) -> str | None:
    """`--epochs 5` means `--set epochs=5`."""
    form = form_of(scenario)
    fields = {*fields_with(form.run, SetOnly), *fields_with(form.evaluation, SetOnly)}
    fields = {field for field in fields if not field.endswith("_options")}
    meant = name if name in fields else field_called(name, fields)
    if meant is None:
        return None
    if {name, meant} <= LENGTHS and name != meant:
        value = ""
    return f"unknown option {option}; write --set {meant}={value or 'VALUE'}"


def _following(error: CycloptsError, option: str) -> str:
    """The word after an option, where it is a value."""
    words = list(error.root_input_tokens or ())
    joined = next((word for word in words if word.startswith(f"{option}=")), "")
    if joined or option not in words[:-1]:
        return joined.partition("=")[2]
    value = words[words.index(option) + 1]
    return "" if value.startswith("--") else value


def _left_over(error: UnusedCliTokensError, chain: Sequence[str]) -> str | None:
    first = (error.unused_tokens or [""])[0]
    words = list(error.root_input_tokens or ())
    known = _SUBCOMMANDS.get(chain[0], ()) if len(chain) == 1 else ()
    asked = words[1] if len(words) > 1 and words[:1] == chain else first
    if known and not asked.startswith("-") and asked not in (*known, *SCENARIOS):
        return f"unknown command {' '.join([*chain, asked])!r}; {nearest(asked, known)}"
    place = words.index(first) if first in words else 0
    options = [word for word in words[:place] if word.startswith("--")]
    if options and "=" not in options[-1] and words[place - 1] != options[-1]:
        return f"{first!r} is one value too many: {options[-1]} takes one"
    return f"{first!r} is not expected here; python -m sla_bench {' '.join(chain)} --help lists the options"


def _missing(error: MissingArgumentError, chain: Sequence[str]) -> str | None:
    command = " ".join(chain)
    name = error.argument.name.lstrip("-") if error.argument is not None else ""
    if name in ("run-id", "first", "second"):
        return f"{command} needs the id of a run; python -m sla_bench runs lists them"
    if command.startswith("datasets") and name == "name":
        return f"{command} needs the name of a data set; python -m sla_bench datasets lists them"
    return None


app = App(
    name="sla-bench",
    help="How much does self-supervised label augmentation (SLA) gain over a baseline?",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    help_format="plaintext",
    default_parameter=Parameter(
        negative=(),
        show_default=lambda value: ", ".join(map(str, value)) if isinstance(value, list) else value,
    ),
)
for _app in (run_app, tune_app, runs_app, datasets_app):
    app.command(_app)
for _command in (evaluate, analyse, predict, advise, check_piece):
    app.command(_command)
for _of_records in (records.leaderboard, records.plot, records.report, records.export):
    app.command(_of_records)
app.command(records.import_, name="import")
app.register_install_completion_command(add_to_startup=False)


class Terminated(BaseException):
    """SIGTERM arrived."""


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 (bug, piece that fails), 2 (to fix), 130, 141, 143."""
    _refuse_workers()
    signal.signal(signal.SIGTERM, _terminate)
    forgive_characters()
    words = words_from_home(arguments)
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        # A flush that fails when Python ends shows a traceback.
        print(end="", flush=True)
        return int(result or 0)
    except CycloptsError as error:
        return _say(sentence_for(error), 2)
    except ValidationError as error:
        return _say(str(as_user_error(error)), 2)
    except UserError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return _say("interrupted; finished runs are kept, the same command resumes", 130)
    except Terminated:
        return _say("terminated; finished runs are kept, the same command resumes", 143)
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as error:
        # rich ends in this way when a pipe is closed.
        if isinstance(error.__context__, BrokenPipeError):
            return _nobody_reads()
        raise


def _refuse_workers() -> None:
    """End a worker that runs its parent's script again from the top.

    Raises:
        SystemExit: the script starts commands without a main guard.
    """
    # multiprocessing's own mark, which its check for the same mistake reads.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(
            "sla-bench: a worker runs this script again from the top; put what the script does below "
            "if __name__ == '__main__':"
        )


def _terminate(signum: int, frame: FrameType | None) -> None:
    # Batch schedulers send SIGTERM to each process of the group, and repeat it: only the first one counts.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _nobody_reads() -> int:
    """Return the exit code of a closed pipe and discard the rest of the output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _say(message: str, code: int) -> int:
    print("sla-bench: " + " ".join(message.split()), file=sys.stderr)
    return code
