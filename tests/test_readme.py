"""What the README shows works as it stands there."""

import documented
import pytest
import torch
from documented import ROOT

from sla_bench.cli import run_command_line

README = ROOT / "README.md"


def test_the_training_loop_of_the_readme():
    (code,) = documented.blocks(README, "python")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = {}
        exec(compile(code, "README.md", "exec"), names)
    assert torch.isfinite(names["loss"])
    assert names["voted"].shape == names["single"].shape == (32, 10)


@pytest.mark.parametrize("words", documented.commands(README), ids=" ".join)
def test_commands_name_things_that_exist(words, capsys):
    documented.check_command(words)
    if "--help" in words:
        assert run_command_line(words) == 0
        assert "--shots" in capsys.readouterr().out


def test_pictures_and_pages_exist():
    paths = documented.links(README)
    assert len(paths) > 3
    for path in paths:
        assert (ROOT / path).exists(), path
