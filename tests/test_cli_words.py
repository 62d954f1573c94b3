"""Spellings: lists, ranges, mistyped options and paths, `~`, missing characters."""

import os
import subprocess
import sys

import pytest
from made_up_records import write_records
from own_process import HERE
from real_formats import write_folder

from sla_bench.cli.app import run_command_line
from sla_bench.data.named import default_data_root
from sla_bench.errors import UserError
from sla_bench.grids.files import read_grid_file
from sla_bench.grids.settings import MOST_VALUES, written_out
from sla_bench.grids.tasks import form_of, options_model, span


def said(capsys, *words):
    code = run_command_line(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *words):
    code, _, err = said(capsys, *words)
    lines = [line for line in err.splitlines() if line]
    assert (code, len(lines)) == (2, 1), err
    return lines[0]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    write_folder(tmp_path / "photos", classes=3, per_class=6, size=16)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


RUN = ["run", "imbalanced", "--dataset", "folder:photos:16", "--budget", "smoke", "--dry-run"]


def ids(capsys, *words):
    code, out, err = said(capsys, *RUN, "--data-root", "data", *words)
    assert code == 0, err
    return [line.split()[0] for line in out.splitlines() if "  to run  " in line]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (["--seed", "0", "1", "2"], ["--seed", "0", "--seed", "1", "--seed", "2"]),
        (["--seed", "0..2"], ["--seed", "0", "--seed", "1", "--seed", "2"]),
        (["--seed", "0-2"], ["--seed", "0", "--seed", "1", "--seed", "2"]),
        (["--seed", "0,1,2"], ["--seed", "0", "--seed", "1", "--seed", "2"]),
        (["--seed", "0, 1, 2"], ["--seed", "0", "--seed", "1", "--seed", "2"]),
        (["--seed=3..4", "--seed", "0"], ["--seed", "3", "--seed", "4", "--seed", "0"]),
        (["--seed", "5..5"], ["--seed", "5"]),
        (["--method", "baseline", "sla"], ["--method", "baseline", "--method", "sla"]),
        (["--method", "baseline,sla+sd"], ["--method", "baseline", "--method", "sla+sd"]),
        (["--loss", "ce", "ldam-drw", "--seed", "1"], ["--loss", "ce", "--loss", "ldam-drw", "--seed", "1"]),
        (
            ["--imbalance", "exp", "--ratio", "1.5", "3"],
            ["--imbalance", "exp", "--ratio", "1.5", "--ratio", "3"],
        ),
        (["--set", "epochs=1", "batch_size=8"], ["--set", "epochs=1", "--set", "batch_size=8"]),
        (["--set", "epochs = 1"], ["--set", "epochs=1"]),
    ],
)
def test_several_values_mean_what_they_seem_to(short, long, photos, capsys):
    found = ids(capsys, *short)
    assert found == ids(capsys, *long)
    assert len(found) > 0


def test_a_comma_in_a_path_is_no_list():
    options = options_model(form_of("imbalanced"))
    assert options(dataset=["folder:a,b", "glyphs,glyphs20"]).dataset == ["folder:a,b", "glyphs", "glyphs20"]


@pytest.mark.parametrize("text", ["4..0", f"0..{MOST_VALUES}", f"0..{10**30}"])
def test_ranges_that_fall_or_are_endless_are_refused(text):
    with pytest.raises(ValueError, match=r"write FIRST\.\.LAST"):
        written_out(int, [text])
    assert written_out(str, [text]) == [text]
    assert len(written_out(int, [f"1..{MOST_VALUES}"])) == MOST_VALUES


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--seed", "4..0"], ["--seed", "'4..0' is not a range"]),
        (["--seed"], ["--seed", "at least 1"]),
        (["--seed", "0..b"], ["--seed '0..b'", "integer"]),
        (["--seed", "0,,x"], ["--seed 'x'"]),
        (["--seed", "-1"], ["--seed -1", "greater than or equal to 0"]),
        (["--seed", "1e3"], ["--seed '1e3'", "integer"]),
        (["--epochs", "5"], ["--set epochs=5"]),
        (["--epochs=5"], ["--set epochs=5"]),
        (["--batch-size", "8"], ["--set batch_size=8"]),
        (["--steps", "8"], ["--set epochs=VALUE"]),
        (["--lr", "0.1"], ["--set learning_rate=0.1"]),
        (["--learning-rat", "0.1"], ["--set learning_rate=0.1"]),
        (["--shots", "1,5"], ["--shots is an option of fewshot, not of imbalanced"]),
        (["--Seed", "1"], ["Did you mean --seed?"]),
        (["--seeds", "1"], ["--seed?"]),
        (["--losses", "ce"], ["--loss?"]),
        (["--set", "epochs=0"], ["--set epochs=0: ", "greater than or equal to 1"]),
        (["--set", "epochs="], ["--set epochs=None", "integer"]),
        (["--set", "epochs"], ["'epochs'", "key=value"]),
        (["--set", "lr=1"], ["did you mean 'learning_rate'"]),
        (["--set", "optimizer=adamm"], ["--set optimizer: ", "'adam'"]),
        (["--set", "milestones={2: 1}"], ["--set milestones: ", "a milestone is"]),
        (["--set", "loss.gamma=[1]"], ["--set loss.gamma"]),
        (["extra"], ["'extra' is not expected here", "--help"]),
        (["--precision", "fp32", "bf16"], ["'bf16' is one value too many: --precision takes one"]),
        (["--dataset", "./photos"], ["did you mean 'folder:./photos'?"]),
        (["--dataset", "photos:32"], ["did you mean 'folder:photos:32'?"]),
        (["--dataset", "./photoss:32"], ["did you mean 'folder:photos:32'?"]),
        (["--dataset", "./elsewhere"], ["folder:PATH is a folder, there is no ./elsewhere"]),
        (["--dataset", "glyhps"], ["did you mean 'glyphs'?"]),
    ],
)
def test_mistyped_options_get_a_hint(words, fragments, photos, capsys):
    line = refused(capsys, *RUN, *words)
    for fragment in fragments:
        assert fragment in line


def test_a_mistyped_folder_gets_a_hint(photos, capsys):
    line = refused(capsys, "run", "imbalanced", "--dataset", "folder:photoss:32", "--dry-run")
    assert "the folder photoss does not exist" in line
    assert "did you mean photos?" in line


def test_every_field_that_only_set_changes_is_named_so():
    """An error that says --NAME would send people to an option that is not there."""
    for scenario in ("fewshot", "imbalanced", "standard"):
        form = form_of(scenario)
        options = options_model(form)
        plain = options().model_dump()
        for name in {*form.run.model_fields, *form.evaluation.model_fields} - {"scenario"}:
            if name in options.model_fields or name.endswith("_options"):
                continue
            with pytest.raises(UserError) as error:
                span(form, plain, [f"{name}=[no]"])
            assert f"--set {name}" in str(error.value)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["rnu"], ['"run"']),
        (["dataset"], ['"datasets"']),
        (["datasets", "inf", "glyphs"], ["'datasets inf'", "'info'"]),
        (["datasets", "inf"], ["'datasets inf'", "'info'"]),
        (["runs", "shw", "abc"], ["'runs shw'", "'show'"]),
        (["runs", "shw"], ["'show'"]),
        (["runs", "show"], ["id of a run"]),
        (["runs", "compare", "a"], ["id of a run"]),
        (["evaluate"], ["id of a run"]),
        (["datasets", "info"], ["name of a data set"]),
        (["run", "--dataset", "glyphs"], ["run SCENARIO --dataset"]),
        (["run", "grid.yaml", "--seed", "1"], ["run SCENARIO --seed", "key seed:"]),
        (["run", "imbalancd"], ["'imbalanced'"]),
        (["run", "gird.yaml"], ["did you mean grid.yaml?"]),
        (["run", "belw/grid.yaml"], ["did you mean below/grid.yaml?"]),
        (["import", "recrods.zip"], ["did you mean records.zip?"]),
    ],
)
def test_mistyped_commands_and_files_get_a_hint(words, fragments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    for name in ("grid.yaml", "below/grid.yaml", "records.zip"):
        (tmp_path / name).write_text("")
    line = refused(capsys, *words)
    for fragment in fragments:
        assert fragment in line


def grid_of(tmp_path, text):
    (tmp_path / "grid.yaml").write_text(text)
    return read_grid_file(tmp_path / "grid.yaml").tasks()["imbalanced"]


@pytest.mark.parametrize(
    ("short", "long"),
    [("0..2", "[0, 1, 2]"), ("0-2", "[0, 1, 2]"), ("0,1,2", "[0, 1, 2]"), ("[0..1, 5]", "[0, 1, 5]")],
)
def test_a_grid_file_knows_ranges(short, long, tmp_path):
    text = "scenario: imbalanced\nratio: {}\nmethod: {}\nseed: {}\n"
    found = grid_of(tmp_path, text.format("10,50.5", "baseline,sla", short))
    assert found == grid_of(tmp_path, text.format("[10.0, 50.5]", "[baseline, sla]", long))
    assert len(found) == 12


def test_mistakes_in_the_values_of_a_grid_file_have_their_line(tmp_path):
    with pytest.raises(UserError, match=r"grid.yaml:2: seed: '4..0' is not a range"):
        grid_of(tmp_path, "scenario: imbalanced\nseed: 4..0\n")
    with pytest.raises(UserError, match=r"grid.yaml:4: set: epochs: 0: input should be"):
        grid_of(tmp_path, "scenario: imbalanced\nset:\n  batch_size: 8\n  epochs: 0\n")


def test_home_is_found_behind_every_option(tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    write_folder(home / "photos", classes=3, per_class=6, size=16)
    write_records(home / "res", {"baseline": 0.5, "SLA+AG": 0.6})
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    (home / "grid.yaml").write_text(
        "scenario: imbalanced\ndataset: folder:~/photos:16\nbudget: smoke\nmethod: baseline\n"
    )
    for words in (
        ["run", "~/grid.yaml", "--out=~/new", "--data-root=~/d", "--dry-run"],
        ["run", "~/grid.yaml", "--out", "~/new", "--data-root", "~/d", "--dry-run"],
        ["leaderboard", "--out=~/res"],
        ["runs", "--out", "~/res"],
        ["report", "--out=~/res", "--file=~/below/page.html"],
        ["export", "~/x.zip", "--out=~/res"],
        ["import", "~/x.zip", "--out=~/imported"],
        ["datasets", "info", "folder:~/photos:16", "--sheet=~/sheet.png", "--data-root=~/d"],
    ):
        assert said(capsys, *words)[0] == 0, words
    for name in ("x.zip", "below/page.html", "sheet.png", "d/prepared", "imported"):
        assert (home / name).exists(), name
    line = refused(capsys, "predict", "~/photos", "--run=~/res/none", "--results=~/res")
    assert str(home / "res" / "none") in line
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
    monkeypatch.setenv("SLA_BENCH_DATA", "~/other")
    assert default_data_root() == home / "other"


def test_home_is_found_in_positions_and_in_code(tmp_path, monkeypatch):
    import sla_bench
    from sla_bench.data.splits import with_hash

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "val.txt").write_text("1\n2\n")
    assert with_hash("~/val.txt").startswith(f"{tmp_path}/val.txt#")
    write_folder(tmp_path / "photos", classes=3, per_class=6, size=16)
    images = sla_bench.load_dataset("folder:~/photos:16", "train", by="images", data_root="~/d")
    assert images.num_classes == 3
    assert (tmp_path / "d" / "prepared").is_dir()
    with pytest.raises(UserError, match=f"{tmp_path}/none is not the folder"):
        sla_bench.load_classifier("~/none")
    with pytest.raises(UserError, match="folder ~nobody-has-this-name/x does not exist"):
        sla_bench.load_dataset("folder:~nobody-has-this-name/x", "train")


def test_load_dataset_says_which_kind_of_split_works(tmp_path):
    import sla_bench

    write_folder(tmp_path / "few", classes=3, per_class=6, size=16)
    few = f"folder:{tmp_path / 'few'}:16"
    for by in ({}, {"by": "classes"}, {"by": "class"}):
        with pytest.raises(UserError, match=r"by='images' works$"):
            sla_bench.load_dataset(few, "train", data_root=tmp_path, **by)
    write_folder(tmp_path / "small", classes=8, per_class=2, size=16)
    with pytest.raises(UserError, match=r"by='classes' works$"):
        sla_bench.load_dataset(f"folder:{tmp_path / 'small'}:16", "train", by="images", data_root=tmp_path)
    write_folder(tmp_path / "tiny", classes=2, per_class=2, size=16)
    with pytest.raises(UserError, match=r"two for each of train, val and test$"):
        sla_bench.load_dataset(f"folder:{tmp_path / 'tiny'}:16", "train", data_root=tmp_path)
    with pytest.raises(UserError, match=r"by='images' works$"):
        sla_bench.load_dataset("cifar10", "train", data_root=tmp_path)


def test_a_terminal_without_a_character_ends_no_command(tmp_path):
    write_folder(tmp_path / "few", classes=3, per_class=6, size=16)
    for place, folder in enumerate(sorted((tmp_path / "few").iterdir())):
        folder.rename(folder.with_name(["日本", "Käse", "plain"][place]))
    write_records(tmp_path / "results", {"baseline": 0.5, "SLA+AG": 0.6})
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONIOENCODING", "PYTHONUTF8")}
    for words in (
        ["datasets", "info", "folder:few:16", "--data-root", "d"],
        ["datasets", "verify", "folder:日本"],
        ["leaderboard"],
        ["--help"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "sla_bench", *words],
            env={**clean, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(HERE.parent)},
            cwd=tmp_path,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.returncode == (2 if words[-1] == "folder:日本" else 0), (words, done.stderr)


def test_errors_that_somebody_chose_for_a_stream_stay():
    code = "import sys; from sla_bench.words import forgive_characters as f; f(); print(sys.stdout.errors)"
    for chosen, kept in (("ascii:xmlcharrefreplace", "xmlcharrefreplace"), ("ascii", "replace")):
        environment = {**os.environ, "PYTHONIOENCODING": chosen, "PYTHONPATH": str(HERE.parent)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == kept


SCRIPT = """
import sys
from sla_bench.cli.app import run_command_line
from sla_bench.data.named import default_data_root
sys.exit(run_command_line(["run", "imbalanced", "--dataset", "folder:few:16", "--budget", "smoke",
    "--method", "baseline", "--set", "epochs=1", "--data-root", "d"]))
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    write_folder(tmp_path / "few", classes=3, per_class=6, size=16)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "below if __name__ == '__main__':" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode != 0
    assert "leaderboard.csv" not in done.stdout
    assert "--controls" not in done.stdout
    assert "1 of 1 runs failed" in done.stderr
