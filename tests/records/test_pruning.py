import json

from made_up_records import write_records

from sla_bench.config import FEWSHOT_PROTOCOL
from sla_bench.records.in_progress import claim
from sla_bench.records.pruning import leftovers, prune


def test_what_serves_no_table_goes_and_what_is_finished_or_worked_on_stays(tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5}, seeds=range(6))
    folders = {i: store.run_folder(i) for i in ids}
    whole, cut, old, begun, claimed, untidy = ids
    (folders[cut] / "config.json").write_text("{")
    done = json.loads((folders[old] / "done.json").read_text())
    (folders[old] / "done.json").write_text(json.dumps({**done, "protocol": FEWSHOT_PROTOCOL - 1}))
    for unfinished in (begun, claimed):
        (folders[unfinished] / "done.json").unlink()
    (folders[begun] / "checkpoints" / "0").mkdir(parents=True)
    (folders[begun] / "checkpoints" / "0" / "step-000000001.pt").write_bytes(b"")
    (folders[untidy] / "checkpoints").mkdir()
    (folders[untidy] / "evaluations" / "0123456789ab").mkdir()
    with claim(store.lock_file(claimed)):
        found = leftovers(store)
        assert {(leftover.path, leftover.why) for leftover in found} == {
            (folders[cut], "damaged"),
            (folders[old], f"protocol {FEWSHOT_PROTOCOL - 1}, this is {FEWSHOT_PROTOCOL}"),
            (folders[begun], "unfinished with a checkpoint"),
            (folders[untidy] / "checkpoints", "checkpoints of a finished training"),
            (folders[untidy] / "evaluations" / "0123456789ab", "unfinished evaluation"),
        }
        assert prune(found) == 5
    assert {p.name for p in (store.folder / "runs").iterdir()} == {whole, claimed, untidy}
    assert {r.run_id for r in store.records()} == {whole, untidy}


def test_a_run_that_somebody_has_begun_to_work_on_meanwhile_stays(tmp_path):
    store, (run_id,) = write_records(tmp_path, {"baseline": 0.5})
    (store.run_folder(run_id) / "done.json").unlink()
    found = leftovers(store)
    with claim(store.lock_file(run_id)):
        assert prune(found) == 0
    assert store.run_folder(run_id).exists()
    assert prune(found) == 1


def test_a_run_that_was_finished_meanwhile_stays(tmp_path):
    store, (run_id, other) = write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    done = {i: (store.run_folder(i) / "done.json").read_bytes() for i in (run_id, other)}
    for i in done:
        (store.run_folder(i) / "done.json").unlink()
    found = leftovers(store)
    assert len(found) == 2
    (store.run_folder(run_id) / "done.json").write_bytes(done[run_id])
    assert prune(found) == 1
    assert [r.run_id for r in store.records()] == [run_id]
