"""results/reference/report.html shows the figures of the tables beside it."""

import re
from urllib.parse import unquote

import pandas as pd
import pytest
from documented import ROOT

RESULTS = ROOT / "results" / "reference"
FOLDED_INTO = {"SLA+SI": "SLA+plain", "SLA+AG": "SLA+plain+TTA"}
FOLDED = set(FOLDED_INTO.values())
"""Equal to another row by construction, with nearest class means."""
ROW = re.compile(r'<tr data-row="\d+".*?<button[^>]*>([^<]*)</button>(.*?)</tr>', re.DOTALL)
SENTENCE = r"both tuned: \S+ (?:gains|loses) ([\d.]+) % [^,]*, ([\d.]+) to ([\d.]+) %"
VALUE = re.compile(r'data-value="([^"]*)"')


def test_the_report_has_the_rows_and_figures_of_the_leaderboards():
    names = ("gradient-based", "fewshot", "imbalanced", "standard")
    tables = [pd.read_csv(RESULTS / name / "leaderboard.csv") for name in names]
    expected = pd.concat(tables).query("metric == 'accuracy'")
    repeated = expected["method"].isin(FOLDED) & (expected["learner"] == "protonet")
    expected = expected.assign(
        method=[
            f"{name} = {FOLDED_INTO[name]}" if learner == "protonet" and name in FOLDED_INTO else name
            for name, learner in zip(expected["method"], expected["learner"], strict=True)
        ]
    )[~repeated]
    shown = ROW.findall((RESULTS / "report.html").read_text(encoding="utf-8"))
    assert [method for method, _ in shown] == list(expected["method"])
    for (_, cells), row in zip(shown, expected.itertuples(), strict=True):
        values = {float(text) for text in VALUE.findall(cells)}
        figures = pd.Series([row.value, row.relative_gain_pct, row.seeds]).dropna()
        assert {float(f"{figure:.6g}") for figure in figures} <= values


def test_the_tables_are_a_click_away_and_the_page_is_small():
    text = (RESULTS / "report.html").read_text(encoding="utf-8")
    assert len(text.encode()) <= 1_000_000
    files = dict(re.findall(r'href="data:text/csv;charset=utf-8,([^"]*)" download="([^"]*)"', text))
    inside = {name: unquote(content) for content, name in files.items()}
    assert inside.keys() == {"fewshot.csv", "imbalanced.csv", "standard.csv"}
    for name in ("imbalanced", "standard"):
        assert inside[f"{name}.csv"] == (RESULTS / name / "leaderboard.csv").read_text(encoding="utf-8")
    rows = (RESULTS / "fewshot" / "leaderboard.csv").read_text(encoding="utf-8").splitlines()
    assert set(rows) <= set(inside["fewshot.csv"].splitlines())


def test_the_page_opens_with_the_verdicts_of_the_tables():
    text = (RESULTS / "report.html").read_text(encoding="utf-8")
    names = ("fewshot", "imbalanced", "standard")
    tables = pd.concat(pd.read_csv(RESULTS / name / "leaderboard.csv") for name in names)
    primary = tables[(tables["contrast"] == "primary") & tables["verdict"].notna()]
    assert len(primary) == 5
    count = primary["verdict"].value_counts()
    assert f"gains in {count.get('gains', 0)} of 5 settings and loses in {count['loses']};" in text
    cards = re.findall(r'<article class="card">(.*?)</article>', text, re.DOTALL)
    named = [card for card in cards if "primary contrast" in card]
    assert text.index(cards[-1]) < text.index("<table")
    assert len(named) == len(primary)
    for row in primary.itertuples():
        (card,) = [c for c in named if f"<h3>{row.dataset}, {row.setting}, {row.learner}</h3>" in c]
        assert f">{row.verdict}</strong>" in card
        (gain, *values) = map(float, re.search(SENTENCE, card).groups())
        figures = [abs(row.relative_gain_pct), row.reference_value, row.gain_value]
        assert [gain, *values] == pytest.approx(figures, abs=0.0501)
