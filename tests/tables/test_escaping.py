"""Names from outside in every table: nothing breaks, runs or disappears."""

import csv
import html
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import write_records
from rich.console import Console

from sla_bench.config import FewShotRun
from sla_bench.tables.files import write_leaderboard
from sla_bench.tables.latex import escape_latex, latex
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.markdown import escape_markdown
from sla_bench.tables.terminal import label, print_table

HOSTILE = "folder:=cmd()|<script>alert(1)</script>_x_$y^{2}$&%#~\\[/red][b]`*\n@SUM(A1)"
BOTH = {"baseline": 0.5, "baseline+TTA": 0.52, "SLA+AG": 0.6}

# what LaTeX prints for each of our escapes; the inverse of the escaping, written down independently
PRINTED = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textasciigrave{}": "`",
    r"\textquotedbl{}": '"',
    "{[}": "[",
    "{]}": "]",
    "{*}": "*",
    "-{}": "-",
    **{"\\" + c: c for c in "{}&%$#_"},
}
TOKEN = re.compile("|".join(map(re.escape, sorted(PRINTED, key=len, reverse=True))))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    store, _ = write_records(tmp_path_factory.mktemp("out"), BOTH, seeds=(0, 1, 2), dataset=[HOSTILE])
    return store, write_leaderboard(store)


@given(st.text(alphabet=string.printable.strip() + " é"))
def test_latex_prints_exactly_the_text(text):
    escaped = escape_latex(text)
    assert TOKEN.sub(lambda found: PRINTED[found[0]], escaped) == text
    assert not re.search(r"[&%$#_{}~^\\<>|`\"\[\]*]|--", TOKEN.sub(" ", escaped))


@given(st.text(alphabet=string.printable.strip() + " "))
def test_markdown_shows_exactly_the_text(text):
    escaped = escape_markdown(text)
    # what stands after a backslash is a character, the rest may hold entities
    pieces = re.split(r"\\([!-/:-@\[-`{-~])", escaped)
    assert "".join(piece if place % 2 else html.unescape(piece) for place, piece in enumerate(pieces)) == text
    plain = re.sub(r"\\.", "", escaped)
    assert not re.search(r"[|`*$\[\]~<>]", plain)
    assert not re.search(r"&(?!(amp|lt|gt);)", plain)


def test_control_characters_become_spaces():
    assert escape_latex("a\nb\x1b[0m") == "a b {[}0m"
    assert escape_markdown("a\r\n# b") == "a  # b"


def test_the_markdown_has_whole_rows_and_no_tag(written):
    store, _ = written
    text = (store.folder / "leaderboard.md").read_text()
    assert "<script" not in text
    assert "@SUM" in text
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert titles[1].startswith("## folder:=cmd()\\|&lt;script&gt;")
    rows = [re.sub(r"\\.", "", line) for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1


def test_the_csv_keeps_the_name_and_starts_no_formula(written):
    store, _ = written
    with (store.folder / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["dataset"] for row in rows} == {HOSTILE}
    starts = {cell[:1] for row in rows for cell in row.values() if cell and not _is_number(cell)}
    assert not starts & set("=+-@\t\r\n")


def test_the_terminal_shows_brackets_as_they_are(written):
    _, table = written
    console = Console(width=220, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_table(table, console)
    assert "[/red][b]" in console.export_text()


def test_what_is_told_of_a_run_holds_no_control_characters():
    told = label(FewShotRun(dataset="folder:a\n\x1b[2J\x9b", seed=3))
    assert told == "folder:a  [2J  protonet 5-shot baseline seed 3"


def test_latex_tables_are_whole(tmp_path):
    accuracies = {**BOTH, "SLA+SI": 0.58, "baseline-NMway": 0.57, "baseline-NMway+TTA": 0.59}
    write_records(tmp_path, accuracies, seeds=range(4), shots=1)
    write_records(tmp_path, accuracies, seeds=range(4))
    store, _ = write_records(tmp_path, BOTH, dataset=[HOSTILE])
    text = latex(leaderboard(store.records()))
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 2
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == 2
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    for body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        columns, lines = len(body[0]), body[1].strip().splitlines()
        assert [line.strip() for line in (lines[0], lines[2], lines[-1])] == [
            r"\toprule",
            r"\midrule",
            r"\bottomrule",
        ]
        for line in lines:
            if "multicolumn" in line:
                assert f"{{{columns}}}" in line
            elif line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == columns - 1
    one_seed, four_seeds, _ = text.split(r"\end{table*}")
    assert r"\textbf{" in four_seeds
    assert r"\textbf{" not in one_seed
    assert "SLA+AG against baseline: interquartile mean of the gains" in text
    assert "With 4 seeds no sign-flip p is below 0.12" in text


def test_an_empty_leaderboard_is_valid_latex():
    assert all(line.startswith("%") for line in latex(leaderboard([])).split("\n") if line)


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True
