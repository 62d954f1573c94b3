"""Features of frozen networks on disk, by image hash."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

_AT_A_TIME = 2048
"""Images whose features are computed before they are written: a stopped command keeps these."""


class FeatureCache:
    """A folder of features of one network, a subfolder per view, which processes may share.

    Each file holds the hashes of some images and their features; it is written whole, and a damaged one is
    deleted. Where the folder can't be written to, nothing is kept.

    Args:
        folder: of the cache of all networks.
        network: whatever features depend on, beside pixels and view: weights and sizes.
    """

    def __init__(self, folder: Path, network: str) -> None:
        self.folder = folder / network

    def rows(self, view: str, hashes: Sequence[bytes], compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the features (n, D) of images; see `KeptFeatures.rows`."""
        known = self._read(self.folder / view, set(hashes))
        places: dict[bytes, int] = {}
        for place, digest in enumerate(hashes):
            if digest not in known:
                places.setdefault(digest, place)
        missing = list(places.items())
        for start in range(0, len(missing), _AT_A_TIME):
            part = missing[start : start + _AT_A_TIME]
            features = compute(torch.tensor([place for _, place in part])).float().cpu()
            self._write(self.folder / view, [digest for digest, _ in part], features)
            known |= zip((digest for digest, _ in part), features, strict=True)
        return torch.stack([known[digest] for digest in hashes])

    def _read(self, folder: Path, wanted: set[bytes]) -> dict[bytes, Tensor]:
        found: dict[bytes, Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(path, "pt") as opened:
                    digests = opened.get_tensor("hashes").numpy()
                    rows = {digest.tobytes(): row for row, digest in enumerate(digests)}
                    if common := wanted & rows.keys() - found.keys():
                        features = opened.get_tensor("features")
                        found |= {digest: features[rows[digest]] for digest in common}
            except (SafetensorError, OSError, ValueError, IndexError, RuntimeError):
                path.unlink(missing_ok=True)
        return found

    def _write(self, folder: Path, hashes: Sequence[bytes], features: Tensor) -> None:
        digests = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1)
        content = save({"hashes": torch.from_numpy(digests.copy()), "features": features.contiguous()})
        path = folder / f"{hashlib.sha256(b''.join(hashes)).hexdigest()[:16]}.safetensors"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except OSError:
            return
