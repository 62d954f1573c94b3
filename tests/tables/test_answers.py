import io

import pytest
from made_up_records import as_tuned, write_records
from rich.console import Console

from sla_bench.tables.answers import answers
from sla_bench.tables.files import rows_of_runs
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.table_texts import rows_of
from sla_bench.tables.terminal import print_table

SLA = {"baseline": 0.5, "baseline+TTA": 0.52, "SLA+AG": 0.6, "SLA+SI": 0.58}
CONTROLS = {"baseline-xM": 0.57, "baseline-xM+TTA": 0.58, "baseline-NMway": 0.5, "baseline-NMway+TTA": 0.7}
SEEDS = (0, 1, 2)


def answers_of(store, tuned=False):
    return answers(rows_of(leaderboard(as_tuned(store) if tuned else store.records())))


def one(tmp_path, rows, seeds=SEEDS, tuned=False, **options):
    store, _ = write_records(tmp_path, rows, seeds=seeds, **options)
    (answer,) = answers_of(store, tuned)
    return answer


def test_one_seed_is_no_verdict_and_says_what_is_missing(tmp_path):
    answer = one(tmp_path, SLA | CONTROLS, seeds=(0,), tuned=True)
    assert (answer.word, answer.has_verdict) == ("one seed", False)
    assert answer.advice == "One seed decides nothing; next: --seed 0 1 2."
    assert "one seed, no interval" in answer.steps


def test_without_controls_the_next_step_is_controls(tmp_path):
    answer = one(tmp_path, SLA)
    assert (answer.word, answer.compute) == ("without controls", "")
    assert "--controls" in answer.advice


def test_the_gain_at_equal_steps_has_both_accuracies(tmp_path):
    answer = one(tmp_path, SLA)
    (row,) = [r for r in answer.rows if (r["method"], r["reference"]) == ("SLA+AG", "baseline")]
    gain = 100 * (row["gain_value"] / row["reference_value"] - 1)
    assert answer.steps.startswith(f"On glyphs, SLA+AG gains {gain:.1f} % (")
    assert f"over baseline, {row['reference_value']:.1f} to {row['gain_value']:.1f} %" in answer.steps


def test_networks_that_were_not_trained_are_compared_without_images_in_training(tmp_path):
    store, _ = write_records(tmp_path, SLA | CONTROLS, seeds=SEEDS)
    rows = [{**row, "train_images": 0} for row in rows_of(leaderboard(store.records()))]
    (answer,) = answers(rows)
    assert "images in training" not in answer.steps
    assert "SLA+AG gains" in answer.steps


def test_equal_seeds_of_networks_that_were_not_trained_are_no_verdict(tmp_path):
    store, _ = write_records(tmp_path, SLA | CONTROLS, seeds=SEEDS)
    nothing = dict.fromkeys(("verdict", "gain_ci95_low", "gain_ci95_high"))
    rows = [
        row | nothing | {"train_images": 0, "comparison": "no training"}
        for row in rows_of(leaderboard(store.records()))
    ]
    (answer,) = answers(rows)
    assert (answer.word, answer.has_verdict) == ("equal seeds", False)
    assert "equal seeds, no interval" in answer.steps
    assert answer.advice == "Nothing is trained, so the seeds are equal and there is no verdict."


def test_untuned_trainings_have_no_verdict(tmp_path):
    answer = one(tmp_path, SLA | CONTROLS)
    assert (answer.word, answer.is_primary) == ("not tuned", True)
    assert "SLA+AG loses" in answer.compute
    assert "baseline-NMway+TTA" in answer.compute
    assert answer.advice.startswith("Prefer baseline-NMway+TTA. Batch and rate are not tuned")


@pytest.mark.parametrize(
    ("control", "word", "preferred"),
    [
        (0.7, "loses", "baseline-NMway+TTA"),
        (0.45, "gains", "SLA+AG"),
        (0.599, "no relevant difference", None),
    ],
)
def test_a_tuned_primary_contrast_is_the_verdict_whichever_way_it_points(tmp_path, control, word, preferred):
    rows = SLA | CONTROLS | {"baseline-NMway+TTA": control}
    answer = one(tmp_path, rows, tuned=True, settings=("episodes=2000",))
    assert (answer.word, answer.is_primary) == (word, True)
    assert answer.advice == f"Verdict: {word}. " + (
        f"Prefer {preferred}." if preferred else "Prefer the cheaper of the two."
    )


def test_without_the_primary_control_the_best_one_is_named(tmp_path):
    rows = {k: v for k, v in (SLA | CONTROLS).items() if "NMway" not in k}
    answer = one(tmp_path, rows | {"ens-M": 0.4})
    assert not answer.is_primary
    assert "baseline-xM+TTA" in answer.compute


def test_trainings_of_different_budgets_never_stand_in_one_answer(tmp_path):
    write_records(tmp_path, SLA, seeds=SEEDS, settings=("episodes=60", "steps=100"))
    store, _ = write_records(tmp_path, SLA | CONTROLS, seeds=SEEDS)
    (answer,) = answers_of(store)
    assert {row["budget"] for row in answer.rows} == {"quick"}
    assert answer.training == "conv4, budget quick"


def test_baselines_alone_have_no_answer_and_sla_alone_asks_for_one(tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.5, "baseline-xM": 0.6}, seeds=SEEDS)
    assert answers_of(store) == []
    answer = one(tmp_path / "sla", {"SLA+AG": 0.6})
    assert answer.sentences() == ["Next: add --method baseline: without one there is no gain."]


def test_a_folder_is_your_pictures(tmp_path):
    answer = one(tmp_path, SLA, dataset=["folder:/x/mine"])
    assert answer.steps.startswith("On your pictures, SLA+AG gains")


def test_smoke_decides_nothing(tmp_path):
    answer = one(tmp_path, SLA, budget="smoke", seeds=(0,))
    assert answer.advice == "Budget smoke decides nothing; next: the same without --budget smoke."


def printed(table, **options):
    console = Console(width=200, file=io.StringIO())
    print_table(table, console, **options)
    return console.file.getvalue()


def test_a_table_on_the_terminal_ends_with_the_answer(tmp_path):
    store, _ = write_records(tmp_path, SLA | {"SLA+plain": 0.58}, seeds=(0,))
    table = leaderboard(store.records())
    (answer,) = answers(rows_of(table))
    lines = printed(table).splitlines()
    title, *sentences = lines[next(k for k, line in enumerate(lines) if line.startswith("Verdict on")) :]
    assert title.strip() == "Verdict on glyphs, 5-way 5-shot, protonet, conv4, budget quick: one seed"
    assert " ".join(" ".join(sentences).split()) == " ".join(answer.sentences())
    assert "SLA+SI = SLA+plain" in printed(table)
    assert "One seed" not in printed(table, so_far=True)


def test_the_answer_does_without_the_rows_of_an_earlier_command(tmp_path):
    store, ids = write_records(tmp_path, SLA, seeds=(0,))
    table = rows_of_runs(leaderboard(store.records()), ids[1:])
    assert "baseline" not in set(table["method"])
    assert "On glyphs, SLA+AG gains" in printed(table)


def test_of_many_settings_a_few_are_answered(tmp_path):
    for shots in (1, 2, 3, 4, 5):
        store, _ = write_records(tmp_path, SLA, seeds=(0,), shots=shots)
    text = printed(leaderboard(store.records()))
    assert text.count("On glyphs, SLA+AG gains") == 3
    assert "2 other settings: `report` shows their answers." in text
