"""What the README shows works as it stands there."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sla_bench.grid import form_of, options_model, span

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_training_loop_of_the_readme():
    (code,) = blocks("python")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = {}
        exec(compile(code, "README.md", "exec"), names)
    assert torch.isfinite(names["loss"])
    assert names["voted"].shape == names["single"].shape == (32, 10)


def commands():
    text = "\n".join(blocks("")).replace("\\\n", " ")
    return [
        line.partition("#")[0].split()
        for line in text.splitlines()
        if re.search(r"run (fewshot|imbalanced|standard)", line)
    ]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_name_things_that_exist(words, capsys):
    from sla_bench.cli import run_command_line

    arguments = words[words.index("run") :]
    if "--help" not in arguments:
        given = {}
        for option, value in pairwise(arguments[2:]):
            if option.startswith("--") and not value.startswith("--"):
                given.setdefault(option[2:].replace("-", "_"), []).append(value)
        if given.get("dataset") == ["folder:PATH"]:
            return
        form = form_of(arguments[1])
        scalars = {"budget", "ways"}
        given = {k: v[0] if k in scalars else v for k, v in given.items()}
        assert span(form, options_model(form)(**given).model_dump())
    else:
        assert run_command_line(arguments) == 0
        assert "--shots" in capsys.readouterr().out


def test_pictures_and_pages_exist():
    text = README.read_text()
    paths = re.findall(r"\]\((?!http)([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert len(paths) > 3
    for path in paths:
        assert (README.parent / path).exists(), path
