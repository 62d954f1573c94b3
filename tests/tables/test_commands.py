import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spanned import tasks_of

from sla_bench.cli.app import app
from sla_bench.grids.tasks import form_of, span
from sla_bench.tables.run_list import command_of, commands_of


def spanned_by(command):
    """What the command line would do with it, up to the grid."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "sla_bench"]
    _, bound, _ = app.parse_args(words[3:], exit_on_error=False, print_error=False)
    options = bound.arguments["options"].model_dump()
    return span(form_of(words[4]), options, bound.arguments.get("set_") or [])


CASES = {
    "defaults": ("fewshot", (), {}),
    "other ways in validation": ("fewshot", (), {"train_ways": 20, "val_ways": 20}),
    "ways of the test in validation": ("fewshot", (), {"train_ways": 20}),
    "a batch": ("fewshot", (), {"batch_images": 600}),
    "other shots in training": ("fewshot", (), {"shots": [1], "train_shots": 3, "val_shots": 5}),
    "fewer ways": ("fewshot", (), {"dataset": ["fashion_mnist"], "ways": 3}),
    "more ways in training": ("fewshot", (), {"train_ways": 7, "method": ["sla"]}),
    "options of pieces": (
        "fewshot",
        ("learner.C=0.5", "method.joint_scope=view", "backbone.drop_rate=0.2", "learner.scale=2"),
        {"learner": ["metaoptnet-svm"], "method": ["sla"], "backbone": ["resnet12"]},
    ),
    "small numbers, mappings and none": (
        "fewshot",
        ("learning_rate=3e-7", "schedule=steps", "milestones={'1/3': 1.0e-5}", "validation_images=null"),
        {"budget": "smoke"},
    ),
    "a folder with a difficult name": (
        "fewshot",
        (),
        {"dataset": ["folder:/a b/<script>alert('1')</script>/$HOME;=cmd()"], "ways": 2, "test_seed": 3},
    ),
    "paper": ("fewshot", (), {"budget": "paper", "dataset": ["tiered_imagenet"], "precision": "bf16"}),
    "fast": ("fewshot", (), {"budget": "fast", "learner": ["simpleshot", "protonet"], "ways": 7}),
    "fast in fp32 and published images": (
        "imbalanced",
        ("loss.smoothing=0.1", "averaged=0.2", "flips=alternating", "decay_biases=true"),
        {"budget": "fast", "class_order": "identity", "subset_seed": 0, "seed": [3], "precision": "fp32"},
    ),
    "bf16 of an older budget": ("standard", ("label_smoothing=0.1",), {"precision": "bf16"}),
    "long tail": ("imbalanced", (), {"ratio": [10.5], "loss": ["ldam-drw"], "seed": [0, 3]}),
    "as it is": ("imbalanced", (), {"imbalance": "none"}),
    "a subset": ("imbalanced", (), {"imbalance": "none", "max_class_size": 50, "subset_seed": 9}),
    "another order": (
        "imbalanced",
        ("order_shifts=3", "loss.max_margin=0.4", "max_class_size=null"),
        {"order_seed": 5, "loss": ["ldam"], "method": ["sla+sd"], "loss_reduction": "sum", "budget": "smoke"},
    ),
    "identity": ("imbalanced", (), {"class_order": "identity", "sampler": "sqrt", "selection": "best-test"}),
    "standard": ("standard", (), {"transform": ["rotation", "color_perm"], "ensemble": [4, 5]}),
    "an ensemble of distilled SLA": ("standard", ("ensemble=3",), {"method": ["sla+sd"], "val_fraction": 0}),
    "positions of a file": (
        "standard",
        ("mix.alpha=0.5",),
        {"val_indices": "/a b/c.txt#0123456789abcdef", "mix": ["mixup"], "selection": "validation"},
    ),
    "other images held out": ("standard", (), {"val_seed": 3, "budget": "paper", "dataset": ["cifar10"]}),
    "another transform of the baseline": ("imbalanced", (), {"transform": ["rotation2"]}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_command_spans_the_same_training_and_evaluation(case):
    scenario, fixed, options = CASES[case]
    tasks = tasks_of(scenario, fixed, **options)
    assert tasks
    for task in tasks:
        for evaluation in task.evaluations:
            (again,) = spanned_by(command_of(task.run, evaluation))
            assert again.run.digest() == task.run.digest()
            assert [e.digest() for e in again.evaluations] == [evaluation.digest()]


@settings(max_examples=60)
@given(
    shots=st.integers(1, 9),
    train_shots=st.none() | st.integers(1, 9),
    val_shots=st.none() | st.integers(1, 9),
    ways=st.integers(2, 6),
    train_ways=st.none() | st.integers(2, 6),
    learner=st.sampled_from(["protonet", "metaoptnet-rr"]),
    method=st.sampled_from(["baseline", "sla", "views"]),
    seed=st.integers(0, 2**31 - 1),
    rate=st.floats(1e-9, 1e3),
)
def test_fields_that_follow_others_are_told_apart(rate, **values):
    listed = {n: [values.pop(n)] for n in ("shots", "learner", "method", "seed")}
    (task,) = tasks_of("fewshot", [f"learning_rate={rate}"], **listed, **values)
    (again,) = spanned_by(command_of(task.run, task.evaluations[0]))
    assert again == task


def test_what_differs_in_the_seed_shares_a_command():
    tasks = tasks_of("imbalanced", seed=[0, 1, 2], loss=["ce"], method=["baseline", "sla+sd"])
    commands = commands_of((t.run, e) for t in tasks for e in t.evaluations)
    assert len(commands) == 2
    assert [t for c in commands for t in spanned_by(c)] == sorted(tasks, key=lambda t: t.run.method)


def test_a_command_says_no_more_than_needed():
    run = tasks_of("fewshot", method=["baseline"])[0]
    assert command_of(run.run, run.evaluations[0]) == (
        "python -m sla_bench run fewshot --dataset glyphs --transform rotation --learner protonet --shots 5 "
        "--method baseline --budget quick --seed 0"
    )
