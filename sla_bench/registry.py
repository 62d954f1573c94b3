"""Tables from a name to the piece that bears it, without importing the piece.

Help, validation, listing and reporting read these tables, so none of them imports torch. A new learner,
backbone, objective, transformation or data set is one file and one line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sla_bench.errors import UserError, unknown


@dataclass(frozen=True)
class Entry:
    """Where a piece lives (`"module:attribute"`), what it is in a few words, and the options it takes."""

    target: str
    summary: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class LearnerEntry(Entry):
    """A few-shot head; `trains_at_test_shots`: its training shots are the test's unless told otherwise."""

    trains_at_test_shots: bool = False


@dataclass(frozen=True)
class TransformEntry(Entry):
    """A label augmentation with its number of views."""

    num_views: int = 1
    uses_color: bool = False


@dataclass(frozen=True)
class MethodEntry(Entry):
    """An objective or a control.

    Args:
        depends_on_transform: training differs between transformations (else only test-time views do).
        control: named by `--method controls`; otherwise by `--method all`.
        way_factor: the number of ways of a training episode is multiplied by the number of views.
        pools_views: a class of the training pool is a pair (class, view).
        refused: scenario -> the sentence that says why it can't be used there.
    """

    depends_on_transform: bool = True
    control: bool = False
    way_factor: bool = False
    pools_views: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)


EntryT = TypeVar("EntryT", bound=Entry)


class Registry(Mapping[str, EntryT], Generic[EntryT]):
    """Read-only table of one kind of piece.

    A name may carry an argument after a colon (`folder:PATH`) where `takes_argument` lists it.
    """

    def __init__(
        self, kind: str, entries: Mapping[str, EntryT], takes_argument: tuple[str, ...] = ()
    ) -> None:
        self.kind = kind
        self._entries = dict(entries)
        self._takes_argument = takes_argument

    def __getitem__(self, name: str) -> EntryT:
        base = name.partition(":")[0]
        if base not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[base]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, name: str) -> str:
        """Return the name if it is known.

        Raises:
            UserError: unknown name (with the nearest right one), or an argument that is missing or not taken.
        """
        base, colon, argument = name.partition(":")
        if base not in self._entries:
            raise unknown(self.kind, name, self._entries)
        if base in self._takes_argument and not argument:
            raise UserError(f"{self.kind} {base!r} needs an argument: write {base}:PATH")
        if colon and base not in self._takes_argument:
            raise UserError(f"{self.kind} {base!r} takes no argument, got {name!r}")
        return name

    def load(self, name: str) -> Any:
        """Import the piece and return it (the module itself where the target names no attribute)."""
        target, _, attribute = self[self.check(name)].target.partition(":")
        module = importlib.import_module(target)
        return getattr(module, attribute) if attribute else module


SCENARIOS = Registry(
    "scenario", {"fewshot": Entry("sla_bench.scenarios.fewshot", "episodes of unseen classes")}
)

LEARNERS = Registry(
    "learner",
    {
        "protonet": LearnerEntry(
            "sla_bench.learners.protonet:ProtoNet",
            "nearest class mean, squared distance",
            ("scale",),
            trains_at_test_shots=True,
        ),
        "metaoptnet-rr": LearnerEntry(
            "sla_bench.learners.ridge:RidgeHead", "ridge regression, closed form", ("regularization", "scale")
        ),
        "metaoptnet-svm": LearnerEntry(
            "sla_bench.learners.svm:SVMHead",
            "multi-class SVM, solved per episode",
            ("C", "regularization", "scale"),
        ),
    },
)

_RESNET12_OPTIONS = ("drop_rate", "block_size", "drop_block_steps")
BACKBONES = Registry(
    "backbone",
    {
        "conv4": Entry("sla_bench.backbones.conv4:conv4", "four convolutions of 64 channels"),
        "conv4-32": Entry("sla_bench.backbones.conv4:conv4_32", "four convolutions of 32 channels"),
        "resnet12": Entry(
            "sla_bench.backbones.resnet12:resnet12",
            "MetaOptNet's ResNet-12, no average pooling",
            _RESNET12_OPTIONS,
        ),
        "resnet12-avgpool": Entry(
            "sla_bench.backbones.resnet12:resnet12_avgpool", "ResNet-12, average pooled", _RESNET12_OPTIONS
        ),
    },
)

TRANSFORMS = Registry(
    "transform",
    {
        "rotation": TransformEntry("sla_bench.transforms:ROTATION", "four quarter turns", num_views=4),
        "rotation2": TransformEntry("sla_bench.transforms:ROTATION2", "upright and upside down", num_views=2),
        "color_perm": TransformEntry(
            "sla_bench.transforms:COLOR_PERM", "six orders of the channels", num_views=6, uses_color=True
        ),
        "color_perm3": TransformEntry(
            "sla_bench.transforms:COLOR_PERM3", "three cyclic orders of them", num_views=3, uses_color=True
        ),
        "rot_color_perm6": TransformEntry(
            "sla_bench.transforms:ROT_COLOR_PERM6", "rotation2 x color_perm3", num_views=6, uses_color=True
        ),
        "rot_color_perm12": TransformEntry(
            "sla_bench.transforms:ROT_COLOR_PERM12", "rotation x color_perm3", num_views=12, uses_color=True
        ),
        "rot_color_perm24": TransformEntry(
            "sla_bench.transforms:ROT_COLOR_PERM24", "rotation x color_perm", num_views=24, uses_color=True
        ),
    },
)

_NO_DISTILLATION = (
    "a few-shot test has no fixed set of classes to distil into; use sla, whose rows show single (SLA+SI) "
    "and aggregated (SLA+AG) inference"
)
_NO_EPISODES = {"imbalanced": "it is about episodes", "standard": "it is about episodes"}
METHODS = Registry(
    "method",
    {
        "baseline": MethodEntry(
            "sla_bench.objectives.baseline:Baseline", "the learner as it is", depends_on_transform=False
        ),
        "da": MethodEntry("sla_bench.objectives.da:DataAugmentation", "all views carry the image's label"),
        "mt": MethodEntry("sla_bench.objectives.mt:MultiTask", "da, and the view is a second task"),
        "rot-aux": MethodEntry(
            "sla_bench.objectives.rot_aux:AuxiliaryRotation",
            "baseline, and the view is a second task",
            ("weight",),
            control=True,
        ),
        "sla": MethodEntry("sla_bench.objectives.sla:SLA", "one task over (class, view)", ("joint_scope",)),
        "sla+sd": MethodEntry(
            "sla_bench.objectives.sla:SLA", "sla, distilled", refused={"fewshot": _NO_DISTILLATION}
        ),
        "views": MethodEntry(
            "sla_bench.objectives.views:Views",
            "one head per view, no negatives across",
            control=True,
            refused=_NO_EPISODES,
        ),
        "baseline-xM": MethodEntry(
            "sla_bench.objectives.baseline_xm:BaselineTimesM", "baseline with M times the steps", control=True
        ),
        "baseline-repM": MethodEntry(
            "sla_bench.objectives.baseline_repm:BaselineRepeated",
            "baseline with each image M times in a batch",
            control=True,
        ),
        "ens-M": MethodEntry("sla_bench.objectives.ens_m:Ensemble", "M baselines, averaged", control=True),
        "baseline-NMway": MethodEntry(
            "sla_bench.objectives.baseline_nmway:BaselineManyWay",
            "baseline with M times the ways in training",
            control=True,
            way_factor=True,
            refused=_NO_EPISODES,
        ),
        "rotpool-NMway": MethodEntry(
            "sla_bench.objectives.rotpool_nmway:RotatedPool",
            "as baseline-NMway, from a pool in which each view is a class",
            control=True,
            way_factor=True,
            pools_views=True,
            refused=_NO_EPISODES,
        ),
    },
)

DATASETS = Registry(
    "dataset",
    {
        "glyphs": Entry("sla_bench.datasets.glyphs:GLYPHS", "100 classes of rendered characters, 32 px"),
        "glyphs20": Entry("sla_bench.datasets.glyphs:GLYPHS20", "easier glyphs, one class per superclass"),
        "glyphs-rot": Entry(
            "sla_bench.datasets.glyphs:GLYPHS_ROT", "glyphs, each turned at random: no signal"
        ),
        "glyphs-pairs": Entry(
            "sla_bench.datasets.glyphs:GLYPHS_PAIRS", "half the classes are turns of others"
        ),
        "glyphs-sym": Entry("sla_bench.datasets.glyphs:GLYPHS_SYM", "glyphs with rotational symmetry"),
        "fc100": Entry("sla_bench.datasets.cifar100_few_shot:FC100", "CIFAR-100 split by superclass"),
        "cifar_fs": Entry("sla_bench.datasets.cifar100_few_shot:CIFAR_FS", "CIFAR-100 split by class"),
        "mini_imagenet": Entry(
            "sla_bench.datasets.mini_imagenet:MINI_IMAGENET", "100 ImageNet classes, 84 px"
        ),
        "tiered_imagenet": Entry("sla_bench.datasets.tiered_imagenet:TIERED_IMAGENET", "608 classes, 84 px"),
        "fashion_mnist": Entry(
            "sla_bench.datasets.fashion_mnist:FASHION_MNIST", "10 classes of clothes, 28 px"
        ),
        "folder": Entry("sla_bench.datasets.folder:Folder", "your own images: folder:PATH"),
    },
    takes_argument=("folder",),
)
