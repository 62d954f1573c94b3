import shutil

import pandas as pd
import pytest
import real_formats
from counting_scenario import CountingScenario

from sla_bench.cli import run as run_commands
from sla_bench.cli import tune as tune_commands
from sla_bench.cli.app import run_command_line
from sla_bench.errors import DivergedError, UserError
from sla_bench.tables import files

RATE = 2e-3
RATES = (RATE / 2, RATE, 2 * RATE)
BEST = {"baseline": (RATE, None), "sla": (2 * RATE, None)}
# Batches of the quick recipe that hold whole episodes: of a baseline one (the recipe's) and four, of SLA one.
BATCHES = {"baseline": (None, 300), "sla": (None,)}


def accuracy(config):
    """The best is in the middle of the training; the last says the opposite."""
    is_best = (config.learning_rate, config.batch_images) == BEST[config.method]
    return [0.3, 0.6, 0.4] if is_best else [0.3, 0.5, 0.5]


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Runs `tune fewshot` with made-up trainings; returns exit code and the scenario that counted."""
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])

    def command(*arguments, accuracy=accuracy, name="tune"):
        scenario = CountingScenario(accuracy)
        monkeypatch.setattr(run_commands, "LAUNCHERS", scenario)
        folders = ["--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
        given = ["--dataset", "fc100", "--seed", "3", "--seed", "4", "--episodes", "60"]
        return run_command_line([name, "fewshot", *given, *folders, *arguments]), scenario

    return command


def budgets(tmp_path):
    table = pd.read_csv(tmp_path / "out" / "fewshot" / "leaderboard.csv")
    table = table[table["metric"] == "accuracy"].sort_values(["budget", "method"])
    return [tuple(row) for row in table[["budget", "method", "seeds"]].drop_duplicates().to_numpy()]


def in_any_order(runs):
    """The longest run of a seed starts first."""
    return sorted(runs, key=str)


def test_each_method_gets_the_same_trials_and_the_best_two_again_at_all_images(tune, tmp_path, capsys):
    code, scenario = tune()
    assert code == 0
    trained = [(r.method, r.seed, r.learning_rate, r.batch_images, r.steps) for r in scenario.trained]
    first = [(m, 999, rate, batch, 200) for m in BATCHES for batch in BATCHES[m] for rate in RATES]
    assert in_any_order(trained[: len(first)]) == in_any_order(first)
    # The best; then of equals the one that is nearer to the recipe, and of two as near the smaller rate.
    second = [
        ("baseline", 999, RATE, None, 800),
        ("baseline", 999, RATE / 2, None, 800),
        ("sla", 999, 2 * RATE, None, 800),
        ("sla", 999, RATE, None, 800),
    ]
    # Then default and tuned runs, seed by seed.
    methods = (("baseline", RATE), ("sla", RATE), ("sla", 2 * RATE))
    final = [(method, seed, rate, None, 800) for seed in (3, 4) for method, rate in methods]
    found = trained[len(first) :]
    assert in_any_order(found[:4]) == in_any_order(second)
    assert [run[1] for run in found[4:]] == [3, 3, 3, 4, 4, 4]
    assert in_any_order(found[4:]) == in_any_order(final)
    assert not [run for run in scenario.tested if run.learning_rate == RATES[0]]
    assert budgets(tmp_path) == [
        ("quick", "SLA+AG", 2),
        ("quick", "baseline", 2),
        ("quick, tuned", "SLA+AG", 2),
        ("quick, tuned", "baseline", 2),
    ]
    assert capsys.readouterr().out.count("<- chosen") == 2


def test_a_batch_that_wins_is_a_tuned_row_and_no_other(tune, tmp_path):
    def large_batches_win(config):
        return [0.6 if config.batch_images == 300 and config.learning_rate == RATE else 0.5]

    tune(accuracy=large_batches_win)
    table = pd.read_csv(tmp_path / "out" / "fewshot" / "leaderboard.csv")
    table = table[table["metric"] == "accuracy"].set_index(["budget", "method"])
    # At the recipe's rate it is also a training that stands beside the recipe's.
    assert set(table.index) == {
        ("quick", "SLA+AG"),
        ("quick", "baseline"),
        ("quick", "baseline (batch 300)"),
        ("quick, tuned", "SLA+AG"),
        ("quick, tuned", "baseline"),
    }
    assert (
        table.loc[("quick, tuned", "baseline"), "run_ids"]
        == (table.loc[("quick", "baseline (batch 300)"), "run_ids"])
    )
    assert table.loc[("quick, tuned", "SLA+AG"), "comparison"].endswith("both tuned")


def test_default_and_tuned_rows_are_not_compared(tune, tmp_path):
    tune()
    table = pd.read_csv(tmp_path / "out" / "fewshot" / "leaderboard.csv")
    gains = table[(table["metric"] == "accuracy") & table["reference"].notna()]
    assert len(gains) == 2
    ids = dict(zip(gains["budget"], gains["run_ids"].str.split(), strict=True))
    assert not set(ids["quick"]) & set(ids["quick, tuned"])


def test_where_it_was_imported_nothing_is_tried_again(tune, tmp_path, capsys):
    def diverging(config):
        if config.learning_rate < RATE:
            raise DivergedError("the loss is nan")
        return accuracy(config)

    tune(accuracy=diverging)
    trials = (tmp_path / "out" / "fewshot" / "tuning.csv").read_bytes()
    assert run_command_line(["export", str(tmp_path / "a.zip"), "--out", str(tmp_path / "out")]) == 0
    shutil.rmtree(tmp_path / "out")
    assert run_command_line(["import", str(tmp_path / "a.zip"), "--out", str(tmp_path / "out")]) == 0
    code, scenario = tune()
    assert (code, scenario.trained) == (0, [])
    assert (tmp_path / "out" / "fewshot" / "tuning.csv").read_bytes() == trials


def test_trials_of_a_tuning_that_was_stopped_are_not_repeated_where_they_were_imported(tune, tmp_path):
    class _StoppedError(BaseException):
        pass

    count = iter(range(100))

    def stopped(config):
        if next(count) == 4:
            raise _StoppedError
        return accuracy(config)

    with pytest.raises(_StoppedError):
        tune(accuracy=stopped)
    file = tmp_path / "out" / "fewshot" / "tuning.csv"
    trials = pd.read_csv(file)
    assert len(trials) == 4
    assert not trials["chosen"].any()
    archive = tmp_path / "stopped.zip"
    assert run_command_line(["export", str(archive), "--out", str(tmp_path / "out")]) == 0
    shutil.rmtree(tmp_path / "out")
    assert run_command_line(["import", str(archive), "--out", str(tmp_path / "out")]) == 0
    code, scenario = tune()
    assert code == 0
    first_round = [run for run in scenario.trained if run.seed == 999 and run.steps == 200]
    assert len(first_round) == 9 - 4
    chosen = pd.read_csv(file)
    assert len(chosen) == 9 + 4
    assert chosen["chosen"].sum() == 2


def test_a_trial_that_diverges_loses_and_is_not_tried_again(tune, tmp_path):
    def diverging(config):
        if config.learning_rate > RATE:
            raise DivergedError("the loss is nan")
        return accuracy(config)

    code, _ = tune(accuracy=diverging)
    assert code == 0
    trials = pd.read_csv(tmp_path / "out" / "fewshot" / "tuning.csv")
    assert trials["validation_accuracy"].isna().sum() == 3
    assert trials.loc[trials["chosen"], "learning_rate"].tolist() == [RATE, RATE]
    assert trials.loc[trials["chosen"], "share"].astype(str).tolist() == ["1", "1"]
    assert tune(accuracy=diverging)[1].trained == []


def test_where_all_trials_diverge_nothing_is_chosen(tune, tmp_path, capsys):
    def diverging(config):
        raise DivergedError("the loss is nan")

    assert tune(accuracy=diverging)[0] == 2
    assert "every trial diverged" in capsys.readouterr().err.splitlines()[-1]
    assert not pd.read_csv(tmp_path / "out" / "fewshot" / "tuning.csv")["chosen"].any()


def test_a_trial_that_fails_otherwise_ends_the_command_before_anything_is_chosen(tune, tmp_path):
    def failing(config):
        if config.learning_rate > RATE:
            raise OSError("a disk has gone")
        return accuracy(config)

    assert tune(accuracy=failing)[0] == 1
    assert not pd.read_csv(tmp_path / "out" / "fewshot" / "tuning.csv")["chosen"].any()


def test_the_last_weights_are_judged_by_the_last_validation(tune, tmp_path):
    tune("--selection", "last", "--method", "sla")
    trials = pd.read_csv(tmp_path / "out" / "fewshot" / "tuning.csv")
    assert trials["validation_accuracy"].tolist() == [0.5, 0.5, 0.4, 0.5, 0.5]


@pytest.mark.parametrize(
    "given", [("--set", "learning_rate=0.1"), ("--batch-images", "600"), ("--seed", "999")]
)
def test_a_rate_a_batch_or_a_seed_of_the_trials_is_refused(tune, capsys, given):
    code, scenario = tune(*given)
    assert (code, scenario.trained) == (2, [])
    assert capsys.readouterr().err.count("\n") == 1


def test_a_dry_run_counts_the_trials_and_trains_nothing(tune, capsys):
    code, scenario = tune("--dry-run")
    assert (code, scenario.trained) == (0, [])
    assert capsys.readouterr().out.startswith(
        "9 trials, 9 of them to run, and the best two of each method at all images; then the runs below"
    )


def test_a_dry_run_for_a_cluster_estimates_the_time_of_one_worker(tune, capsys):
    tune("--method", "baseline", name="run")
    capsys.readouterr()
    arguments = ("--method", "baseline", "--seed", "5", "--seed", "6", "--launcher", "ray", "--dry-run")
    assert tune(*arguments, name="run")[0] == 0
    sentence = capsys.readouterr().out.splitlines()[-1]
    assert sentence == "training takes about 3 s of one worker, judged by 2 recorded runs"


def test_a_dry_run_estimates_trials_and_tuned_runs_too(tune, capsys):
    baseline = ("--method", "baseline", "--workers", "1")
    tune(*baseline, name="run")
    capsys.readouterr()
    assert tune(*baseline, "--dry-run")[0] == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == (
        "6 trials, 6 of them to run, and the best two of each method at all images; then the runs below, "
        "and as many again where others are better:"
    )
    assert shown[-2] == "2 runs: 2 recorded"
    assert shown[-1] == "training, with the trials, takes about 2 s on 1 worker, judged by 2 recorded runs"

    tune()
    capsys.readouterr()
    code, scenario = tune("--seed", "5", "--workers", "1", "--dry-run")
    assert (code, scenario.trained) == (0, [])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "9 trials, 0 of them to run; then the runs below:"
    assert sum("to run " in line and line.endswith("learning_rate=0.004") for line in shown) == 1
    assert shown[-2] == "9 runs: 6 recorded, 3 to run"
    assert shown[-1].startswith("training takes about 4 s on 1 worker, ")


def test_what_was_tuned_stays_tuned_where_further_seeds_run(tune, tmp_path):
    tune()
    _, scenario = tune("--seed", "5", "--method", "baseline", name="run")
    assert [run.seed for run in scenario.trained] == [5]
    assert ("quick, tuned", "baseline", 3) in budgets(tmp_path)


@pytest.mark.slow
def test_real_trainings_are_tuned(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    settings = ["steps=2", "validations=1", "validation_episodes=4", "jackknife_episodes=0"]
    folders = ["--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
    given = ["--dataset", "fc100", "--budget", "smoke", "--method", "baseline", "--episodes", "10"]
    assert run_command_line(["tune", "fewshot", *given, *folders, *(f"--set={s}" for s in settings)]) == 0
    trials = pd.read_csv(tmp_path / "out" / "fewshot" / "tuning.csv")
    assert trials["validation_accuracy"].between(0, 1).all()
    assert trials["chosen"].sum() == 1
    best = trials["validation_accuracy"].max()
    assert trials.loc[trials["chosen"], "validation_accuracy"].item() == best


def test_groups_that_share_a_trial_try_it_once(tmp_path, monkeypatch):
    real_formats.write_cifar10(tmp_path)
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    handed_out = []

    def execute(jobs, store, execution):
        handed_out.append([job.run_id for job in jobs])
        raise UserError("enough")

    monkeypatch.setattr(tune_commands, "execute", execute)
    path = tmp_path / "grid.yaml"
    path.write_text(
        "scenario: imbalanced\ndataset: cifar10\nratio: 2\nmethod: baseline\nselection: [last, best-test]\n"
    )
    folders = ["--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run_command_line(["tune", str(path), *folders]) == 2
    (run_ids,) = handed_out
    assert len(run_ids) == len(set(run_ids)) == 12


def test_a_trial_whose_record_comes_late_has_not_diverged(tune, tmp_path, monkeypatch, capsys):
    launch = CountingScenario.launcher

    def late(self, jobs, settings):
        for news in launch(self, jobs, settings):
            yield news
            if news.kind == "done" and news.job.run.learning_rate == BEST[news.job.run.method][0]:
                (news.job.store.run_folder(news.job.run_id) / "history.csv").unlink()

    monkeypatch.setattr(CountingScenario, "launcher", late)
    code, _ = tune()
    assert code == 2
    assert "can't be read" in capsys.readouterr().err
    assert not pd.read_csv(tmp_path / "out" / "fewshot" / "tuning.csv")["chosen"].any()
