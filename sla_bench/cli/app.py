"""The command line: commands put together, errors in one line."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from sla_bench.cli import records
from sla_bench.cli.analyse import analyse
from sla_bench.cli.datasets import datasets_app
from sla_bench.cli.mistakes import sentence_for
from sla_bench.cli.predict import predict
from sla_bench.cli.run import evaluate, run_app
from sla_bench.cli.runs import runs_app
from sla_bench.cli.tune import tune_app
from sla_bench.errors import UserError, as_user_error
from sla_bench.paths import words_from_home
from sla_bench.streams import forgive_characters

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
for _command in (evaluate, analyse, predict):
    app.command(_command)
for _of_records in (records.leaderboard, records.plot, records.report, records.export):
    app.command(_of_records)
app.command(records.import_, name="import")
app.register_install_completion_command(add_to_startup=False)


class Terminated(BaseException):
    """SIGTERM arrived."""


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 (a bug), 2 (to be mended), 130, 141 or 143."""
    _refuse_workers()
    signal.signal(signal.SIGTERM, _terminate)
    forgive_characters()
    words = words_from_home(arguments)
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        # What is flushed when Python ends can fail with a traceback only.
        print(end="", flush=True)
        return int(result or 0)
    except CycloptsError as error:
        return _say(sentence_for(error), 2)
    except ValidationError as error:
        return _say(str(as_user_error(error)), 2)
    except UserError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return _say("interrupted; finished runs are kept, the same command goes on", 130)
    except Terminated:
        return _say("terminated; finished runs are kept, the same command goes on", 143)
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as error:
        # So rich leaves where a pipe is closed.
        if isinstance(error.__context__, BrokenPipeError):
            return _nobody_reads()
        raise


def _refuse_workers() -> None:
    """End a worker that runs its parent's script again from the top.

    Raises:
        SystemExit: the script starts commands without a main guard.
    """
    # multiprocessing's own mark, by which it refuses the same.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(
            "sla-bench: a worker runs this script again from the top; put what the script does below "
            "if __name__ == '__main__':"
        )


def _terminate(signum: int, frame: FrameType | None) -> None:
    # Batch schedulers send it to each process of the group, and again: what follows must not be cut short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _nobody_reads() -> int:
    """Leave as the system's own commands do; what is still to be written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _say(message: str, code: int) -> int:
    print("sla-bench: " + " ".join(message.split()), file=sys.stderr)
    return code
