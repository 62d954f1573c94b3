"""The contract of few-shot heads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sla_bench.contracts.checks import Checks, Note, difference, first_problem, shape_problem
from sla_bench.errors import UserError
from sla_bench.models.heads.base import FewShotHead
from sla_bench.seeds import torch_seeded

_EPISODES, _WAYS, _QUERIES, _FEATURES = 2, 5, 10, 12


class _Batch(NamedTuple):
    """Support (E, S, D), its labels, queries (E, Q, D) and their labels."""

    support: Tensor
    labels: Tensor
    query: Tensor
    query_labels: Tensor


def head_checks(head: type[FewShotHead]) -> Checks:
    """The checks of a class of heads, on drawn embeddings."""
    contract = _HeadContract(head)
    return {
        "is built without options; logits are (episodes, queries, ways) and finite": contract.shapes,
        "gives the same logits again": contract.repeats,
        "the order of the supports changes nothing": contract.support_order,
        "the numbering of the ways changes nothing": contract.way_order,
        "each query is scored by itself": contract.queries_alone,
        "each episode is scored by itself": contract.episodes_alone,
        "double precision stays, bf16 becomes float32": contract.precision,
        "takes 20 ways of one shot, and ways of different sizes": contract.other_episodes,
        "tells classes apart that lie far from each other": contract.separates,
        "gradients reach the embeddings of supports and queries": contract.gradients,
        "refuses embeddings that are not finite": contract.refuses,
    }


def _batch(ways: int = _WAYS, shots: int = 3, spread: float = 0.8, seed: int = 0) -> _Batch:
    """Clusters in double precision, supports in mixed order."""
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(ways * shots, generator=g)
    labels = (torch.arange(ways * shots) % ways)[order].expand(_EPISODES, -1).contiguous()
    asked = (torch.arange(_QUERIES) % ways).expand(_EPISODES, -1).contiguous()
    # Far from each other and from zero, at equal lengths.
    centres = torch.eye(max(ways, _FEATURES), dtype=torch.float64)[:ways]

    def around(of: Tensor) -> Tensor:
        noise = torch.randn(*of.shape, centres.shape[1], generator=g, dtype=torch.float64)
        return 3 * centres[of] + spread * noise

    return _Batch(around(labels), labels, around(asked), asked)


class _HeadContract:
    def __init__(self, head: type[FewShotHead]) -> None:
        self.make, self.batch = head, _batch()

    def logits(
        self, support: Tensor, labels: Tensor, query: Tensor, ways: int = _WAYS, training: bool = False
    ) -> Tensor:
        with torch_seeded(1):
            logits: Tensor = self.make().train(training)(support, labels, query, ways)
        return logits

    def shapes(self) -> str | None:
        support, labels, query, _ = self.batch
        shape = (_EPISODES, _QUERIES, _WAYS)
        return shape_problem(self.logits(support, labels, query), shape, "logits")

    def repeats(self) -> str | None:
        once, again = (self.logits(*self.batch[:3]) for _ in range(2))
        return None if torch.equal(once, again) else difference(again, once, "logits", 0.0)

    def support_order(self) -> str | None:
        support, labels, query, _ = self.batch
        order = torch.randperm(support.shape[1])
        moved = self.logits(support[:, order], labels[:, order], query)
        return difference(moved, self.logits(support, labels, query), "logits")

    def way_order(self) -> str | None:
        support, labels, query, _ = self.batch
        number = torch.randperm(_WAYS)
        renamed = self.logits(support, number[labels], query)
        return difference(renamed[:, :, number], self.logits(support, labels, query), "logits")

    def queries_alone(self) -> str | None:
        support, labels, query, _ = self.batch
        alone = torch.cat([self.logits(support, labels, one) for one in query.split(1, dim=1)], dim=1)
        return difference(alone, self.logits(support, labels, query), "logits of single queries")

    def episodes_alone(self) -> str | None:
        batch = self.batch[:3]
        alone = torch.cat([self.logits(*one) for one in zip(*(part.split(1) for part in batch), strict=True)])
        return difference(alone, self.logits(*batch), "logits of single episodes")

    def precision(self) -> str | None:
        support, labels, query, _ = self.batch
        exact = self.logits(support, labels, query)
        if exact.dtype != torch.float64:
            return f"of float64 embeddings the logits are {exact.dtype}"
        low = support.bfloat16(), query.bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.logits(low[0], labels, low[1])
        if logits.dtype != torch.float32:
            return f"of bf16 embeddings the logits are {logits.dtype}"
        exact = self.logits(low[0].double(), labels, low[1].double())
        return difference(logits, exact, "logits of bf16 and of float64", 1e-3)

    def other_episodes(self) -> str | None:
        many = _batch(ways=20, shots=1)
        of_many = self.logits(*many[:3], ways=20)
        support, labels, query, _ = self.batch
        # One support of one way is left out.
        kept = torch.arange(labels.shape[1]) != int((labels[0] == 2).nonzero()[0])
        of_uneven = self.logits(support[:, kept], labels[:, kept], query)
        return first_problem(
            shape_problem(of_many, (_EPISODES, _QUERIES, 20), "logits of 20 ways"),
            shape_problem(of_uneven, (_EPISODES, _QUERIES, _WAYS), "logits"),
        )

    def separates(self) -> str | None:
        support, labels, query, asked = _batch(spread=0.05)
        right = float((self.logits(support, labels, query).argmax(2) == asked).double().mean())
        return None if right == 1 else f"{right:.0%} of the queries are right"

    def gradients(self) -> str | None:
        support, labels, query = (part.clone() for part in self.batch[:3])
        leaves = {"supports": support.requires_grad_(), "queries": query.requires_grad_()}
        try:
            logits = self.logits(support, labels, query, training=True)
        except UserError as error:
            return Note(str(error))
        asked = self.batch.query_labels.flatten()
        loss = F.cross_entropy(logits.flatten(0, 1), asked)
        if not loss.requires_grad:
            return Note("none does; register the learner with trains_on='classes'")
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        for name, gradient in zip(leaves, gradients, strict=True):
            if gradient is None or not bool(gradient.any()):
                return Note(f"none reaches the {name}; register the learner with trains_on='classes'")
            if not bool(torch.isfinite(gradient).all()):
                return f"the gradient of the {name} is not finite"
        return None

    def refuses(self) -> str | None:
        support, labels, query = (part.clone() for part in self.batch[:3])
        support[1, 2, 3] = torch.nan
        try:
            self.logits(support, labels, query)
        except UserError:
            return None
        return "a support of NaN is taken without an error"
