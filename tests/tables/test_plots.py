import io
import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from figure_texts import assert_readable, words
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from PIL import Image

from sla_bench.tables.figures import style
from sla_bench.tables.figures.curves import learning_curves_figure
from sla_bench.tables.figures.dots import gain_text
from sla_bench.tables.figures.gains import accuracies_figure, gains_figure
from sla_bench.tables.table_texts import ONE_SEED

METHODS = ("baseline", "baseline+TTA", "baseline-xM", "SLA+SI", "SLA+AG")


def leaderboard(datasets=("glyphs",), learners=("protonet",), shots=(5, 1), references=("baseline",)):
    rows = []
    for dataset in datasets:
        for shot in shots:
            for learner in learners:
                for reference in references:
                    for place, method in enumerate(METHODS):
                        gain = np.nan if method == reference else 4.0 * place - 6
                        rows.append(
                            {
                                "scenario": "fewshot",
                                "dataset": dataset,
                                "setting": f"5-way {shot}-shot",
                                "ways": 5,
                                "learner": learner,
                                "method": method,
                                "is_sla": method.startswith("SLA"),
                                "averages_views": "+TTA" in method,
                                "transform": "rotation",
                                "budget": "quick",
                                "seeds": 3,
                                "metric": "accuracy",
                                "value": 60.0 + place,
                                "ci95_low": 59.0 + place,
                                "ci95_high": 61.0 + place,
                                "reference": reference,
                                "relative_gain_pct": gain,
                                "gain_ci95_low": gain - 2,
                                "gain_ci95_high": gain + 2,
                                "gain_classes_low": np.nan,
                                "gain_classes_high": np.nan,
                                "interval_kind": "crossed",
                                "gain_interval_kind": "crossed",
                                "gain_seeds": 3,
                            }
                        )
    return pd.DataFrame(rows)


def histories(methods=("baseline", "sla"), learners=("protonet",), seeds=2, steps=20):
    step = np.arange(1, steps + 1)
    runs = [
        pd.DataFrame(
            {
                "label": f"{learner} {method} seed {seed}",
                "dataset": "glyphs",
                "transform": "rotation",
                "learner": learner,
                "method": method,
                "is_sla": method.startswith("sla"),
                "seed": seed,
                "step": step,
                "images": step * 100,
                "train_loss": 1 / step,
                "train_accuracy": step / steps,
                "val_accuracy": np.where(step % 5 == 0, step / (2 * steps), np.nan),
            }
        )
        for learner in learners
        for method in methods
        for seed in range(seeds)
    ]
    return pd.concat(runs, ignore_index=True)


def dots(axes):
    """(value, row, face colour) of the markers of an axes."""
    return [
        (line.get_xdata()[0], line.get_ydata()[0], to_hex(line.get_markerfacecolor()))
        for line in axes.lines
        if line.get_marker() == "o"
    ]


def whiskers(axes):
    return [tuple(segment[:, 0]) for collection in axes.collections for segment in collection.get_segments()]


def row_labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_gains_have_one_dot_and_whisker_per_row_with_a_gain():
    table = leaderboard(learners=("protonet", "metaoptnet-rr"))
    figure = gains_figure(table)
    assert len(figure.axes) == 4
    for axes in figure.axes:
        assert row_labels(axes) == list(METHODS[1:])
        assert [(value, row) for value, row, _ in dots(axes)] == [(-2, 0), (2, 1), (6, 2), (10, 3)]
        assert whiskers(axes) == [(-4, 0), (0, 4), (4, 8), (8, 12)]
        assert axes.get_xlim() == figure.axes[0].get_xlim()
    assert "+10.0 [8.0, 12.0]" in words(figure)
    assert "−2.0 [−4.0, 0.0]" in words(figure)


def test_the_controls_have_a_panel_of_their_own_and_methods_keep_their_order():
    figure = gains_figure(leaderboard(shots=(5,), references=("baseline", "baseline-xM")))
    assert [row_labels(axes) for axes in figure.axes] == [
        list(METHODS[1:]),
        [f"{m} / baseline-xM" for m in METHODS if m != "baseline-xM"],
    ]
    assert {"against baseline", "against the controls"} <= set(words(figure))


def test_one_seed_is_light_grey_and_the_caption_says_why():
    table = leaderboard(shots=(5,))
    assert not any("one seed" in text for text in words(gains_figure(table)))
    table.loc[table["method"] == "SLA+AG", ["interval_kind", "gain_interval_kind"]] = ONE_SEED
    for figure in (gains_figure(table), accuracies_figure(table)):
        faces = {row_labels(figure.axes[0])[row]: face for _, row, face in dots(figure.axes[0])}
        assert faces.pop("SLA+AG") == style.FAINT.lower()
        assert faces.pop("SLA+SI") == style.BLUE.lower()
        assert set(faces.values()) == {style.GREY}
        assert any("one seed, the estimate alone" in text.replace("\n", " ") for text in words(figure))


def test_the_interval_on_other_classes_is_a_thin_line_and_the_axis_holds_it():
    table = leaderboard(shots=(5,))
    assert not any("other test classes" in text for text in words(gains_figure(table)))
    chosen = (table["method"] == "SLA+AG") & (table["reference"] == "baseline")
    table.loc[chosen, ["gain_classes_low", "gain_classes_high"]] = [-9.0, 21.0]
    figure = gains_figure(table)
    axes = figure.axes[0]
    thin = [c for c in axes.collections if c.get_linewidths()[0] == 0.5 and len(c.get_segments())]
    ends = [c.get_segments()[0][:, 0].tolist() for c in thin if np.isfinite(c.get_segments()[0]).all()]
    assert ends == [[-9.0, 21.0]]
    assert axes.get_xlim()[0] < -9
    assert axes.get_xlim()[1] > 21
    assert any("other test classes" in text.replace("\n", " ") for text in words(figure))


def test_a_huge_interval_is_cut_with_arrow_heads_and_its_figures_stay():
    table = leaderboard(shots=(5,))
    table.loc[2, ["gain_ci95_low", "gain_ci95_high"]] = [-500.0, 504.0]
    figure = gains_figure(table)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    assert high - low < 60
    assert whiskers(axes)[1] == (low, high)
    assert [line.get_marker() for line in axes.lines if line.get_marker() in "<>"] == ["<", ">"]
    assert "+2.0 [−500.0, 504.0]" in words(figure)
    assert any("Arrow head" in text for text in words(figure))


def test_views_that_were_never_trained_do_not_flatten_the_other_gains():
    table = leaderboard(shots=(5,))
    turned = table["method"] == "baseline+TTA"
    table.loc[turned, ["relative_gain_pct", "gain_ci95_low", "gain_ci95_high"]] = [-60.0, -61.0, -59.0]
    figure = gains_figure(table)
    axes = figure.axes[0]
    assert axes.get_xlim()[0] > -10
    assert [(line.get_marker(), line.get_ydata()[0]) for line in axes.lines if line.get_marker() in "<>"] == [
        ("<", 0)
    ]
    assert [row for _, row, _ in dots(axes)] == [1, 2, 3]
    assert "−60.0 [−61.0, −59.0]" in words(figure)
    assert any("Arrow head" in text for text in words(figure))
    assert gains_figure(table[turned]).axes[0].get_xlim()[0] < -61


def test_each_data_set_has_its_own_axis_of_gains_over_all_settings_and_references():
    table = leaderboard(datasets=("glyphs", "cub200"), references=("baseline", "baseline-xM"))
    small = table["dataset"] == "cub200"
    table.loc[small, ["relative_gain_pct", "gain_ci95_low", "gain_ci95_high"]] /= 10
    limits = [axes.get_xlim() for axes in gains_figure(table).axes]
    assert len(limits) == 8
    assert len(set(limits[:4])) == len(set(limits[4:])) == 1
    assert np.ptp(limits[0]) > 5 * np.ptp(limits[4])


def test_no_zero_is_negative():
    assert gain_text(-0.04, -0.02, 0.04) == "+0.0 [0.0, 0.0]"


def test_a_gain_without_interval_has_a_dot_only():
    table = leaderboard(shots=(5,))
    table.loc[1, ["gain_ci95_low", "gain_ci95_high"]] = np.nan
    figure = gains_figure(table)
    assert len(dots(figure.axes[0])) == 4
    assert len(whiskers(figure.axes[0])) == 3
    assert "−2.0" in words(figure)


def test_accuracies_are_drawn_once_however_many_references():
    figure = accuracies_figure(leaderboard(references=("baseline", "baseline-xM")))
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert [value for value, _, _ in dots(axes)] == [60, 61, 62, 63, 64]
        assert whiskers(axes)[0] == (59, 61)
    assert "64.0 [63.0, 65.0]" in words(figure)


def test_accuracies_show_the_chance_level_of_the_setting():
    table = leaderboard(shots=(5,))
    axes = accuracies_figure(table).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() != "o"] == [20]
    assert axes.get_xlim()[0] < 20
    axes = accuracies_figure(table.assign(ways=3)).axes[0]
    assert 100 / 3 in [line.get_xdata()[0] for line in axes.lines]
    table["ways"] = None
    axes = accuracies_figure(table).axes[0]
    assert [line for line in axes.lines if line.get_marker() != "o"] == []
    assert axes.get_xlim()[0] > 50


def test_rows_that_differ_in_the_transform_are_told_apart():
    table = leaderboard(shots=(5,))
    more = table[table["method"] == "SLA+AG"].assign(transform="color_perm", relative_gain_pct=3.5)
    axes = gains_figure(pd.concat([table, more])).axes[0]
    assert row_labels(axes)[-2:] == ["SLA+AG, rotation", "SLA+AG, color_perm"]
    assert len(dots(axes)) == 5


def test_rows_that_differ_in_the_budget_get_panels_of_their_own():
    table = leaderboard(shots=(5,))
    figure = gains_figure(pd.concat([table, table.assign(budget="paper")]))
    assert len(figure.axes) == 2
    assert "glyphs, 5-way 5-shot, protonet, budget paper" in words(figure)


@pytest.mark.parametrize("datasets", [1, 12])
def test_text_is_readable_and_inside_and_apart_whatever_the_number_of_panels(datasets):
    table = leaderboard(datasets=[f"data{i}" for i in range(datasets)])
    for figure in (gains_figure(table), accuracies_figure(table)):
        assert len(figure.axes) == 2 * datasets
        width, _ = figure.get_size_inches()
        assert width in (3.5, 7.0, 10.5)
        assert_readable(figure)


@pytest.mark.parametrize(
    ("draw", "table"),
    [
        (gains_figure, leaderboard()),
        (accuracies_figure, leaderboard()),
        (learning_curves_figure, histories()),
    ],
)
def test_png_and_svg_are_written_and_the_same_each_time(draw, table, tmp_path):
    first = style.save(draw(table), tmp_path / "a" / "figure.v1")
    second = style.save(draw(table), str(tmp_path / "b" / "figure.v1"))
    assert [path.name for path in first] == ["figure.v1.png", "figure.v1.svg"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["figure.v1.png", "figure.v1.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(first[1]).getroot().tag.endswith("svg")
    assert not re.search(r"<dc:date>|\d{4}-\d{2}-\d{2}T", first[1].read_text())


def test_the_users_matplotlib_settings_do_not_matter_and_are_kept(tmp_path):
    plain = style.save(gains_figure(leaderboard()), tmp_path / "plain")
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "black", "svg.hashsalt": "other"}):
        changed = style.save(gains_figure(leaderboard()), tmp_path / "changed")
        assert mpl.rcParams["font.size"] == 20
    for one, other in zip(plain, changed, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_names_are_names_and_not_formulas(tmp_path):
    table = leaderboard(shots=(5,)).assign(dataset="folder:/a_b/$x^{$", learner=r"my_$\head$")
    table["method"] = table["method"] + r" $\frac{$"
    figure = gains_figure(table)
    assert r"SLA+AG $\frac{$" in row_labels(figure.axes[0])
    odd = histories(methods=("a_b $\\frac{$", "$"), learners=("$_x^{$",))
    for figure in (gains_figure(table), accuracies_figure(table), learning_curves_figure(odd)):
        assert len(style.save(figure, tmp_path / "figure")) == 2


def test_a_png_of_256_colours_looks_like_what_was_drawn(tmp_path):
    figure = gains_figure(leaderboard())
    png, _ = style.save(figure, tmp_path / "gains")
    drawn = io.BytesIO()
    with style.styled():
        figure.savefig(drawn, format="png", dpi=220)
    with Image.open(png) as few, Image.open(drawn) as all_:
        assert few.mode == "P"
        assert few.info["dpi"] == pytest.approx((220, 220), abs=0.1)
        shown, expected = (np.asarray(image.convert("RGB")).astype(int) for image in (few, all_))
    assert np.abs(shown - expected).max() <= 3
    assert (shown[(expected == 255).all(axis=2)] == 255).all()


def test_nothing_to_show_is_no_figure():
    table = leaderboard()
    assert gains_figure(table[table["method"] == "baseline"]) is None
    assert accuracies_figure(table.assign(value=np.nan)) is None
    assert learning_curves_figure(histories().iloc[:0]) is None


def test_a_character_that_the_font_lacks_is_drawn_as_a_box_without_a_warning(tmp_path, recwarn):
    table = leaderboard().assign(dataset="日")
    for path in style.save(accuracies_figure(table), tmp_path / "a"):
        assert path.stat().st_size > 0
    assert not [str(warning.message) for warning in recwarn if "font" in str(warning.message)]


def test_learning_curves_show_each_run_against_images():
    figure = learning_curves_figure(histories(learners=("protonet", "metaoptnet-rr")))
    assert len(figure.axes) == 4
    validation, training = figure.axes[:2]
    assert [len(line.get_xdata()) for line in validation.lines] == [4] * 4
    assert list(validation.lines[0].get_xdata()) == [500, 1000, 1500, 2000]
    assert validation.lines[0].get_ydata() == pytest.approx([12.5, 25, 37.5, 50])
    assert [len(line.get_xdata()) for line in training.lines] == [20] * 4
    assert validation.get_xlabel() == "Images through the backbone"
    assert [text.get_text() for text in validation.texts] == ["baseline", "sla"]


def test_training_accuracy_is_a_running_mean_over_a_tenth():
    table = histories(methods=("baseline",), seeds=1, steps=30)
    table["train_accuracy"] = np.random.default_rng(0).random(30)
    drawn = learning_curves_figure(table).axes[1].lines[0].get_ydata()
    noisy = 100 * table["train_accuracy"].to_numpy()
    assert drawn[1:-1] == pytest.approx(np.convolve(noisy, np.full(3, 1 / 3), "valid"))
    assert drawn[0] == pytest.approx(noisy[:2].mean())


def test_learning_curves_of_several_data_sets_have_panels_of_their_own():
    one, other = histories(learners=("ce",)).assign(dataset="cifar10"), histories(learners=("ce",))
    other = other.assign(dataset="glyphs20", label=other["label"] + " glyphs20", val_accuracy=0.25)
    figure = learning_curves_figure(pd.concat([one, other], ignore_index=True))
    titles = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert titles == ["cifar10, ce, validation", "glyphs20, ce, validation"]
    assert [line.get_ydata()[-1] for line in figure.axes[0].lines] == [50] * 4
    assert [line.get_ydata()[-1] for line in figure.axes[2].lines] == [25] * 4
    # The method names a line: no two runs of a panel share method and seed.
    assert [text.get_text() for text in figure.axes[2].texts] == ["baseline", "sla"]
    assert learning_curves_figure(one).axes[0].get_title(loc="left") == "ce, validation"


def test_trainings_of_other_shots_have_panels_of_their_own_and_names_stay_inside():
    one, other = histories(seeds=3), histories(seeds=3)
    table = pd.concat(
        [one.assign(train_shots=1, label="1-shot " + one["label"]), other.assign(train_shots=5)]
    )
    figure = learning_curves_figure(table.reset_index(drop=True))
    titles = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert titles == [f"protonet, train shots {shots}, validation" for shots in (1, 5)]
    assert all([t.get_text() for t in axes.texts] == ["baseline", "sla"] for axes in figure.axes)

    many = histories(methods=[f"method {i}" for i in range(30)], seeds=1)
    figure = learning_curves_figure(many)
    figure.canvas.draw()
    axes = figure.axes[0]
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == 30
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in itertools.pairwise(boxes))
    assert boxes[-1].y1 <= axes.get_window_extent().y1 + boxes[-1].height
    assert boxes[0].y0 >= axes.get_window_extent().y0 - boxes[0].height


def test_many_transformations_have_panels_of_their_own():
    names = [f"t{place}" for place in range(9)]
    methods = ("baseline", "da", "sla")
    runs = [
        histories(methods=methods, seeds=1)
        .assign(transform=name)
        .assign(label=lambda t, n=name: t["label"] + n)
        for name in names
    ]
    figure = learning_curves_figure(pd.concat(runs, ignore_index=True))
    titles = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert titles == [f"protonet, transform {name}, validation" for name in names]
    assert all([t.get_text() for t in axes.texts] == list(methods) for axes in figure.axes)

    table = pd.concat([leaderboard().assign(transform=name) for name in names], ignore_index=True)
    few, many = gains_figure(table[table["transform"].isin(names[:2])]), gains_figure(table)
    assert max(len(axes.get_yticklabels()) for axes in few.axes) > max(
        len(axes.get_yticklabels()) for axes in many.axes
    )
    assert sum(len(axes.get_yticklabels()) for axes in many.axes) == table["relative_gain_pct"].notna().sum()


def test_learning_curves_do_without_validation():
    figure = learning_curves_figure(histories().assign(val_accuracy=np.nan))
    assert len(figure.axes) == 1
    assert figure.axes[0].lines[0].get_xdata()[-1] == 2000


@given(st.lists(st.floats(-50, 50), max_size=12), st.floats(0.1, 20))
def test_labels_spread_apart_keep_order_gap_and_mean(positions, gap):
    placed = style.spread_apart(positions, gap)
    order = np.argsort(positions, kind="stable")
    assert (np.diff(placed[order]) >= gap - 1e-9).all()
    if positions:
        assert placed.mean() == pytest.approx(np.mean(positions), abs=1e-9)


def test_plots_import_neither_torch_nor_pyplot():
    code = (
        "import sys, sla_bench.evaluation.statistics, sla_bench.tables.figures.gains;"
        "sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
