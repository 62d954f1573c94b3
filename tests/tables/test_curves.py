import re

import numpy as np
import pandas as pd
import pytest
from figure_texts import assert_readable

from sla_bench.scenarios.classify.reading import IMBALANCED
from sla_bench.scenarios.fewshot.reading import READING as FEWSHOT
from sla_bench.tables.figures import style
from sla_bench.tables.figures.curves import (
    MATCHED_COLOUR,
    budget_curves_figure,
    budget_panels,
    cost_accuracy_figure,
    cost_panels,
    gain_curves_figure,
    gain_panels,
    side_by_side,
)
from sla_bench.tables.figures.lines import MOST_LINES

METHODS = {  # times the training images of the baseline, views at test
    "baseline": (1, 1),
    "baseline+TTA": (1, 4),
    "SLA+SI": (4, 1),
    "SLA+AG": (4, 4),
    "baseline-xM": (4, 1),
}


def table(settings=("5-way 1-shot", "5-way 5-shot"), budgets=("quick",), methods=METHODS, **columns):
    rows = []
    for setting in settings:
        shots, ratio = (re.search(part, setting) for part in (r"(\d+)-shot", r"ratio (\d+)"))
        for budget in budgets:
            steps = re.search(r"steps=(\d+)", budget)
            steps = int(steps[1]) if steps else 1000
            for place, (method, (cost, passes)) in enumerate(methods.items()):
                gain = np.nan if method == "baseline" else 3.0 * place
                rows.append(
                    {
                        "scenario": "fewshot",
                        "dataset": "glyphs",
                        "setting": setting,
                        "setting_but_axis": re.sub(r" \d+-shot| ratio \d+", "", setting),
                        "shots": int(shots[1]) if shots else None,
                        "ratio": float(ratio[1]) if ratio else None,
                        "learner": "protonet",
                        "method": method,
                        "transform": "rotation",
                        "backbone": "conv4",
                        "budget": budget,
                        "budget_but_length": re.sub(r", steps=\d+", "", budget),
                        "is_sla": method.startswith("SLA"),
                        "data_state": "a",
                        "train_shots": int(shots[1]) if shots else None,
                        "selection": "validation",
                        "precision": "fp32",
                        "pretrained_on": "nothing",
                        "sampler": "uniform",
                        "protocol": 3,
                        "metric": "accuracy",
                        "value": 60.0 + place,
                        "ci95_low": 58.0 + place,
                        "ci95_high": 62.0 + place,
                        "reference": None if method == "baseline" else "baseline",
                        "relative_gain_pct": gain,
                        "gain_ci95_low": gain - 2,
                        "gain_ci95_high": gain + 2,
                        "gain_classes_low": np.nan,
                        "gain_classes_high": np.nan,
                        "interval_kind": "crossed",
                        "gain_interval_kind": "crossed",
                        "gain_seeds": 3,
                        "train_images": 75 * steps * cost,
                        "query_passes": passes,
                        **columns,
                    }
                )
    return pd.DataFrame(rows)


def test_gains_lie_along_the_shots_of_the_test():
    rows = table(("5-way 5-shot", "5-way 1-shot", "5-way 10-shot 5-query"))
    (panel,) = gain_panels(rows, FEWSHOT.axis)
    assert panel.title == "glyphs, 5-way, protonet"
    assert [line.name for line in panel.lines] == list(METHODS)[1:]
    for place, line in enumerate(panel.lines, start=1):
        assert list(line.x) == [1, 5]
        assert line.values == pytest.approx(np.tile([3 * place, 3 * place - 2, 3 * place + 2], (2, 1)))


def test_gains_lie_along_the_imbalance_ratio_by_kind_of_imbalance():
    rows = table(("exp ratio 10", "exp ratio 100", "step ratio 10", "as it is"))
    (panel,) = gain_panels(rows, IMBALANCED.axis)
    assert panel.title == "glyphs, exp, protonet"
    assert list(panel.lines[0].x) == [10, 100]


def test_several_training_shots_of_one_test_are_not_joined():
    rows = table().assign(train_shots=5)
    panels = gain_panels(pd.concat([rows, rows.assign(train_shots=15)]), FEWSHOT.axis)
    assert [panel.title.rpartition(", ")[2] for panel in panels] == ["train shots 5", "train shots 15"]
    assert len(gain_panels(pd.concat([table(), rows[rows["setting"] == "5-way 1-shot"]]), FEWSHOT.axis)) == 1


def test_gains_over_the_controls_are_no_points_of_the_curve():
    rows = table()
    other = rows[rows["method"] == "SLA+AG"].assign(reference="baseline-xM", relative_gain_pct=-50.0)
    (panel,) = gain_panels(pd.concat([rows, other]), FEWSHOT.axis)
    assert min(line.values.min() for line in panel.lines) > -2


def test_many_methods_are_split_by_their_test_views():
    many = {f"control{i}": (4, 1 if i % 2 else 4) for i in range(MOST_LINES + 2)}
    one, several = gain_panels(table(methods=many), FEWSHOT.axis)
    assert one.title.endswith("one test view")
    assert {line.name for line in one.lines} == {f"control{i}" for i in range(1, MOST_LINES + 2, 2)}
    assert {line.name for line in several.lines} == {f"control{i}" for i in range(0, MOST_LINES + 2, 2)}


def test_trainings_that_differ_in_their_length_make_one_line():
    rows = table(("5-way 5-shot",), ("quick, steps=250", "quick", "quick, steps=4000"))
    (panel,) = budget_panels(rows)
    assert {line.name: list(line.x) for line in panel.lines} == {
        name: [75 * steps * cost for steps in (250, 1000, 4000)] for name, (cost, _) in METHODS.items()
    }
    assert panel.lines[0].values[:, 0] == pytest.approx([60, 60, 60])


def test_trainings_that_differ_otherwise_are_no_points_of_one_line():
    rows = table(("5-way 5-shot",), ("quick", "quick, learning_rate=0.1"))
    assert budget_panels(rows) == []
    mixed = table(("5-way 5-shot",), ("quick", "quick, learning_rate=0.1, steps=250"))
    assert budget_panels(mixed) == []
    both = pd.concat([rows, table(("5-way 5-shot",), ("quick, steps=250, learning_rate=0.1",))])
    (panel,) = budget_panels(both)
    assert panel.title.endswith("recipe quick, learning_rate=0.1")


def test_one_method_in_two_lengths_beside_others_in_one_is_drawn_alone():
    rows = table(("5-way 5-shot",), ("quick", "quick, steps=250"))
    rows = rows[(rows["budget"] == "quick") | (rows["method"] == "SLA+AG")]
    (panel,) = budget_panels(rows)
    assert [line.name for line in panel.lines] == ["SLA+AG"]


def test_costs_are_drawn_where_they_differ():
    same = {"baseline": (1, 1), "baseline+TTA": (1, 4)}
    assert cost_panels(table(methods=same)) == []
    panels = cost_panels(table())
    assert [title for title, _ in panels] == [
        "glyphs, 5-way 1-shot, protonet, train shots 1",
        "glyphs, 5-way 5-shot, protonet, train shots 5",
    ]
    assert list(panels[0][1]["value"]) == [64, 63, 62, 61, 60]


def test_the_matched_controls_have_their_colour_and_are_joined_to_their_baseline():
    figure = cost_accuracy_figure(table(("5-way 5-shot",)), FEWSHOT.matched_controls)
    (axes,) = figure.axes
    (joined,) = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert joined.get_color() == MATCHED_COLOUR
    assert list(joined.get_ydata()) == [60, 64]
    assert joined.get_xdata() == pytest.approx([75_000, 300_000], rel=0.1)
    listed = [text.get_text() for text in axes.texts]
    assert [text for text in listed if "(" in text][1:] == [
        "baseline-xM  64.0 (1)",
        "SLA+AG  63.0 (4)",
        "SLA+SI  62.0 (1)",
        "baseline+TTA  61.0 (4)",
        "baseline  60.0 (1)",
    ]
    colours = {text.get_text().split()[0]: text.get_color() for text in axes.texts if "(" in text.get_text()}
    assert {name for name, colour in colours.items() if colour == style.BLUE} == {"SLA+AG", "SLA+SI"}
    assert colours["baseline-xM"] == MATCHED_COLOUR
    assert colours["baseline+TTA"] == style.GREY


def test_points_of_equal_cost_stand_side_by_side_around_their_cost():
    images = np.array([75_000.0, 300_000, 75_000, 300_000, 302_000, 1_000_000])
    placed = side_by_side(images)
    assert len(set(placed)) == len(images)
    assert np.log(placed / images) == pytest.approx(0, abs=0.1)
    assert placed[5] == pytest.approx(1_000_000)
    assert placed[0] < placed[2]
    assert placed[1] < placed[3] < placed[4]
    assert np.log(placed[[0, 2]]).mean() == pytest.approx(np.log(75_000))


MANY = {**METHODS, **{f"control{i}": (4, 1 if i % 2 else 4) for i in range(15)}}


@pytest.mark.parametrize(
    "draw",
    [
        lambda rows: gain_curves_figure(rows, FEWSHOT.axis),
        lambda rows: cost_accuracy_figure(rows, FEWSHOT.matched_controls),
        lambda rows: budget_curves_figure(rows),
    ],
)
def test_figures_are_whole_deterministic_and_readable(draw, tmp_path):
    rows = table(budgets=("quick", "quick, steps=250"), methods=MANY)
    figure = draw(rows)
    first, second = style.save(figure, tmp_path / "a"), style.save(draw(rows), tmp_path / "b")
    assert [path.name for path in first] == ["a.png", "a.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert_readable(figure)


def test_nothing_to_show_is_no_figure():
    rows = table(("5-way 5-shot",), methods={"baseline": (1, 1)})
    assert gain_curves_figure(rows, FEWSHOT.axis) is None
    assert cost_accuracy_figure(rows, FEWSHOT.matched_controls) is None
    assert budget_curves_figure(rows) is None
