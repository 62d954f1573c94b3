import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from made_up_analyses import write_analyses
from made_up_records import write_records
from real_formats import write_cifar10, write_folder
from trained_runs import train_runs

from sla_bench.cli.app import run_command_line
from sla_bench.records.analyses import read_analyses
from sla_bench.records.in_progress import claim
from sla_bench.records.store import Store

METHODS = ("baseline", "mt", "sla", "sla+sd")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("runs")
    train_runs(root, method=list(METHODS))
    return root


@pytest.fixture
def runs(trained, tmp_path):
    """Folder with data and results that a test may change."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


def analyse(root, *arguments):
    folders = ["--data-root", str(root / "data"), "--out", str(root / "results")]
    return run_command_line(["analyse", *arguments, "--device", "cpu", *folders])


def analyses(root, scenario="imbalanced"):
    records = Store(root / "results", scenario).records()
    return {analysis.run.config.method: analysis for analysis in read_analyses(records)}


def refused(capsys, root, *arguments):
    assert analyse(root, *arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]


def test_views_are_read_as_the_evaluation_read_them(runs, capsys):
    assert analyse(runs) == 0
    found = analyses(runs)
    assert "other heads on the same embeddings" in capsys.readouterr().out
    for analysis in found.values():
        first, *others = analysis.heads.values()
        samples = analysis.samples
        shares = {n: (samples[f"probes/{n}"] == samples["labels"]).mean() for n in first["probes"]}
        assert first["probes"] == pytest.approx(shares)
        assert set(shares) == {"linear probe", "nearest class mean"}
        assert not any("probes" in head for head in others)
    assert set(found) == set(METHODS)
    heads = {
        "baseline": {"baseline": ("baseline", "baseline+TTA")},
        "mt": {"MT": ("MT", "MT+TTA")},
        "sla": {"SLA": ("SLA+SI", "SLA+AG")},
        "sla+sd": {"SLA+SD": ("SLA+SD", "SLA+SD+TTA"), "SLA+SD teacher": (None, "SLA+SD teacher")},
    }
    for method, of_method in heads.items():
        samples, recorded = found[method].samples, found[method].evaluation.samples
        assert set(found[method].heads) == set(of_method)
        assert np.array_equal(samples["labels"], recorded["labels"])
        for head, (single, aggregated) in of_method.items():
            assert samples[f"classes/{head}"].shape == (len(samples["labels"]), 4)
            if single is not None:
                assert np.array_equal(samples[f"classes/{head}"][:, 0], recorded[f"predictions/{single}"])
            assert np.array_equal(samples[f"aggregated/{head}"], recorded[f"predictions/{aggregated}"])
    taught = {head: about["taught"] for a in found.values() for head, about in a.heads.items()}
    assert taught == {
        "baseline": "upright",
        "MT": "invariant",
        "SLA": "joint",
        "SLA+SD": "upright",
        "SLA+SD teacher": "joint",
    }
    assert found["mt"].samples["views/MT"].shape == (len(found["mt"].samples["labels"]), 4)
    assert "joint/SLA" in found["sla"].samples
    assert found["sla"].views.names == ("0°", "90°", "180°", "270°")


def test_from_the_command_to_pictures_and_report(runs, capsys):
    folder = runs / "results" / "imbalanced"
    assert analyse(runs) == 0
    shown = capsys.readouterr().out
    assert "4 of 4 trainings have a model" in shown
    for words in (
        "accuracy per view",
        "one label for all views",
        "SLA, any",
        "averaged - upright",
        "recognised",
    ):
        assert words in shown
    stems = ("view_accuracies", "view_agreement", "view_confusions")
    first = {s: [(folder / f"{s}.{e}").read_bytes() for e in ("png", "svg")] for s in stems}

    # Nothing is read again, and `plot` and `report` draw the same without models, data and torch.
    assert analyse(runs) == 0
    assert "4 of 4 analyses are recorded already" in capsys.readouterr().out
    shutil.rmtree(runs / "data")
    for file in folder.glob("runs/*/model.safetensors"):
        file.unlink()
    for stem in stems:
        (folder / f"{stem}.png").unlink()
    code = (
        "import sys\nfrom sla_bench.cli.app import run_command_line as run\n"
        "assert run(['plot', '--out', sys.argv[1]]) == 0 and run(['report', '--out', sys.argv[1]]) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(runs / "results")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    again = {s: [(folder / f"{s}.{e}").read_bytes() for e in ("png", "svg")] for s in stems}
    assert again == first
    page = (runs / "results" / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == len(stems)
    assert "averaged - upright" in page


def test_a_run_that_another_command_works_on_is_passed_over_and_named(runs, capsys):
    (mt,) = [r for r in Store(runs / "results", "imbalanced").records() if r.config.method == "mt"]
    with claim(mt.folder / ".lock"):
        assert analyse(runs) == 2
    shown = capsys.readouterr()
    message = shown.err.strip().splitlines()[-1]
    assert message.startswith(f"skipped runs that another command works on: {mt.run_id};")
    assert "view_accuracies.png" in shown.out
    assert set(analyses(runs)) == set(METHODS) - {"mt"}
    assert analyse(runs) == 0
    assert set(analyses(runs)) == set(METHODS)


def test_what_can_not_be_analysed_is_said_in_one_line(runs, capsys):
    (sla,) = [r for r in Store(runs / "results", "imbalanced").records() if r.config.method == "sla"]
    wrong = sla.run_id[:-1] + ("0" if sla.run_id[-1] != "0" else "1")
    message = refused(capsys, runs, wrong)
    assert f"no finished run begins with '{wrong}'; did you mean {sla.run_id}?" in message
    _, (few_shot,) = write_records(runs / "results", {"baseline": 0.5})
    message = refused(capsys, runs, few_shot)
    assert "scenario fewshot, whose classes are new" in message
    assert "takes runs of imbalanced, standard" in message
    assert "use imbalanced or standard" in refused(capsys, runs, "--scenario", "fewshot")
    assert "did you mean 'standard'" in refused(capsys, runs, "--scenario", "standart")
    assert "not both" in refused(capsys, runs, sla.run_id, "--scenario", "imbalanced")
    (sla.folder / "model.safetensors").unlink()
    message = refused(capsys, runs, sla.run_id)
    assert f"run {sla.run_id} has no model.safetensors" in message
    assert "--keep-models all" in message
    assert not analyses(runs)


def test_without_any_model_or_run_it_says_what_to_do(tmp_path, capsys):
    assert "no finished runs of imbalanced or standard" in refused(capsys, tmp_path)
    assert "no finished runs of standard" in refused(capsys, tmp_path, "--scenario", "standard")
    write_analyses(tmp_path / "results", methods=("baseline", "sla"))
    message = refused(capsys, tmp_path)
    assert "the 2 trainings in" in message
    assert "--keep-models all" in message


def test_other_test_images_than_those_of_the_evaluation_are_refused(runs, capsys):
    shutil.rmtree(runs / "data")
    write_cifar10(runs / "data", test_per_class=3)
    (sla,) = [r for r in Store(runs / "results", "imbalanced").records() if r.config.method == "sla"]
    assert analyse(runs, sla.run_id) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    place = runs / "data"
    assert message == f"not analysed, tested on other images of cifar10 than {place} holds now: {sla.run_id}"
    assert not analyses(runs)


def test_runs_whose_data_are_missing_keep_no_other_from_being_read(runs, tmp_path, capsys):
    write_folder(tmp_path / "birds", 3, 10, size=16)
    train_runs(
        runs,
        dataset=[f"folder:{tmp_path / 'birds'}:16"],
        method=["baseline"],
        max_class_size=4,
        ratio=[2.0],
        imbalance="exp",
    )
    shutil.rmtree(tmp_path / "birds")
    assert analyse(runs) == 2
    (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("not analysed")]
    assert f"the folder {tmp_path / 'birds'} does not exist" in message
    assert set(analyses(runs)) == set(METHODS)
