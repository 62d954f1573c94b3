"""Committed records come from commits whose code can be checked out."""

import json
import zipfile

import pytest
from documented import ROOT

ARCHIVES = sorted((ROOT / "results" / "reference" / "records").glob("*.zip"))


def code_of(path):
    """The code of each record of an archive."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/environment.json")]
        return [json.loads(archive.read(name))["code"] for name in names]


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_committed_records_are_of_committed_code(path):
    code = code_of(path)
    assert code
    assert not {one for one in code if one.endswith("-dirty") or one == "unknown"}
