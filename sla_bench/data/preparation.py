"""How a data set is prepared: by how many processes, and what becomes of images that can't be read."""

from __future__ import annotations

from dataclasses import dataclass

from sla_bench.errors import UserError


@dataclass(frozen=True)
class Preparation:
    """How images are decoded; the pixels are the same for any number of workers.

    Args:
        workers: threads; None: one per core.
        skip_bad: images that can't be decoded are left out and noted; else the first one stops the
            preparation.

    Raises:
        UserError: fewer than one worker.
    """

    workers: int | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers must be at least 1, got {self.workers}")

    def refuse_skip_bad(self, what: str) -> None:
        """Refuse `skip_bad` where there are no image files.

        Raises:
            UserError: it is set.
        """
        if self.skip_bad:
            raise UserError(f"{what} has no image files that could be bad: leave out --skip-bad")


IN_THREADS = Preparation()
