"""Which keys a grid file may have for a scenario, and which values they take."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from sla_bench.config import Axis, OptionValue, as_user_error
from sla_bench.errors import UserError
from sla_bench.forms.base import Form
from sla_bench.grid import (
    DATA,
    PIECES,
    REGISTRIES,
    budget_of,
    expand_methods,
    has,
    options_model,
    place_settings,
)
from sla_bench.value_lists import written_out


class Vocabulary:
    """The words of one scenario.

    Args:
        form: of the scenario.
    """

    def __init__(self, form: Form) -> None:
        self.form = form
        self.fields: dict[str, FieldInfo] = {**form.evaluation.model_fields, **form.run.model_fields}
        model = options_model(form)
        self.options = tuple(model.model_fields)
        self._types: dict[str, TypeAdapter[Any]] = {}
        self.defaults: dict[str, Any] = model().model_dump()

    def is_axis(self, name: str) -> bool:
        """The option takes a list wherever it is given."""
        return name in self.options and has(self.fields[name], Axis)

    def is_setting(self, name: str) -> bool:
        """It is a field without an option of its own, or an option of a piece (`learner.C`)."""
        piece, dot, _ = name.partition(".")
        return piece in (*PIECES, DATA) if dot else name in self.fields and name not in self.options

    def check_setting(self, name: str) -> None:
        """Refuse what can't stand below `set:`.

        Raises:
            UserError: no such field, or an axis, which has a key of its own.
        """
        if self.is_axis(name):
            raise UserError(f"{name} stands beside set:, not below it")
        try:
            place_settings(self.form, [(name, None)])
        except UserError as error:
            raise UserError(str(error).removeprefix("--set ")) from None

    def written_out(self, name: str, value: Any) -> list[Any]:
        """Write out a text that stands for several values of an axis: `0..4`, `0,1,2`.

        Raises:
            UserError: it is not a range.
        """
        if not self.is_axis(name) or not isinstance(value, str):
            return [value]
        try:
            return [self._typed(name, one) for one in written_out(self._kind(name), [value])]
        except ValueError as error:
            raise UserError(str(error)) from None

    def _kind(self, name: str) -> type:
        kind = self.fields[name].annotation
        return next((k for k in (int, float) if kind is k or k in get_args(kind)), str)

    def _typed(self, name: str, value: Any) -> Any:
        """A number that was written in a text; what is none is refused where values are checked."""
        try:
            return self._kind(name)(value)
        except ValueError:
            return value

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that the field can't have, whatever the others are.

        Args:
            name: an option, a field or `piece.option`; the latter is checked when the piece is known.
            value: one value, no list of them.

        Raises:
            UserError: an unknown name, a wrong type or a number out of range; the sentence does not name the
                field.
        """
        if "." in name:
            if not isinstance(value, OptionValue):
                raise UserError("a number, a text, true or false is wanted")
            return
        info = self.fields[name]
        if isinstance(value, dict) and get_origin(info.annotation) is not dict:
            raise UserError("one value is wanted, not a mapping")
        if name not in self._types:
            kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
            self._types[name] = TypeAdapter(kind)
        try:
            self._types[name].validate_python(value, strict=True)
        except ValidationError as error:
            raise UserError(str(as_user_error(error)).removeprefix("--").lstrip(": ")) from None
        if name == "method":
            expand_methods(self.form.scenario, [value])
        elif name in REGISTRIES:
            REGISTRIES[name].check(value)
        elif name == "budget":
            budget_of(self.form, value, self.fields["dataset"].default)
