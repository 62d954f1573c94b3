"""Joint labels, scores, and the terms of an objective's loss."""

# Lee, Hwang and Shin, "Self-supervised Label Augmentation via Input Transformations", ICML 2020,
# arXiv 1910.05872. Shapes: B images, M views (transformations), N classes, D features. Joint scores are
# (B, M, N, M): [image, view, class, transformation]; flattened, class i under transformation j is i*M + j.

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.objectives.objective import Kind, Layer, Objective
from sla_bench.views.transfer import to_device
from sla_bench.views.transforms import Transform

ViewsRead = Literal["each", "upright", "pooled", "others"]
"""Which views are scored: all, each by a head of its own; the image as it is; all, by one head; all but it.

Heads that are layers are the same for all views: "each" and "pooled" differ in episodes only.
"""


def joint_labels(labels: Tensor, num_views: int, numbers: Tensor | None = None) -> Tensor:
    """Labels of views: int64 (...) -> (..., V), value label*M + j for view j.

    In an episode the label is the number of the way, not that of the class.

    Args:
        labels: int64 (...).
        num_views: M.
        numbers: int64 (..., V), the view j of each; None: all M of each example in order.
    """
    views = torch.arange(num_views, device=labels.device) if numbers is None else numbers
    return labels[..., None] * num_views + views


def split_joint(logits: Tensor, num_views: int) -> Tensor:
    """Joint logits (..., N*M) as (..., N, M): [class, transformation].

    Raises:
        UserError: the number of columns is not a multiple of M.
    """
    if logits.shape[-1] % num_views:
        raise UserError(f"{logits.shape[-1]} joint logits do not divide into {num_views} transformations")
    split: Tensor = logits.unflatten(-1, (-1, num_views))
    return split


def own_columns(joint: Tensor) -> Tensor:
    """For each view the columns that belong to it: (..., M, N, M) -> (..., M, N)."""
    return joint.diagonal(dim1=-3, dim2=-1).mT


def aggregate(joint_logits: Tensor) -> Tensor:
    """SLA+AG: the logit of (class, j) on view j, mean over j; (B, M, N, M) -> (B, N), before any softmax."""
    return own_columns(joint_logits).mean(-2)


def distillation_loss(single_logits: Tensor, aggregated: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(aggregated / T) || softmax(single / T)), mean over images; the teacher gets no gradient.

    Args:
        single_logits: (B, N), the student.
        aggregated: (B, N), the teacher, as from `aggregate`.
        temperature: T, above 0.
    """
    teacher = F.log_softmax(aggregated.detach() / temperature, dim=1)
    student = F.log_softmax(single_logits / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def balanced_contrast(points: Tensor, labels: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """Class-balanced supervised contrast of each point, (A,).

    Zhu et al., CVPR 2022, arXiv 2207.09052: the mean of -log [e_k / sum_c mean_(l in c) e_l] over all k in
    the class of the point, e_k = exp(<point, k> / T). A class c consists of its points and its prototype,
    without the point whose contrast it is.

    Args:
        points: (A, d), of length 1.
        labels: int64 (A,).
        prototypes: (N, d), of length 1, one of each class in order; (0, d): there are none.
        temperature: T, above 0.
    """
    others = torch.cat([points, prototypes])
    classes = torch.cat([labels, torch.arange(len(prototypes), device=labels.device)])
    itself = torch.eye(len(points), len(others), dtype=torch.bool, device=points.device)
    same = labels[:, None] == classes
    sizes = (classes[:, None] == classes).sum(1) - same.int()
    similar = points @ others.mT / temperature
    everyone = (similar.masked_fill(itself, -torch.inf) - sizes.to(similar.dtype).log()).logsumexp(1)
    alike = same & ~itself
    return everyone - similar.where(alike, 0).sum(1) / alike.sum(1)


class Scores(ABC):
    """Scores of the V views of each example of a batch, and the terms of a loss over them.

    Subclasses say where scores come from, `_compute`, and which cross entropy is taken, `_cross_entropy`.
    Logits are computed once, however often they are asked for.

    Args:
        labels: int64, (B,) or (E, Q); None where the scores are only read.
        num_views: M.
        numbers: int64 (..., V) as the labels, the view of each row of scores, or its number where training
            draws something else; None: all M views in order.

    Attributes:
        accuracy: share (scalar in 0..1) of right answers in the first cross entropy or divergence that was
            asked for.
        before: scores (B, N) of a network that was trained before; None: there is none.
        partners: labels (B,) of images that are mixed into those as they are, and the share of the latter.
        stages: joint scores by the features of each stage of the backbone, where it has branches.
    """

    accuracy: Tensor | None = None
    before: Tensor | None = None
    partners: tuple[Tensor, float] | None = None
    stages: Sequence[Scores] = ()

    def __init__(self, labels: Tensor | None, num_views: int, numbers: Tensor | None = None) -> None:
        self.labels, self.num_views, self.numbers = labels, num_views, numbers
        self._logits: dict[tuple[Layer, ViewsRead], Tensor] = {}

    @abstractmethod
    def _compute(self, of: Layer, views: ViewsRead) -> Tensor:
        """Logits (..., V, n) of a layer, of V = 1 view where `views` is "upright"; n is N, N*M or M.

        Prototypes are (N, d).
        """

    @abstractmethod
    def _cross_entropy(self, of: Kind, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy (scalar) of logits (..., V, n) for the labels (..., V)."""

    def _scored(self, of: Layer, logits: Tensor) -> Tensor:
        """The scores that predictions read, from logits (..., n)."""
        del of
        return logits

    def logits(self, of: Kind, views: ViewsRead = "each") -> Tensor:
        """Return logits (..., V, n), [example, view, column]."""
        if of == "own":
            return own_columns(split_joint(self.logits("joint", views), self.num_views))
        if (of, views) not in self._logits:
            self._logits[of, views] = self._compute(of, views)
        return self._logits[of, views]

    def scores(self, of: Kind, views: ViewsRead = "each") -> Tensor:
        """Return the scores (..., V, n) that predictions read; the logits, but for losses that shift them."""
        if of == "own":
            return own_columns(split_joint(self.scores("joint", views), self.num_views))
        return self._scored(of, self.logits(of, views))

    def read(self, of: Kind, mean: bool = False) -> Tensor:
        """Return scores (..., n): the mean over all views, or those of the image as it is."""
        scores = self.scores(of)
        return scores.mean(-2) if mean else scores[..., 0, :]

    def ce(self, of: Kind, views: ViewsRead = "each") -> Tensor:
        """Return the mean cross entropy (scalar) over examples and views.

        The label of view j is the class y; of joint scores (y, j), of the view's j.

        Args:
            of: the scores.
            views: which views count.
        """
        logits = self.logits(of, views)
        labels = self._labels(of, logits)
        self._note_accuracy(logits, labels)
        return self._cross_entropy(of, logits, labels)

    def mixed_ce(self, of: Kind) -> Tensor:
        """Return the mean cross entropy (scalar) of images that are mixed with partners, by their shares."""
        assert self.partners is not None
        labels, share = self.partners
        logits = self.logits(of, "upright")
        others = self._cross_entropy(of, logits, labels[..., None].expand(logits.shape[:-1]))
        return share * self.ce(of, "upright") + (1 - share) * others

    def bce(self, of: Kind) -> Tensor:
        """Return the mean binary cross entropy (scalar) over examples, views and columns.

        Args:
            of: the scores; a column is right where it is the label of `ce`.
        """
        logits = self.logits(of)
        right = F.one_hot(self._labels(of, logits), logits.shape[-1])
        return F.binary_cross_entropy_with_logits(logits, right.to(logits.dtype))

    def nce(self, temperature: float) -> Tensor:
        """Return InfoNCE (scalar) between each further view of an example and the examples as they are.

        It is the mean of -log softmax(cos(p_j, p_0) / T) of the example itself among those of the batch, with
        the projections p.

        Args:
            temperature: T, above 0.
        """
        directions = F.normalize(self.logits("projection"), dim=-1)
        upright, others = directions[:, 0], directions[:, 1:]
        alike = others.flatten(0, 1) @ upright.mT / temperature
        own = torch.arange(len(upright), device=alike.device).repeat_interleave(others.shape[1])
        return F.cross_entropy(alike, own)

    def balanced_contrast(self, temperature: float) -> Tensor:
        """Return the mean (scalar) of `balanced_contrast` over examples and views.

        Args:
            temperature: T, above 0.
        """
        points, prototypes = (self.logits(of) for of in ("projection", "prototype"))
        labels = self._labels("projection", points)
        points, prototypes = (F.normalize(rows.flatten(0, -2), dim=-1) for rows in (points, prototypes))
        return balanced_contrast(points, labels.flatten(), prototypes, temperature).mean()

    def kl(self, student: Kind, teacher: Kind | Literal["before"], temperature: float = 1.0) -> Tensor:
        """Return T^2 KL(teacher || student), a scalar, as `distillation_loss` has it.

        Args:
            student: scores, of the image as it is.
            teacher: scores, of which the mean over all views is taught; they get no gradient. "before": those
                of the image as it is.
            temperature: T, above 0.
        """
        taught = self.before if teacher == "before" else self.read(teacher, mean=True)
        assert taught is not None
        learning = self.scores(student, "upright")
        self._note_accuracy(learning, self._labels(student, learning))
        return distillation_loss(learning[..., 0, :].flatten(0, -2), taught.flatten(0, -2), temperature)

    def _note_accuracy(self, logits: Tensor, labels: Tensor) -> None:
        """Keep the share of right answers of the first term."""
        if self.accuracy is None:
            self.accuracy = (logits.detach().argmax(-1) == labels).float().mean()

    def _labels(self, of: Kind, logits: Tensor) -> Tensor:
        """Labels int64 (..., V) of logits (..., V, n)."""
        shape = logits.shape[:-1]
        if of == "view":
            return self._shown_views(logits).expand(shape)
        assert self.labels is not None
        if of == "joint":
            return joint_labels(self.labels, self.num_views, self.numbers)
        return self.labels[..., None].expand(shape)

    def _shown_views(self, logits: Tensor) -> Tensor:
        """The number of each row of the view's logits (..., V, n)."""
        if self.numbers is not None:
            return self.numbers[..., -logits.shape[-2] :]
        return torch.arange(logits.shape[-2], device=logits.device)


class WithViews:
    """An objective over the views of one transformation.

    Attributes:
        method: the objective.
        transform: makes the M views of an image.
    """

    method: Objective
    transform: Transform

    @property
    def num_views(self) -> int:
        """M."""
        return self.transform.num_views

    @property
    def step_factor(self) -> int:
        """The number of steps, and every schedule, is multiplied by it."""
        return self._factor("steps")

    @property
    def copies(self) -> int:
        """Times that each image enters a batch; copies take the place of views."""
        return self._factor("copies")

    @property
    def members(self) -> int:
        """Models trained from disjoint seeds, whose scores are averaged at test."""
        return self._factor("members")

    @property
    def way_factor(self) -> int:
        """The number of ways of a training episode is multiplied by it."""
        return self._factor("ways")

    @property
    def images_per_image(self) -> int:
        """V, images that pass through the backbone in training for each image of a batch."""
        return self.method.images_per_image(self.num_views)

    @property
    def num_targets(self) -> int:
        """How many views, or other numbers that training draws, a classifier of the view tells apart."""
        return self.num_views if self.method.draws is None else self.method.draws.num_targets(self.num_views)

    def shown(self, images: Tensor, numbers: Tensor | None, generator: torch.Generator) -> Tensor:
        """Make what passes the network in training of the images of a batch.

        Args:
            images: (B, C, H, W), augmented; copies take the place of views.
            numbers: int64 (B, V), drawn for each image; None where nothing is drawn.
            generator: of further randomness, on the CPU.

        Returns:
            (B*V, C, H, W), those of an image together.
        """
        if self.method.draws is not None:
            assert numbers is not None
            return self.method.draws.show(
                images, to_device(numbers, images.device), self.transform, generator
            )
        return self.transform.views(images).flatten(0, 1) if self.method.trains_on_views else images

    def _factor(self, part: str) -> int:
        return self.method.factor(part, self.num_views)
