import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import write_records

from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.report.cost_picture import LINE, TOP, WIDTH, cost_picture, on_front
from sla_bench.tables.row_key import SETTING
from sla_bench.tables.table_texts import rows_of


def made_up(*rows):
    """Rows of (method, images, passes, accuracy)."""
    return [
        {
            **dict.fromkeys((*SETTING, "metric", "run_ids", "ci95_open")),
            "scenario": "fewshot",
            "method": method,
            "train_images": images,
            "query_passes": passes,
            "value": value,
            "ci95_low": value - 1,
            "ci95_high": value + 1,
            "is_sla": method.startswith("SLA"),
            "seeds": 3,
        }
        for method, images, passes, value in rows
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 4, 16]), st.integers(0, 9)),
        min_size=1,
        max_size=12,
    )
)
def test_the_front_is_what_no_row_beats_at_its_cost(points):
    images, passes, values = (np.array(column, float) for column in zip(*points, strict=True))
    expected = [not any(i <= own[0] and p <= own[1] and v > own[2] for i, p, v in points) for own in points]
    assert on_front(images, passes, values).tolist() == expected


def test_five_per_cent_more_images_count_as_equal():
    images, passes = np.array([100.0, 104.0, 110.0]), np.ones(3)
    assert on_front(images, passes, np.array([50.0, 60.0, 70.0])).tolist() == [False, True, True]


def test_points_lie_by_cost_and_accuracy_and_the_stairs_climb(tmp_path):
    rows = {"baseline": 0.5, "SLA+AG": 0.6, "SLA+SI": 0.55, "baseline-xM": 0.7}
    store, _ = write_records(tmp_path, rows, seeds=(0, 1))
    table = rows_of(leaderboard(store.records()))
    for row in table:
        row["train_images"] = 100 if row["method"] == "baseline" else 400
    picture = cost_picture(table)
    by_name = {point.text.rpartition(" ")[0]: point for point in picture.points}
    assert by_name.keys() == rows.keys()
    assert by_name["baseline"].x < min(p.x for n, p in by_name.items() if n != "baseline")
    heights = [by_name[name].y for name in sorted(rows, key=rows.get)]
    assert heights == sorted(heights, reverse=True)
    assert [n for n, p in by_name.items() if p.on_front] == ["baseline", "baseline-xM"]
    (x0, y0), *_, (x1, y1) = picture.front
    assert (y0, y1) == (by_name["baseline"].y, by_name["baseline-xM"].y)
    assert x0 < x1 < WIDTH
    assert [text for _, text in picture.images] == ["100", "400"]


@pytest.mark.parametrize("count", [2, 9, 30])
def test_names_keep_their_distance_and_stay_in_the_frame(count):
    rows = [(f"m{k}", 1000 * (1 + 3 * (k % 2)), 1, 50 + 0.01 * k) for k in range(count)]
    picture = cost_picture(made_up(*rows, ("SLA+AG", 4000, 4, 51)))
    columns = {}
    for point in picture.points:
        if point.name_y is not None:
            columns.setdefault(point.x > WIDTH / 3, []).append(point.name_y)
    for names in columns.values():
        assert min(names) >= TOP - 0.1
        assert max(names) <= picture.bottom + 0.1
        assert (np.diff(sorted(names)) >= LINE - 0.2).all()


def test_a_single_method_is_not_drawn():
    assert cost_picture(made_up(("baseline", 100, 1, 50))) is None
