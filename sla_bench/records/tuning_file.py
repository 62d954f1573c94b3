"""The trials of `tune` and what was chosen: results/<scenario>/tuning.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sla_bench.errors import UserError, mistake_of
from sla_bench.grids.tuning import RATES, SHARES, WHOLE, Choice
from sla_bench.records.files import write_text
from sla_bench.records.in_progress import claim


def _matching(*texts: object) -> Any:
    return Field(pattern=f"^({'|'.join(map(str, texts))})$")


class TrialRow(BaseModel):
    """One line of the file.

    Args:
        group: `tuning.group_of` the trainings that the trial serves.
        training: in words; a spreadsheet must not take it for a formula.
        share: of the images of a training.
        factor: of the recipe's learning rate.
        learning_rate: of the trial.
        batch_images: through the network in a step.
        validation_accuracy: 0 to 1; None: the training diverged.
        run_id: of the trial.
        chosen: the group's runs take its rate and batch.
        data_state: hash of all data that the trial's scenario sees.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    group: str = _matching("[0-9a-f]{12}")
    training: str = Field(max_length=1000, pattern=r"^[^=+\-@\p{C}\p{Z}][^\p{C}\p{Zl}\p{Zp}]*$")
    share: str = _matching(*SHARES.values(), WHOLE)
    factor: str = _matching(*RATES)
    learning_rate: float = Field(gt=0)
    batch_images: int = Field(ge=1, lt=10**9)
    validation_accuracy: Annotated[
        Annotated[float, Field(ge=0, le=1)] | None, BeforeValidator(lambda cell: None if cell == "" else cell)
    ]
    run_id: str = _matching("[0-9a-f]{12}")
    chosen: bool
    data_state: str = _matching("[0-9a-f]{16}", "")


COLUMNS = tuple(TrialRow.model_fields)


def parse_trials(content: bytes) -> list[TrialRow]:
    """Read the content of a tuning file.

    Raises:
        UserError: not such a file, a cell is invalid, a trial is there twice, or a group has more than one
            choice or a choice that diverged.
    """
    try:
        heading, *lines = csv.reader(io.StringIO(content.decode(), newline="")) if content else [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(str(error)) from None
    if tuple(heading) != COLUMNS:
        raise UserError(
            f"other columns than {', '.join(COLUMNS)}; if it is of a version that tuned no batches, move it "
            "away and tune again"
        )
    rows = [_parsed(number, cells) for number, cells in enumerate(lines, 2)]
    tried, chosen = set(), set()
    for row in rows:
        group = row.group, row.data_state
        trial = *group, row.share, row.factor, row.batch_images
        if trial in tried:
            raise UserError(f"group {row.group}: a trial that is there twice")
        if row.chosen and (group in chosen or row.validation_accuracy is None):
            raise UserError(f"group {row.group}: more than one trial is chosen, or one that diverged")
        tried.add(trial)
        chosen |= {group} if row.chosen else set()
    return rows


def _parsed(number: int, cells: list[str]) -> TrialRow:
    if len(cells) != len(COLUMNS):
        raise UserError(f"line {number}: {len(cells)} cells, not {len(COLUMNS)}")
    try:
        return TrialRow.model_validate(dict(zip(COLUMNS, cells, strict=True)))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"line {number}: {first['loc'][0]}: {mistake_of(first)}") from None


class TuningFile:
    """The trials of one scenario.

    Args:
        folder: `results/<scenario>`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tuning.csv"

    def read(self) -> list[TrialRow]:
        """All trials; none where there is no file.

        Raises:
            UserError: as `parse_trials`.
        """
        if not self.path.exists():
            return []
        try:
            return parse_trials(self.path.read_bytes())
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None

    def choices(self, states: Collection[str]) -> dict[str, Choice]:
        """Group -> the learning rate and the batch that were chosen.

        Args:
            states: of the data; choices on others are left out.
        """
        chosen = [row for row in self.read() if row.chosen and row.data_state in states]
        return {row.group: Choice(row.learning_rate, row.batch_images) for row in chosen}

    def accuracies(self) -> dict[tuple[str, str], float | None]:
        """(group, run id of a trial) -> its validation accuracy, 0 to 1; None: it diverged."""
        return {(row.group, row.run_id): row.validation_accuracy for row in self.read()}

    def add(self, rows: Sequence[TrialRow]) -> None:
        """Write the trials of groups of which nothing is known yet; skip those of others.

        Raises:
            UserError: no permission, or the disk is full.
        """
        known = {(row.group, row.data_state) for row in self.read()}
        if new := [row for row in rows if (row.group, row.data_state) not in known]:
            self.put(new)

    def put(self, rows: Sequence[TrialRow]) -> None:
        """Write the trials of some groups in the place of what was known of these groups on the same data.

        Raises:
            UserError: no permission, or the disk is full.
        """
        replaced = {(row.group, row.data_state) for row in rows}
        with claim(self.path.with_name(".tuning.lock"), wait=True):
            kept = [row for row in self.read() if (row.group, row.data_state) not in replaced]
            text = io.StringIO()
            lines = csv.writer(text, lineterminator="\n")
            lines.writerow(COLUMNS)
            lines.writerows([cell for _, cell in row] for row in (*kept, *rows))
            write_text(self.path, text.getvalue())
