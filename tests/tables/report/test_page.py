import html.parser
import json
import re
import urllib.parse

import pandas as pd
import pytest
from made_up_records import tune_rates, write_records

from sla_bench.cli.app import run_command_line
from sla_bench.config import FEWSHOT_PROTOCOL
from sla_bench.tables.files import write_leaderboard
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.report.details import script_json
from sla_bench.tables.report.page import write_report

BOTH = {"baseline": 0.5, "baseline+TTA": 0.55, "SLA+AG": 0.6, "SLA+SI": 0.58}
EVIL = "folder:/x/<script>alert(1)</script>&amp;\"'\u2028"
VOID = {"meta", "link", "input", "br", "line", "circle", "path"}


class Reader(html.parser.HTMLParser):
    """Collects elements with their attributes and own texts, and checks that they are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.elements = [], []

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", "within": [e.get("class") for e in self.open], **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop()["tag"] == tag

    def handle_data(self, data):
        if self.open:
            self.open[-1]["text"] += data

    def all(self, tag):
        return [e for e in self.elements if e["tag"] == tag]


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    return reader


def details_of(reader):
    (block,) = [e for e in reader.all("script") if e.get("type") == "application/json"]
    return json.loads(block["text"])


@pytest.fixture
def written(tmp_path):
    store, ids = write_records(tmp_path, {**BOTH, "ens-M": 0.57}, seeds=(0, 1, 2))
    path = tmp_path / "report.html"
    write_report([store], path)
    return store, ids, path


def test_rows_at_a_batch_of_their_own_show_their_accuracy_by_seed(tmp_path):
    write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    store, _ = write_records(tmp_path, {"baseline": 0.6}, seeds=(0, 1), batch_images=150)
    write_report([store], tmp_path / "report.html")
    cells = {cell["method"]: cell["seeds"] for cell in details_of(read(tmp_path / "report.html"))["cells"]}
    assert cells.keys() == {"baseline", "baseline (batch 150)"}
    place = cells["baseline (batch 150)"]["head"].index("accuracy %")
    shown = [float(line[place]) for line in cells["baseline (batch 150)"]["body"]]
    assert shown == pytest.approx([60, 60], abs=5)


def test_the_table_has_a_row_per_row_of_the_leaderboard(written):
    store, _, path = written
    table = leaderboard(store.records())
    reader = read(path)
    rows = [e for e in reader.all("tr") if "data-row" in e]
    assert len(rows) == len(table)
    buttons = [e["text"] for e in reader.all("button") if e.get("class") == "expand"]
    assert buttons == list(table["method"])
    assert [e["aria-expanded"] for e in reader.all("button") if e.get("class") == "expand"] == [
        "false"
    ] * len(rows)
    assert all(e["scope"] for e in reader.all("th"))


def test_the_dots_lie_where_the_gains_are(written):
    store, _, path = written
    gains = leaderboard(store.records())["relative_gain_pct"].dropna().to_numpy()
    dots = [e for e in read(path).all("circle") if "plot" in e["within"]]
    places = [float(e["cx"].removesuffix("%")) for e in dots]
    zero = float(next(e for e in read(path).all("line") if e.get("class") == "zero")["x1"].removesuffix("%"))
    scale = (places[0] - zero) / gains[0]
    assert scale > 0
    assert [(p - zero) / scale for p in places] == pytest.approx(list(gains), abs=0.05)


def test_a_row_knows_its_seeds_command_and_reference(written):
    store, ids, path = written
    details = details_of(read(path))
    table = leaderboard(store.records())
    for row, entry in zip(table.to_dict("records"), details["rows"], strict=True):
        cell = details["cells"][entry["cell"]]
        assert cell["method"] == row["method"]
        assert cell["runs"] == row["run_ids"].split()
        assert [line[0] for line in cell["seeds"]["body"]] == ["0", "1", "2"]
        assert [line[1] for line in cell["seeds"]["body"]] == cell["runs"]
        accuracy = {**BOTH, "ens-M": 0.57}[row["method"]]
        assert {line[2] for line in cell["seeds"]["body"]} == {f"{100 * accuracy:.2f}"}
        (command,) = cell["commands"]
        assert command.endswith("--episodes 60 --seed 0 --seed 1 --seed 2")
        if isinstance(row["reference"], str):
            assert details["cells"][entry["reference"]]["method"] == row["reference"]
    assert set(details["curves"]) == set(ids)


@pytest.mark.parametrize(("usual", "more"), [((0, 1, 2), (0,)), ((0, 1, 4), (2, 3))])
def test_a_row_expands_to_the_tests_that_it_was_made_from(usual, more, tmp_path):
    """Where a seed was tested on more episodes as well, and where two seeds were tested on more only."""
    write_records(tmp_path, BOTH, seeds=usual)
    store, _ = write_records(tmp_path, BOTH, seeds=more, settings=("episodes=90",))
    write_report([store], tmp_path / "report.html")
    details = details_of(read(tmp_path / "report.html"))
    table = leaderboard(store.records())
    assert set(table["test_samples"]) == {60}
    for row, entry in zip(table.to_dict("records"), details["rows"], strict=True):
        cell = details["cells"][entry["cell"]]
        assert cell["runs"] == row["run_ids"].split()
        assert ["episodes", "60"] in details["facts"][cell["settings"]]
        (command,) = cell["commands"]
        assert "--episodes 60 " in command


def test_settings_environment_and_curves_are_kept_once(tmp_path):
    store, ids = write_records(tmp_path, BOTH, seeds=(0, 1))
    history = [
        {"member": m, "step": s, "train_accuracy": 0.5, "val_accuracy": s / 20}
        for m in (0, 1)
        for s in (5, 10)
    ]
    (store.run_folder(ids[0]) / "history.csv").write_text(pd.DataFrame(history).to_csv(index=False))
    environment = {"python": "3.99", "versions": {"torch": "<b>"}}
    (store.run_folder(ids[2]) / "environment.json").write_text(json.dumps(environment))
    write_report([store], tmp_path / "report.html")
    details = details_of(read(tmp_path / "report.html"))
    assert details["curves"][ids[0]]["val_accuracy"] == [[188, 25.0], [375, 50.0]]
    baseline, other = details["cells"][0]["environments"]
    assert (baseline[1], other[1]) == ([ids[0]], [ids[2]])
    assert details["environments"][other[0]] == [["python", "3.99"], ["torch", "<b>"]]
    assert ["learning_rate", "0.002"] in details["facts"][details["cells"][0]["settings"]]


def test_texts_from_outside_are_escaped(tmp_path):
    store, _ = write_records(tmp_path, BOTH, dataset=[EVIL])
    write_records(tmp_path, BOTH, dataset=["folder:=cmd()"])
    path = tmp_path / "report.html"
    write_report([store], path)
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    reader = read(path)
    assert len(reader.all("script")) == 2
    assert [e["text"] for e in reader.all("option")].count(EVIL) == 1
    assert {e["text"] for e in reader.all("td")} >= {EVIL, "folder:=cmd()"}
    settings = [fact for facts in details_of(reader)["facts"] for fact in facts]
    assert ["dataset", EVIL] in settings


def test_script_json_means_nothing_to_html_and_the_same_to_json():
    content = {"<!--": ["</script>", "a&b", "\u2028\u2029", "é", 1.5, None]}
    text = script_json(content)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == content


def test_the_page_admits_nothing_but_itself(written):
    reader = read(written[2])
    (policy,) = [e["content"] for e in reader.all("meta") if e.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "*" not in policy
    addresses = [e[a] for e in reader.elements for a in ("src", "href", "action", "data", "poster") if a in e]
    files = [address for address in addresses if address.startswith("data:text/csv;charset=utf-8,scenario,")]
    assert len(files) == 1
    assert set(addresses) - set(files) <= {"data:,", "#fewshot"}
    assert not [e for e in reader.elements if "style" in e or any(name.startswith("on") for name in e)]


def test_the_csv_within_the_page_is_the_leaderboard(tmp_path):
    store, _ = write_records(tmp_path, BOTH, seeds=(0, 1), dataset=[EVIL])
    write_records(tmp_path, BOTH, dataset=["folder:/a#b%20c"])
    write_report([store], tmp_path / "report.html")
    write_leaderboard(store)
    (link,) = [e for e in read(tmp_path / "report.html").all("a") if "download" in e]
    content = urllib.parse.unquote(link["href"].partition(",")[2])
    assert content == (store.tables / "leaderboard.csv").read_text(encoding="utf-8")
    assert not re.search('[#<>"\\s]', link["href"])
    assert link["download"] == "fewshot.csv"


def test_the_page_opens_with_the_answer_and_draws_each_setting(written):
    text = written[2].read_text(encoding="utf-8")
    assert text.index("There is no verdict yet") < text.index('class="card"') < text.index("<table")
    reader = read(written[2])
    drawings = [e for e in reader.all("svg") if e.get("class") == "cost"]
    assert len(drawings) == 1
    marks = [e for e in reader.elements if e.get("class") == "mark"]
    assert len(marks) == len(leaderboard(written[0].records())["method"].unique())


def test_columns_that_are_the_same_in_all_rows_stand_above_the_table(tmp_path):
    write_records(tmp_path, BOTH, dataset=["glyphs"])
    store, _ = write_records(tmp_path, BOTH, dataset=["fc100"])
    (section,) = write_report([store], tmp_path / "report.html")
    headings = [column.heading for column in section.columns]
    assert "data set" in headings
    assert not {"setting", "learner", "training"} & set(headings)
    assert {row.where for row in section.rows} == {"glyphs", "fc100"}
    assert section.shared == "5-way 5-shot, protonet, conv4, budget quick"


def test_the_same_records_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_records(tmp_path / name, BOTH, seeds=(0, 1))
        assert run_command_line(["report", "--out", str(tmp_path / name)]) == 0
    first, second = [(tmp_path / name / "report.html").read_bytes() for name in ("one", "two")]
    assert first == second


def test_damaged_records_are_named_and_the_rest_is_shown(tmp_path, capsys):
    store, ids = write_records(tmp_path, BOTH, seeds=(0, 1))
    (store.run_folder(ids[0]) / "config.json").write_text('{"scenario":')
    (store.run_folder(ids[1]) / "history.csv").write_text("member,step\n0,0\n")
    (store.run_folder(ids[2]) / "environment.json").unlink()
    assert run_command_line(["report", "fewshot", "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "report.html")
    assert ids[0] in captured.err
    reader = read(tmp_path / "report.html")
    assert any(f"be read: {ids[0]}" in e["text"] for e in reader.all("p"))
    details = details_of(reader)
    assert details["curves"][ids[1]] == {}
    assert [["environment", "can't be read"]] in details["environments"]


def test_no_records_are_said_in_a_line_and_another_protocol_is_told_beside_its_rows(tmp_path, capsys):
    assert run_command_line(["report", "--out", str(tmp_path)]) == 2
    assert "no finished runs" in capsys.readouterr().err
    store, ids = write_records(tmp_path, BOTH)
    path = store.run_folder(ids[0]) / "done.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": 2}))
    assert run_command_line(["report", "--out", str(tmp_path)]) == 0
    folder = store.run_folder(ids[0])
    assert capsys.readouterr().err.strip() == (
        f"1 record of protocol 2 shown apart, this version follows {FEWSHOT_PROTOCOL}: {folder}"
    )
    (section,) = write_report([store], tmp_path / "report.html")
    trainings = {row.method: row.texts["training"] for row in section.rows}
    assert trainings == {m: "protocol 2" * m.startswith("baseline") for m in BOTH}
    assert not any(row.texts["gain %"] for row in section.rows if row.is_sla)


def test_a_tuned_row_knows_its_runs_too(tmp_path):
    store, ids = write_records(tmp_path, BOTH, seeds=(0, 1))
    rate = store.records()[0].config.learning_rate
    tune_rates(store, {"baseline": rate, "sla": rate})
    (section,) = write_report([store], tmp_path / "report.html")
    details = details_of(read(tmp_path / "report.html"))
    assert section.shared == "glyphs, 5-way 5-shot, protonet, conv4, budget quick"
    assert {row.texts["training"] for row in section.rows} == {"", "tuned"}
    assert section.runs == len(ids)
    behind = [details["cells"][entry["cell"]]["runs"] for entry in details["rows"]]
    assert all(behind)
    assert {run for found in behind for run in found} == set(ids)
