"""The code and the commands of the README work."""

import documented
import pytest
import torch
from documented import ROOT

from sla_bench.cli.app import run_command_line
from sla_bench.registry import DATASETS, LEARNERS

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


def test_it_is_short():
    assert len(README.read_text().split()) <= 1000


def test_the_table_of_peers_counts_our_pieces():
    table = (ROOT / "docs" / "peers.md").read_text().partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")]
    ours = {cells[0].strip(): cells[1].strip() for cells in rows}
    assert ours["few-shot methods"] == str(len(list(LEARNERS)))
    # `learn2learn`, `folder` and `hf` read what others have named.
    own = set(DATASETS) - {"learn2learn", "folder", "hf"}
    drawn = {name for name in own if name.startswith("glyphs")}
    assert ours["image data sets by name"] == f"{len(own)}, five of them drawn"
    assert len(drawn) == 5
