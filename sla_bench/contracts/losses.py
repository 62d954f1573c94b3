"""The contract of losses."""

from __future__ import annotations

import torch
from torch import Tensor

from sla_bench.contracts.checks import Checks, difference, first_problem, gradient_problem, shape_problem
from sla_bench.models.losses.base import Criterion
from sla_bench.seeds import torch_seeded

_COUNTS = (500, 120, 30, 7, 1)
_CLASSES, _IMAGES, _FEATURES = len(_COUNTS), 12, 8
_MOMENTS = (0.0, 0.9)
"""Progress of the training, before and after a deferred weighting."""


def loss_checks(loss: type[Criterion]) -> Checks:
    """The checks of a class of losses, on drawn logits."""
    contract = _LossContract(loss)
    return {
        "is built from class counts alone; the loss is a finite scalar": contract.scalar,
        "gives the same loss again": contract.repeats,
        "gradients agree with finite differences": contract.differentiable,
        "the loss of a batch is the mean over its images": contract.mean_of_images,
        "the numbering of the classes changes nothing": contract.class_order,
        "huge logits give finite losses and gradients": contract.huge,
        "double precision stays, bf16 becomes float32": contract.precision,
        "scores of predictions are finite, a number for each class": contract.scores,
        "takes the counts of joint labels, each class four times": contract.joint,
        "gradients reach its classifier and the features": contract.classifier,
        "nothing of the loss itself is trained or saved": contract.stateless,
    }


class _LossContract:
    def __init__(self, loss: type[Criterion]) -> None:
        self.make = loss
        g = torch.Generator().manual_seed(0)
        # Bounded, so that losses with a scale are not saturated.
        self.logits = torch.randn(_IMAGES, _CLASSES, generator=g, dtype=torch.float64).tanh()
        self.labels = torch.arange(_IMAGES)[torch.randperm(_IMAGES, generator=g)] % _CLASSES

    def at(self, progress: float, counts: Tensor | tuple[int, ...] = _COUNTS) -> Criterion:
        with torch_seeded(1):
            criterion = self.make(counts)
        criterion.reweight(progress)
        return criterion

    def scalar(self) -> str | None:
        losses = (self.at(moment)(self.logits, self.labels) for moment in _MOMENTS)
        return first_problem(*(shape_problem(loss, (), "the loss") for loss in losses))

    def repeats(self) -> str | None:
        once, again = (self.at(0.9)(self.logits, self.labels) for _ in range(2))
        return None if torch.equal(once, again) else f"{float(once)!r}, then {float(again)!r}"

    def differentiable(self) -> str | None:
        leaf = self.logits.clone().requires_grad_()
        for moment in _MOMENTS:
            criterion = self.at(moment)
            torch.autograd.gradcheck(lambda logits, c=criterion: c(logits, self.labels), (leaf,))
        if not bool(torch.autograd.grad(self.at(0.0)(leaf, self.labels), leaf)[0].any()):
            return "the gradient is zero"
        return None

    def mean_of_images(self) -> str | None:
        problems = []
        for moment in _MOMENTS:
            criterion = self.at(moment)
            parts = zip(self.logits.split(1), self.labels.split(1), strict=True)
            alone = torch.stack([criterion(logits, label) for logits, label in parts])
            loss, problem = criterion(self.logits, self.labels), None
            # Where classes are weighted, the mean has these weights too, or (CB-Focal) each loss alone.
            current = None if criterion.reweighting is None else criterion.reweighting.current
            weights = torch.ones(_CLASSES) if current is None else current
            for own in (weights.double()[self.labels], torch.ones(_IMAGES, dtype=torch.float64)):
                problem = difference(loss, (own * alone).sum() / own.sum(), "the two")
                if problem is None:
                    break
            problems.append(problem)
        return first_problem(*problems)

    def class_order(self) -> str | None:
        order = torch.randperm(_CLASSES)
        problems = []
        for moment in _MOMENTS:
            ours, renamed = self.at(moment), self.at(moment, torch.tensor(_COUNTS)[order])
            moved = renamed(self.logits[:, order], order.argsort()[self.labels])
            problems.append(difference(moved, ours(self.logits, self.labels), "losses"))
            scores = ours.scores(self.logits)[:, order]
            problems.append(difference(renamed.scores(self.logits[:, order]), scores, "scores"))
        return first_problem(*problems)

    def huge(self) -> str | None:
        for sign in (1e4, -1e4):
            leaf = (sign * (2 * torch.eye(_CLASSES) - 1)).requires_grad_()
            loss = self.at(0.0)(leaf, torch.arange(_CLASSES))
            (gradient,) = torch.autograd.grad(loss, leaf)
            if not bool(torch.isfinite(loss)) or not bool(torch.isfinite(gradient).all()):
                return f"logits of {sign:g} do not"
        return None

    def precision(self) -> str | None:
        low = self.logits.bfloat16()
        criterion = self.at(0.0)
        exact = criterion(low.double(), self.labels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = criterion(low, self.labels)
        if (exact.dtype, loss.dtype) != (torch.float64, torch.float32):
            return f"of float64 and bf16 logits the losses are {exact.dtype} and {loss.dtype}"
        return difference(loss, exact, "losses of bf16 and of float64", 1e-3)

    def scores(self) -> str | None:
        logits = self.logits.view(3, 4, _CLASSES)
        return shape_problem(self.at(0.0).scores(logits), tuple(logits.shape), "scores")

    def joint(self) -> str | None:
        counts = torch.tensor(_COUNTS).repeat_interleave(4)
        criterion = self.at(0.0, counts)
        logits = torch.randn(_IMAGES, 4 * _CLASSES)
        return shape_problem(criterion(logits, torch.arange(_IMAGES)), (), "the loss")

    def classifier(self) -> str | None:
        criterion = self.at(0.0)
        head, features = criterion.head(_FEATURES), torch.randn(_IMAGES, _FEATURES, requires_grad=True)
        logits = head(features)
        problem = shape_problem(logits, (_IMAGES, _CLASSES), "logits of its classifier")
        if problem is not None:
            return problem
        loss = criterion(logits, self.labels)
        (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
        if not bool(torch.isfinite(gradient).all()) or not bool(gradient.any()):
            return "the gradient of the features is zero or not finite"
        return gradient_problem(loss, head, "the classifier")

    def stateless(self) -> str | None:
        criterion = self.at(0.0)
        kept = [*dict(criterion.named_parameters()), *criterion.state_dict()]
        if kept:
            return (
                f"{', '.join(dict.fromkeys(kept))}; register_buffer(..., persistent=False) keeps a constant"
            )
        return None
