"""One training loop for all scenarios: schedule, precision, validation, the best state, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor, nn

from sla_bench.config import Recipe
from sla_bench.errors import UserError


class Progress(Protocol):
    """Told what is going on: the phase, how much of it is done, and a figure to show."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Take the news."""


def silent(phase: str, done: int, total: int, note: str = "") -> None:
    """Progress that nobody sees."""


@dataclass
class TrainingResult:
    """What a training leaves behind.

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


def learning_rate_factor(schedule: str, milestones: Mapping[str, float], progress: Fraction) -> float:
    """Factor of the learning rate at `progress` = step / steps in [0, 1).

    Args:
        schedule: "cosine", from 1 to 0; or "steps".
        milestones: for "steps": start as a fraction of the training ("19/60") -> factor from there on.
        progress: in [0, 1).
    """
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    reached = [
        (Fraction(start), factor) for start, factor in milestones.items() if Fraction(start) <= progress
    ]
    return max(reached)[1] if reached else 1.0


def build_optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Adam or SGD as the recipe says."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """The context in which the backbone runs forward."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def train(
    model: nn.Module,
    batch_loss: Callable[[Fraction], tuple[Tensor, Tensor]],
    validate: Callable[[], float] | None,
    recipe: Recipe,
    steps: int,
    choose_best: bool = True,
    after_step: Callable[[], None] | None = None,
    progress: Progress = silent,
) -> TrainingResult:
    """Train `model` and return its state at the best validation accuracy, or at the last step.

    Args:
        model: its parameters are trained; it is left in the last step's state.
        batch_loss: draws the next batch and returns loss (scalar) and training accuracy (scalar in 0..1); it
            is told the progress = step / steps in [0, 1).
        validate: accuracy in 0..1 on validation data; it may switch to eval mode, the loop switches back.
            None: nothing is validated, and the state is that of the last step.
        recipe: optimiser, schedule and number of checkpoints.
        steps: how many; the schedule stretches over them.
        choose_best: return the state of the best checkpoint (the earliest of equals), else of the last.
        after_step: called after each optimiser step.
        progress: told each step.

    Raises:
        UserError: the loss is not finite; the message names step, learning rate and the last checkpoint
            before it.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = build_optimizer(parameters, recipe)
    checkpoints = {round(steps * (k + 1) / recipe.validations) for k in range(recipe.validations)}
    result = TrainingResult(state={})
    best = -1.0
    losses: list[Tensor] = []
    accuracies: list[Tensor] = []
    note = ""
    started = time.perf_counter()
    model.train()
    for step in range(1, steps + 1):
        done = Fraction(step - 1, steps)
        rate = recipe.learning_rate * learning_rate_factor(recipe.schedule, recipe.milestones, done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, accuracy = batch_loss(done)
        if not torch.isfinite(loss):
            raise UserError(
                f"the loss is {loss.item()} at step {step} of {steps} (learning rate {rate:.3g}; "
                f"{_last_good(result.history)}); a smaller --set learning_rate=... may help"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if after_step is not None:
            after_step()
        losses.append(loss.detach())
        accuracies.append(accuracy.detach())
        if step in checkpoints:
            result.seconds += time.perf_counter() - started
            value = math.nan if validate is None else validate()
            model.train()
            train_accuracy = float(torch.stack(accuracies).mean())
            note = f"train {100 * train_accuracy:.1f} %" if validate is None else f"val {100 * value:.1f} %"
            result.history.append(
                {
                    "step": step,
                    "train_loss": float(torch.stack(losses).mean()),
                    "train_accuracy": train_accuracy,
                    "val_accuracy": value,
                    "learning_rate": rate,
                    "seconds": result.seconds,
                }
            )
            losses, accuracies = [], []
            wanted = value > best if choose_best and validate is not None else step == steps
            if wanted:
                best, result.best_step = value, step
                result.state = {k: v.detach().clone() for k, v in model.state_dict().items()}
            started = time.perf_counter()
        progress("training", step, steps, note)
    result.seconds += time.perf_counter() - started
    return result


def _last_good(history: list[dict[str, float]]) -> str:
    if not history:
        return "no checkpoint before it"
    return f"the last good checkpoint is that of step {history[-1]['step']}"
