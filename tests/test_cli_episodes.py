"""`runs show --episodes`: the pictures of test episodes, as the evaluation drew them."""

import re

import numpy as np
import pytest
from PIL import Image
from real_formats import png, write_cifar100, write_folder

from sla_bench.cli.app import run_command_line
from sla_bench.errors import UserError
from sla_bench.grids.tasks import options_model, span
from sla_bench.records.jobs import make_jobs, perform
from sla_bench.scenarios.fewshot.episode_reader import EpisodeReader
from sla_bench.scenarios.fewshot.form import FORM
from sla_bench.tables.episode_files import episode_numbers
from sla_bench.training.loop import silent

SHORT = ["steps=2", "validations=1", "validation_episodes=4", "jackknife_episodes=30", "images_per_class=7"]


def perform_one(root, dataset, **options):
    given = {"dataset": [dataset], "budget": "smoke", "shots": [2], "episodes": 20, "queries": 3, **options}
    given |= {"train_queries": 2, "method": ["sla"], "seed": [1]}
    tasks = span(FORM, options_model(FORM)(**given).model_dump(), SHORT)
    (job,) = make_jobs(tasks, root, root / "out", "cpu")
    perform(job, silent)
    return job


@pytest.fixture
def drawn(monkeypatch):
    """Reader and episodes of each call of `EpisodeReader.hits`, with what came of it."""
    calls = []
    hits = EpisodeReader.hits

    def spy(self, models, sources, objective, episodes, rows, *args):
        found = hits(self, models, sources, objective, episodes, rows, *args)
        calls.append((self, episodes, found))
        return found

    monkeypatch.setattr(EpisodeReader, "hits", spy)
    return calls


def show(root, job, numbers, capsys):
    folders = ["--data-root", str(root), "--out", str(root / "out")]
    code = run_command_line(["runs", "show", job.run_id, "--episodes", numbers, *folders])
    return code, capsys.readouterr()


def test_the_files_are_those_that_the_evaluation_read(tmp_path, drawn, capsys):
    write_folder(tmp_path / "birds", 16, per_class=9, size=32)
    job = perform_one(tmp_path, f"folder:{tmp_path / 'birds'}:32")
    (reader, episodes, hits) = next(call for call in drawn if len(call[1].classes) == 30)
    test = reader.batches
    code, said = show(tmp_path, job, "0-1,29", capsys)
    assert code == 0
    parts = re.split(r"^evaluation .*: episode (\d+)$", said.out, flags=re.MULTILINE)[1:]
    assert parts[::2] == ["0", "1", "29"]
    for number, lines in zip(map(int, parts[::2]), parts[1::2], strict=True):
        ways = re.split(r"^  class (.*)$", lines, flags=re.MULTILINE)[1:]
        assert len(ways) == 10
        for way, (head, files) in enumerate(zip(ways[::2], ways[1::2], strict=True)):
            for row, counted in hits.items():
                assert re.search(rf"[ ,]{re.escape(row)} {int(counted[number, way])}(,|$)", head)
            for word, places, labels in (
                ("support", episodes.support, episodes.support_labels),
                ("query", episodes.query, episodes.query_labels),
            ):
                named = re.findall(rf"^    {word}  (.*)$", files, flags=re.MULTILINE)
                index = reader.index[places[number][labels[number] == way]]
                pixels = test.plain(index)
                assert len(named) == len(index) == (2 if word == "support" else 3)
                for name, seen in zip(named, pixels, strict=True):
                    # Pixel for pixel what the network saw, before its normalisation.
                    picture = np.asarray(Image.open(tmp_path / "birds" / name)).astype(np.float32) / 255
                    mean, std = (np.array(getattr(reader_properties(job), key)) for key in ("mean", "std"))
                    expected = (picture - mean) / std
                    assert np.allclose(seen.permute(1, 2, 0).numpy(), expected, atol=1e-4)
                    assert head.startswith(name.partition("/")[0])


def reader_properties(job):
    from sla_bench.data.named import dataset_named

    return dataset_named(job.run.dataset).properties


def test_images_without_files_have_numbers(tmp_path, capsys):
    write_cifar100(tmp_path, train_per_class=8, test_per_class=4)
    job = perform_one(tmp_path, "cifar_fs")
    code, said = show(tmp_path, job, "3", capsys)
    assert code == 0
    places = [
        int(n) for n in re.findall(r"^    (?:support|query)  test image (\d+)$", said.out, re.MULTILINE)
    ]
    assert len(places) == len(set(places)) == 5 * (2 + 3)


def test_what_cannot_be_shown(tmp_path, capsys):
    write_folder(tmp_path / "birds", 16, per_class=9, size=32)
    job = perform_one(tmp_path, f"folder:{tmp_path / 'birds'}:32")
    code, said = show(tmp_path, job, "30", capsys)
    assert code == 2
    assert "--episodes 30: the record keeps the episodes 0 to 29" in said.err
    for path in (tmp_path / "birds").glob("*/*.png"):
        path.write_bytes(png(np.full((32, 32, 3), hash(path.name) % 200, np.uint8)))
    code, said = show(tmp_path, job, "0", capsys)
    assert code == 2
    assert "tested on other images of folder:" in said.err


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", [3]), ("0-4", [0, 1, 2, 3, 4]), ("1..2,7", [1, 2, 7]), ("1,3-4", [1, 3, 4])]
)
def test_numbers_of_episodes(text, numbers):
    assert episode_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "x", "-1", "4-2", "1.5"])
def test_wrong_numbers_of_episodes(text):
    with pytest.raises(UserError, match=r"--episodes .*; write 3, 0-4 or 1,3"):
        episode_numbers(text)
