"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from sla_bench.data.named import default_data_root
from sla_bench.records.launch_options import Launch


class Data(BaseModel):
    """Where data lie."""

    model_config = ConfigDict(frozen=True)
    data_root: Path = Field(
        default_factory=default_data_root,
        description="data files; default: $SLA_BENCH_DATA or datasets/",
    )


class Results(BaseModel):
    """Where results lie."""

    model_config = ConfigDict(frozen=True)
    out: Path = Field(Path("results"), description="records, leaderboard, plots")


class Tables(Results):
    """Where results lie, and where tables go."""

    tables: Path | None = Field(
        None, description="folder for leaderboard, plots and report; default: --out, beside the records"
    )


class Folders(Data, Tables):
    """Where things lie."""


class Execution(Folders, Launch):
    """How runs are executed; it changes no result."""

    dry_run: bool = Field(False, description="only list the runs and which are recorded")


class TrainingExecution(Execution):
    """How trainings are executed; it changes no result."""

    keep_models: Literal["all", "none"] = Field(
        "all", description="none: weights are not written, and runs can't be evaluated again"
    )
    checkpoint_every: float = Field(
        60.0, ge=0, description="seconds between checkpoints, from which a killed run goes on"
    )


Settings = Annotated[list[str] | None, Parameter(name="--set", help="key=value: any field of the config")]
NO_EXECUTION = Execution()
NO_FOLDERS = Folders()
NO_DATA = Data()
NO_RESULTS = Results()
NO_TABLES = Tables()
