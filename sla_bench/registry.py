"""Tables from a name to the piece that bears it, without importing the piece.

Help, validation, listing and reporting read these tables, so none of them imports torch. A new learner,
backbone, objective, transformation or data set is one file and one line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sla_bench.errors import UserError, unknown


@dataclass(frozen=True)
class Entry:
    """Where a piece lives (`"module:attribute"`) and what it is, in a few words."""

    target: str
    summary: str


class Registry(Mapping[str, Entry]):
    """Read-only table of one kind of piece.

    A name may carry an argument after a colon (`folder:PATH`) where `takes_argument` lists it.
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry], takes_argument: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self._entries = dict(entries)
        self._takes_argument = takes_argument

    def __getitem__(self, name: str) -> Entry:
        return self._entries[self.check(name).partition(":")[0]]

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
        """Import the piece and return it."""
        module, _, attribute = self[name].target.partition(":")
        return getattr(importlib.import_module(module), attribute)


LEARNERS = Registry(
    "learner",
    {
        "protonet": Entry("sla_bench.learners.protonet:ProtoNet", "nearest class mean, squared distance"),
        "metaoptnet-rr": Entry("sla_bench.learners.ridge:RidgeHead", "ridge regression in closed form"),
        "metaoptnet-svm": Entry("sla_bench.learners.svm:SVMHead", "multi-class SVM, solved per episode"),
    },
)

BACKBONES = Registry(
    "backbone",
    {
        "conv4": Entry("sla_bench.backbones.conv4:conv4", "four convolutions of 64 channels"),
        "conv4-32": Entry("sla_bench.backbones.conv4:conv4_32", "four convolutions of 32 channels"),
        "resnet12": Entry(
            "sla_bench.backbones.resnet12:resnet12", "MetaOptNet's ResNet-12, no average pooling"
        ),
        "resnet12-avgpool": Entry(
            "sla_bench.backbones.resnet12:resnet12_avgpool", "ResNet-12, average pooled"
        ),
    },
)

TRANSFORMS = Registry(
    "transform",
    {
        "rotation": Entry("sla_bench.transforms:ROTATION", "four quarter turns"),
        "rotation2": Entry("sla_bench.transforms:ROTATION2", "upright and upside down"),
        "color_perm": Entry("sla_bench.transforms:COLOR_PERM", "six orders of the colour channels"),
        "color_perm3": Entry(
            "sla_bench.transforms:COLOR_PERM3", "three cyclic orders of the colour channels"
        ),
        "rot_color_perm6": Entry("sla_bench.transforms:ROT_COLOR_PERM6", "rotation2 x color_perm3"),
        "rot_color_perm12": Entry("sla_bench.transforms:ROT_COLOR_PERM12", "rotation x color_perm3"),
        "rot_color_perm24": Entry("sla_bench.transforms:ROT_COLOR_PERM24", "rotation x color_perm"),
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
