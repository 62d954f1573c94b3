import re
from dataclasses import replace

import numpy as np
import pytest
from figure_texts import assert_readable, caption, words
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from scipy import stats
from scipy.special import expit, logit

from sla_bench.tables.class_results import ClassResult, TrainingClasses
from sla_bench.tables.figures import style
from sla_bench.tables.figures.classes import (
    GAIN_COLOUR,
    LOSS_COLOUR,
    class_accuracy_figure,
    class_counts_figure,
    confusions_figure,
    spread_ties,
)


def training_classes(classes=10, seeds=1, largest=1000, ratio=100.0, orders=None, names=None):
    """Exponential profile in thirds; class orders[s][i] of seed s has rank i, which is i by default."""
    exponents = np.arange(classes) / (classes - 1)
    sizes = (largest * ratio**-exponents).astype(int)
    thirds = np.minimum(3 * exponents, 2).astype(int)
    counts, groups = np.empty((2, seeds, classes), dtype=int)
    for seed, order in enumerate([range(classes)] * seeds if orders is None else orders):
        counts[seed, list(order)], groups[seed, list(order)] = sizes, thirds
    names = [f"class {i}" for i in range(classes)] if names is None else names
    return TrainingClasses(names, counts, groups, ("many", "medium", "few"))


def results_of(classes, methods=("baseline", "SLA+SD"), seed=0, **words):
    rng = np.random.default_rng(seed)
    found = []
    for method in methods:
        confusions = rng.dirichlet(np.ones(len(classes.names)), size=classes.counts.shape)
        found.append(
            ClassResult(
                words.get("dataset", "fashion_mnist"),
                words.get("setting", "exp ratio 100"),
                words.get("learner", "ce"),
                method,
                classes,
                confusions.diagonal(axis1=1, axis2=2).copy(),
                confusions,
                is_sla=method.startswith("SLA"),
            )
        )
    return found


def dots(axes):
    return [line for line in axes.lines if line.get_marker() == "o"]


def tick_words(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_ranks_follow_the_sizes_of_each_seed():
    counts = np.array([[5, 50, 20, 50], [50, 20, 5, 50]])
    classes = TrainingClasses("abcd", counts, (counts < 30).astype(int), ("head", "tail"))
    assert classes.order.tolist() == [[1, 3, 2, 0], [0, 3, 1, 2]]
    assert classes.sizes.tolist() == [50, 50, 20, 5]
    assert classes.by_rank(counts).tolist() == [[50, 50, 20, 5]] * 2
    assert classes.names_by_rank is None
    assert [tuple(span) for span in classes.spans] == [("head", 0, 2), ("tail", 2, 4)]
    alone = replace(classes, counts=counts[:1], groups=classes.groups[:1])
    assert alone.names_by_rank == ["b", "d", "c", "a"]


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(2, 8), seeds=st.integers(1, 3))
def test_renaming_the_classes_changes_no_rank(seed, size, seeds):
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(size) for _ in range(seeds)]
    plain = results_of(training_classes(size, seeds))[0]
    renamed = replace(
        plain,
        classes=training_classes(size, seeds, orders=orders),
        recalls=np.stack([r[np.argsort(o)] for r, o in zip(plain.recalls, orders, strict=True)]),
        confusions=np.stack(
            [c[np.ix_(np.argsort(o), np.argsort(o))] for c, o in zip(plain.confusions, orders, strict=True)]
        ),
    )
    assert renamed.recalls_by_rank.tolist() == plain.recalls_by_rank.tolist()
    assert renamed.confusion_by_rank == pytest.approx(plain.confusion_by_rank)


def test_counts_show_each_class_by_size_and_its_group():
    orders = [[3, 1, 0, 2, 9, 8, 7, 6, 5, 4]]
    figure = class_counts_figure({"fashion_mnist, exp ratio 100": training_classes(orders=orders)})
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    for patch in axes.patches:
        assert patch.get_data().values.tolist() == [1000, 599, 359, 215, 129, 77, 46, 27, 16, 10]
    assert tick_words(axes.xaxis) == [f"class {i}" for i in orders[0]]
    assert [line.get_xdata()[0] for line in axes.lines] == [3.5, 6.5]
    shown = words(figure)
    assert {"many", "medium", "few", "3 classes", "4 classes", "2,478 images, ratio 100"} <= set(shown)
    assert "fashion_mnist, exp ratio 100" in shown
    assert "no names" not in caption(figure)


def test_counts_of_several_sets_have_their_own_panels_and_ranks_where_names_would_lie():
    rolled = [np.roll(np.arange(10), 3 * s) for s in range(3)]
    sets = {
        "one": training_classes(10, 3, orders=rolled),
        "two": training_classes(100),
        "three": training_classes(20),
    }
    figure = class_counts_figure(sets)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["Rank of the class by size"] * 2 + [""]
    assert [len(axes.patches[0].get_data().values) for axes in figure.axes] == [10, 100, 20]
    assert "no names where the seeds" in caption(figure)


def test_accuracy_has_a_dot_per_class_and_method_at_its_size():
    base, other = results_of(training_classes(10, 3))
    (axes,) = class_accuracy_figure([base, other]).axes
    grey, blue = dots(axes)
    assert (to_hex(grey.get_color()), to_hex(blue.get_color())) == (style.GREY, style.BLUE.lower())
    for line, result in ((grey, base), (blue, other)):
        assert line.get_xdata() == pytest.approx(result.classes.sizes)
        assert line.get_ydata() == pytest.approx(100 * result.recalls.mean(axis=0))
        assert line.get_markerfacecolor() == line.get_color()
    assert axes.get_xscale() == "log"
    left, right = axes.get_xlim()
    assert left > 1000
    assert right < 10


def test_accuracy_matches_classes_by_rank_where_the_seeds_permute_them():
    orders = [np.roll(np.arange(10), 3 * s) for s in range(3)]
    base, other = results_of(training_classes(10, 3, orders=orders))
    (axes,) = class_accuracy_figure([other, base]).axes
    expected = np.mean([base.recalls[s, order] for s, order in enumerate(orders)], axis=0)
    assert dots(axes)[0].get_ydata() == pytest.approx(100 * expected)
    assert dots(axes)[0].get_ydata() != pytest.approx(100 * base.recalls.mean(axis=0))


def test_lines_lead_from_the_baseline_to_label_augmentation_in_the_colour_of_the_outcome():
    base, other = results_of(training_classes(20, 2))
    (axes,) = class_accuracy_figure([base, other]).axes
    lines = axes.collections[0]
    before, after = (100 * r.recalls.mean(axis=0) for r in (base, other))
    assert [s[:, 1].tolist() for s in lines.get_segments()] == pytest.approx(np.stack([before, after], 1))
    colours = [to_hex(colour) for colour in lines.get_colors()]
    assert colours == [
        (GAIN_COLOUR if a >= b else LOSS_COLOUR).lower() for b, a in zip(before, after, strict=True)
    ]
    assert len(set(colours)) == 2


def test_group_means_have_the_t_interval_over_seeds_and_a_paired_difference():
    base, other = results_of(training_classes(10, 3))
    figure = class_accuracy_figure([base, other])
    shown = words(figure)
    tail = [100 * result.recalls[:, 6:].mean(axis=1) for result in (base, other)]
    assert {f"{values.mean():.1f}" for values in tail} <= set(shown)
    low, high = stats.ttest_1samp(tail[1] - tail[0], 0).confidence_interval(0.95)
    text = f"{(tail[1] - tail[0]).mean():+.1f} ± {(high - low) / 2:.1f}"
    assert text.replace("-", "\N{MINUS SIGN}") in shown
    shades = [c for c in figure.axes[0].collections if c.get_alpha() == 0.15]
    assert len(shades) == 6
    # Of the logit, so that no shade leaves 0 to 100.
    mean = tail[0].mean() / 100
    on_logits = (tail[0] / 100 - mean) / (mean * (1 - mean)) + logit(mean)
    low, high = 100 * expit(stats.ttest_1samp(on_logits, 0).confidence_interval(0.95))
    heights = shades[-2].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((low, high))
    assert "Means over 3 seeds" in caption(figure)
    assert "Hollow" not in caption(figure)


def test_one_trained_model_is_hollow_without_interval_and_the_caption_says_so():
    base, other = results_of(training_classes(10))
    figure = class_accuracy_figure([base, other])
    assert [line.get_markerfacecolor() for line in dots(figure.axes[0])] == ["white"] * 2
    assert not any("±" in text for text in words(figure))
    assert "one trained model per method" in caption(figure)
    assert f"{100 * base.recalls[0, :3].mean():.1f}" in words(figure)
    assert "one trained model per method" in caption(confusions_figure([base, other]))


def test_every_loss_and_row_of_label_augmentation_has_its_panel_and_others_have_none():
    classes = training_classes(10, 2)
    found = [
        result
        for learner in ("ce", "ldam-drw")
        for result in results_of(classes, ("MT", "SLA+SD", "baseline", "SLA+AG"), learner=learner)
    ]
    figure = class_accuracy_figure(found)
    assert len(figure.axes) == 4
    assert "fashion_mnist, exp ratio 100, ldam-drw" in words(figure)
    assert "MT" not in words(figure)
    shown = words(confusions_figure(found))
    matrices = [text.split(":")[0] for text in shown if "mean of the diagonal" in text]
    assert matrices == ["baseline", "SLA+SD", "SLA+AG"] * 2


def test_confusions_stand_side_by_side_from_the_largest_class():
    order = [3, 1, 0, 2]
    classes = training_classes(4, orders=[order], names=["cat", "dog", "fox", "owl"])
    base, other = results_of(classes)
    figure = confusions_figure([base, other])
    for axes, result in zip(figure.axes[:2], (base, other), strict=True):
        expected = 100 * result.confusions[0][np.ix_(order, order)]
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(expected)
        cells = {
            text.get_position(): text.get_text()
            for text in axes.texts
            if "mean of the diagonal" not in text.get_text()
        }
        assert cells == {
            (column, row): f"{expected[row, column]:.0f}"
            for row in range(4)
            for column in range(4)
            if expected[row, column] >= 0.5
        }
        assert tick_words(axes.xaxis) == ["owl 1,000", "dog 215", "cat 46", "fox 10"]
        assert f"{result.method}: mean of the diagonal {expected.diagonal().mean():.1f} %" in words(figure)
    assert tick_words(figure.axes[0].yaxis) == ["owl 1,000", "dog 215", "cat 46", "fox 10"]
    assert len(figure.axes) == 3


def test_confusions_are_means_over_seeds_and_show_sizes_where_ranks_have_no_names():
    orders = [np.roll(np.arange(5), 2 * s) for s in range(3)]
    base, other = results_of(training_classes(5, 3, orders=orders))
    figure = confusions_figure([base, other])
    expected = np.mean([base.confusions[s][np.ix_(o, o)] for s, o in enumerate(orders)], axis=0)
    assert np.asarray(figure.axes[0].images[0].get_array()) == pytest.approx(100 * expected)
    assert tick_words(figure.axes[0].yaxis) == ["1,000", "316", "100", "31", "10"]
    assert "Mean over 3 seeds" in caption(figure)


def test_many_classes_have_groups_instead_of_names_and_numbers():
    figure = confusions_figure(results_of(training_classes(100)))
    axes = figure.axes[0]
    assert tick_words(axes.yaxis) == ["many", "medium", "few"]
    assert not any(re.fullmatch(r"\d+", text.get_text()) for text in axes.texts)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60))
def test_equal_sizes_spread_without_leaving_their_place(sizes):
    sizes = np.sort(sizes)[::-1]
    places = spread_ties(sizes)
    assert (np.diff(places) < 0).all()
    assert np.abs(np.log10(places / sizes)).max() <= 0.12 + 1e-9
    for size in np.unique(sizes):
        here = places[sizes == size]
        assert np.log10(here).mean() == pytest.approx(np.log10(size))
        nearest = np.unique(sizes)[np.abs(np.log10(here[:, None] / np.unique(sizes))).argmin(axis=1)]
        assert (nearest == size).all()


def many_figures():
    long = "folder:" + "/somewhere" * 9
    for size, seeds in ((2, 1), (10, 3), (100, 3)):
        names = [f"superclass_{i}/a rather long name" for i in range(size)]
        classes = training_classes(size, seeds, names=names)
        found = [*results_of(classes), *results_of(classes, learner="ldam-drw", dataset=long)]
        yield class_accuracy_figure(found)
        yield confusions_figure(found[2:])
        yield class_counts_figure({"a": classes, long: classes})
    yield class_accuracy_figure(found[:2])
    sizes, groups = (
        [np.repeat([values], [1, 1, 10], axis=1)] * 2 for values in ([5000, 4999, 50], [0, 1, 2])
    )
    narrow = TrainingClasses("abcdefghijkl", np.vstack(sizes), np.vstack(groups), ("many", "medium", "few"))
    balanced = TrainingClasses("abc", np.full((1, 3), 7), np.zeros((1, 3), int), ("all",))
    for classes in (narrow, balanced):
        yield class_accuracy_figure(results_of(classes))
        yield confusions_figure(results_of(classes))
        yield class_counts_figure({"a": classes})


def test_text_is_readable_and_inside_and_apart():
    for figure in many_figures():
        assert_readable(figure)


def test_nothing_to_show_is_no_figure():
    base, other = results_of(training_classes())
    assert class_counts_figure({}) is None
    for draw in (class_accuracy_figure, confusions_figure):
        for found in ([], [base], [other], [base, replace(other, learner="cb-rw")]):
            assert draw(found) is None
    assert confusions_figure([base, replace(other, confusions=None)]) is None
    assert class_accuracy_figure([base, replace(other, confusions=None)]) is not None
