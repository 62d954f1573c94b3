import copy
import math
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sla_bench.errors import DivergedError, NotFiniteError, UserError
from sla_bench.training.finite import FiniteWatch, largest, sums
from sla_bench.training.loop import GeneratorSource, _Loop, build_optimizer, learning_rate_factor, train
from sla_bench.training.weight_average import WeightAverage

RECIPE = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "decay_biases": True,
    "averaged": 0.0,
    "schedule": "steps",
    "milestones": {},
    "warmup": 0.0,
    "validations": 4,
}


def recipe(**changes):
    return SimpleNamespace(**{**RECIPE, **changes})


def test_milestones_are_metaoptnets_epochs():
    milestones = {"19/60": 0.06, "39/60": 0.012, "49/60": 0.0024}
    factors = [learning_rate_factor("steps", milestones, Fraction(epoch - 1, 60)) for epoch in range(1, 61)]
    assert factors == [1.0] * 19 + [0.06] * 20 + [0.012] * 10 + [0.0024] * 11


def test_cosine_goes_from_one_to_zero():
    assert learning_rate_factor("cosine", {}, Fraction(0)) == 1
    assert learning_rate_factor("cosine", {}, Fraction(1, 2)) == pytest.approx(0.5)
    assert learning_rate_factor("cosine", {}, 1 - Fraction(1, 10**9)) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("steps", [16, 64])
def test_a_warm_up_rises_linearly_over_its_part_of_a_training_of_any_length(steps):
    result, _ = run(Scalar(), steps=steps, schedule="cosine", warmup=1 / 8, validations=steps)
    rises = steps // 8
    rates = [
        0.1 * min(1, k / rises) * 0.5 * (1 + math.cos(math.pi * (k - 1) / steps)) for k in range(1, steps + 1)
    ]
    assert [row["learning_rate"] for row in result.history] == pytest.approx(rates)


@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_the_linear_schedule_falls_to_zero_in_a_straight_line_behind_the_warm_up(warmup):
    result, _ = run(Scalar(), steps=16, schedule="linear", warmup=warmup, validations=16)
    rises = round(16 * warmup)
    up = [0.1 * k / rises for k in range(1, rises + 1)]
    down = [0.1 * (16 - k) / (16 - rises) for k in range(rises, 16)]
    assert [row["learning_rate"] for row in result.history] == pytest.approx([*up, *down])


class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(1.0))


def run(model, values=(0.5,) * 99, *, steps=4, choose_best=True, validate=True, **changes):
    scores = iter(values)
    taken, progress = [], []
    result = train(
        model,
        lambda done: (progress.append(done), (model.x**2 / 2, torch.tensor(0.25)))[1],
        (lambda: next(scores)) if validate else None,
        recipe(**changes),
        steps=steps,
        choose_best=choose_best,
        after_step=lambda: taken.append(1),
    )
    assert progress == [Fraction(k, steps) for k in range(steps)]
    return result, len(taken)


def test_gradient_descent_on_a_parabola_in_closed_form():
    model = Scalar()
    result, steps = run(model)
    assert steps == 4
    assert model.x.item() == pytest.approx(0.9**4)
    assert [row["train_loss"] for row in result.history] == pytest.approx([0.81**k / 2 for k in range(4)])


def test_the_best_validation_is_kept_and_the_earliest_of_equals():
    model = Scalar()
    result, _ = run(model, values=(0.2, 0.7, 0.7, 0.1))
    assert result.best_step == 2
    assert result.state["x"].item() == pytest.approx(0.9**2)
    assert model.x.item() == pytest.approx(0.9**4)


def test_the_last_step_is_kept_where_it_is_asked_for_or_nothing_is_validated():
    for how in ({"choose_best": False}, {"validate": False}):
        result, _ = run(Scalar(), values=(0.2, 0.7, 0.7, 0.1), **how)
        assert result.best_step == 4
        assert result.state["x"].item() == pytest.approx(0.9**4)
    assert all(math.isnan(row["val_accuracy"]) for row in result.history)


def test_the_schedule_stretches_over_the_steps():
    model = Scalar()
    result, steps = run(model, steps=12, milestones={"1/2": 0.0})
    assert steps == 12
    assert model.x.item() == pytest.approx(0.9**6)
    assert [row["step"] for row in result.history] == [3, 6, 9, 12]


def test_a_loss_that_is_not_finite_stops_with_step_and_rate():
    with pytest.raises(
        UserError,
        match=r"at step 2 of 4 \(learning rate 1e\+30; the last good validation is that of step 1\)",
    ):
        run_with_overflow()


def run_with_overflow():
    model = Scalar()
    train(
        model,
        lambda done: ((model.x**2) ** 2, torch.tensor(0.0)),
        lambda: 0.0,
        recipe(learning_rate=1e30),
        steps=4,
    )


def test_weight_decay_and_nesterov_reach_the_optimizer():
    plain, decayed, nesterov = Scalar(), Scalar(), Scalar()
    run(plain, steps=2, validations=1)
    run(decayed, steps=2, validations=1, weight_decay=0.5)
    run(nesterov, steps=2, validations=1, momentum=0.5, nesterov=True)
    assert decayed.x.item() == pytest.approx(0.85**2)
    # v1 = 1; x1 = 1 - 0.1 (1 + 0.5); v2 = 0.5 + x1; x2 = x1 - 0.1 (x1 + 0.5 v2)
    x1 = 1 - 0.1 * 1.5
    assert nesterov.x.item() == pytest.approx(x1 - 0.1 * (x1 + 0.5 * (0.5 + x1)))
    assert math.isclose(plain.x.item(), 0.81, rel_tol=1e-6)


def test_biases_and_norms_are_decayed_only_where_the_recipe_says_so():
    for optimizer in ("sgd", "adam"):
        for decays in (True, False):
            model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
            before = {name: p.detach().clone() for name, p in model.named_parameters()}
            train(
                model,
                lambda done, model=model: (sum(p.sum() for p in model.parameters()) * 0, torch.tensor(0.0)),
                None,
                recipe(optimizer=optimizer, weight_decay=0.5, decay_biases=decays),
                steps=1,
            )
            moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
            # The bias of the norm is 0, and stays so.
            assert moved == ({"0.weight", "0.bias", "1.weight"} if decays else {"0.weight"}), optimizer


def test_the_mean_over_the_last_steps_is_validated_and_returned():
    model, seen = Scalar(), []
    result = train(
        model,
        lambda done: (model.x**2 / 2, torch.tensor(0.0)),
        lambda: seen.append(model.x.item()) or 0.5,
        recipe(averaged=0.5, validations=8),
        steps=8,
        choose_best=False,
    )
    path = [0.9**k for k in range(1, 9)]
    means = [sum(path[4:k]) / (k - 4) for k in range(5, 9)]
    assert seen == pytest.approx(path[:4] + means)
    assert result.state["x"].item() == pytest.approx(means[-1])
    assert model.x.item() == pytest.approx(path[-1])


def test_statistics_of_batch_normalisation_are_averaged_and_counters_are_not():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model)
    for k in (1, 2, 6):
        model.running_mean.fill_(k)
        model.num_batches_tracked.fill_(k)
        average.add()
    with average.applied():
        assert model.running_mean.tolist() == [3, 3]
        assert model.num_batches_tracked.item() == 6
    assert model.running_mean.tolist() == [6, 6]


class InterruptedTrainingError(Exception):
    pass


class InMemory:
    """A checkpoint at each step; copies, as a file would be."""

    def __init__(self):
        self.newest = None

    def due(self):
        return True

    def save(self, step, content):
        assert content["step"] == step
        self.newest = copy.deepcopy(content)

    def load(self):
        return copy.deepcopy(self.newest)


def noisy_training(interrupt_before, checkpoints, **changes):
    """Five steps on noise, two validations; stops before step number `interrupt_before`."""
    model, generator = Scalar(), torch.Generator().manual_seed(3)
    steps = []

    def batch_loss(done):
        if done == Fraction(interrupt_before, 5):
            raise InterruptedTrainingError
        steps.append(done)
        noise = torch.randn((), generator=generator)
        return (model.x - noise) ** 2, noise.sigmoid()

    result = train(
        model,
        batch_loss,
        lambda: float(torch.sigmoid(model.x.detach())),
        recipe(validations=2, **changes),
        steps=5,
        checkpoints=checkpoints,
        sources={"noise": GeneratorSource(generator)},
    )
    return model, result, steps


def untimed(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.mark.parametrize("averaged", [0.0, 0.6])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("interrupt_before", range(5))
def test_an_interrupted_training_ends_with_the_same_bits(optimizer, interrupt_before, averaged):
    changes = {
        "optimizer": optimizer,
        "momentum": 0.9,
        "milestones": {"1/2": 0.1},
        "averaged": averaged,
        "weight_decay": 0.1,
        "decay_biases": not averaged,
    }
    whole_model, whole, _ = noisy_training(-1, None, **changes)
    checkpoints = InMemory()
    with pytest.raises(InterruptedTrainingError):
        noisy_training(interrupt_before, checkpoints, **changes)
    model, result, steps = noisy_training(-1, checkpoints, **changes)
    assert len(steps) == 5 - interrupt_before
    assert torch.equal(model.x, whole_model.x)
    assert all(torch.equal(value, whole.state[name]) for name, value in result.state.items())
    assert result.best_step == whole.best_step
    untimed = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in r.history] for r in (result, whole)
    ]
    assert untimed[0] == untimed[1]
    assert result.seconds > 0
    # What is finished is not trained again.
    assert noisy_training(-1, checkpoints, **changes)[2] == []


def stopped_after(good_steps, bad_loss, learning_rate=0.1, checkpoints=None):
    """Train on a parabola for so many steps, then on `bad_loss` of the parameter; the model and the error."""
    model, seen = Scalar(), []

    def batch_loss(done):
        seen.append(done)
        loss = model.x**2 / 2 if len(seen) <= good_steps else bad_loss(model.x)
        return loss, torch.tensor(0.25)

    with pytest.raises(DivergedError) as caught:
        train(
            model,
            batch_loss,
            lambda: 0.5,
            recipe(learning_rate=learning_rate),
            steps=4,
            checkpoints=checkpoints,
            batch=lambda: partial("batch {}".format, len(seen)),
        )
    return model, caught.value


BAD = {
    "loss": (lambda x: x * math.nan, "the loss is nan"),
    # Zero with an infinite slope.
    "gradient": (lambda x: (x - x.detach()).abs().sqrt(), "the gradient of x is not finite"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_finite_stops_the_training_before_the_next_checkpoint(what):
    bad_loss, words = BAD[what]
    checkpoints = InMemory()
    _, error = stopped_after(2, bad_loss, checkpoints=checkpoints)
    assert str(error).startswith(f"{words} at step 3 of 4 (learning rate 0.1; the last good validation")
    assert error.log == f"{error}\nbatch 3\n"
    assert checkpoints.newest["step"] == 2
    assert checkpoints.newest["model"]["x"].item() == pytest.approx(0.9**2)


class Rarely(InMemory):
    """Checkpoints at the last step only."""

    def due(self):
        return False


@pytest.mark.parametrize("later", ["nothing", "an error", "the end"])
@pytest.mark.parametrize("what", BAD)
def test_a_step_that_is_looked_at_later_is_named_with_its_batch(what, later, monkeypatch):
    bad_loss, words = BAD[what]
    steps = 6 if later == "the end" else 40
    model, seen, looks, checkpoints = Scalar(), [], [], Rarely()
    look = FiniteWatch.look
    monkeypatch.setattr(FiniteWatch, "look", lambda watch: looks.append(len(seen)) or look(watch))

    def batch_loss(done):
        seen.append(done)
        if len(seen) == 7 and later == "an error":
            raise ValueError("not positive definite")
        return (bad_loss(model.x) if len(seen) == 5 else model.x**2 / 2), torch.tensor(0.25)

    with pytest.raises(DivergedError, match=f"{words} at step 5 of {steps}") as caught:
        train(
            model,
            batch_loss,
            None,
            recipe(validations=1),
            steps=steps,
            checkpoints=checkpoints,
            batch=lambda: partial("batch {}".format, len(seen)),
        )
    assert caught.value.log.endswith("\nbatch 5\n")
    assert looks == [{"nothing": 16, "an error": 7, "the end": 6}[later]]
    assert checkpoints.newest is None


def test_an_error_of_a_training_that_is_finite_stays_what_it_is():
    def batch_loss(done):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        train(Scalar(), batch_loss, None, recipe(), steps=4)


@pytest.mark.parametrize("summary", [sums, largest])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 7, 8, 15, 31, 63, 64, 66])
def test_one_value_among_many_is_noticed(bad, place, summary):
    model = nn.BatchNorm1d(67)
    watch = FiniteWatch(model)
    assert watch.summary is sums
    watch.summary = summary
    fine = torch.tensor(1.0)
    assert watch.note(1, 0.1, str, fine) is watch.look() is None
    model.running_var[place] = bad
    watch.note(2, 0.1, str, fine)
    watch.note(3, 0.1, str, fine)
    found = watch.look()
    assert (found.what, found.step) == ("running_var is not finite", 2)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_updates_of_all_parameters_at_once_are_those_of_one_after_the_other(optimizer):
    def trained(at_once):
        generator = torch.Generator().manual_seed(0)
        parameters = [nn.Parameter(torch.randn(n, 3, generator=generator)) for n in (1, 7, 64)]
        made = build_optimizer(parameters, recipe(optimizer=optimizer, momentum=0.9, weight_decay=1e-3))
        for group in made.param_groups:
            assert group["foreach"]
            group["foreach"] = at_once
        for _ in range(5):
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=generator)
            made.step()
        return parameters

    assert all(torch.equal(a, b) for a, b in zip(trained(True), trained(False), strict=True))


def test_weights_that_overflow_are_neither_kept_nor_validated():
    checkpoints = InMemory()
    _, error = stopped_after(
        1, lambda x: 1e30 * (x - x.detach()), learning_rate=1e20, checkpoints=checkpoints
    )
    assert str(error).startswith("x is not finite at step 2 of 4")
    assert checkpoints.newest["step"] == 1
    assert math.isfinite(checkpoints.newest["model"]["x"])


def test_embeddings_that_overflow_name_the_step_too():
    def overflow(x):
        raise NotFiniteError("ProtoNet: query embeddings are not finite")

    _, error = stopped_after(0, overflow)
    assert "query embeddings are not finite at step 1 of 4 (learning rate 0.1; no validation" in str(error)


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_a_resumed_training_gathers_its_losses_on_the_device_of_the_model():
    def loop(device):
        model = nn.Linear(1, 1, device=device)
        return _Loop(model, torch.optim.SGD(model.parameters()), {})

    before, after = loop("cpu"), loop("meta")
    before.losses, before.accuracies = [torch.tensor(1.0)], [torch.tensor(0.5)]
    after.load(before.content())
    assert {value.device.type for value in (*after.losses, *after.accuracies)} == {"meta"}
