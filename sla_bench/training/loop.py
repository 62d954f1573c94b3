"""One training loop for all scenarios: schedule, precision, validation, best state, resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sla_bench.config import Recipe
from sla_bench.errors import DivergedError, NotFiniteError, UserError
from sla_bench.training.finite import FiniteWatch, NotFinite
from sla_bench.training.weight_average import WeightAverage


class Progress(Protocol):
    """Receives the phase of a run, its progress, and a note to show."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total` steps of a phase."""


def silent(phase: str, done: int, total: int, note: str = "") -> None:
    """Ignore the progress."""


def unnamed() -> Callable[[], str]:
    """An empty description of a batch."""
    return str


class Source(Protocol):
    """A source of random numbers or images whose state can be saved and restored."""

    def state(self) -> Any:
        """The state: tensors and plain types."""

    def load_state(self, state: Any) -> None:
        """Restore a state."""


@dataclass(frozen=True)
class GeneratorSource:
    """A random generator as a source of a training."""

    generator: torch.Generator

    def state(self) -> Tensor:
        """The generator's state, uint8 (n,)."""
        return self.generator.get_state()

    def load_state(self, state: Tensor) -> None:
        """Restore a state, uint8 (n,)."""
        self.generator.set_state(state)


class Checkpoints(Protocol):
    """Keeps the state of a training, so that a killed training can resume."""

    def due(self) -> bool:
        """Return true when the next checkpoint is due."""

    def save(self, step: int, content: dict[str, Any]) -> None:
        """Keep the state after `step` steps."""

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None."""


@dataclass
class TrainingResult:
    """The result of a training.

    Args:
        state: the state dict of the chosen step.
        history: one row per checkpoint: step, train_loss and train_accuracy (means since the last row),
            val_accuracy (NaN without validation), learning_rate, seconds.
        best_step: the chosen step.
        seconds: of training steps, without validation.
    """

    state: dict[str, Tensor]
    history: list[dict[str, float]] = field(default_factory=list)
    best_step: int = 0
    seconds: float = 0.0


def learning_rate_factor(
    schedule: str, milestones: Mapping[str, float], progress: Fraction, warmup: float = 0.0
) -> float:
    """Factor of the learning rate at `progress` = step / steps in [0, 1).

    Args:
        schedule: "cosine", from 1 to 0; "linear", 1 in the warm-up, then a straight line to 0; or "steps".
        milestones: for "steps": start as a fraction of the training ("19/60") -> factor from there on.
        progress: in [0, 1).
        warmup: the part of the training that is the warm-up, in [0, 1).
    """
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "linear":
        return min(1.0, float(1 - progress) / (1 - warmup))
    reached = [
        (Fraction(start), factor) for start, factor in milestones.items() if Fraction(start) <= progress
    ]
    return max(reached)[1] if reached else 1.0


def warm_up_factor(warmup: float, progress: Fraction) -> float:
    """Factor of the learning rate in a linear warm-up, which the schedule's factor multiplies.

    Args:
        warmup: the part of the training in which the rate rises, in [0, 1).
        progress: at the end of a step, in (0, 1], so that the first step already learns.
    """
    return min(1.0, float(progress) / warmup) if warmup else 1.0


def rate_factor(parameter: nn.Parameter) -> float:
    """The factor of the learning rate that a parameter asks for: below 1 for pretrained layers."""
    factor: float = getattr(parameter, "rate_factor", 1.0)
    return factor


def build_optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Adam or SGD; without `decay_biases`, parameters of fewer than two dimensions are not decayed.

    A call updates all parameters at once (`foreach`), which gives the same bits as one after the other.
    """
    groups: list[dict[str, Any]] = []
    for factor in dict.fromkeys([1.0, *map(rate_factor, parameters)]):
        own = [p for p in parameters if rate_factor(p) == factor]
        slower = {} if factor == 1 else {"rate_factor": factor}
        decayed = [p for p in own if recipe.decay_biases or p.ndim > 1]
        groups.append({"params": decayed, "weight_decay": recipe.weight_decay, **slower})
        if not recipe.decay_biases:
            others = [p for p in own if p.ndim <= 1]
            groups.append({"params": others, "weight_decay": 0.0, **slower})
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.learning_rate, foreach=True)
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, foreach=True
    )


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """The context in which the backbone runs forward."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


class _Loop:
    """Where a training stands between two steps, all of it."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        sources: Mapping[str, Source],
        before: TrainingResult | None = None,
    ) -> None:
        self.model, self.optimizer, self.sources = model, optimizer, sources
        self.average, self.watch = WeightAverage(model), FiniteWatch(model)
        self.step = 0
        self.best = -1.0
        self.losses: list[Tensor] = []
        self.accuracies: list[Tensor] = []
        self.result = TrainingResult(state={})
        if before is not None:
            self.result = TrainingResult({}, [*before.history], seconds=before.seconds)

    def content(self) -> dict[str, Any]:
        """As tensors and plain types."""
        # Checkpoints of older versions have no average; without averaging they are the same.
        average = {"average": self.average.state()} if self.average.count else {}
        return {
            **average,
            "step": self.step,
            "best": self.best,
            "since_validation": [torch.stack(v) if v else None for v in (self.losses, self.accuracies)],
            "result": dict(vars(self.result)),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sources": {name: source.state() for name, source in self.sources.items()},
        }

    def load(self, content: dict[str, Any]) -> None:
        """Stand where `content` was taken."""
        self.step, self.best = content["step"], content["best"]
        # A checkpoint is read on the CPU, and the next values come from the model's device.
        device = next(self.model.parameters()).device
        self.losses, self.accuracies = (
            [] if values is None else list(values.to(device)) for values in content["since_validation"]
        )
        self.result = TrainingResult(**content["result"])
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if "average" in content:
            self.average.load_state(content["average"])
        for name, source in self.sources.items():
            source.load_state(content["sources"][name])


def train(
    model: nn.Module,
    batch_loss: Callable[[Fraction], tuple[Tensor, Tensor]],
    validate: Callable[[], float] | None,
    recipe: Recipe,
    steps: int,
    choose_best: bool = True,
    after_step: Callable[[], None] | None = None,
    progress: Progress = silent,
    checkpoints: Checkpoints | None = None,
    sources: Mapping[str, Source] | None = None,
    batch: Callable[[], Callable[[], str]] = unnamed,
    before: TrainingResult | None = None,
    phase: str = "training",
) -> TrainingResult:
    """Train `model` and return its state at the best validation accuracy, or at the last step.

    In the part of the training that the recipe averages, the state that is validated and returned is the mean
    over the steps of that part.

    Args:
        model: its parameters are trained; it is left in the last step's state.
        batch_loss: draws the next batch and returns loss (scalar) and training accuracy (scalar in 0..1); it
            is told the progress = step / steps in [0, 1).
        validate: accuracy in 0..1 on validation data; it may switch to eval mode, the loop switches back.
            None: nothing is validated, and the state is that of the last step.
        recipe: optimiser, schedule, averaging and number of validations.
        steps: how many; the schedule stretches over them.
        choose_best: return the state of the best validation (the earliest of equals), else of the last.
        after_step: called after each optimiser step.
        progress: told each step.
        checkpoints: read at the start and written on the way; the result is the same whether the training was
            interrupted or not, but for seconds.
        sources: all that `batch_loss` draws random numbers from.
        batch: returns what describes the latest batch, for the log of a training that diverges.
        before: result of the training that this one goes on from; its history and seconds go on, and the
            steps of the history are counted from its last.
        phase: what the training is called in the progress.

    Raises:
        UserError: the checkpoint is from another training.
        DivergedError: loss, gradient, weights or embeddings are not finite; the message names step, learning
            rate and the last validation before it. Such weights are in no checkpoint and no result.
    """
    loop = _Loop(
        model,
        build_optimizer([p for p in model.parameters() if p.requires_grad], recipe),
        sources or {},
        before,
    )
    first = before.best_step if before is not None else 0
    if checkpoints is not None and (content := checkpoints.load()) is not None:
        try:
            loop.load(content)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {str(error).strip()[:200]}"
            raise UserError(
                f"the checkpoint is that of another training ({reason}); delete the folder `checkpoints` "
                f"of the run to start again"
            ) from None
    validations = {round(steps * (k + 1) / recipe.validations) for k in range(recipe.validations)}
    note = ""
    started = time.perf_counter()
    model.train()
    for step in range(loop.step + 1, steps + 1):
        rate = _set_rate(loop.optimizer, recipe, step, steps)
        with _naming_the_step(loop, step, steps, rate, batch):
            loss = _descend(loop, *batch_loss(Fraction(step - 1, steps)))
            if after_step is not None:
                after_step()
            loop.step = step
            found = loop.watch.note(step, rate, batch(), loss)
            if step > steps - round(recipe.averaged * steps):
                loop.average.add()
            saves = checkpoints is not None and (step == steps or checkpoints.due())
            if saves or step in validations:
                found = found or loop.watch.look()
            _refuse(found, loop, steps)
            if step in validations:
                loop.result.seconds += time.perf_counter() - started
                with loop.average.applied():
                    value = math.nan if validate is None else validate()
                    note = _record(loop, first, value, rate, last=step == steps, choose_best=choose_best)
                model.train()
                saves = saves or (checkpoints is not None and checkpoints.due())
                started = time.perf_counter()
        if checkpoints is not None and saves:
            loop.result.seconds += time.perf_counter() - started
            checkpoints.save(step, loop.content())
            started = time.perf_counter()
        progress(phase, step, steps, note)
    return loop.result


def _set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, steps: int) -> float:
    """Give the optimiser the learning rate of a step, 1..steps, and return it."""
    done = Fraction(step - 1, steps)
    rate = recipe.learning_rate * learning_rate_factor(
        recipe.schedule, recipe.milestones, done, recipe.warmup
    )
    rate *= warm_up_factor(recipe.warmup, Fraction(step, steps))
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
    return rate


@contextmanager
def _naming_the_step(
    loop: _Loop, step: int, steps: int, rate: float, batch: Callable[[], Callable[[], str]]
) -> Iterator[None]:
    """Turn errors that follow from a value that was not finite into a DivergedError of its step."""
    try:
        yield
    except DivergedError:
        raise
    except Exception as error:
        _refuse(loop.watch.look(), loop, steps)
        if isinstance(error, NotFiniteError):
            _refuse(NotFinite(str(error), step, rate, batch()), loop, steps)
        raise


def _descend(loop: _Loop, loss: Tensor, accuracy: Tensor) -> Tensor:
    """One step of the optimiser; returns the loss without its graph."""
    loop.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    loop.optimizer.step()
    loop.losses.append(loss.detach())
    loop.accuracies.append(accuracy.detach())
    return loop.losses[-1]


def _refuse(found: NotFinite | None, loop: _Loop, steps: int) -> None:
    """Raise a DivergedError where a value was not finite."""
    if found is None:
        return
    history = loop.result.history
    last = f"the last good validation is that of step {history[-1]['step']}" if history else ""
    where = f"at step {found.step} of {steps} (learning rate {found.rate:.3g}; "
    message = f"{found.what} {where}{last or 'no validation before it'})"
    message += "; a smaller --set learning_rate=... may help"
    raise DivergedError(message, log=f"{message}\n{found.batch()}".strip() + "\n")


def _record(loop: _Loop, first: int, value: float, rate: float, last: bool, choose_best: bool) -> str:
    """Append a history row, keep the weights if they are the best, return a progress note."""
    accuracy = float(torch.stack(loop.accuracies).mean())
    loop.result.history.append(
        {
            "step": first + loop.step,
            "train_loss": float(torch.stack(loop.losses).mean()),
            "train_accuracy": accuracy,
            "val_accuracy": value,
            "learning_rate": rate,
            "seconds": loop.result.seconds,
        }
    )
    loop.losses, loop.accuracies = [], []
    validated = not math.isnan(value)
    if value > loop.best if choose_best and validated else last:
        loop.best, loop.result.best_step = value, first + loop.step
        loop.result.state = {k: v.detach().clone() for k, v in loop.model.state_dict().items()}
    return f"val {100 * value:.1f} %" if validated else f"train {100 * accuracy:.1f} %"
