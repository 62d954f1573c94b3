"""Downloads by torchvision, which knows addresses and checksums of the small public data sets."""

from __future__ import annotations

from pathlib import Path

from sla_bench.errors import UserError


def download(dataset: str, data_root: Path, url: str, folder: str) -> None:
    """Fetch a data set of `torchvision.datasets` below the data root, with its checksum compared.

    Args:
        dataset: name of the class in `torchvision.datasets`.
        data_root: the folder below which files lie.
        url: where a person can get it, for the message.
        folder: where below the data root its files belong, for the message.

    Raises:
        UserError: no network, folder not writable, disk full, or another file than expected came.
    """
    import torchvision

    try:
        getattr(torchvision.datasets, dataset)(root=str(data_root), download=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(
            f"could not download {dataset} ({error}); fetch {url} yourself and put its files into "
            f"{data_root / folder}"
        ) from None
