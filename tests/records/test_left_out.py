import json

import pytest
import real_formats
from spanned import tasks_of
from tiny_jobs import SCENARIO

from sla_bench.data.folder import Folder
from sla_bench.data.preparation import Preparation
from sla_bench.records.jobs import make_jobs, perform
from sla_bench.training.loop import silent


@pytest.mark.parametrize("bad", [False, True])
def test_images_that_were_left_out_are_in_the_record(tmp_path, bad):
    real_formats.write_folder(tmp_path / "birds", classes=4, per_class=8, size=32)
    (tmp_path / "birds" / "kind01" / "more").mkdir()
    (tmp_path / "birds" / "kind01" / "more" / "a.png").touch()
    if bad:
        (tmp_path / "birds" / "kind02" / "00020.png").write_bytes(b"?")
        Folder(tmp_path / "birds", 32).prepare(tmp_path, how=Preparation(skip_bad=True))
    given = {"dataset": [f"folder:{tmp_path / 'birds'}:32"], "budget": "smoke", "method": ["baseline"]}
    settings = ["epochs=1", "batch_size=16", "validations=1"]
    tasks = tasks_of(SCENARIO, settings, **given)
    (job,) = make_jobs(tasks, tmp_path, tmp_path / "out", "cpu")
    perform(job, silent)
    environment = json.loads((job.store.run_folder(job.run_id) / "environment.json").read_text())
    expected = {"pictures in folders below a class": {"count": 1, "names": {"kind01/more": 1}}}
    if bad:
        expected["all"] = {"count": 1, "images": ["kind02/00020.png"]}
    assert environment["images_left_out"] == expected
