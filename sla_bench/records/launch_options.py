"""Options of executing runs, read by every launcher."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sla_bench.errors import UserError
from sla_bench.records.cores import usable_cores
from sla_bench.registry import LAUNCHERS


class Launch(BaseModel):
    """Where the runs are executed, how many at a time and on what; it changes no result.

    Raises:
        UserError: unknown launcher, or options that contradict each other.
    """

    model_config = ConfigDict(frozen=True)
    launcher: str = Field("local", description="local: processes of this machine; ray: a Ray cluster")
    workers: int | None = Field(
        None,
        ge=1,
        description="runs at a time; default: cores // threads, with ray as many as the cluster holds",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of each run; default: one, or more where the whole then ends earlier, "
        "$OMP_NUM_THREADS at most. They round in other orders: the last bits of a result depend on them",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    time_limit: float | None = Field(
        None,
        gt=0,
        description="seconds for each run; a run that takes longer is stopped, and the others finish",
    )
    ray_address: str | None = Field(
        None,
        description="HOST:PORT of a Ray cluster, or auto; default: $RAY_ADDRESS, else one is started here",
    )
    gpus_per_run: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of a GPU, so that several runs share one; default: 1 on a GPU, else 0",
    )
    compile: bool = Field(
        False, description="compile the backbone; where no compiler is, runs say so and continue without"
    )
    capture: bool = Field(
        False, description="replay the backbone's steps as CUDA graphs: an NVIDIA GPU, batches of one shape"
    )

    @model_validator(mode="after")
    def _agree(self) -> Launch:
        LAUNCHERS.check(self.launcher)
        if not self.elsewhere and (self.threads or 1) > (cores := usable_cores()):
            raise UserError(
                f"--threads {self.threads}: this process may use {cores} cores; take at most {cores}"
            )
        if self.compile and self.capture:
            raise UserError("--compile and --capture: a run has one of them; leave the other out")
        if self.capture and self.device not in ("auto", "cuda") and not self.device.startswith("cuda:"):
            raise UserError(f"--capture with --device {self.device}: CUDA graphs need an NVIDIA GPU")
        if self.launcher == "ray":
            self._check_ray()
        else:
            self._check_local()
        return self

    def _check_local(self) -> None:
        if self.ray_address is not None:
            raise UserError("--ray-address needs --launcher ray")
        if self.gpus_per_run == 0:
            raise UserError("--gpus-per-run 0: a share of a GPU is above 0; leave the option out")
        if self.device == "cpu" and self.gpus_per_run:
            raise UserError(f"--gpus-per-run {self.gpus_per_run:g}: --device cpu leaves the GPU idle")

    def _check_ray(self) -> None:
        if self.device.startswith("cuda:"):
            raise UserError(f"--device {self.device}: Ray chooses the GPU of each run; use --device cuda")
        if self.device == "cuda" and not self.gpus:
            raise UserError("--device cuda with --gpus-per-run 0: a run on a GPU takes a share above 0")
        if self.device == "cpu" and self.gpus:
            raise UserError(f"--gpus-per-run {self.gpus:g} with --device cpu: the GPU would be idle")

    @property
    def elsewhere(self) -> bool:
        """The runs are done by a cluster that was not started here, on machines of unknown size."""
        return self.launcher == "ray" and bool(self.ray_address or os.environ.get("RAY_ADDRESS"))

    @property
    def gpus(self) -> float:
        """The share of a GPU that a run takes on a Ray cluster, 0 to 1."""
        if self.gpus_per_run is not None:
            return self.gpus_per_run
        return 1.0 if self.device == "cuda" else 0.0
