"""results/reference/report.html shows the figures of the tables beside it."""

import re

import pandas as pd
from documented import ROOT

RESULTS = ROOT / "results" / "reference"
ROW = re.compile(r'<tr data-row="\d+".*?<button[^>]*>([^<]*)</button>(.*?)</tr>', re.DOTALL)
VALUE = re.compile(r'data-value="([^"]*)"')


def test_the_report_has_the_rows_and_figures_of_the_leaderboards():
    names = ("gradient-based", "fewshot", "imbalanced", "standard")
    tables = [pd.read_csv(RESULTS / name / "leaderboard.csv") for name in names]
    expected = pd.concat(tables).query("metric == 'accuracy'")
    shown = ROW.findall((RESULTS / "report.html").read_text(encoding="utf-8"))
    assert [method for method, _ in shown] == list(expected["method"])
    for (_, cells), row in zip(shown, expected.itertuples(), strict=True):
        values = {float(text) for text in VALUE.findall(cells)}
        figures = pd.Series([row.value, row.relative_gain_pct, row.gain_ci95_low, row.seeds]).dropna()
        assert {float(f"{figure:.6g}") for figure in figures} <= values
