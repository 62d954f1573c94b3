import json
import shutil

import pytest
from made_up_records import tune_rates, write_records

from sla_bench.records.data_states import UNKNOWN, note_seen, other_states, shown_states, state_of_parts
from sla_bench.records.pruning import of_states, prune
from sla_bench.records.store import Store
from sla_bench.records.tuning_file import TuningFile
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.row_cache import leaderboard_of, shown_records
from sla_bench.tables.run_list import list_runs

BOTH = {"baseline": 0.5, "SLA+AG": 0.6}
SPLIT_BY_SEED = {"dataset": ["fashion_mnist"], "ways": 3, "train_ways": 3}


def states_of(store):
    return {(r.config.seed, r.config.method): e.state for r in store.records() for e in r.evaluations}


@pytest.fixture
def changed(tmp_path):
    """Seeds 0 and 1 of both methods on the first data, then the baseline of seed 0 on others."""
    write_records(tmp_path, BOTH, seeds=(0, 1), data="first")
    return write_records(tmp_path, {"baseline": 0.9}, data="second")[0]


def test_a_table_is_of_the_newest_state_and_says_what_else_is_recorded(changed):
    first, second = (state_of_parts(None, data) for data in ("first", "second"))
    table = leaderboard_of(changed)
    assert list(table["method"]) == ["baseline"]
    assert (table["seeds"][0], table["data_state"][0]) == (1, second)
    assert table["other_states"][0] == f"{first[:8]} (4 runs)"
    assert other_states(changed.records(), shown_states(changed)) == {"glyphs": f"{first[:8]} (4 runs)"}
    lines = list_runs(changed.records(), shown_states(changed))
    assert sum(f", older data {first[:8]}:" in line for line in lines) == 4
    assert sum(f", data {second[:8]}:" in line for line in lines) == 1


def test_a_command_that_comes_back_to_a_state_makes_it_the_newest_until_another_is_recorded(changed):
    first = state_of_parts(None, "first")
    again = Store(changed.root, "fewshot", seen={"glyphs": first})
    assert set(leaderboard_of(again)["method"]) == {"baseline", "SLA+AG"}
    assert shown_states(changed) != {"glyphs": first}
    note_seen(again)
    assert shown_states(changed) == {"glyphs": first}
    write_records(changed.root, {"baseline": 0.8}, seeds=(1,), data="second")
    assert shown_states(changed) == {"glyphs": state_of_parts(None, "second")}


def test_a_state_without_a_record_is_never_shown(changed):
    nothing = Store(changed.root, "fewshot", seen={"glyphs": "0" * 16, "fc100": "1" * 16})
    assert shown_states(nothing) == shown_states(changed)
    note_seen(nothing)
    assert not (changed.folder / "states.json").exists()
    (changed.folder / "states.json").write_text('{"glyphs": 3}')
    assert shown_states(nothing) == shown_states(changed)


def test_other_test_images_of_the_same_training_are_a_state_too(tmp_path):
    store, (run_id,) = write_records(tmp_path, {"baseline": 0.5}, data="first")
    other, (other_id,) = write_records(tmp_path / "other", {"baseline": 0.9}, data="second")
    (evaluation,) = (other.run_folder(other_id) / "evaluations").iterdir()
    shutil.copytree(evaluation, store.run_folder(run_id) / "evaluations" / evaluation.name)
    table = leaderboard_of(store)
    assert (len(table), table["value"][0] > 80) == (1, True)
    first = "glyphs", state_of_parts(None, "first")
    assert prune(of_states(store, {first})) == 1
    (record,) = store.records()
    assert [e.folder.name for e in record.evaluations] == [evaluation.name]


def test_runs_of_a_state_are_pruned_and_those_of_others_stay(changed):
    first = "glyphs", state_of_parts(None, "first")
    assert prune(of_states(changed, {("fc100", first[1])})) == 0
    found = of_states(changed, {first})
    assert {leftover.why for leftover in found} == {f"glyphs in the state {first[1][:8]}"}
    assert prune(found) == 4
    assert set(states_of(changed).values()) == {state_of_parts(None, "second")}


def test_seeds_that_split_the_classes_share_the_state_of_the_whole(tmp_path):
    """Each seed has hashes of its own; what tells the state is recorded beside them."""
    given = {**SPLIT_BY_SEED, "data": lambda seed: f"part {seed}"}
    store, _ = write_records(tmp_path, BOTH, seeds=(0, 1, 2), state="a" * 16, **given)
    assert set(leaderboard_of(store)["seeds"]) == {3}
    write_records(tmp_path, BOTH, seeds=(3,), state="b" * 16, **given)
    table = leaderboard_of(store)
    assert (set(table["seeds"]), set(table["data_state"])) == ({1}, {"b" * 16})


@pytest.mark.parametrize("seeds", [(0, 1, 2), (1, 2)])
def test_records_of_earlier_versions_stay_together_where_the_seed_splits_the_classes(seeds, tmp_path):
    given = {**SPLIT_BY_SEED, "data": lambda seed: f"part {seed}"}
    store, _ = write_records(tmp_path, BOTH, seeds=seeds, **given)
    assert set(leaderboard_of(store)["seeds"]) == {len(seeds)}
    expected = state_of_parts(None, "part 0") if 0 in seeds else UNKNOWN
    assert set(states_of(store).values()) == {expected}
    if 0 in seeds:
        # A later run on the same data joins them.
        write_records(tmp_path, BOTH, seeds=(7,), state=expected, **given)
        assert set(leaderboard_of(store)["seeds"]) == {4}


def test_records_of_earlier_versions_that_contradict_each_other_are_in_no_mean(tmp_path):
    given = SPLIT_BY_SEED
    write_records(tmp_path, BOTH, seeds=(0, 1), data=lambda seed: f"part {seed}", **given)
    store, _ = write_records(tmp_path, BOTH, seeds=(1, 2), data=lambda seed: f"other {seed}", **given)
    # The run ids of seed 1 differ, too: four trainings of each method, no two of them in a mean.
    assert len(store.records()) == 8
    table = leaderboard(store.records())
    assert (set(table["seeds"]), len(table)) == ({1}, 8)


def test_a_rate_that_was_chosen_on_other_data_marks_no_run_as_tuned(tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.5}, data="first")
    tune_rates(store, {"baseline": store.records()[0].config.learning_rate})
    assert [r.tuned for r in shown_records(store)] == [False, True]
    write_records(tmp_path, {"baseline": 0.5}, data="second")
    assert [r.tuned for r in shown_records(store)] == [False]
    file, first = TuningFile(store.folder), state_of_parts(None, "first")
    (rate, batch) = next(iter(file.choices([first]).values()))
    changes = {"learning_rate": rate * 3, "data_state": "2" * 16}
    file.put([row.model_copy(update=changes) for row in file.read()])
    assert list(file.choices([first]).values()) == [(rate, batch)]
    assert list(file.choices(["2" * 16]).values()) == [(pytest.approx(rate * 3), batch)]


def as_of_protocol(store, run_id, protocol):
    folder = store.run_folder(run_id)
    for path in (folder / "done.json", *folder.glob("evaluations/*/metrics.json")):
        path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": protocol}))


def test_the_state_of_this_protocol_is_shown_and_of_older_ones_where_there_is_no_other(tmp_path):
    write_records(tmp_path, {"baseline": 0.5}, data="first")
    store, (run_id,) = write_records(tmp_path, {"baseline": 0.5}, data="second")
    first, second = (state_of_parts(None, data) for data in ("first", "second"))
    assert shown_states(store) == {"glyphs": second}
    as_of_protocol(store, run_id, 2)
    _, (other,) = write_records(tmp_path, {"baseline": 0.5}, data="third", dataset=["fc100"])
    as_of_protocol(store, other, 2)
    assert shown_states(store) == {"glyphs": first, "fc100": state_of_parts(None, "third")}
    _, (same,) = write_records(tmp_path, {"baseline": 0.5}, data="first", seeds=(1,))
    as_of_protocol(store, same, 2)
    table = leaderboard_of(store)
    rows = sorted(zip(table["dataset"], table["protocol"], table["seeds"], strict=True))
    assert rows == [("fc100", 2, 1), ("glyphs", 2, 1), ("glyphs", 3, 1)]


def test_the_time_of_a_record_is_in_it(tmp_path):
    """A copy of records, or their archive, keeps which state is the newest."""
    write_records(tmp_path, {"baseline": 0.5}, data="first")
    store, _ = write_records(tmp_path, {"baseline": 0.5}, data="second")
    for path in store.folder.glob("runs/*/evaluations/*/metrics.json"):
        content = json.loads(path.read_text())
        content["recorded_at"] = 2e9 - content["recorded_at"]
        path.write_text(json.dumps(content))
    assert shown_states(store) == {"glyphs": state_of_parts(None, "first")}
