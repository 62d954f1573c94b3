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
