"""Figures as PDF: fonts inside, the same bytes each time, beside PNG and SVG where asked for."""

import os
import re
import subprocess
import sys

import pytest
from made_up_records import write_records

from sla_bench.cli.app import run_command_line
from sla_bench.tables.figures import style

DRAW = """
import sys
from sla_bench.tables.figures import style
from sla_bench.tables.figures.page import page
with page([1.0], "Caption") as (figure, (axes,)):
    axes.plot([1, 2], [3, 4])
    axes.set_title("naive \N{GREEK SMALL LETTER BETA} $x_1$")
sys.stdout.buffer.write(style.save(figure, sys.argv[1], pdf=True)[2].read_bytes())
"""


def drawn(tmp_path, seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(tmp_path / seed)], env=environment, capture_output=True, check=True
    )
    return done.stdout


def test_a_pdf_holds_its_fonts_and_no_date_and_is_the_same_in_every_process(tmp_path):
    pdf = drawn(tmp_path, "1")
    assert pdf.startswith(b"%PDF-")
    assert pdf == drawn(tmp_path, "2")
    assert b"Date" not in pdf
    # TrueType outlines are inside, for each font that is named, and none is of type 3.
    assert pdf.count(b"/FontFile2") == pdf.count(b"/Type /FontDescriptor") > 0
    assert b"/Type3" not in pdf
    width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", pdf)[1])
    assert width == pytest.approx(style.COLUMN_INCHES * style.POINTS_PER_INCH, abs=1)


def test_plot_writes_pdfs_where_asked_for_and_no_stale_one_stays(tmp_path, capsys):
    write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6})
    assert run_command_line(["plot", "--out", str(tmp_path), "--format", "pdf"]) == 0
    printed = capsys.readouterr().out.split()
    found = {
        ending: {p.stem for p in (tmp_path / "fewshot").glob(f"*.{ending}")} for ending in ("svg", "pdf")
    }
    assert found["pdf"] == found["svg"]
    assert {"gains", "accuracies"} <= found["pdf"]
    assert {p.rpartition("/")[2] for p in printed} >= {f"{stem}.pdf" for stem in found["pdf"]}
    assert run_command_line(["plot", "--out", str(tmp_path)]) == 0
    assert not list((tmp_path / "fewshot").glob("*.pdf"))
    assert run_command_line(["plot", "--out", str(tmp_path), "--format", "eps"]) == 2
    assert "pdf" in capsys.readouterr().err
