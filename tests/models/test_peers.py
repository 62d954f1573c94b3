import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sla_bench.adapters.learn2learn_tasks import to_metadataset
from sla_bench.data.base import LabeledImages
from sla_bench.errors import UserError
from sla_bench.models import peers

ROOT = Path(__file__).parents[2]


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "learn2learn", None)


@pytest.mark.usefixtures("absent")
def test_its_absence_is_one_line_with_the_three_commands():
    images = LabeledImages(np.zeros((1, 4, 4, 3), np.uint8), np.array([0]), ("a",))
    with pytest.raises(UserError) as error:
        to_metadataset(images)
    message = str(error.value)
    assert "\n" not in message
    assert message.count("pip install") == 3
    assert "learn2learn==0.2.0" in message


def test_a_broken_installation_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "learn2learn.py").write_text("import no_such_part_of_it")
    monkeypatch.delitem(sys.modules, "learn2learn", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"no_such_part_of_it.*pip install cython"):
        peers.learn2learn()


def test_the_recipe_is_the_same_in_the_texts_and_in_tox():
    commands = peers.RECIPE.split(" && ")
    for file in ("README.md", "docs/library.md", "tox.ini"):
        text = " ".join((ROOT / file).read_text().replace("--no-cache-dir ", "").split())
        for command in commands:
            assert command in text, (file, command)


@pytest.mark.slow
def test_no_module_imports_it_at_top_level(tmp_path):
    (tmp_path / "learn2learn.py").write_text("raise SystemExit('imported')")
    code = (
        "import importlib, pkgutil, sla_bench\n"
        "for module in pkgutil.walk_packages(sla_bench.__path__, 'sla_bench.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
