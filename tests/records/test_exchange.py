import io
import json
import shutil
import stat
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_up_records import TRIAL, write_evaluation, write_records
from spanned import tasks_of

from sla_bench.cli.app import run_command_line
from sla_bench.config import FEWSHOT_PROTOCOL, FewShotEvaluation
from sla_bench.errors import UserError
from sla_bench.grids.tuning import choice_of, group_of
from sla_bench.records.data_states import state_of_parts
from sla_bench.records.exchange import Exchanged, export_records, import_records
from sla_bench.records.in_progress import claim
from sla_bench.records.store import Store
from sla_bench.records.tuning_file import COLUMNS, TuningFile
from sla_bench.registry import SCENARIOS
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.row_cache import shown_records
from sla_bench.tables.table_texts import notes, rows_of

ACCURACIES = {"baseline": 0.5, "SLA+AG": 0.6, "SLA+SI": 0.55}
HEADING = ",".join(COLUMNS) + "\n"
STATE = state_of_parts(None, "made up")


def exported(tmp_path, **given):
    store, ids = write_records(tmp_path / "from", ACCURACIES, seeds=(0, 1), **given)
    path = tmp_path / "records.zip"
    export_records([store], path)
    return store, ids, path


def files_below(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def imbalanced_records(out):
    """One seed of baseline and SLA+SD on 300 images of 20 classes."""
    store, rng = Store(out, "imbalanced"), np.random.default_rng(0)
    labels = np.arange(300, dtype=np.int32) % 20
    for task in tasks_of("imbalanced", dataset=["cifar100"]):
        row = {"baseline": "baseline", "sla+sd": "SLA+SD"}[task.run.method]
        summary = {
            "train_images": 9,
            "train_seconds": 2.5,
            "parameters": 3,
            "class_names": [f"class {i}" for i in range(20)],
            "class_counts": list(range(40, 0, -2)),
            "groups": [0] * 10 + [2] * 10,
        }
        run_id = task.run.digest(data="train")
        history = [{"member": 0, "step": 1, "train_loss": 0.1}]
        store.write_run(run_id, task.run, None, history, {}, {**summary, "data_hash": "train"})
        predictions = np.where(rng.random(300) < 0.6, labels, rng.integers(0, 20, 300)).astype(np.int32)
        metrics = {
            "accuracy": float((predictions == labels).mean()),
            "group_accuracy": {"many": 0.7, "few": None},
            "recalls": [0.5] * 20,
            **dict.fromkeys(("macro_f1", "g_mean", "ece", "nll"), 0.25),
            "query_passes": 1,
        }
        samples = {
            "labels": labels,
            f"predictions/{row}": predictions,
            f"confidence/{row}": rng.random(300).astype(np.float32),
            f"nll/{row}": rng.exponential(1, 300).astype(np.float32),
        }
        (evaluation,) = task.evaluations
        eval_id = evaluation.digest(data="test")
        store.write_evaluation(run_id, eval_id, evaluation, {row: metrics}, samples, "test")
    return store


def test_the_tables_of_imported_records_are_the_exporters(tmp_path):
    store, _, path = exported(tmp_path)
    imbalanced = imbalanced_records(tmp_path / "from")
    export_records([store, imbalanced], path)
    done = import_records(path, tmp_path / "to")
    assert (done.runs, done.evaluations, done.there) == (6, 6, 0)
    for one in (store, imbalanced):
        ours = leaderboard(Store(tmp_path / "to", one.scenario).records())
        pd.testing.assert_frame_equal(ours, leaderboard(one.records()))
        assert len(ours) > 1
    assert not list((tmp_path / "to").rglob("model.safetensors"))


def test_tables_and_pictures_can_be_made_of_the_samples_that_they_read(tmp_path, capsys):
    store, _ = write_records(tmp_path / "from", ACCURACIES, seeds=(0, 1))
    imbalanced = imbalanced_records(tmp_path / "from")
    folders = ["--out", str(tmp_path / "from")]
    assert run_command_line(["export", str(tmp_path / "all.zip"), *folders]) == 0
    assert run_command_line(["export", str(tmp_path / "small.zip"), "--only-tables", *folders]) == 0
    assert (tmp_path / "small.zip").stat().st_size < (tmp_path / "all.zip").stat().st_size
    import_records(tmp_path / "small.zip", tmp_path / "to")
    ours = leaderboard(Store(tmp_path / "to", "fewshot").records())
    pd.testing.assert_frame_equal(ours, leaderboard(store.records()))
    ours, theirs = (leaderboard(one.records()) for one in (Store(tmp_path / "to", "imbalanced"), imbalanced))
    # The baseline is in no contrast that carries a p: its confidences are left out.
    calibration = theirs["metric"].isin(["ECE", "NLL"])
    assert ours["metric"].isin(["ECE", "NLL"]).sum() == 2
    kept = theirs[~calibration | (theirs["method"] == "SLA+SD")].reset_index(drop=True)
    beside_another = ["gain_value", "reference_value", "gain_points", "gain_seeds", "comparison"]
    kept.loc[kept["metric"].isin(["ECE", "NLL"]), beside_another] = None
    pd.testing.assert_frame_equal(ours, kept, check_dtype=False)
    assert "no confidences" in " ".join(notes(rows_of(ours)))
    assert "no confidences" not in " ".join(notes(rows_of(theirs)))
    for command in ("plot", "report"):
        assert run_command_line([command, "--out", str(tmp_path / "to")]) == 0


def test_of_few_shot_samples_those_that_tables_read_are_kept():
    # 10 episodes, 4 of which give the accuracy, and 6 tasks that share no image.
    closed, of_open = np.arange(10), np.arange(6)
    samples = {"classes": closed, "open_classes": of_open, "hits/SLA": closed, "open_hits/SLA": of_open}
    evaluation = SimpleNamespace(config=FewShotEvaluation(episodes=4), samples=samples)
    kept = SCENARIOS.load("fewshot", "reading").samples_of_tables(evaluation)
    assert {name: len(array) for name, array in kept.items()} == {
        "classes": 4,
        "hits/SLA": 4,
        "open_hits/SLA": 6,
    }


@pytest.mark.parametrize("scenario", ["imbalanced", "standard"])
def test_confidences_are_kept_of_both_sides_of_every_contrast_with_a_p(scenario):
    reading = SCENARIOS.load(scenario, "reading")
    contrasted = {
        *("SLA+SI", "SLA+SD", "SLA+AG", "baseline-xM", "baseline-xM+crops"),
        *("ens-M", "DA+TTA", "DA+SD"),
    }
    others = {"baseline", "baseline+crops", "MT", "rot-aux", "SLA+U", "ens-M+crops", "DA"}
    hidden = {"SLA+SD teacher", "ens-M+TTA"}
    kinds = ("predictions", "confidence", "nll")
    rows = contrasted | others | hidden
    samples = {"labels": 0, **{f"{kind}/{row}": 0 for kind in kinds for row in rows}}
    kept = reading.samples_of_tables(SimpleNamespace(samples=samples, rows=rows - hidden))
    expected = {f"{kind}/{row}" for kind in kinds for row in contrasted}
    assert set(kept) == {"labels"} | expected | {f"predictions/{row}" for row in others}


def test_the_archive_is_small_has_no_weights_and_is_the_same_again(tmp_path):
    store = imbalanced_records(tmp_path)
    path = tmp_path / "a.zip"
    export_records([store], path)
    export_records([store], tmp_path / "b.zip")
    assert path.read_bytes() == (tmp_path / "b.zip").read_bytes()
    import_records(path, tmp_path / "to")
    (first, _) = Store(tmp_path / "to", "imbalanced").records()
    samples = first.evaluations[0].samples
    (name,) = (n for n in samples if n.startswith("predictions/"))
    assert (samples["labels"].dtype, samples[name].dtype) == (np.uint8, np.uint8)
    (original, _) = store.records()
    for key, array in original.evaluations[0].samples.items():
        np.testing.assert_allclose(samples[key], array, rtol=1e-3)
        if array.dtype.kind == "i":
            np.testing.assert_array_equal(samples[key], array)


def test_what_is_there_is_never_overwritten_and_what_is_missing_is_added(tmp_path):
    store, ids, path = exported(tmp_path)
    target = Store(tmp_path / "to", "fewshot")
    assert import_records(path, tmp_path / "to").runs == 4
    marked = target.run_folder(ids[0]) / "done.json"
    marked.write_text(marked.read_text() + "\n")
    before = files_below(tmp_path / "to")
    again = import_records(path, tmp_path / "to")
    assert (again.runs, again.evaluations, again.there) == (0, 0, 4)
    assert files_below(tmp_path / "to") == before
    record = next(iter(store.records()))
    further = record.evaluations[0].config.model_copy(update={"test_seed": 5})
    write_evaluation(store, record.run_id, further, {"baseline": 0.4}, 0)
    export_records([store], path)
    more = import_records(path, tmp_path / "to")
    assert (more.runs, more.evaluations, more.there) == (0, 1, 4)
    after = files_below(tmp_path / "to")
    assert {name: after[name] for name in before} == before


def test_a_record_that_goes_while_it_is_exported_is_named_and_leaves_no_half_archive(tmp_path, monkeypatch):
    store, _, path = exported(tmp_path)
    before = path.read_bytes()
    records = store.records()
    monkeypatch.setattr(Store, "records", lambda store: records)
    (records[0].evaluations[0].folder / "samples.npz").unlink()
    with pytest.raises(UserError, match=r"samples\.npz"):
        export_records([store], path)
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"from", path.name}


def test_a_run_that_was_not_tested_stays_where_its_weights_are(tmp_path):
    """Elsewhere it would count as trained, and could not be tested."""
    store, ids, path = exported(tmp_path)
    shutil.rmtree(store.run_folder(ids[0]) / "evaluations")
    assert export_records([store], path) == Exchanged(3, 3)
    import_records(path, tmp_path / "to")
    assert {record.run_id for record in Store(tmp_path / "to", "fewshot").records()} == set(ids[1:])


def test_an_unfinished_folder_is_completed(tmp_path):
    _, ids, path = exported(tmp_path)
    target = Store(tmp_path / "to", "fewshot")
    target.run_folder(ids[0]).mkdir(parents=True)
    (target.run_folder(ids[0]) / "config.json").write_text("{")
    assert import_records(path, tmp_path / "to").runs == 4
    assert len(list(target.records())) == 4


def trials_of(store):
    """Three for the method of each record; the last is chosen, the first has diverged."""
    return [
        TRIAL.model_copy(
            update={
                "group": group,
                "share": "1/4",
                "factor": factor,
                "learning_rate": rate,
                "batch_images": batch,
                "validation_accuracy": accuracy,
                "run_id": run_id,
                "chosen": factor == "2",
                "data_state": STATE,
            }
        )
        for group, batch in sorted(
            {(group_of(r.config), choice_of(r.config).batch_images) for r in store.records()}
        )
        for factor, rate, accuracy, run_id in (
            ("1/2", 0.002 / 2, None, "0" * 12),
            ("1", 0.002, 0.1 + 0.2, "1" * 12),
            ("2", 0.002, 0.7, "2" * 12),
        )
    ]


def tuned(tmp_path):
    store, _ = write_records(tmp_path / "from", ACCURACIES, seeds=(0, 1))
    TuningFile(store.folder).put(trials_of(store))
    path = tmp_path / "records.zip"
    export_records([store], path)
    return store, path


def test_what_was_tuned_is_tuned_where_it_is_imported(tmp_path):
    store, path = tuned(tmp_path)
    import_records(path, tmp_path / "to")
    target = Store(tmp_path / "to", "fewshot")
    table = leaderboard(shown_records(target))
    assert set(table["budget"]) == {"quick", "quick, tuned"}
    pd.testing.assert_frame_equal(table, leaderboard(shown_records(store)))
    assert TuningFile(target.folder).path.read_bytes() == TuningFile(store.folder).path.read_bytes()
    assert TuningFile(target.folder).accuracies() == TuningFile(store.folder).accuracies()


def test_what_was_tuned_here_stays(tmp_path):
    store, path = tuned(tmp_path)
    target = TuningFile(tmp_path / "to" / "fewshot")
    (mine, batch), (other, others) = sorted({(t.group, t.batch_images) for t in trials_of(store)})
    put = [t.model_copy(update={"learning_rate": 0.5}) for t in trials_of(store) if t.group == mine]
    target.put(put)
    import_records(path, tmp_path / "to")
    assert target.choices([STATE]) == {mine: (0.5, batch), other: (0.002, others)}
    assert {batch, others} == {75, 300}
    before = target.path.read_bytes()
    import_records(path, tmp_path / "to")
    assert target.path.read_bytes() == before


CELLS = {
    "group": "a" * 12,
    "training": "x",
    "share": "1/4",
    "factor": "1",
    "rate": "0.1",
    "batch": "64",
    "accuracy": "0.5",
    "run": "b" * 12,
    "chosen": "True",
    "state": "0" * 16,
}


def line(**changes):
    return ",".join({**CELLS, **changes}.values()) + "\n"


BAD_TUNING = {
    "columns": ("group,training\n", "other columns than group"),
    "cells": (HEADING + "a,b\n", "line 2: 2 cells, not 10"),
    "group": (HEADING + line(group="../../x"), "line 2: group: '../../x': string should match"),
    "formula": (HEADING + line(training="=cmd()"), "training: '=cmd()': string should match"),
    "escape": (HEADING + line(training="a\x1b[2J"), "training: 'a\\x1b[2J': string should match"),
    "infinite rate": (HEADING + line(rate="inf"), "a finite number"),
    "accuracy above 1": (HEADING + line(accuracy="1.5"), "less than or equal to 1"),
    "twice": (HEADING + line() + line(chosen="False"), "there twice"),
    "two chosen": (HEADING + line() + line(factor="2"), "more than one trial is chosen"),
    "long file": (HEADING + "\n" * (5 << 20), "larger than"),
    "no text": (b"\xff\xff", "fewshot/tuning.csv"),
}


@pytest.mark.parametrize("case", BAD_TUNING)
def test_what_was_tuned_is_checked_before_anything_is_written(case, tmp_path):
    content, fragment = BAD_TUNING[case]
    _, path = tuned(tmp_path)
    rewritten(path, first_only("tuning.csv", content_is(content)))
    with pytest.raises(UserError) as error:
        import_records(path, tmp_path / "to")
    assert fragment in str(error.value)
    assert "nothing was imported" in str(error.value)
    assert not (tmp_path / "to").exists()


def test_a_run_that_another_command_works_on_is_left_out_and_told(tmp_path, capsys):
    _, ids, path = exported(tmp_path)
    target = Store(tmp_path / "to", "fewshot")
    with claim(target.lock_file(ids[0])):
        assert run_command_line(["import", str(path), "--out", str(tmp_path / "to")]) == 0
        said = capsys.readouterr()
        assert "added 3 runs and 3 evaluations" in said.out
        assert "skipped 1 runs that another command works on" in said.err
        assert [p.name for p in target.run_folder(ids[0]).iterdir()] == [".lock"]
    assert import_records(path, tmp_path / "to") == Exchanged(1, 1, 3)
    with claim(target.lock_file(ids[0])):
        assert import_records(path, tmp_path / "to") == Exchanged(0, 0, 4)


def rewritten(path, change):
    """Pass each member through `change(name, content) -> [(info or name, content), ...]`."""
    with zipfile.ZipFile(path) as archive:
        members = [(i.filename, archive.read(i)) for i in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            for new_name, new_content in change(name, content):
                archive.writestr(new_name, new_content)


def first_only(suffix, new):
    seen = []

    def change(name, content):
        if name.endswith(suffix) and not seen:
            seen.append(name)
            return new(name, content)
        return [(name, content)]

    return change


def edited(**fields):
    def new(name, content):
        return [(name, json.dumps({**json.loads(content), **fields}))]

    return new


def rows_with(**figures):
    """Put figures into each row; None takes them away."""

    def new(name, content):
        metrics = json.loads(content)
        for row in metrics["rows"].values():
            row.update(figures)
            for figure in [figure for figure in figures if figures[figure] is None]:
                del row[figure]
        return [(name, json.dumps(metrics))]

    return new


def content_is(content):
    return lambda name, _: [(name, content)]


def link(name, content):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return [(info, "/etc/passwd")]


def renamed(make):
    return lambda name, content: [(name, content), (make(name), b"x")]


def npz_of(array, *names):
    buffer = io.BytesIO()
    np.savez(buffer, **dict.fromkeys(names or ("a",), array))
    return buffer.getvalue()


HITS = [f"hits/{row}" for row in ACCURACIES]

BAD = {
    "absolute": ("done.json", renamed(lambda n: "/etc/passwd"), "not a file of a record"),
    "up in a record": ("done.json", renamed(lambda n: n + "/../../x"), "not a file of a record"),
    "weights": ("done.json", renamed(lambda n: n.replace("done.json", "model.safetensors")), "not a file of"),
    "newline": ("done.json", renamed(lambda n: n + "\n"), "not a file of a record"),
    "link": ("done.json", link, "not a file of a record"),
    "missing": ("history.csv", lambda n, c: [], "missing"),
    "bomb": ("done.json", content_is(bytes(65 << 20)), "larger than"),
    "no json": ("done.json", content_is("{"), "done.json: Expecting property name"),
    "deep json": ("environment.json", content_is("[" * 100_000), "environment.json"),
    "no seconds": ("done.json", edited(train_seconds="=1+1"), "done.json: train_seconds: '=1+1': input"),
    "an empty class": ("done.json", edited(class_counts=[0]), "done.json: class_counts: 0: input should"),
    "unknown group": ("done.json", edited(groups=[3]), "done.json: groups: 3: input should"),
    "newer protocol": ("done.json", edited(protocol=FEWSHOT_PROTOCOL + 1), "made under protocol"),
    "wrong hash of the data": ("done.json", edited(data_hash="x"), "but its config and data give"),
    "wrong config": ("h/config.json", edited(shots=0), "greater than or equal to 1"),
    "no such field": ("config.json", edited(frobnicate=1), "--frobnicate: no such field"),
    "row without samples": ("metrics.json", edited(rows={"SLA": {}}), "no 'hits/SLA'"),
    "unknown method": ("config.json", edited(method="mine"), "unknown method 'mine'"),
    "unknown views": ("h/config.json", edited(transform="mirror"), "unknown transform 'mirror'"),
    "figure missing": ("metrics.json", rows_with(ci95_open=None), "no 'ci95_open'"),
    "interval of text": ("metrics.json", rows_with(ci95_open="x" * 9), "values can't be worked out"),
    "accuracy of text": ("metrics.json", rows_with(accuracy="x"), "accuracy as recorded is not a number"),
    "samples in a cube": (
        "samples.npz",
        content_is(npz_of(np.zeros((2, 3, 3)), *HITS)),
        "more than one value",
    ),
    "history of texts": (
        "history.csv",
        content_is("member,step,x\n0,1,=cmd()\n"),
        "x: '=cmd()' is not a number",
    ),
    "history of many columns": ("history.csv", content_is("member,step" + ",x" * 1_000_000), "100 columns"),
    "long history": ("history.csv", content_is(np.random.default_rng(0).bytes(17 << 20)), "larger than"),
    "objects": ("samples.npz", content_is(npz_of(np.array([{}], dtype=object))), "not of numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_archives_are_refused_before_anything_is_written(case, tmp_path):
    suffix, new, fragment = BAD[case]
    _, _, path = exported(tmp_path)
    if suffix == "h/config.json":
        changed = []

        def change(name, content):
            if "/evaluations/" in name and name.endswith("config.json") and not changed:
                changed.append(name)
                return new(name, content)
            return [(name, content)]

        rewritten(path, change)
    else:
        rewritten(path, first_only(suffix, new))
    with pytest.raises(UserError) as error:
        import_records(path, tmp_path / "to")
    assert fragment in str(error.value)
    assert "nothing was imported" in str(error.value)
    assert not (tmp_path / "to").exists()


def test_a_record_under_the_id_of_another_is_refused(tmp_path):
    store = imbalanced_records(tmp_path / "from")
    path = tmp_path / "x.zip"
    export_records([store], path)
    other = sorted(r.run_id for r in store.records())
    swap = dict(zip(other, reversed(other), strict=True))

    def change(name, content):
        parts = name.split("/")
        return [("/".join([*parts[:2], swap[parts[2]], *parts[3:]]), content)]

    rewritten(path, change)
    with pytest.raises(UserError, match="but its config and data give"):
        import_records(path, tmp_path / "to")


def test_many_files_that_unpack_to_much_are_refused(tmp_path):
    _, _, path = exported(tmp_path)
    rewritten(path, lambda n, c: [(n, bytes(30 << 20) if n.endswith("environment.json") else c)])
    with pytest.raises(UserError, match="bytes that unpack to"):
        import_records(path, tmp_path / "to")


def test_a_cut_archive_is_refused(tmp_path):
    _, _, path = exported(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    # What is found from the end may be the archive of samples inside.
    with pytest.raises(UserError, match=r"records\.zip: "):
        import_records(path, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_the_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "from", ACCURACIES)
    assert run_command_line(["export", "a.zip", "--out", "from"]) == 0
    assert "a.zip: 2 runs, 2 evaluations" in capsys.readouterr().out
    assert run_command_line(["import", "a.zip", "--out", "to"]) == 0
    assert "added 2 runs and 2 evaluations to to; 0 runs were there already" in capsys.readouterr().out
    for out in ("from", "to"):
        assert run_command_line(["leaderboard", "--out", out]) == 0
    a, b = ((tmp_path / out / "fewshot" / "leaderboard.csv").read_bytes() for out in ("from", "to"))
    assert a == b
    capsys.readouterr()
    for arguments, fragment in (
        (["export", "a.txt", "--out", "from"], "call it a.zip"),
        (["export", "b.zip", "--out", "nowhere"], "no finished runs"),
        (["export", "b.zip", "--out", "from", "--scenario", "fewshto"], "did you mean 'fewshot'"),
        (["export", "b.zip", "--out", "from", "--scenario", "imbalanced"], "no finished runs"),
        (["import", "nowhere.zip", "--out", "to"], "nowhere.zip: no such file"),
        (["import", "from", "--out", "to"], "not an archive of records"),
    ):
        assert run_command_line(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert fragment in line
