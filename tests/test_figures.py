"""Measured values on pages match the tables below results/reference."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from documented import ROOT

from benchmarks.figures import front_picture, wording, write
from benchmarks.figures.result_files import ResultFiles
from benchmarks.figures.speed_ratios import least_ratios
from sla_bench.errors import UserError

HEADER = (
    "dataset,method,reference,value,relative_gain_pct,gain_ci95_low,gain_ci95_high,gain_interval_kind,seeds"
)
ROWS = [
    "glyphs,baseline,,66.1318,,,,crossed,3",
    "glyphs,SLA+AG,baseline,79.0604,19.5,9.6,29.5,crossed,3",
    "glyphs,SLA+AG,ens-M,79.0604,-7.36,-8.9,-5.9,crossed,3",
]
SENTENCE = (
    "{% set sla = row('made-up', dataset='glyphs', method='SLA+AG', reference='baseline') %}\n"
    "SLA has {{ accuracy(sla) }} % and {{ gain(sla) }}.\n"
)
PAGE = """# Title

Before.

<!-- figures: sentence -->
SLA has 79.1 % and gains 19.5 %.
<!-- end -->

Behind.
"""


@pytest.fixture
def made_up(tmp_path):
    """A table, a template and a page that agree."""
    (tmp_path / "results" / "made-up").mkdir(parents=True)
    (tmp_path / "results" / "made-up" / "leaderboard.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "sentence.md").write_text(SENTENCE)
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path


def of(folder):
    return [folder / "page.md"], write.renderer(folder / "results", folder / "templates")


def test_the_pages_say_what_the_tables_say():
    render = write.renderer(write.RESULTS)
    assert [str(difference) for difference in write.check(write.PAGES, render)] == []
    assert write.unused(write.PAGES) == []


def test_no_result_on_the_readme_is_written_by_hand():
    text = (ROOT / "README.md").read_text()
    by_hand = re.sub(r"<!-- figures: .*?<!-- end -->|^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert len(by_hand) < len(text)
    assert re.findall(r".*\d %.*|.*\d\.\d+ (?:to|x|points)\b.*", by_hand) == []


def test_a_figure_that_differs_is_named_with_page_and_line_and_is_mended(made_up):
    pages, render = of(made_up)
    pages[0].write_text(PAGE.replace("79.1", "80.1"))
    (found,) = write.check(pages, render)
    assert (found.page, found.line, found.template) == (pages[0], 6, "sentence")
    assert "80.1" in found.written
    assert "79.1" in found.measured
    assert f"{pages[0]}:6:" in str(found)
    assert write.write(pages, render) == pages
    assert pages[0].read_text() == PAGE


def test_a_figure_inside_a_sentence(made_up):
    pages, render = of(made_up)
    (made_up / "templates" / "sentence.md").write_text("{{ accuracy(row('made-up', method='baseline')) }}\n")
    pages[0].write_text("It has <!-- figures: sentence -->1<!-- end --> % here.\n")
    write.write(pages, render)
    assert pages[0].read_text() == "It has <!-- figures: sentence -->66.1<!-- end --> % here.\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ row('made-up', method='SLA+SD').value }}", r"leaderboard\.csv has no row with method=SLA\+SD"),
        (
            "{{ row('made-up', method='SLA+AG').value }}",
            r"has 2 rows with method=SLA\+AG; they differ in refer",
        ),
        ("{{ row('made-up', methd='SLA+AG').value }}", "unknown column 'methd'; did you mean 'method'"),
        ("{{ row('made-upp', method='SLA+AG').value }}", "unknown table 'made-upp'; did you mean 'made-up'"),
        ("{{ gain(row('made-up', method='baseline')) }}", "no number in column 'relative_gain_pct'"),
    ],
)
def test_what_is_missing_is_named_with_page_and_line(made_up, template, message):
    pages, render = of(made_up)
    (made_up / "templates" / "sentence.md").write_text(template)
    with pytest.raises(UserError, match=rf"page\.md:5: .*{message}"):
        write.check(pages, render)
    with pytest.raises(UserError, match=message):
        write.write(pages, render)
    assert pages[0].read_text() == PAGE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n<!-- figures: sentence -->\n", "page.md:2: .* has no <!-- end -->"),
        ("<!-- figures: a -->\n<!-- figures: b -->\n<!-- end -->\n", "page.md:1: <!-- figures: a --> has no"),
        ("<!-- end -->\n", "page.md:1: <!-- end --> without"),
        ("<!-- figures: sentense -->\n<!-- end -->\n", "page.md:1: .* did you mean 'sentence'"),
    ],
)
def test_a_place_that_is_not_marked_rightly_is_named(made_up, text, message):
    pages, render = of(made_up)
    pages[0].write_text(text)
    with pytest.raises(UserError, match=message):
        write.check(pages, render)


def test_a_template_that_no_page_names_is_found(made_up):
    (made_up / "templates" / "left.md").write_text("1")
    assert write.unused([made_up / "page.md"], made_up / "templates") == ["left"]


def test_words_follow_the_sign():
    row = {
        "relative_gain_pct": "-7.36",
        "gain_ci95_low": "-8.9",
        "gain_ci95_high": "-0.02",
        "gain_seeds": "3",
    }
    assert wording.gain(row) == "loses 7.4 %"
    assert wording.signed_gain(row) == "-7.4"
    assert wording.interval(row) == " (-8.9 to 0.0)"
    opposite = row | {"relative_gain_pct": "7.36"}
    assert wording.gain(opposite) == "gains 7.4 %"
    assert wording.signed_gain(opposite) == "+7.4"
    assert wording.interval(opposite | {"gain_seeds": "1"}) == ""
    assert wording.is_of_one_seed({"gain_seeds": "1.0"})
    assert wording.gain(row | {"relative_gain_pct": "-0.04"}) == "gains 0.0 %"


def test_both_accuracies_of_a_gain_are_of_the_common_seeds():
    row = {"value": "75", "relative_gain_pct": "20", "gain_points": "12"}
    assert (wording.reference_accuracy(row), wording.own_accuracy(row)) == ("60.0", "72.0")
    row |= {"reference_value": "61.04", "gain_value": "73"}
    assert (wording.reference_accuracy(row), wording.own_accuracy(row)) == ("61.0", "73.0")


@pytest.mark.parametrize(
    ("ratio", "figures", "text"), [(2.32, 2, "2.3"), (520.6, 2, "521"), (0.699, 2, "0.70")]
)
def test_ratios_have_significant_figures(ratio, figures, text):
    assert wording.times(ratio, figures) == text


def test_the_best_of_the_others_counts():
    def timed(setting, implementation, ratio):
        return {"setting": setting, "implementation": implementation, "ratio": ratio}

    rows = [
        timed("a", "sla_bench", "1"), timed("a", "x", "30"), timed("a", "y", "20"),
        timed("b", "sla_bench", "1"), timed("b", "x", ""), timed("b", "y", "0.5"),
        timed("c", "sla_bench", "1"),
    ]  # fmt: skip
    assert least_ratios(rows) == [20, 0.5]


@pytest.fixture
def copied(tmp_path):
    for path in write.RESULTS.glob("*/*.csv"):
        (tmp_path / path.parent.name).mkdir()
        shutil.copy(path, tmp_path / path.parent.name)
    shutil.copy(write.RESULTS / "gains.csv", tmp_path)
    return tmp_path


def changed(path, change):
    """Write a leaderboard again, each row as `change` makes it; rows of which it makes None are left out."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in map(change, rows) if row is not None)


def test_the_command_names_lines_that_other_tables_would_change(copied, capsys):
    signed = ("relative_gain_pct", "gain_ci95_low", "gain_ci95_high")

    def opposite(row):
        return row | {column: str(-float(row[column])) for column in signed if row[column]}

    pages = {
        path: path.read_text().splitlines() for path in (ROOT / "README.md", ROOT / "docs" / "results.md")
    }
    changed(copied / "fewshot" / "leaderboard.csv", opposite)
    assert write.main(["--check", "--results", str(copied)]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f"{copied / 'gains.png'} shows other figures"
    assert {Path(line.partition(":")[0]) for line in lines} == set(pages)
    for line in lines:
        page, number_of_line, rest = line.split(":", 2)
        assert rest.startswith(f" {pages[Path(page)][int(number_of_line) - 1]!r} is not ")
    assert "loses" in write.renderer(copied)("answer").partition("over the baseline")[0]


def test_the_command_ends_with_2_where_a_row_is_gone(copied, capsys):
    changed(copied / "fewshot" / "leaderboard.csv", lambda row: None if row["reference"] == "ens-M" else row)
    assert write.main(["--check", "--results", str(copied)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(r"results\.md:\d+: .*leaderboard\.csv has no row with .*reference=ens-M", shown.err)


def test_the_picture_is_drawn_again_where_it_shows_other_figures(copied, capsys):
    (copied / "gains.csv").unlink()
    assert write.main(["--check", "--results", str(copied)]) == 1
    assert capsys.readouterr().out == f"{copied / 'gains.png'} shows other figures\n"

    table = front_picture.drawn(ResultFiles(copied))
    assert not front_picture.is_of(table, copied)
    names = {path.name for path in front_picture.write(table, copied)}
    assert names == {"gains.png", "gains.svg", "gains.csv"}
    assert front_picture.is_of(table, copied)
    assert write.main(["--check", "--results", str(copied)]) == 0


def test_the_picture_draws_each_cell_where_the_tables_have_it():
    table = front_picture.drawn(ResultFiles(write.RESULTS))
    figure = front_picture.picture(table)
    dots = [
        line.get_xdata()[0]
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    ]
    assert dots == pytest.approx(table["relative_gain_pct"].tolist())
    assert set(table["against"]) == {front_picture.CONVENTION, front_picture.MATCHED}
