"""One line for a mistyped command: what is wrong, and what was most likely meant."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import CycloptsError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError
from pydantic import ValidationError

from sla_bench.config import SetOnly, fields_with
from sla_bench.errors import as_user_error, nearest
from sla_bench.grids.tasks import form_of, options_model
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.form import LENGTHS, field_called

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
    return f"{first!r} is not expected here; python -m sla_bench {' '.join(chain)} --help lists what is"


def _missing(error: MissingArgumentError, chain: Sequence[str]) -> str | None:
    command = " ".join(chain)
    name = error.argument.name.lstrip("-") if error.argument is not None else ""
    if name in ("run-id", "first", "second"):
        return f"{command} needs the id of a run; python -m sla_bench runs lists them"
    if command.startswith("datasets") and name == "name":
        return f"{command} needs the name of a data set; python -m sla_bench datasets lists them"
    return None
