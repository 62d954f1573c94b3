import hashlib
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from spanned import tasks_of

from sla_bench.errors import UserError
from sla_bench.records.checkpoints import FileCheckpoints


def content(step):
    return {"step": step, "weights": torch.full((3,), float(step)), "rows": [{"a": 1.5}], "none": None}


@pytest.fixture
def checkpoints(tmp_path):
    return FileCheckpoints(tmp_path / "checkpoints", seconds=0)


def with_sum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest() + payload


def test_the_newest_is_read_and_two_are_kept(checkpoints):
    assert checkpoints.load() is None
    for step in (1, 2, 1000):
        checkpoints.save(step, content(step))
    loaded = checkpoints.load()
    assert loaded["step"] == 1000
    assert torch.equal(loaded["weights"], torch.full((3,), 1000.0))
    assert loaded["rows"] == [{"a": 1.5}]
    assert len(list(checkpoints.folder.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other format", "pickle", "no archive"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(checkpoints, damage):
    checkpoints.save(1, content(1))
    checkpoints.save(2, content(2))
    newest = max(checkpoints.folder.iterdir())
    raw = newest.read_bytes()
    if damage == "cut":
        newest.write_bytes(raw[: len(raw) // 2])
    elif damage == "empty":
        newest.write_bytes(b"")
    elif damage == "flipped":
        newest.write_bytes(raw[:100] + bytes([raw[100] ^ 1]) + raw[101:])
    else:
        buffer = io.BytesIO()
        if damage == "other format":
            torch.save({"format": -1, **content(2)}, buffer)
        elif damage == "pickle":
            torch.save({"format": 1, "code": time.sleep}, buffer)
        newest.write_bytes(with_sum(buffer.getvalue()))
    assert checkpoints.load()["step"] == 1


def test_members_have_folders_of_their_own_and_all_are_removed(checkpoints):
    checkpoints.member(0).save(1, content(1))
    assert checkpoints.member(1).load() is None
    assert checkpoints.member(0).load()["step"] == 1
    checkpoints.remove()
    assert not checkpoints.folder.exists()


def test_it_is_due_after_so_many_seconds(tmp_path):
    assert FileCheckpoints(tmp_path, seconds=0).due()
    slow = FileCheckpoints(tmp_path, seconds=0.05)
    assert not slow.due()
    time.sleep(0.06)
    assert slow.due()
    slow.save(1, content(1))
    assert not slow.due()


class Call:
    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


def hostile(canary):
    """Contents that would make the folder `canary` if they were called, and others that are no tensors."""
    return [
        Call(os.mkdir, canary),
        {"format": 1, "step": 2, "x": Call(os.mkdir, canary)},
        {"format": 1, "step": 2, "x": torch.nn.Linear(2, 2)},
        {"format": 1, "step": 2, "x": np.arange(3)},
        {"format": 1, "step": 2, "x": Path(canary)},
        [1, 2],
    ]


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_but_tensors_and_plain_types_is_loaded(which, zipped, checkpoints, tmp_path):
    checkpoints.save(1, content(1))
    buffer = io.BytesIO()
    torch.save(hostile(str(tmp_path / "canary"))[which], buffer, _use_new_zipfile_serialization=zipped)
    (checkpoints.folder / "step-000000002.pt").write_bytes(with_sum(buffer.getvalue()))
    assert checkpoints.load()["step"] == 1
    assert not (tmp_path / "canary").exists()


class Kept:
    def __init__(self, content):
        self.content = content

    def load(self):
        return self.content


@pytest.mark.parametrize(
    "kept", [{}, {"step": 1}, {"step": 1, "best": 0.0, "since_validation": [None]}, "other model"]
)
def test_a_checkpoint_of_another_training_is_refused_with_the_reason(kept):
    from torch import nn

    from sla_bench.training.loop import _Loop, build_optimizer, train

    (task,) = tasks_of("standard", dataset=["cifar10"], method=["baseline"])
    if kept == "other model":
        other = nn.Linear(5, 5)
        kept = _Loop(other, build_optimizer(list(other.parameters()), task.run), {}).content()
    with pytest.raises(UserError, match=r"the checkpoint is that of another training .*delete the folder"):
        train(nn.Linear(2, 2), lambda done: None, None, task.run, 10, checkpoints=Kept(kept))
