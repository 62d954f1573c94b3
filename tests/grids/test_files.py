import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pretrained_networks import needs_lite0
from spanned import tasks_of

from sla_bench.errors import UserError
from sla_bench.grids.files import open_grid_file, read_grid_file
from sla_bench.registry import TRANSFORMS

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.yaml"))


def write(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return path


def tasks(tmp_path, text):
    return read_grid_file(write(tmp_path, text), elsewhere=("workers",)).tasks()


def test_a_file_says_what_a_command_says(tmp_path):
    text = """
        scenario: imbalanced
        dataset: [glyphs20, glyphs]
        loss: [ce, ldam-drw]
        ratio: [100, 10]
        seed: 3
        max-class-size: 90
        method: baseline
        controls: true
        set: {learning_rate: 1e-2, loss.max_margin: 0.4}
    """
    expected = tasks_of(
        "imbalanced",
        ["learning_rate=1e-2", "loss.max_margin=0.4"],
        dataset=["glyphs20", "glyphs"],
        loss=["ce", "ldam-drw"],
        ratio=[100.0, 10.0],
        seed=[3],
        max_class_size=90,
        method=["baseline", "controls"],
    )
    assert tasks(tmp_path, text) == {"imbalanced": expected}


def test_an_empty_grid_has_the_defaults_of_the_command(tmp_path):
    assert tasks(tmp_path, "scenario: fewshot") == {"fewshot": tasks_of("fewshot")}


AXES = {
    "seed": st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
    "shots": st.lists(st.integers(1, 5), min_size=1, max_size=2, unique=True),
    "method": st.lists(st.sampled_from(["baseline", "sla", "da"]), min_size=1, max_size=2, unique=True),
    "precision": st.lists(st.sampled_from(["fp32", "bf16"]), min_size=1, max_size=2, unique=True),
    "train_shots": st.lists(st.integers(1, 9), min_size=1, max_size=2, unique=True),
    "steps": st.lists(st.integers(1, 9), min_size=1, max_size=2, unique=True),
}


@settings(max_examples=15)
@given(st.fixed_dictionaries(AXES))
def test_any_option_may_be_a_list_and_the_grid_is_their_product(tmp_path_factory, values):
    options = {k: v for k, v in values.items() if k != "steps"}
    text = "scenario: fewshot\n" + "".join(f"{k}: {v}\n" for k, v in options.items()).replace("'", "")
    text += f"set: {{steps: {values['steps']}}}"
    path = write(tmp_path_factory.mktemp("grid"), text)
    found = read_grid_file(path).tasks()["fewshot"]
    of_runs = [
        (t.run.seed, e.shots, t.run.method, t.run.precision, t.run.train_shots, t.run.steps)
        for t in found
        for e in t.evaluations
    ]
    assert sorted(of_runs) == sorted(itertools.product(*(values[name] for name in AXES)))
    assert read_grid_file(path).size == len(of_runs)


def test_include_replaces_keys_of_the_grid_and_settings_one_by_one(tmp_path):
    text = """
        scenario: fewshot
        learner: protonet
        method: baseline
        seed: [0, 1]
        set: {steps: 5, episodes: 50}
        include:
          - {learner: metaoptnet-svm, seed: 7, set: {steps: 9, learner.C: [1, 2]}}
    """
    found = [
        (t.run.learner, t.run.seed, t.run.steps, t.run.learner_options, t.evaluations[0].episodes)
        for t in tasks(tmp_path, text)["fewshot"]
    ]
    assert found == [
        ("protonet", 0, 5, {}, 50),
        ("protonet", 1, 5, {}, 50),
        ("metaoptnet-svm", 7, 9, {"C": 1}, 50),
        ("metaoptnet-svm", 7, 9, {"C": 2}, 50),
    ]


def test_exclude_leaves_out_what_matches_all_keys(tmp_path):
    text = """
        scenario: fewshot
        learner: [protonet, metaoptnet-rr]
        shots: [1, 5]
        method: [baseline, sla]
        exclude:
          - {learner: metaoptnet-rr, shots: 1}
          - {method: [sla, mt], shots: 5, train_shots: 5}
    """
    found = {
        (t.run.learner, t.run.method, e.shots)
        for t in tasks(tmp_path, text)["fewshot"]
        for e in t.evaluations
    }
    # Ridge trains at five shots too, so the second exclude meets it.
    assert found == {
        ("protonet", "baseline", 1),
        ("protonet", "sla", 1),
        ("protonet", "baseline", 5),
        ("metaoptnet-rr", "baseline", 5),
    }


def test_exclude_speaks_of_what_the_budget_chose_and_of_groups_of_methods(tmp_path):
    text = """
        scenario: fewshot
        budget: [quick, smoke]
        controls: true
        exclude: [{backbone: conv4-32}, {method: controls}]
    """
    found = tasks(tmp_path, text)["fewshot"]
    assert [(t.run.method, t.run.budget) for t in found] == [("baseline", "quick"), ("sla", "quick")]


def test_a_corner_that_makes_no_sense_can_be_excluded(tmp_path):
    text = """
scenario: imbalanced
dataset: [glyphs20, fashion_mnist]
method: sla
transform:
  - rotation
  - color_perm
"""
    with pytest.raises(UserError, match=r"x.yaml:7: transform 'color_perm' permutes colours"):
        tasks(tmp_path, text)
    found = tasks(tmp_path, text + "exclude: [{dataset: fashion_mnist, transform: color_perm}]")
    assert len(found["imbalanced"]) == 3


def test_several_grids_share_defaults_and_do_a_training_once(tmp_path):
    text = """
        defaults: {budget: smoke, set: {episodes: 20}}
        grids:
          - {scenario: fewshot, method: baseline, seed: [0, 1], shots: 5}
          - {scenario: fewshot, method: [baseline, sla], seed: 1, set: {steps: 80}}
          - {scenario: imbalanced, method: sla, set: {epochs: 3}, budget: quick}
    """
    with pytest.raises(UserError, match=r"x.yaml:2: set: 'episodes': no such field"):
        tasks(tmp_path, text)
    found = tasks(tmp_path, text.replace("set: {episodes: 20}", "seed: 2"))
    assert [(t.run.method, t.run.seed) for t in found["fewshot"]] == [
        ("baseline", 0),
        ("baseline", 1),
        ("sla", 1),
    ]
    (task,) = found["imbalanced"]
    assert (task.run.epochs, task.run.budget, task.run.seed) == (3, "quick", 2)


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        (
            "scenario: fewshot\ndataset: glyhps",
            2,
            "dataset: unknown dataset 'glyhps'; did you mean 'glyphs'?",
        ),
        ("scenario: fewshot\nlearner:\n  - protonet\n  - protonett", 4, "did you mean 'protonet'?"),
        ("scenario: fewshto", 1, "did you mean 'fewshot'?"),
        (
            "scenario: [fewshot, imbalanced]",
            1,
            "scenario: one of fewshot, imbalanced, standard is wanted, not a list",
        ),
        ("dataset: glyphs", 1, "names no scenario"),
        ("- scenario: fewshot", 1, "a grid file is a mapping of keys to values, not a list"),
        ("scenario: fewshot\nlerner: protonet", 2, "lerner: no such key; did you mean 'learner'?"),
        (
            "scenario: fewshot\ntrain-shots: 5\ntrain_shots: 5",
            3,
            "train_shots is given twice, first on line 2",
        ),
        ("scenario: fewshot\nshots: five", 2, "shots: 'five': input should be a valid integer"),
        ("scenario: fewshot\nshots: [1, [2]]", 2, "shots: a list within a list"),
        ("scenario: fewshot\nseed: []", 2, "seed: the list is empty, so the grid spans nothing"),
        ("scenario: fewshot\nseed:", 2, "seed: has no value"),
        ("scenario: fewshot\nmethod: sla+sd", 2, "no fixed set of classes to distil into"),
        ("scenario: fewshot\ncommitted_code: 1", 2, "committed_code: true or false is wanted, not"),
        ("grids:\n- {scenario: fewshot, committed_code: true}", 2, "committed_code: can't stand here"),
        ("scenario: fewshot\nsteps: 5", 2, "steps: stands below set:"),
        ("scenario: fewshot\nworkers: 2", 2, "give --workers on the command line"),
        ("scenario: fewshot\nset: steps=5", 2, "set is a mapping"),
        ("scenario: fewshot\nset:\n  stepps: 5", 3, "set: 'stepps': no such field; did you mean 'steps'?"),
        ("scenario: fewshot\nset:\n  seed: 5", 3, "set: seed stands beside set:"),
        ("scenario: fewshot\nways: 4\nset:\n  ways: 5", 4, "ways is given beside set: too"),
        ("scenario: fewshot\nset:\n  steps: [5, -1]", 3, "set: steps: -1: input should be greater"),
        ("scenario: fewshot\nset:\n  steps: 5\n  momentum: 0.5", 4, "has no effect unless optimizer=sgd"),
        ("scenario: fewshot\nways: 50\ntrain_ways: 21", 2, "20 test classes"),
        ("scenario: fewshot\nexclude: {shots: 1}", 2, "exclude: a list of mappings is wanted"),
        ("scenario: fewshot\nexclude:\n- {shots: 5}", 1, "spans nothing"),
        ("scenario: fewshot\nexclude:\n- {shots: 4}", 3, "exclude: matches no run"),
        ("scenario: fewshot\nexclude:\n- {}", 3, "would leave out everything"),
        ("scenario: fewshot\ninclude:\n- {include: []}", 3, "include: can't stand here"),
        ("scenario: fewshot\ninclude:\n- {scenario: imbalanced}", 3, "scenario: can't stand here"),
        ("scenario: fewshot\ngrids:\n- {shots: 1}", 1, "scenario: beside grids:"),
        (
            "defaults: {exclude: [{shots: 1}]}\ngrids:\n- {scenario: fewshot}",
            1,
            "belongs to one of the grids",
        ),
    ],
)
def test_mistakes_are_one_line_with_their_line(tmp_path, text, line, fragment):
    with pytest.raises(UserError) as error:
        tasks(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'x.yaml'}:{line}: ")
    assert fragment in str(error.value)


@pytest.mark.parametrize("key", ["committed_code", "committed-code"])
def test_a_file_says_whether_its_records_come_from_committed_code(tmp_path, key):
    alone, among = "scenario: fewshot", "grids:\n- {scenario: fewshot}"
    for text in (alone, among):
        assert not read_grid_file(write(tmp_path, text)).committed_code
        assert not read_grid_file(write(tmp_path, f"{text}\n{key}: false")).committed_code
        grids = read_grid_file(write(tmp_path, f"{text}\n{key}: true"))
        assert grids.committed_code
        assert grids.tasks() == {"fewshot": tasks_of("fewshot")}


def test_a_million_runs_are_counted_before_they_are_built(tmp_path, monkeypatch):
    seeds = ", ".join(map(str, range(1000)))
    text = f"scenario: fewshot\nseed: [{seeds}]\nset: {{steps: [{seeds.replace('0', '1', 1)}]}}\n"
    path = write(tmp_path, text)
    assert read_grid_file(path).size == 2_000_000
    with pytest.raises(UserError, match=r"spans up to 2,000,000 runs; if that is meant, add --yes"):
        open_grid_file(path, yes=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    with pytest.raises(UserError, match="nothing was done"):
        open_grid_file(path, yes=False)
    assert "2,000,000" in asked[0]


def test_agreed_to_on_a_terminal_or_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr("sla_bench.grids.files.UNASKED", 1)
    path = write(tmp_path, "scenario: fewshot")
    assert len(open_grid_file(path, yes=True).tasks()["fewshot"]) == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert len(open_grid_file(path, yes=False).tasks()["fewshot"]) == 2


JOINED = """
defaults:
  scenario: imbalanced
  budget: quick
grids:
  - loss: [ce, ldam-drw]
    method: [baseline, sla+sd]
    seed: [0, 1, 2]
  - loss: ce
    method: [baseline, sla+sd, baseline-xM]
    seed: [0, 1, 2, 3, 4]
"""


def documented():
    return re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "running.md").read_text(), re.DOTALL)


def test_the_first_example_of_the_docs_spans_what_they_say(tmp_path):
    found = tasks(tmp_path, documented()[0])["fewshot"]
    svm = [t for t in found if t.run.learner == "metaoptnet-svm"]
    assert {(t.run.seed, t.run.precision) for t in svm} == {(0, "fp32")}
    assert {(t.run.steps, t.run.learner_options["C"]) for t in svm} == {
        (s, c) for s in (500, 1000) for c in (0.05, 0.1)
    }
    assert not [t for t in found if t.run.precision == "bf16" and t.run.method == "sla"]
    assert {e.shots for t in found if t.run.learner != "protonet" for e in t.evaluations} == {5}
    # protonet: 2 shots, ridge: 1; 3 seeds; 2 numbers of steps; baseline twice, sla in fp32 only.
    assert len(found) - len(svm) == (2 + 1) * 3 * 2 * 3


def test_grids_of_one_file_are_joined(tmp_path):
    found = tasks(tmp_path, JOINED)["imbalanced"]
    assert len(found) == 2 * 2 * 3 + 2 * 2 + 5


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=needs_lite0) if p.stem == "pretrained" else p for p in BENCHMARKS],
    ids=lambda p: p.name,
)
def test_files_of_the_repository_span_runs(path):
    assert sum(map(len, read_grid_file(path).tasks().values())) > 5


def test_the_files_of_the_papers_tables_span_them():
    few = read_grid_file(ROOT / "benchmarks" / "fewshot-paper.yaml").tasks()["fewshot"]
    cells = {
        (t.run.dataset, t.run.learner, e.shots, t.run.method, t.run.seed) for t in few for e in t.evaluations
    }
    data, heads = ("fc100", "cifar_fs", "mini_imagenet"), ("protonet", "metaoptnet-rr", "metaoptnet-svm")
    assert cells >= set(itertools.product(data, heads, (1, 5), ("baseline", "sla"), range(5)))
    assert cells >= set(itertools.product(data, heads[:1], (5,), ("baseline-NMway", "sla"), range(10)))
    tail = read_grid_file(ROOT / "benchmarks" / "imbalanced-paper.yaml").tasks()["imbalanced"]
    cells = {(t.run.dataset, t.run.ratio, t.run.loss, t.run.method, t.run.seed) for t in tail}
    data, losses = ("cifar10", "cifar100"), ("ce", "cb-rw", "ldam-drw")
    assert cells >= set(itertools.product(data, (100, 10), losses, ("baseline", "sla", "sla+sd"), range(5)))
    assert cells >= set(itertools.product(data, (100,), ("ce",), ("baseline-xM", "sla+sd"), range(10)))
    assert {t.run.budget for t in [*few, *tail]} == {"paper"}


def test_the_file_of_the_transformations_spans_them_alone_and_composed():
    whole = read_grid_file(ROOT / "benchmarks" / "standard-transforms.yaml").tasks()["standard"]
    cells = {(t.run.dataset, t.run.method, t.run.transform) for t in whole}
    turns, methods = ("rotation", "rotation2"), ("da", "mt", "sla", "sla+sd")
    assert cells >= set(itertools.product(("glyphs20", "fashion_mnist"), methods, turns))
    assert cells >= set(itertools.product(("glyphs20",), methods, TRANSFORMS))
    baselines = [t for t in whole if t.run.method == "baseline" and t.run.ensemble == 1]
    read = {(t.run.dataset, e.transform) for t in baselines for e in t.evaluations}
    assert read == {("glyphs20", t) for t in TRANSFORMS} | {("fashion_mnist", t) for t in turns}
    assert len(baselines) == len({(t.run.dataset, t.run.seed) for t in baselines})


def test_an_option_that_adds_may_stand_in_a_file(tmp_path):
    text = "scenario: standard\nmethod: sla\nensemble: [3, 4]\nexclude:\n- {ensemble: 4}\n"
    with pytest.raises(UserError, match=r"x\.yaml:5: exclude: matches no run"):
        tasks(tmp_path, text)
    found = tasks(tmp_path, text.replace("{ensemble: 4}", "{method: ens-M}"))
    assert [(t.run.method, t.run.ensemble) for t in found["standard"]] == [("sla", 1), ("baseline", 3)]
    with pytest.raises(UserError, match=r"x\.yaml:3: ensemble: 0: input should be"):
        tasks(tmp_path, text.replace("[3, 4]", "0"))
