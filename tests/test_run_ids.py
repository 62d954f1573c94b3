"""Ids of committed records do not change with new fields."""

import json
import zipfile
from pathlib import Path

import pytest

from sla_bench.grids.tasks import form_of

RECORDS = Path(__file__).parents[1] / "results" / "reference" / "records"


@pytest.mark.parametrize("name", ["imbalanced", "standard", "gradient-based"])
def test_records_of_older_versions_keep_their_ids(name):
    with zipfile.ZipFile(RECORDS / f"{name}.zip") as archive:
        folders = [n.removesuffix("done.json") for n in archive.namelist() if n.endswith("done.json")]
        assert folders
        for folder in folders:
            config = json.loads(archive.read(f"{folder}config.json"))
            run = form_of(config["scenario"]).run.model_validate(config)
            done = json.loads(archive.read(f"{folder}done.json"))
            own = run.digest(data=done["data_hash"], protocol=done["protocol"])
            assert own == folder.rstrip("/").rpartition("/")[2]


def test_threads_are_in_no_id_and_a_record_on_two_of_them_is_still_read():
    config = {"dataset": "glyphs", "seed": 3}
    one, two = (form_of("fewshot").run.model_validate({**config, "threads": n}) for n in (1, 2))
    assert one == two == form_of("fewshot").run.model_validate(config)
    assert "threads" not in one.model_dump()
    # As an earlier version named the training on two threads.
    assert one.digest(data="x") != one.digest(data="x", threads=2)
    assert one.digest(data="x") == one.digest(data="x", threads=1)
