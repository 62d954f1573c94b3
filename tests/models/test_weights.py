import pickle
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from spanned import tasks_of
from torch import nn
from trained_runs import random_run

from sla_bench.errors import UserError
from sla_bench.models.weights import put_weights, read_weights, weights_bytes
from sla_bench.records.classifiers import MOST_CLASSES, load_classifier

STATE = {"members.0.a.weight": torch.arange(6.0).view(2, 3), "members.1.n": torch.tensor(3)}


def header(text, content=b""):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw + content


def described(shape="[2]", offsets="[0, 8]", dtype="F32", name="members.0.a"):
    return f'{{"{name}": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}'


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(weights_bytes({**STATE, "members.0.t": STATE["members.0.a.weight"].T}))
    found = read_weights(path)
    assert list(found) == sorted(found)
    assert torch.equal(found["members.0.a.weight"], STATE["members.0.a.weight"])
    assert torch.equal(found["members.0.t"], STATE["members.0.a.weight"].T)
    assert found["members.1.n"].item() == 3


def test_the_same_weights_are_the_same_bytes():
    # Notes that are written in a random order differ sooner or later.
    assert len({weights_bytes(STATE) for _ in range(20)}) == 1


def test_files_of_before_there_were_notes_are_read(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    assert set(read_weights(tmp_path / "model.safetensors")) == set(STATE)


def torch_file(tmp_path, **options):
    torch.save(STATE, tmp_path / "x", **options)
    return (tmp_path / "x").read_bytes()


BAD = {
    "of torch.save": (torch_file, "can hold code; only safetensors are read"),
    "a pickle": (lambda _: pickle.dumps(print), "is damaged or not a safetensors file"),
    "another program's": (
        lambda _: save(STATE, {"format": "pt"}), r"made by another program than sla-bench \(its notes: .*pt"
    ),
    "a later format": (lambda _: save(STATE, {"format": "sla-bench 2"}), "is of format '2'"),
    "another model's": (lambda _: save({"conv1.weight": torch.ones(1)}), "a tensor is named 'conv1.weight'"),
    "no tensors": (lambda _: save({}), "it is empty"),
    "a header of exabytes": (lambda _: struct.pack("<Q", 2**63) + b"{}", "is damaged"),
    "deep json": (lambda _: header('{"a":' * 20_000), "is damaged"),
    "offsets beyond the file": (lambda _: header(described(offsets="[0, 800]"), bytes(8)), "is damaged"),
    "a shape that overflows": (
        lambda _: header(described("[4294967296, 4294967296, 2]"), bytes(8)), "is damaged"
    ),
    "an unknown type": (lambda _: header(described(dtype="OBJECT"), bytes(8)), "is damaged"),
    "more than the header says": (lambda _: header(described(), bytes(80)), "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_files_that_are_no_weights_are_refused_with_the_reason(case, tmp_path):
    make, words = BAD[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(make(tmp_path))
    with pytest.raises(UserError, match=words) as error:
        read_weights(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("weight"), "weight is missing"),
        (lambda s: s.update(weight=torch.ones(3, 2)), r"weight has the shape \(3, 2\) instead of \(2, 3\)"),
        (lambda s: s.update(weight=torch.ones(2, 3, dtype=torch.int64)), "weight has the type torch.int64"),
        (lambda s: s.update(extra=torch.ones(1)), "it has no extra"),
    ],
)
def test_weights_of_another_model_are_refused_before_any_is_taken(change, words):
    model = nn.Linear(3, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    with pytest.raises(UserError, match=f"weights of another model: {words}"):
        put_weights(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return random_run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    ("names", "counts", "words"),
    [
        ("abc", [1, 2, 3], "class_names: "),
        (["a", "b"], [1], "2 names and 1 counts"),
        (["a", "b"], [1, -1], "class_counts: "),
        (["a", "b"], [1, 2**70], "class_counts: "),
        (["a"] * (MOST_CLASSES + 1), [1] * (MOST_CLASSES + 1), "at most 50,000 classes"),
        (["a", "b"], [1, 2], r"model\.safetensors: weights of another model: .* has the shape"),
    ],
)
def test_records_that_describe_no_classifier(names, counts, words, run):
    import json

    path = run / "done.json"
    good = path.read_bytes()
    path.write_text(json.dumps({**json.loads(good), "class_names": names, "class_counts": counts}))
    try:
        with pytest.raises(UserError, match=words):
            load_classifier(run)
    finally:
        path.write_bytes(good)
    assert load_classifier(run).predict(np.zeros((1, 32, 32, 3), np.uint8)).classes.shape == (1,)


def test_a_run_with_foreign_weights_says_how_to_go_on(tmp_path):
    from real_formats import write_cifar10

    from sla_bench.records.jobs import make_jobs, perform
    from sla_bench.training.loop import silent

    write_cifar10(tmp_path / "data")
    given = {"dataset": ["cifar10"], "ratio": [5.0], "max_class_size": 10, "method": ["baseline"]}
    tasks = tasks_of("imbalanced", ("epochs=1",), **given)
    (job,) = make_jobs(tasks, tmp_path / "data", tmp_path / "out", "cpu")
    summary = {"train_images": 1, "train_seconds": 1.0, "parameters": 1}
    weights = save({"conv1.weight": torch.ones(1)})
    job.store.write_run(job.run_id, job.run, weights, [{"member": 0, "step": 1}], {}, summary)
    with pytest.raises(UserError, match=rf"named 'conv1\.weight'; delete .*{job.run_id} to train it again"):
        perform(job, silent)
