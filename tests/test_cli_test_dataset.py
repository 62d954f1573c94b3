"""`--test-dataset`: networks of one data set tested on the episodes of another."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from real_formats import write_folder, write_omniglot

from sla_bench.cli.app import run_command_line
from sla_bench.config import FewShotEvaluation, FewShotRun
from sla_bench.data.named import dataset_named
from sla_bench.grids.tasks import options_model, span
from sla_bench.records.jobs import make_jobs, perform
from sla_bench.records.readiness import check_data
from sla_bench.scenarios.fewshot.form import FORM
from sla_bench.scenarios.fewshot.tested_episodes import load_test
from sla_bench.tables.files import write_leaderboard
from sla_bench.training.loop import silent

SHORT = ["steps=2", "validations=1", "validation_episodes=4", "jackknife_episodes=0"]


def renamed(folder, new):
    """Class folders of other names."""
    for path in folder.iterdir():
        path.rename(folder / f"{new}{path.name}")


@pytest.fixture(scope="module")
def omniglot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("omniglot")
    write_omniglot(folder, drawings=4)
    return folder / "omniglot-py"


@pytest.fixture
def data(tmp_path, omniglot):
    (tmp_path / "omniglot-py").symlink_to(omniglot)
    write_folder(tmp_path / "birds", 16, per_class=8, size=32)
    write_folder(tmp_path / "boats", 16, per_class=8, size=40)
    renamed(tmp_path / "boats", "boat")
    return tmp_path


def refused(data, *options):
    words = [
        "run",
        "fewshot",
        "--dataset",
        f"folder:{data / 'birds'}:32",
        "--budget",
        "smoke",
        "--shots",
        "1",
    ]
    words += ["--episodes", "20", "--queries", "3", "--train-queries", "2", "--method", "baseline", *options]
    words += [w for s in SHORT for w in ("--set", s)]
    return run_command_line([*words, "--data-root", str(data), "--out", str(data / "out")])


def run(data, test_dataset=None):
    """As the command, in this process; returns the record of the run."""
    given = {"dataset": [f"folder:{data / 'birds'}:32"], "budget": "smoke", "shots": [1], "episodes": 20}
    given |= {"queries": 3, "train_queries": 2, "method": ["baseline"], "test_dataset": test_dataset}
    tasks = span(FORM, options_model(FORM)(**given).model_dump(), SHORT)
    list(check_data(tasks, data))
    (job,) = make_jobs(tasks, data, data / "out", "cpu")
    perform(job, silent)
    write_leaderboard(job.store)
    (record,) = job.store.records()
    return record


def table(data):
    return pd.read_csv(data / "out" / "fewshot" / "leaderboard.csv")


@pytest.mark.slow
def test_a_trained_network_is_tested_on_another_set_at_its_own_size(data, capsys):
    before = run(data)
    after = run(data, "omniglot")
    # The training is the same, and is not done again.
    assert after.run_id == before.run_id
    assert after.done == before.done
    own, other = sorted(after.evaluations, key=lambda e: e.config.test_dataset or "")
    omniglot = dataset_named("omniglot")
    assert other.data_hash == omniglot.checksum("test", "classes", data)
    assert other.data_hash != own.data_hash
    # Omniglot's 28 pixels become 32, scaled as pictures of a folder are.
    images = load_test(after.config, other.config, data)
    small = omniglot.load("test", "classes", data)
    assert images.images.shape[1:] == (32, 32, 3)
    scaled = Image.fromarray(small.images[5]).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(images.images[5], np.asarray(scaled))
    assert other.samples["classes"].max() < small.num_classes
    rows = table(data)
    rows = rows[rows["method"] == "baseline"]
    assert set(rows["setting"]) == {"5-way 1-shot 3-query", "5-way 1-shot 3-query on omniglot"}
    accuracies = rows.set_index("setting")["value"]
    hits = other.samples["hits/baseline"]
    assert accuracies["5-way 1-shot 3-query on omniglot"] == pytest.approx(100 * hits.mean() / 3, abs=0.01)
    capsys.readouterr()
    assert run_command_line(["runs", "show", after.run_id, "--out", str(data / "out")]) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if "-m sla_bench run" in line]
    assert ["--test-dataset omniglot" in line for line in commands].count(True) == 1
    folders = ["--data-root", str(data), "--out", str(data / "out")]
    words = ["evaluate", after.run_id, "--test-dataset", "omniglot", "--shots", "1", "--queries", "3"]
    assert run_command_line([*words, "--set", "jackknife_episodes=0", "--episodes", "20", *folders]) == 0
    assert "1 of 1 runs are recorded already" in capsys.readouterr().out


def test_a_folder_takes_the_size_of_the_training_and_its_changes_are_states(data, capsys):
    boats = f"folder:{data / 'boats'}"
    record = run(data, boats)
    (evaluation,) = record.evaluations
    assert evaluation.config.test_dataset == f"{boats}:32"
    assert evaluation.data == f"folder:{data / 'birds'}:32 on {boats}:32"
    for path in sorted((data / "boats").glob("*/*"))[::8]:
        Image.new("RGB", (40, 40), "red").save(path)
    record = run(data, boats)
    assert len(record.evaluations) == 2
    rows = table(data)
    shown = rows[rows["method"] == "baseline"]
    assert len(shown) == 1
    newest = max(record.evaluations, key=lambda e: e.written)
    assert list(shown["data_state"]) == [newest.state]
    assert "1 run" in shown["other_states"].item()
    # The state of the training's own data stands apart.
    run(data)
    assert set(table(data)["setting"]) == {"5-way 1-shot 3-query", f"5-way 1-shot 3-query on {boats}:32"}


def test_ids_without_it_stay():
    assert FewShotEvaluation(shots=1).digest(data="x") == "4a834bfd0918"
    assert "test_dataset" not in FewShotEvaluation().identity()
    assert FewShotEvaluation(test_dataset="omniglot").digest() != FewShotEvaluation().digest()


def test_the_set_of_the_training_is_no_other_one(data):
    record = run(data, f"folder:{data / 'birds'}")
    assert record.evaluations[0].config.test_dataset is None


def test_tests_that_cannot_be(data, capsys):
    write_folder(data / "again", 15, per_class=8, size=32)
    write_folder(data / "few", 6, per_class=8, size=32)
    renamed(data / "few", "few")
    for options, message in [
        (("--test-dataset", "omnigolt"), "unknown dataset 'omnigolt'; did you mean 'omniglot'?"),
        (("--test-dataset", f"folder:{data / 'again'}"), "so they are not new; take another data set"),
        (("--test-dataset", f"folder:{data / 'few'}"), "has 2 test classes, too few for 5 ways"),
        (("--test-dataset", f"folder:{data / 'none'}"), "none"),
        (("--test-dataset", "cifar10"), "few-shot"),
        (("--test-dataset", "omniglot", "--transform", "color_perm3"), "the images of omniglot are grey"),
        (("--test-dataset", "omniglot", "--ways", "30"), "too few for 30 ways"),
    ]:
        assert refused(data, *options) == 2
        said = capsys.readouterr().err
        assert message in said.splitlines()[-1], said
        assert "Traceback" not in said
    assert run_command_line(["run", "imbalanced", "--test-dataset", "omniglot"]) == 2
    assert "--test-dataset is an option of fewshot, not of imbalanced" in capsys.readouterr().err
    assert not (data / "out" / "fewshot" / "runs").exists()
    (data / "grid.yaml").write_text(
        json.dumps({"grids": [{"scenario": "fewshot", "budget": "smoke", "test_dataset": "omnigolt"}]})
    )
    assert run_command_line(["run", str(data / "grid.yaml"), "--dry-run", "--data-root", str(data)]) == 2
    assert "omnigolt" in capsys.readouterr().err


def test_pretrained_networks_are_refused():
    run, evaluation = FewShotRun(weights="default#0123456789ab"), FewShotEvaluation(test_dataset="omniglot")
    sentence = FORM.test_refusal(run, evaluation)
    assert sentence.startswith("--test-dataset omniglot is for networks that were trained here")
    assert FORM.test_refusal(FewShotRun(), evaluation) is None
