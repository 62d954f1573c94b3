import hashlib
import io
import time

import pytest
import torch

from sla_bench.harness.checkpoints import FileCheckpoints


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
