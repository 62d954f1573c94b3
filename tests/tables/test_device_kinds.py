import json

import pytest
import torch
from made_up_records import write_records

from sla_bench.records.environment import describe
from sla_bench.tables.comparisons import kind_of_device
from sla_bench.tables.files import write_leaderboard
from sla_bench.tables.report.page import write_report
from sla_bench.tables.terminal import print_table

XEON = {"processor": "Intel(R) Xeon(R) Processor", "cpu_capability": "AVX512", "bf16_instructions": True}
OLDER_XEON = {**XEON, "bf16_instructions": False}
BOTH = {"baseline": 0.5, "SLA+AG": 0.6, "SLA+SI": 0.58}


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        (XEON, "Intel(R) Xeon(R) Processor, AVX512, bf16"),
        (OLDER_XEON, "Intel(R) Xeon(R) Processor, AVX512"),
        ({**XEON, "cpu_capability": "AVX2"}, "Intel(R) Xeon(R) Processor, AVX2, bf16"),
        ({**XEON, "gpu": "NVIDIA H200", "acceleration": "captured"}, "NVIDIA H200, captured"),
        ({**XEON, "acceleration": "eager"}, "Intel(R) Xeon(R) Processor, AVX512, bf16"),
        ({"processor": "AMD EPYC", "bf16_instructions": False}, "AMD EPYC"),
        ({**XEON, "threads": 1}, "Intel(R) Xeon(R) Processor, AVX512, bf16"),
        ({**XEON, "threads": 2}, "Intel(R) Xeon(R) Processor, AVX512, bf16, 2 threads"),
        ({**XEON, "device": "cuda:0", "gpu": "NVIDIA H200"}, "NVIDIA H200"),
        ({"processor": "a; b\nc", "cpu_capability": ["AVX2"]}, "a, b c"),
        ({}, "not recorded"),
    ],
)
def test_a_kind_is_the_gpu_or_the_processor_with_what_is_used_of_it(environment, kind):
    assert kind_of_device(environment) == kind


def test_a_run_of_this_machine_has_the_kind_that_torch_sees(monkeypatch):
    here = describe(1, "cpu")
    assert kind_of_device(here).startswith(f"{here['processor']}, {torch.backends.cpu.get_cpu_capability()}")
    assert "gpu" not in here
    monkeypatch.setattr(torch.cuda, "get_device_name", {"cuda:1": "a GPU"}.get)
    assert kind_of_device(describe(1, "cuda:1")) == "a GPU"


def made_on(tmp_path, *environments):
    """Records of a baseline and SLA, a seed for each environment."""
    store, _ = write_records(tmp_path, BOTH, seeds=range(len(environments)))
    for record in store.records():
        text = json.dumps(environments[record.config.seed])
        (record.folder / "environment.json").write_text(text)
    return store


def texts(store, tmp_path, capsys):
    """What each kind of table says, blanks aside."""
    table = write_leaderboard(store)
    write_report([store], tmp_path / "report.html")
    capsys.readouterr()
    print_table(table)
    files = (store.tables / "leaderboard.md", store.tables / "leaderboard.tex", tmp_path / "report.html")
    found = [file.read_text() for file in files]
    return table, ["".join(text.split()) for text in (*found, capsys.readouterr().out)]


def test_a_table_of_several_kinds_names_them_with_their_runs_wherever_it_is_shown(tmp_path, capsys):
    table, found = texts(made_on(tmp_path, XEON, OLDER_XEON, XEON), tmp_path, capsys)
    note = (
        "Trained on 2 kinds of device: Intel(R) Xeon(R) Processor, AVX512, bf16 (4 runs); "
        "Intel(R) Xeon(R) Processor, AVX512 (2 runs)."
    )
    assert [text.count("".join(note.split())) for text in found] == [1, 1, 1, 1]
    one, other = kind_of_device(XEON), kind_of_device(OLDER_XEON)
    assert set(table["devices"]) == {f"{one}; {other}; {one}"}


def test_a_table_of_one_kind_says_nothing(tmp_path, capsys):
    table, found = texts(made_on(tmp_path, XEON, XEON), tmp_path, capsys)
    assert not any("kindsofdevice" in text for text in found)
    assert set(table["devices"]) == {kind_of_device(XEON)}


def test_records_whose_environment_cannot_be_read_have_a_kind_of_their_own(tmp_path, capsys):
    store = made_on(tmp_path, XEON, XEON)
    (store.records()[0].folder / "environment.json").write_text("[1, 2")
    _, found = texts(store, tmp_path, capsys)
    assert all("notrecorded(1run)" in text for text in found)
