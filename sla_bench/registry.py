"""Registries: names to lazily imported components."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from sla_bench.errors import UserError, nearest, unknown
from sla_bench.paths import existing_near, from_home

# Help, validation, listing and reporting read these registries, so none of them imports torch.


@dataclass(frozen=True)
class Entry:
    """A piece of code that users choose by name.

    Args:
        target: its place, `"module:attribute"`.
        summary: a few words for help and listings.
        options: names that `--set KIND.NAME=` may set.
        needs_learn2learn: it needs that library, which is optional (`peers.py`).
    """

    target: str
    summary: str
    options: tuple[str, ...] = ()
    needs_learn2learn: bool = False


@dataclass(frozen=True)
class ScenarioEntry(Entry):
    """A scenario: `target` trains and evaluates, `form` describes its options, `reading` its records.

    Args:
        form: place of its options and budgets.
        reading: place of the reading of its records.
        classifier: place of the function that builds the model of a training with fixed classes,
            `(config, dataset, counts (N,), transform, seed) -> ClassifierModel`; empty for few-shot learning.
        subject: its field, for sentences.
        by: the kind of split, as in `Dataset.load`.
        training_splits: the splits that a training sees.
    """

    form: str = ""
    reading: str = ""
    classifier: str = ""
    subject: str = ""
    by: Literal["classes", "images"] = "classes"
    training_splits: tuple[Literal["train", "val", "trainval"], ...] = ("train", "val")


@dataclass(frozen=True)
class LearnerEntry(Entry):
    """A few-shot head.

    Args:
        trains_at_test_shots: its training shots are the test's by default.
        trains_on: the training of its backbone: on episodes, with the head; or on the classes of the training
            split, with the method's classifier and without the head.
        adapts_network: it takes the network, and images instead of embeddings.
        recipe: place of its changes to a budget, a function `(budget, data set) -> field -> value`; empty for
            no changes.
    """

    trains_at_test_shots: bool = False
    adapts_network: bool = False
    recipe: str = ""
    trains_on: Literal["episodes", "classes"] = "episodes"


@dataclass(frozen=True)
class TransformEntry(Entry):
    """A transform with its number of views."""

    num_views: int = 1
    uses_color: bool = False


@dataclass(frozen=True)
class Argument:
    """The text after the colon of a name.

    Args:
        placeholder: its name in messages and lists.
        known: its allowed values, each with the entry of the same registry whose recipes and published values
            apply; empty: any text.
    """

    placeholder: str
    known: Mapping[str, str] = field(default_factory=dict)


EntryT = TypeVar("EntryT", bound=Entry)


class Registry(Mapping[str, EntryT], Generic[EntryT]):
    """Read-only table of one kind of piece.

    A name carries an argument after a colon (`folder:PATH`) where `arguments` has it.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, EntryT],
        arguments: Mapping[str, Argument] | None = None,
    ) -> None:
        self.kind = kind
        self._entries = dict(entries)
        self.arguments = dict(arguments or {})

    def __getitem__(self, name: str) -> EntryT:
        base = name.partition(":")[0]
        if base not in self._entries:
            raise self._unknown(name)
        return self._entries[base]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.partition(":")[0] in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, name: str) -> str:
        """Return the name if it is known.

        Raises:
            UserError: unknown name or argument (with the nearest right one), or a missing or superfluous
                argument.
        """
        base, colon, argument = name.partition(":")
        if base not in self._entries:
            raise self._unknown(name)
        taken = self.arguments.get(base)
        if taken is None and colon:
            raise UserError(f"{self.kind} {base!r} takes no argument, got {name!r}")
        if taken is None:
            return name
        names = [f"{base}:{known}" for known in taken.known]
        if not argument:
            written = " or ".join(names) or f"{base}:{taken.placeholder}"
            raise UserError(f"{self.kind} {base!r} needs an argument: write {written}")
        if names and name not in names:
            raise UserError(f"unknown {self.kind} {name!r}; {nearest(name, names)}")
        return name

    def _unknown(self, name: str) -> UserError:
        """The error for an unknown name; a path may lack the word before its colon."""
        for base, argument in self.arguments.items():
            path, colon, rest = name.partition(":")
            meant = path if from_home(path).exists() else existing_near(from_home(path))
            if argument.placeholder == "PATH" and meant is not None and (meant == path or os.sep in path):
                likely = f"{base}:{meant}{colon}{rest}"
                return UserError(f"unknown {self.kind} {name!r}; did you mean {likely!r}?")
            if argument.placeholder == "PATH" and os.sep in path:
                return UserError(f"unknown {self.kind} {name!r}; {base}:PATH is a folder, there is no {path}")
        return unknown(self.kind, name, self._entries)

    def names(self) -> list[str]:
        """All valid names; a free argument is shown by its placeholder."""
        return [
            f"{base}:{argument}" if argument else base
            for base in self._entries
            for argument in self._written(base)
        ]

    def like(self, name: str) -> str:
        """The entry whose recipes and published values apply to this name; most often the name itself."""
        base, _, argument = name.partition(":")
        return self.arguments[base].known.get(argument, name) if base in self.arguments else name

    def _written(self, base: str) -> tuple[str, ...]:
        taken = self.arguments.get(base)
        return ("",) if taken is None else tuple(taken.known) or (taken.placeholder,)

    def load(self, name: str, what: str = "target") -> Any:
        """Import the piece and return it (the module itself where the target names no attribute).

        Args:
            name: of the entry.
            what: the field of the entry with the place of the piece.
        """
        target, _, attribute = getattr(self[self.check(name)], what).partition(":")
        # A grid asks ten thousand times, and `import_module` takes the import lock each time.
        module = sys.modules.get(target) or importlib.import_module(target)
        return getattr(module, attribute) if attribute else module


SCENARIOS = Registry(
    "scenario",
    {
        "fewshot": ScenarioEntry(
            "sla_bench.scenarios.fewshot.run",
            "Few-shot learning: train on episodes of some classes, test on unseen classes.",
            form="sla_bench.scenarios.fewshot.form:FORM",
            reading="sla_bench.scenarios.fewshot.reading:READING",
            subject="few-shot",
        ),
        "imbalanced": ScenarioEntry(
            "sla_bench.scenarios.classify.imbalanced",
            "Imbalanced learning: train on a long-tailed part, test on balanced classes.",
            form="sla_bench.scenarios.classify.imbalanced_form:FORM",
            reading="sla_bench.scenarios.classify.reading:IMBALANCED",
            classifier="sla_bench.scenarios.classify.imbalanced:build_model",
            subject="imbalanced learning",
            by="images",
            training_splits=("trainval",),
        ),
        "standard": ScenarioEntry(
            "sla_bench.scenarios.classify.standard",
            "Fully supervised learning: train on all images of all classes.",
            form="sla_bench.scenarios.classify.standard_form:FORM",
            reading="sla_bench.scenarios.classify.reading:STANDARD",
            classifier="sla_bench.scenarios.classify.standard:build_model",
            subject="fully supervised learning",
            by="images",
            training_splits=("trainval",),
        ),
    },
)

LAUNCHERS = Registry(
    "launcher",
    {
        "local": Entry("sla_bench.records.local_launcher:launch", "processes of this machine"),
        "ray": Entry("sla_bench.records.ray_launcher:launch", "tasks of a Ray cluster"),
    },
)

_INNER_LOOP = ("inner_steps", "inner_rate", "first_order", "test_inner_steps", "scale")
LEARNERS = Registry(
    "learner",
    {
        "protonet": LearnerEntry(
            "sla_bench.models.heads.protonet:ProtoNet",
            "nearest class mean, squared distance",
            ("scale",),
            trains_at_test_shots=True,
        ),
        "metaoptnet-rr": LearnerEntry(
            "sla_bench.models.heads.ridge:RidgeHead",
            "ridge regression, closed form",
            ("regularization", "scale"),
        ),
        "metaoptnet-svm": LearnerEntry(
            "sla_bench.models.heads.svm:SVMHead",
            "multi-class SVM, solved per episode",
            ("C", "regularization", "scale"),
        ),
        "simpleshot": LearnerEntry(
            "sla_bench.models.heads.simpleshot:SimpleShot",
            "backbone of a classifier; nearest class mean, centred and normalised",
            ("centred",),
            trains_on="classes",
        ),
        "cosine": LearnerEntry(
            "sla_bench.models.heads.cosine:CosineHead",
            "backbone of a classifier; Baseline++, cosines fitted by gradient steps",
            ("epochs", "learning_rate", "weight_decay", "scale"),
            trains_on="classes",
        ),
        "finetune": LearnerEntry(
            "sla_bench.models.heads.finetune:LogisticHead",
            "backbone of a classifier; logistic regression on the support",
            ("C",),
            trains_on="classes",
        ),
        "anil": LearnerEntry(
            "sla_bench.models.heads.anil:ANIL",
            "gradient steps on a linear classifier",
            _INNER_LOOP,
            needs_learn2learn=True,
            trains_at_test_shots=True,
            recipe="sla_bench.scenarios.fewshot.gradient_based:anil",
        ),
        "maml": LearnerEntry(
            "sla_bench.models.heads.maml:MAML",
            "gradient steps on the whole network",
            _INNER_LOOP,
            needs_learn2learn=True,
            trains_at_test_shots=True,
            adapts_network=True,
            recipe="sla_bench.scenarios.fewshot.gradient_based:maml",
        ),
    },
)

_SMOOTHING = ("smoothing",)
_WEIGHTS = ("beta", "start")
_LDAM = ("max_margin", "scale")
LOSSES = Registry(
    "loss",
    {
        "ce": Entry("sla_bench.models.losses.criteria:CrossEntropy", "cross entropy", _SMOOTHING),
        "cb-rw": Entry(
            "sla_bench.models.losses.criteria:ClassBalancedCrossEntropy",
            "ce with class-balanced weights",
            (*_WEIGHTS, *_SMOOTHING),
        ),
        "ce-drw": Entry(
            "sla_bench.models.losses.criteria:DeferredCrossEntropy",
            "ce, class-balanced weights for the last fifth",
            (*_WEIGHTS, *_SMOOTHING),
        ),
        "focal": Entry(
            "sla_bench.models.losses.criteria:Focal", "ce that weighs easy images less", ("gamma",)
        ),
        "cb-focal": Entry(
            "sla_bench.models.losses.criteria:ClassBalancedFocal",
            "focal with class-balanced weights",
            ("gamma", *_WEIGHTS),
        ),
        "ldam": Entry(
            "sla_bench.models.losses.criteria:LDAM", "cosines with larger margins for small classes", _LDAM
        ),
        "ldam-drw": Entry(
            "sla_bench.models.losses.criteria:DeferredLDAM",
            "ldam, class-balanced weights for the last fifth",
            (*_LDAM, *_WEIGHTS),
        ),
        "balanced-softmax": Entry(
            "sla_bench.models.losses.criteria:BalancedSoftmax", "ce of logits shifted by log class sizes"
        ),
        "logit-adjust": Entry(
            "sla_bench.models.losses.criteria:LogitAdjustment",
            "ce, logits corrected for class sizes at test",
            ("tau",),
        ),
    },
)

_RESNET12_OPTIONS = ("drop_rate", "block_size", "drop_block_steps")
BACKBONES = Registry(
    "backbone",
    {
        "conv4": Entry("sla_bench.models.backbones.conv4:conv4", "four convolutions of 64 channels"),
        "conv4-32": Entry("sla_bench.models.backbones.conv4:conv4_32", "four convolutions of 32 channels"),
        "airbench": Entry(
            "sla_bench.models.backbones.airbench:airbench", "wide, shallow and fast; from 28 px", ("width",)
        ),
        "resnet12": Entry(
            "sla_bench.models.backbones.resnet12:resnet12",
            "MetaOptNet's ResNet-12, no average pooling",
            _RESNET12_OPTIONS,
        ),
        "resnet12-avgpool": Entry(
            "sla_bench.models.backbones.resnet12:resnet12_avgpool",
            "ResNet-12, average pooled",
            _RESNET12_OPTIONS,
        ),
        "resnet8": Entry("sla_bench.models.backbones.cifar_resnet:resnet8", "small SLA variant, for 28 px"),
        "resnet20-ldam": Entry(
            "sla_bench.models.backbones.cifar_resnet:resnet20_ldam", "CIFAR ResNet-20 as in LDAM-DRW's code"
        ),
        "resnet20-sla": Entry(
            "sla_bench.models.backbones.cifar_resnet:resnet20_sla", "CIFAR ResNet-20 as in SLA's code"
        ),
        "resnet32-ldam": Entry(
            "sla_bench.models.backbones.cifar_resnet:resnet32_ldam", "CIFAR ResNet-32 as in LDAM-DRW's code"
        ),
        "resnet32-sla": Entry(
            "sla_bench.models.backbones.cifar_resnet:resnet32_sla", "CIFAR ResNet-32 as in SLA's code"
        ),
        "resnet18": Entry(
            "sla_bench.models.backbones.torchvision_resnet:resnet18", "torchvision's ResNet-18, large images"
        ),
        "resnet50": Entry(
            "sla_bench.models.backbones.torchvision_resnet:resnet50", "torchvision's ResNet-50, large images"
        ),
        "l2l-cnn4": Entry(
            "sla_bench.models.backbones.learn2learn_networks:cnn4",
            "learn2learn's CNN4, 64 channels",
            ("channels",),
            needs_learn2learn=True,
        ),
        "l2l-resnet12": Entry(
            "sla_bench.models.backbones.learn2learn_networks:resnet12",
            "learn2learn's ResNet-12, average pooled",
            ("avg_pool", "drop_rate", "block_size"),
            needs_learn2learn=True,
        ),
        "l2l-wrn28": Entry(
            "sla_bench.models.backbones.learn2learn_networks:wrn28",
            "learn2learn's wide ResNet-28-10",
            ("drop_rate",),
            needs_learn2learn=True,
        ),
    },
)

TRANSFORMS = Registry(
    "transform",
    {
        "rotation": TransformEntry("sla_bench.views.transforms:ROTATION", "four quarter turns", num_views=4),
        "rotation2": TransformEntry(
            "sla_bench.views.transforms:ROTATION2", "upright and upside down", num_views=2
        ),
        "color_perm": TransformEntry(
            "sla_bench.views.transforms:COLOR_PERM",
            "six orders of the channels",
            num_views=6,
            uses_color=True,
        ),
        "color_perm3": TransformEntry(
            "sla_bench.views.transforms:COLOR_PERM3",
            "three cyclic orders of the channels",
            num_views=3,
            uses_color=True,
        ),
        "rot_color_perm6": TransformEntry(
            "sla_bench.views.transforms:ROT_COLOR_PERM6",
            "rotation2 x color_perm3",
            num_views=6,
            uses_color=True,
        ),
        "rot_color_perm12": TransformEntry(
            "sla_bench.views.transforms:ROT_COLOR_PERM12",
            "rotation x color_perm3",
            num_views=12,
            uses_color=True,
        ),
        "rot_color_perm24": TransformEntry(
            "sla_bench.views.transforms:ROT_COLOR_PERM24",
            "rotation x color_perm",
            num_views=24,
            uses_color=True,
        ),
    },
)

_POLICY = ("images_per_draw",)
MIXES = Registry(
    "mix",
    {
        "none": Entry("sla_bench.views.mixing:NoMix", "crop and flip alone"),
        "cutout": Entry("sla_bench.views.mixing:Cutout", "a square becomes the mean", ("size",)),
        "mixup": Entry(
            "sla_bench.views.mixing:MixUp", "weighted means of two images", ("alpha", "probability")
        ),
        "cutmix": Entry(
            "sla_bench.views.mixing:CutMix", "a rectangle of another image", ("alpha", "probability")
        ),
        "autoaugment": Entry(
            "sla_bench.views.mixing:AutoAugment", "a learned pair of operations", ("policy", *_POLICY)
        ),
        "randaugment": Entry(
            "sla_bench.views.mixing:RandAugment",
            "random operations of one strength",
            ("num_ops", "magnitude", *_POLICY),
        ),
        "trivialaugment": Entry(
            "sla_bench.views.mixing:TrivialAugment", "one random operation of random strength", _POLICY
        ),
    },
)

_DISTILLATION = ("temperature", "single_weight")
METHODS = Registry(
    "method",
    {
        "baseline": Entry("sla_bench.objectives.objective:BASELINE", "the learner alone, without SLA"),
        "da": Entry("sla_bench.objectives.objective:DA", "all views carry the image's label"),
        "mt": Entry("sla_bench.objectives.objective:MT", "da, with the view as a second task"),
        "rot-aux": Entry(
            "sla_bench.objectives.objective:ROT_AUX", "baseline, with the view as a second task", ("weight",)
        ),
        "sla": Entry("sla_bench.objectives.objective:SLA", "one task over (class, view)", ("joint_scope",)),
        "sla+sd": Entry(
            "sla_bench.objectives.objective:SLA_SD", "sla, distilled into a second head", _DISTILLATION
        ),
        "sla+u": Entry(
            "sla_bench.objectives.objective:SLA_U", "sla+sd without the distillation", ("single_weight",)
        ),
        "da+sd": Entry(
            "sla_bench.objectives.objective:DA_SD", "da, distilled: no joint labels", _DISTILLATION
        ),
        "views": Entry("sla_bench.objectives.objective:VIEWS", "one head per view, no negatives across"),
        "baseline-xM": Entry("sla_bench.objectives.objective:BASELINE_XM", "baseline with M times the steps"),
        "baseline-repM": Entry(
            "sla_bench.objectives.objective:BASELINE_REPM", "baseline with each image M times in a batch"
        ),
        "ens-M": Entry("sla_bench.objectives.objective:ENS_M", "M baselines, averaged"),
        "baseline-NMway": Entry(
            "sla_bench.objectives.objective:BASELINE_NMWAY", "baseline with M times the ways in training"
        ),
        "rotpool-NMway": Entry(
            "sla_bench.objectives.objective:ROTPOOL_NMWAY",
            "baseline-NMway from a pool with a class per view",
        ),
    },
)

DATASETS = Registry(
    "dataset",
    {
        "glyphs": Entry("sla_bench.data.glyphs:GLYPHS", "100 classes of rendered characters, 32 px"),
        "glyphs20": Entry("sla_bench.data.glyphs:GLYPHS20", "easier glyphs, one class per superclass"),
        "glyphs-rot": Entry("sla_bench.data.glyphs:GLYPHS_ROT", "glyphs, each turned at random: no signal"),
        "glyphs-pairs": Entry("sla_bench.data.glyphs:GLYPHS_PAIRS", "half the classes are turns of others"),
        "glyphs-sym": Entry("sla_bench.data.glyphs:GLYPHS_SYM", "glyphs with rotational symmetry"),
        "fc100": Entry("sla_bench.data.cifar100_few_shot:FC100", "CIFAR-100 split by superclass"),
        "cifar_fs": Entry("sla_bench.data.cifar100_few_shot:CIFAR_FS", "CIFAR-100 split by class"),
        "mini_imagenet": Entry("sla_bench.data.few_shot_files:MINI_IMAGENET", "100 ImageNet classes, 84 px"),
        "omniglot": Entry("sla_bench.data.omniglot:OMNIGLOT", "1,623 handwritten characters, 28 px"),
        "tiered_imagenet": Entry("sla_bench.data.few_shot_files:TIERED_IMAGENET", "608 classes, 84 px"),
        "cifar10": Entry("sla_bench.data.cifar:CIFAR10", "10 classes of photographs, 32 px"),
        "cifar100": Entry("sla_bench.data.cifar:CIFAR100", "100 classes of photographs, 32 px"),
        "fashion_mnist": Entry("sla_bench.data.fashion_mnist:FASHION_MNIST", "10 classes of clothes, 28 px"),
        "tiny_imagenet": Entry("sla_bench.data.imagenet:TINY_IMAGENET", "200 classes of photographs, 64 px"),
        "imagenet": Entry("sla_bench.data.imagenet:IMAGENET", "1,000 classes of photographs, 224 px"),
        "cub200": Entry("sla_bench.data.listed_photographs:CUB200", "200 species of birds, 224 px"),
        "mit67": Entry("sla_bench.data.listed_photographs:MIT67", "67 kinds of room, 224 px"),
        "stanford_dogs": Entry(
            "sla_bench.data.listed_photographs:STANFORD_DOGS", "120 breeds of dogs, 224 px"
        ),
        "imagenet_lt": Entry(
            "sla_bench.data.listed_photographs:IMAGENET_LT", "1,000 long-tailed classes, 224 px"
        ),
        "inaturalist2018": Entry(
            "sla_bench.data.listed_photographs:INATURALIST2018", "8,142 long-tailed species, 224 px"
        ),
        "learn2learn": Entry(
            "sla_bench.data.few_shot_files:learn2learn_files",
            "files in learn2learn's places: learn2learn:NAME",
        ),
        "folder": Entry("sla_bench.data.folder:Folder", "your own images: folder:PATH"),
    },
    arguments={
        "learn2learn": Argument(
            "NAME",
            {
                "FC100": "fc100",
                "CIFARFS": "cifar_fs",
                "MiniImagenet": "mini_imagenet",
                "TieredImagenet": "tiered_imagenet",
            },
        ),
        "folder": Argument("PATH"),
    },
)
