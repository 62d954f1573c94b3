"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from sla_bench.data.named import default_data_root
from sla_bench.records.launch_options import Launch


class Data(BaseModel):
    """The folder of the data."""

    model_config = ConfigDict(frozen=True)
    data_root: Path = Field(
        default_factory=default_data_root,
        description="data files; default: $SLA_BENCH_DATA or datasets/",
    )


class Results(BaseModel):
    """The folder of the results."""

    model_config = ConfigDict(frozen=True)
    out: Path = Field(Path("results"), description="records, leaderboard, plots")


class Tables(Results):
    """The folders of results and tables."""

    tables: Path | None = Field(
        None, description="folder for leaderboard, plots and report; default: --out, beside the records"
    )


class Folders(Data, Tables):
    """The folders of data, results and tables."""


class Execution(Folders, Launch):
    """Execution of runs; changes no result."""

    dry_run: bool = Field(
        False, description="only list the runs, recorded ones marked, and estimate the time"
    )


class TrainingExecution(Execution):
    """Execution of trainings; changes no result."""

    keep_models: Literal["all", "none"] = Field(
        "all", description="none: weights are not kept, and runs can't be evaluated again"
    )
    checkpoint_every: float = Field(
        60.0, ge=0, description="seconds between checkpoints, from which a killed run resumes"
    )


Settings = Annotated[list[str] | None, Parameter(name="--set", help="key=value: any field of the config")]
NO_EXECUTION = Execution()
NO_FOLDERS = Folders()
NO_DATA = Data()
NO_RESULTS = Results()
NO_TABLES = Tables()
