import dataclasses

import numpy as np
import pytest
from figure_texts import caption, words
from made_up_analyses import LABELS, write_analyses

from sla_bench.records.store import Store
from sla_bench.tables.figures import style
from sla_bench.tables.figures.views import (
    view_accuracies_figure,
    view_agreement_figure,
    view_confusions_figure,
    view_figures,
)
from sla_bench.tables.report.page import write_report
from sla_bench.tables.view_results import HeadViews, ViewSetting, view_settings
from sla_bench.tables.view_tables import GUIDE, view_tables


def head(name="SLA", seeds=1, views=4, images=300, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    own = np.where(rng.random((seeds, images, views)) < 0.6, labels[:, None], 0)
    told = np.where(rng.random(own.shape) < 0.7, np.arange(views), 0)
    joint = own * views + told if name.startswith("SLA") else None
    return HeadViews(
        name=name,
        taught="joint" if joint is not None else "invariant",
        is_sla=joint is not None,
        labels=labels,
        classes=own,
        aggregated=np.where(rng.random((seeds, images)) < 0.8, labels, 0),
        joint=joint,
        recognised=told if joint is not None else None,
    )


def setting(*heads, views=4, title="cifar10, full, ce, resnet8, budget quick"):
    names = [f"{90 * (j % 4)}° {j // 4}" for j in range(views)]
    turns = [j % 4 for j in range(views)]
    return ViewSetting(title, [f"class {i}" for i in range(5)], names, turns, heads)


def test_accuracies_are_those_of_the_predictions():
    own = head("DA", seeds=2)
    hits = own.classes == own.labels[:, None]
    assert [i.estimate for i in own.accuracies] == pytest.approx(hits.mean((0, 1)))
    averaged = (own.aggregated == own.labels).mean()
    assert own.aggregated_accuracy.estimate == pytest.approx(averaged)
    assert own.gain.estimate == pytest.approx(averaged - hits[:, :, 0].mean())
    assert own.relative_gain.estimate == pytest.approx(averaged / hits[:, :, 0].mean() - 1)
    assert own.gain.interval_kind == "crossed"
    # Classes of equal size: the mean of their gains is the gain.
    agreement, gains = own.by_class
    assert gains.mean() == pytest.approx(own.gain.estimate)
    assert agreement.mean() == pytest.approx(own.agreement.estimate)
    assert head("DA").gain.interval_kind == "one seed"
    assert np.isnan([head("DA").gain.low, head("DA").agreement.high]).all()


def test_a_joint_head_has_a_second_line_over_all_columns():
    joint = head("SLA")
    figure = view_accuracies_figure([setting(head("DA"), joint)])
    shown = words(figure)
    assert {"DA", "SLA", "SLA, any", "mean", "0° 0"} <= set(shown)
    lines = {tuple(np.round(line.get_ydata(), 6)) for line in figure.axes[0].lines}
    assert tuple(np.round([100 * i.estimate for i in joint.accuracies], 6)) in lines
    assert tuple(np.round([100 * i.estimate for i in joint.accuracies_of_all_columns], 6)) in lines
    assert "one seed, the estimate alone" in caption(figure)
    assert "one seed" not in caption(view_accuracies_figure([setting(head(seeds=2))]))


def test_of_many_heads_each_has_one_line():
    names = ["baseline", "DA", "MT", "SLA", "SLA+SD teacher", "SLA+U teacher"]
    figure = view_accuracies_figure([setting(*map(head, names))])
    assert set(names) <= set(words(figure))
    assert "SLA, any" not in words(figure)
    assert "Any:" not in caption(figure)


def test_agreement_is_drawn_against_the_gain_with_a_dot_per_class():
    own = head("SLA", seeds=3)
    axes = view_agreement_figure([setting(own, head("DA", seeds=3))]).axes[0]
    markers = [line for line in axes.lines if line.get_marker() == "o" and line.get_color() == style.BLUE]
    (point,) = [m.get_xydata()[0] for m in markers if m.get_transform() == axes.transData]
    assert point == pytest.approx([100 * own.agreement.estimate, 100 * own.gain.estimate])
    clouds = [c for c in axes.collections if len(c.get_offsets()) == 5]
    assert len(clouds) == 2


def test_confusions_show_views_and_pairs():
    own = head("SLA")
    figure = view_confusions_figure([setting(own, head("DA"))])
    views, pairs = figure.axes
    shown = np.asarray(views.images[0].get_array())
    assert shown.sum(1) == pytest.approx([100] * 4)
    bars = [patch.get_width() for patch in pairs.patches]
    labels = [text.get_text() for text in pairs.get_yticklabels()]
    # Class 0 is what every error is read as; four pairs, each with two parts.
    assert len(labels) == 4
    assert all("\N{RIGHTWARDS ARROW} class 0" in label for label in labels)
    wrong = (own.classes != own.labels[:, None])[:, own.labels > 0].mean()
    assert sum(bars) / 4 == pytest.approx(100 * wrong)
    assert view_confusions_figure([setting(head("DA"))]) is None


@pytest.mark.parametrize("views", [2, 24])
def test_any_number_of_views_fits_on_the_page(views, tmp_path):
    names = ("baseline", "DA", "SLA", "SLA+SD teacher")
    heads = [head(name, views=views, images=50, seed=len(name)) for name in names]
    settings = [setting(*heads, views=views), setting(*heads, views=views, title="another, full, ce")]
    for figure in view_figures(settings).values():
        figure.canvas.draw()
        width, height = figure.get_size_inches() * figure.dpi
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert min(box.x0, box.y0) >= -1, axes.get_title()
            assert box.x1 <= width + 1
            assert box.y1 <= height + 1
    for figure in view_figures(settings).values():
        assert len(style.save(figure, tmp_path / "figure")) == 2
    tables = view_tables(settings[0])
    assert all(len(line) == len(table.headings) for table in tables for line in table.lines)
    assert ("mean of the others" in tables[0].headings) == (views > 6)


def test_an_interval_of_two_unlike_seeds_does_not_flatten_the_panel():
    own = head("DA", seeds=2)
    unlike = own.classes.copy()
    unlike[1, :250] = 9
    wide = HeadViews("MT", "invariant", False, own.labels, unlike, own.aggregated, None, None)
    assert wide.accuracies[0].high - wide.accuracies[0].low > 0.99
    assert np.ptp(view_accuracies_figure([setting(own, wide)]).axes[0].get_ylim()) < 200
    assert np.ptp(view_agreement_figure([setting(own, wide)]).axes[0].get_xlim()) < 200


def test_seeds_join_and_data_sets_and_trainings_stay_apart(tmp_path):
    store = write_analyses(tmp_path, seeds=(0, 1, 2), dataset=["glyphs20", "cifar10"])
    write_analyses(tmp_path, methods=("baseline",), dataset=["cifar10"], mix=["cutout"])
    settings = view_settings(Store(tmp_path, "standard").records())
    assert [s.title.split(", ")[0:2] for s in settings] == [
        ["cifar10", "full"],
        ["cifar10", "full"],
        ["glyphs20", "full"],
    ]
    assert [[h.name for h in s.heads] for s in settings] == [
        ["baseline", "DA", "MT", "SLA"],
        ["baseline"],
        ["baseline", "DA", "MT", "SLA"],
    ]
    assert [h.seeds for h in settings[2].heads] == [3] * 4
    assert view_settings(r for r in store.records() if r.config.seed == 5) == []


def test_the_views_of_a_method_that_is_not_known_here_come_last(tmp_path):
    store = write_analyses(tmp_path, methods=("baseline", "sla"))
    (folder,) = (r.folder for r in store.records() if r.config.method == "baseline")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"baseline"', '"of another version"'))
    (one,) = view_settings(store.records())
    assert [head.name for head in one.heads] == ["SLA", "baseline"]


def test_tables_say_the_figures_and_give_one_seed_no_interval(tmp_path):
    (one,) = view_settings(write_analyses(tmp_path / "a").records())
    accuracy, agreement, transformation, pairs = view_tables(one)
    sla = next(h for h in one.heads if h.name == "SLA")
    line = next(row for row in accuracy.lines if row[0] == "SLA")
    assert line[1] == "a label for each view"
    assert line[2] == f"{100 * (sla.classes[0, :, 0] == LABELS).mean():.1f}"
    assert [row[0] for row in accuracy.lines] == ["baseline", "DA", "MT", "SLA", "SLA, any"]
    assert [row[0] for row in transformation.lines] == ["MT", "SLA"]
    assert transformation.lines[0][2:] == ["", ""]
    assert all(" > " in row[0] for row in pairs.lines)
    assert agreement.lines[0][3] == f"{100 * one.heads[0].gain.estimate:+.1f}"
    assert "of two seeds and more" in GUIDE
    (three,) = view_settings(write_analyses(tmp_path / "b", seeds=(0, 1, 2)).records())
    gain = three.heads[-1].gain
    ends = f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    assert view_tables(three)[1].lines[-1][3] == f"{100 * gain.estimate:+.1f} {ends}"


def test_probes_stand_beside_the_accuracy_of_the_head_on_upright_images():
    plain = head("DA")
    probe = np.where(np.arange(300) < 75, plain.labels, 9)[None]
    probed = dataclasses.replace(plain, probes={"linear probe": probe})
    table = view_tables(setting(plain, probed))[2]
    assert table.headings == ["head", "its own accuracy %", "linear probe %", "seeds"]
    own = 100 * (plain.classes[0, :, 0] == plain.labels).mean()
    assert table.lines == [["DA", f"{own:.1f}", "25.0", "1"]]
    assert not any("other heads" in table.title for table in view_tables(setting(plain)))


def test_a_head_that_is_never_right_has_no_relative_gain():
    own = head("DA")
    never = HeadViews("DA", "invariant", False, own.labels, own.classes * 0 + 9, own.aggregated, None, None)
    assert never.relative_gain is None
    assert view_tables(setting(never))[1].lines[0][4] == ""


def test_the_report_shows_pictures_and_tables_only_where_something_was_analysed(tmp_path):
    plain = write_analyses(tmp_path / "plain", analysed=False)
    analysed = write_analyses(tmp_path / "analysed")
    (section,) = write_report([plain], tmp_path / "plain.html")
    assert section.views is None
    assert "<img" not in (tmp_path / "plain.html").read_text()
    (section,) = write_report([analysed], tmp_path / "analysed.html")
    assert len(section.views.pictures) == 3
    page = (tmp_path / "analysed.html").read_text()
    assert page.count("<img ") == page.count('alt="') == 3
    assert "six &gt; " in page or "nine &gt; " in page
    write_report([Store(tmp_path / "analysed", "standard")], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page
