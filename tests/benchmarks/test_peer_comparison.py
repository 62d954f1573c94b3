import csv
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from peer_modules import peer

from benchmarks.speed import heads, peers, sampler
from benchmarks.speed.peer_comparison import (
    classifier_steps,
    episode_evaluation,
    episode_sampling,
    episode_steps,
    fewshot_heads,
    long_tail,
    topics,
)
from benchmarks.speed.peer_comparison.measured import Effort, absent, failures, measure
from benchmarks.speed.peer_comparison.picture import bars_of, speed_figure
from benchmarks.speed.peer_comparison.tables import markdown_text
from benchmarks.speed.peer_comparison.topics import OURS, PEERS, Comparison, Implementation, Topic, checked
from benchmarks.speed.timing import interleaved
from sla_bench.data.base import LabeledImages
from sla_bench.tables.figures import style

QUICKLY = Effort(rounds=3, seconds=0.0, limit=60.0, once=60.0)


class Clock:
    """Time that passes only when somebody works."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self.worked = []
        monkeypatch.setattr("benchmarks.speed.timing.time.perf_counter", lambda: self.now)

    def worker(self, name, seconds, units=1):
        durations = itertools.cycle(seconds) if isinstance(seconds, list) else itertools.repeat(seconds)

        def work():
            self.worked.append(name)
            self.now += next(durations)
            return units

        return work


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_candidates_take_turns_and_the_first_round_does_not_count(clock):
    candidates = {"a": clock.worker("a", [9.0, 1.0, 2.0], units=4), "b": clock.worker("b", 3.0)}
    times = interleaved(candidates, rounds=2)
    assert clock.worked == ["a", "b", "b", "a", "a", "b"]
    assert times["a"].tolist() == [250.0, 500.0]
    assert times["b"].tolist() == [3000.0, 3000.0]


def test_a_time_is_a_mean_over_as_long_as_was_asked(clock):
    times = interleaved({"a": clock.worker("a", 0.25, units=2)}, rounds=1, seconds=1.0)
    assert len(clock.worked) == 8
    assert times["a"].tolist() == [125.0]


def test_what_is_slow_is_not_run_until_the_end(clock):
    seconds = {"very slow": 9.0, "slow": 7.0, "medium": 4.0, "fast": 0.5}
    candidates = {name: clock.worker(name, each) for name, each in seconds.items()}
    times = interleaved(candidates, rounds=5, limit=6.0, once=8.0)
    assert {n: len(v) for n, v in times.items()} == {"very slow": 1, "slow": 1, "medium": 2, "fast": 5}
    assert {n: clock.worked.count(n) for n in seconds} == {"very slow": 1, "slow": 2, "medium": 3, "fast": 6}


def topic_of(clock, ours=0.004, theirs=0.1, threads_matter=False):
    def agrees():
        if torch.get_num_threads() > 1:
            raise RuntimeError("pivots are wrong. And more")
        return True

    theirs = Implementation(clock.worker("theirs", theirs), "torch", 1e-7)
    if threads_matter:
        theirs = dataclasses.replace(theirs, agrees=agrees)
    implementations = {OURS: Implementation(clock.worker("ours", ours), "sla-bench", 0.0), "qpth": theirs}
    return Topic(
        "a|b head", "task", "All <of> it.", [Comparison("5-way", implementations)], {"easyfsl": "no"}
    )


def rows_of(topic, threads=1, failed=None):
    return [*measure(topic, topic.comparisons[0], threads, QUICKLY, failed or {}), *absent(topic)]


def test_rows_have_medians_ratios_and_versions(clock):
    ours, theirs, missing = rows_of(topic_of(clock, ours=[9.0, 0.001, 0.005, 0.003], theirs=0.06))
    assert (ours["median_ms"], ours["q1_ms"], ours["q3_ms"]) == pytest.approx((3.0, 2.0, 4.0))
    assert (ours["ratio"], theirs["ratio"], theirs["repetitions"]) == pytest.approx((1.0, 20.0, 3))
    assert theirs["version"] == f"torch {torch.__version__.partition('+')[0]}"
    assert theirs["difference"] == 1e-7
    assert missing["median_ms"] is None
    assert missing["note"] == "no"


def test_what_fails_on_several_threads_gets_a_note_and_no_time(clock):
    topic = topic_of(clock, threads_matter=True)
    assert failures(topic.comparisons[0], 1) == {}
    failed = failures(topic.comparisons[0], 2)
    assert failed == {"qpth": "fails on 2 threads: pivots are wrong"}
    rows = rows_of(topic, 2, failed)
    assert "theirs" not in clock.worked
    assert [(row["implementation"], row["median_ms"] is None) for row in rows[:2]] == [
        (OURS, False),
        ("qpth", True),
    ]
    assert "| 5-way | 2 | qpth | fails on 2 threads: pivots are wrong |" in markdown_text(
        rows, {topic.what: ""}, []
    )


def test_markdown_has_a_table_per_topic_and_says_what_is_missing(clock):
    topic = topic_of(clock)
    text = markdown_text(rows_of(topic), {topic.what: topic.about}, ["qpth_x is *left* out."])
    assert "qpth_x is \\*left\\* out." in text
    assert "All &lt;of&gt; it." in text
    assert "| 5-way | 1 | qpth | 100 | 100 to 100 | 3 | 25.0 | 1e-07 |" in text
    assert "| (not compared) |  | easyfsl | no |" in text


def test_picture_has_a_bar_for_each_of_the_others_and_a_stroke_for_more_threads(clock):
    topic = topic_of(clock)
    rows = rows_of(topic) + rows_of(topic, 2)
    assert [(row["implementation"], row["threads"]) for row in bars_of(rows)] == [("qpth", 1)]
    figure = speed_figure(rows)
    (axes,) = figure.axes
    (bar,) = axes.patches
    assert bar.get_x() + bar.get_width() == pytest.approx(25)
    assert figure.get_size_inches()[0] == style.COLUMN_INCHES
    texts = [text.get_text() for text in axes.texts]
    assert {"25", "a|b head", "5-way", "qpth"} <= set(texts)


@pytest.mark.parametrize("difference", [1.1e-4, float("nan")])
def test_a_difference_stops(difference):
    with pytest.raises(SystemExit, match="easyfsl differs from ours"):
        checked("easyfsl", difference, 1e-4)


def few_images(classes=6, per_class=25):
    pixels = np.random.default_rng(0).integers(0, 256, (classes * per_class, 32, 32, 3), dtype=np.uint8)
    return LabeledImages(pixels, np.arange(len(pixels)) % classes, tuple(map(str, range(classes))))


def without(*peers):
    """Skip the test where one of the peers is missing; all others count as missing."""
    for name in peers:
        peer(PEERS[name])
    return set(PEERS) - set(peers)


@pytest.mark.parametrize("peers", [(), ("learn2learn",), ("easyfsl",)])
def test_sampling_agrees(peers):
    topic = episode_sampling.topic(without(*peers), few_images())
    for comparison in topic.comparisons:
        assert list(comparison.implementations) == [OURS, sampler.LOOP, *peers]
        for each in comparison.implementations.values():
            assert each.difference < 1e-5
            assert each.run() > 0


def test_sampling_notices_images_that_repeat():
    def repeating(images, shape):
        for _ in range(shape.ways):
            for _ in range(shape.shots + shape.queries):
                images[0]
        labels = torch.arange(shape.ways)[:, None].expand(-1, shape.shots + shape.queries)
        yield episode_sampling.Read(torch.zeros(*labels.shape, 3, 32, 32), labels)

    with pytest.raises(SystemExit, match="different images per class"):
        episode_sampling.largest_difference(few_images(), repeating)


def test_sampling_notices_other_pixels():
    def brighter(images, shape):
        for episode in episode_sampling.READERS[sampler.LOOP](images, shape):
            yield episode._replace(images=episode.images + 0.5)

    assert episode_sampling.largest_difference(few_images(), brighter) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("peers", [(), ("learn2learn",), ("easyfsl",)])
def test_evaluation_agrees(peers):
    size = episode_evaluation.Size("conv4-32", 1, 400, 5)
    (comparison,) = episode_evaluation.topic(without(*peers), [size]).comparisons
    assert list(comparison.implementations) == [OURS, episode_evaluation.PER_EPISODE, *peers]
    assert max(each.difference for each in comparison.implementations.values()) < 1e-4


def test_evaluation_with_views_has_no_peers():
    size = episode_evaluation.Size("conv4-32", 4, 400, 5)
    (comparison,) = episode_evaluation.topic((), [size]).comparisons
    assert list(comparison.implementations) == [OURS, episode_evaluation.PER_EPISODE]


@pytest.mark.parametrize(
    ("kind", "peers", "expected"),
    [
        ("svm", ("qpth",), ["qpth"]),
        ("svm", ("qpth", "learn2learn"), ["qpth", "learn2learn"]),
        ("svm", ("learn2learn",), []),
        ("ridge", (), ["explicit inverse"]),
        ("ridge", ("qpth",), ["explicit inverse", "qpth"]),
    ],
)
def test_heads_agree(kind, peers, expected):
    topic = fewshot_heads.topic(kind, without(*peers), [(5, 1)], quick=True, features=64)
    assert [c.setting for c in topic.comparisons] == ["5-way 1-shot, forward", "5-way 1-shot, with backward"]
    for comparison in topic.comparisons:
        assert list(comparison.implementations) == [OURS, *expected]
        for name, each in comparison.implementations.items():
            assert each.agrees()
            assert each.run() == (1 if name == "learn2learn" else fewshot_heads.TASKS)


def test_a_wrong_head_stops_the_comparison():
    def doubled(*arguments):
        return 2 * heads.inverse_ridge(*arguments)

    right = heads.inverse_ridge
    data = heads.episodes(5, 1, features=32)
    with pytest.raises(SystemExit, match="wrong: logits differs by 1"):
        heads.compare({"right": right, "wrong": doubled}, data, 5, "ridge")
    assert not fewshot_heads.logits_agree(doubled, right, data, 5)


def test_long_tail_agrees():
    topic = long_tail.topic(largest=100)
    (comparison,) = topic.comparisons
    ours, theirs = comparison.implementations.values()
    assert theirs.difference < 1e-5
    # 100 x 0.01^(k/9), each rounded down: 245 images, two batches.
    assert ours.run() == theirs.run() == 2


def test_long_tail_notices_another_choice():
    data = long_tail.random_images(100)
    chosen = np.arange(245)
    with pytest.raises(SystemExit, match="different classes"):
        long_tail.subset_difference(data, chosen, long_tail.usual_subset(data))


@pytest.mark.parametrize("sla", [False, True])
def test_classifier_steps_agree(sla):
    differences = classifier_steps.differences_of("resnet8", sla)
    assert list(differences) == [OURS, classifier_steps.PLAIN, classifier_steps.PUBLISHED]
    assert max(differences.values()) < 1e-10


def test_the_published_step_logs_what_ours_reads():
    training = classifier_steps.PublishedTraining("resnet8", 4, sla=True)
    training.step()
    assert set(training.logged) == {
        *("loss", "accuracy", "single_loss", "single_accuracy", "aggregated_loss", "aggregated_accuracy")
    }
    # Uniform logits: ln 40 for the joint task of 10 classes, ln 10 for what is read of it.
    labels = torch.arange(4)
    zeros = torch.zeros(16, 40)
    logged = training.log(torch.tensor(0.0), zeros, training.targets(labels), labels)
    assert logged["single_loss"] == pytest.approx(np.log(10))
    assert logged["aggregated_loss"] == pytest.approx(np.log(10))


@pytest.mark.parametrize("name", ["learn2learn", "easyfsl"])
def test_episode_steps_agree(name):
    without(name)
    builds = {name: episode_steps.LIBRARIES[name]}
    assert episode_steps.differences_of("conv4-32", builds)[name] < 1e-10
    training = builds[name]("conv4-32")
    before = [p.clone() for p in training.network.parameters()]
    data, everything = training.step()
    assert 0 < data < everything
    assert any(not torch.equal(b, p) for b, p in zip(before, training.network.parameters(), strict=True))


def test_from_the_command_to_the_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers, "missing_peers", lambda: dict.fromkeys(PEERS, "taken away"))
    monkeypatch.setitem(peers.TOPICS, "long-tail", lambda *_: [long_tail.topic(100)])
    arguments = ["peers.py", "--quick", "--topic", "long-tail", "--threads", "1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    peers.main()
    printed = capsys.readouterr().out
    assert printed.strip() == (tmp_path / "speed.md").read_text().strip()
    assert printed.count("is left out, because it can't be imported here (taken away)") == len(topics.PEERS)
    assert {path.name for path in tmp_path.iterdir()} == {"speed.csv", "speed.md", "speed.png", "speed.svg"}
    rows = list(csv.DictReader((tmp_path / "speed.csv").open()))
    assert {row["implementation"] for row in rows} == {OURS, long_tail.PEER, *PEERS}
