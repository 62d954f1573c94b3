"""Contracts of pieces: ours and those of the docs hold, and each check notices a piece that breaks it."""

import re
import textwrap

import numpy as np
import pytest
from documented import ROOT

from sla_bench.contracts.checks import findings
from sla_bench.contracts.files import check_file
from sla_bench.contracts.heads import head_checks
from sla_bench.contracts.losses import loss_checks
from sla_bench.contracts.methods import method_checks
from sla_bench.contracts.transforms import transform_checks
from sla_bench.registry import LEARNERS, LOSSES, METHODS, TRANSFORMS

PAGE = (ROOT / "docs" / "adding-a-piece.md").read_text()
CHECKABLE = [n for n, e in LEARNERS.items() if not e.adapts_network and n != "anil"]


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def failing(checks):
    return {f.sentence: f.detail for f in findings(checks) if f.state == "FAILS"}


@pytest.mark.parametrize("name", CHECKABLE)
def test_our_learners(name):
    found = list(findings(head_checks(LEARNERS.load(name))))
    assert [f for f in found if f.state == "FAILS"] == []
    noted = [f.sentence for f in found if f.state == "note"]
    # A head that gives no gradient is only for backbones that are trained otherwise.
    assert not noted or LEARNERS[name].trains_on == "classes"


@pytest.mark.parametrize("name", LOSSES)
def test_our_losses(name):
    assert failing(loss_checks(LOSSES.load(name))) == {}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_our_transforms(name):
    assert {f.state for f in findings(transform_checks(TRANSFORMS.load(name)))} == {"holds"}


@pytest.mark.parametrize("name", METHODS)
def test_our_methods(name):
    assert failing(method_checks(METHODS.load(name))) == {}


def test_pieces_of_the_docs(tmp_path):
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(9), 40)
    images = rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "leaves.npz", images=images, labels=labels, names=[f"tree {k}" for k in range(9)])
    kinds = []
    for name, code in re.findall(
        r"New file `sla_bench/\w+/(?:\w+/)?(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL
    ):
        (tmp_path / "pieces").mkdir(exist_ok=True)
        (tmp_path / "pieces" / name).write_text(code)
        checked = check_file(tmp_path / "pieces" / name, tmp_path)
        kinds += [piece.kind for piece in checked[:-1]]
        assert [(p.name, f) for p in checked for f in p.found if f.state == "FAILS"] == []
    assert sorted(kinds) == ["data set", "learner", "loss", "transform"]


HEAD = """
import random

import torch
from sla_bench.models.heads.base import FewShotHead


class Head(FewShotHead):
    def scores(self, support, one_hot, query):
        weights = one_hot / one_hot.sum(1, keepdim=True)
        {change}
        prototypes = weights.transpose(1, 2) @ support
        logits = -torch.cdist(query, prototypes)
        {result}
        return logits
"""
LOSS = """
import torch
from torch import nn
from torch.nn import functional as F
from sla_bench.models.losses.base import Criterion


class Loss(Criterion):
    def __init__(self, class_counts):
        super().__init__(class_counts)
        {init}

    def loss(self, logits, labels, weights):
        {change}
        return {result}

    {method}
"""
TRANSFORM = """
import random
from dataclasses import dataclass

import torch
from sla_bench.views.transforms import Transform


@dataclass(frozen=True)
class Mirror(Transform):
    @property
    def num_views(self):
        return {count}

    def _view(self, images, j):
        return {result}


MIRROR = Mirror("mirror")
"""
METHOD = """
import random
from dataclasses import dataclass

from sla_bench.objectives.objective import Objective, Read


@dataclass(frozen=True, kw_only=True)
class Own(Objective):
    trains_on_views: bool = {views}

    def loss(self, scores):
        {change}
        return {result}

    @property
    def reads(self):
        return {reads}


OWN = Own(name="own")
"""
DATASET = """
import random
from dataclasses import dataclass

import numpy as np
from sla_bench.data.base import Dataset, ImageProperties, LabeledImages


@dataclass(frozen=True)
class Own(Dataset):
    def load(self, split, by, data_root, split_seed=0):
        part = ["train", "val", "test", "trainval"].index(split)
        rng = np.random.default_rng({seed})
        count = 12 if split == "trainval" else 6
        images = rng.integers(0, 256, (6, 8, {width}, 3), dtype=np.uint8)
        if split == "trainval":
            images = np.concatenate([self.load(s, by, data_root).images for s in ("train", "val")])
        names = [{names} + str(k) for k in range(3)]
        {change}
        return LabeledImages(images, np.arange(count) % 3, tuple(names))


OWN = Own(name="own", properties=ImageProperties(size=8{properties}), origin="nowhere")
"""
DEFAULTS = {
    HEAD: {"change": "pass", "result": "pass"},
    LOSS: {"init": "pass", "change": "pass", "result": "F.cross_entropy(logits, labels)", "method": "pass"},
    TRANSFORM: {"count": "2", "result": "images.flip(2) if j else images"},
    METHOD: {
        "views": "False",
        "change": "pass",
        "result": 'scores.ce("class", "upright")',
        "reads": '{"own": Read("class", "si"), "own+TTA": Read("class", "tta", mean=True)}',
    },
    DATASET: {
        "seed": "part",
        "width": "8",
        "names": '(split if by == "classes" else "tree")',
        "change": "pass",
        "properties": "",
    },
}
FROZEN = "nn.Sequential(nn.Linear(d, 5), nn.Threshold(9, 0))"
BROKEN = [
    (HEAD, {"result": "logits = logits.mT"}, "is built without options"),
    (HEAD, {"result": "logits = logits + random.random()"}, "gives the same logits again"),
    (
        HEAD,
        {"change": "weights = weights * torch.arange(weights.shape[1])[:, None]"},
        "the order of the supports",
    ),
    (HEAD, {"result": "logits = logits + torch.arange(logits.shape[2])"}, "the numbering of the ways"),
    (HEAD, {"result": "logits = logits - logits.mean(1, keepdim=True)"}, "each query is scored by itself"),
    (
        HEAD,
        {"change": "support = support - support.mean(0, keepdim=True)"},
        "each episode is scored by itself",
    ),
    (HEAD, {"result": "logits = logits.float()"}, "double precision stays"),
    (HEAD, {"result": "assert logits.shape[2] < 20"}, "takes 20 ways"),
    (HEAD, {"result": "logits = -logits"}, "tells classes apart"),
    (HEAD, {"change": "support = support.nan_to_num()"}, "refuses embeddings"),
    (LOSS, {"result": "F.cross_entropy(logits, labels, reduction='none')"}, "is built from class counts"),
    (
        LOSS,
        {"change": "import random", "result": "F.cross_entropy(logits, labels) + random.random()"},
        "gives the same loss",
    ),
    (LOSS, {"result": "F.cross_entropy(logits.detach(), labels) + 0 * logits.sum()"}, "gradients agree"),
    (LOSS, {"result": "F.cross_entropy(logits, labels, reduction='sum')"}, "the loss of a batch"),
    (
        LOSS,
        {"result": "F.cross_entropy(logits + torch.arange(logits.shape[1]), labels)"},
        "the numbering of the classes",
    ),
    (LOSS, {"result": "-logits.softmax(1)[torch.arange(len(labels)), labels].log().mean()"}, "huge logits"),
    (LOSS, {"result": "F.cross_entropy(logits, labels).double()"}, "double precision stays"),
    (LOSS, {"method": "def scores(self, logits): return logits[..., :2]"}, "scores of predictions"),
    (LOSS, {"change": "assert logits.shape[1] < 20"}, "takes the counts of joint labels"),
    (LOSS, {"method": f"def head(self, d): return {FROZEN}"}, "gradients reach its classifier"),
    (LOSS, {"init": "self.weight = nn.Parameter(torch.ones(1))"}, "nothing of the loss itself"),
    (TRANSFORM, {"count": "1"}, "views are"),
    (TRANSFORM, {"result": "images.flip(2 + j)"}, "view 0 is the image"),
    (TRANSFORM, {"result": "images.mul_(1 + j)"}, "the images given are not changed"),
    (TRANSFORM, {"result": "images + random.random() if j else images"}, "gives the same views again"),
    (TRANSFORM, {"result": "images.flip(0) if j else images"}, "each image is transformed by itself"),
    (TRANSFORM, {"result": "images"}, "no two views are the same"),
    (METHOD, {"reads": '{"own": Read("class", "tta", mean=True)}'}, "has rows"),
    (METHOD, {"reads": '{"baseline": Read("class", "si")}'}, "no other method"),
    (METHOD, {"result": 'scores.ce("class", "upright")[None]'}, "on classes: the loss is"),
    (METHOD, {"result": 'scores.ce("class", "upright") * 0'}, "on episodes: gradients reach"),
    (
        METHOD,
        {"result": 'scores.ce("class", "upright") + random.random()'},
        "on classes: gives the same loss again",
    ),
    (METHOD, {"result": 'scores.ce("class") + scores.logits("class").flatten()[0]'}, "on classes: the order"),
    (
        METHOD,
        {"result": 'scores.ce("class") + scores.logits("class").flatten()[0]'},
        "on episodes: the order",
    ),
    (DATASET, {"names": '"tree"'}, "by classes: splits have different classes"),
    (DATASET, {"names": "split"}, "by images: splits have the same classes"),
    (DATASET, {"seed": "part // 2"}, "by classes: no image stands in two splits"),
    (DATASET, {"width": "9"}, "by images: images are squares"),
    (DATASET, {"properties": ", grey=True"}, "by classes: images are squares"),
    (DATASET, {"seed": "random.randrange(10**9)"}, "by classes: gives the same images again"),
    (DATASET, {"seed": "part + 4 * split_seed"}, "by images: the seed of the split"),
    (
        DATASET,
        {"change": "images = images[::-1] if split != 'trainval' else np.roll(images, 1, 3)"},
        "by images: trainval",
    ),
    (DATASET, {"change": "raise OSError('on fire')"}, "by classes: loads"),
]


def written(tmp_path, template, **changes):
    code = template
    for name, text in {**DEFAULTS[template], **changes}.items():
        code = code.replace(f"{{{name}}}", text)
    (tmp_path / "own.py").write_text(textwrap.dedent(code))
    return tmp_path / "own.py"


@pytest.mark.parametrize("template", DEFAULTS, ids=["head", "loss", "transform", "method", "data set"])
def test_sound_pieces_hold(tmp_path, template):
    found = [f for piece in check_file(written(tmp_path, template), tmp_path) for f in piece.found]
    assert {f.state for f in found} == {"holds"}
    assert len(found) > 8


@pytest.mark.parametrize(
    ("template", "changes", "sentence"), BROKEN, ids=[sentence for *_, sentence in BROKEN]
)
def test_each_check_notices_a_piece_that_breaks_it(tmp_path, template, changes, sentence):
    found = [f for piece in check_file(written(tmp_path, template, **changes), tmp_path) for f in piece.found]
    broken = [f.sentence for f in found if f.state == "FAILS"]
    assert [s for s in broken if s.startswith(sentence)], broken


def test_remarks_are_not_failures(tmp_path):
    brighter = written(tmp_path, TRANSFORM, result="images + j")
    (found,) = [f for piece in check_file(brighter, tmp_path) for f in piece.found if f.state != "holds"]
    assert (
        str(found) == "note  views keep the pixel values of an image: view 1 has values that the image lacks"
    )
    frozen = written(tmp_path, HEAD, change="support = support.detach()")
    (found,) = [f for piece in check_file(frozen, tmp_path) for f in piece.found if f.state != "holds"]
    assert "none reaches the supports" in str(found)
    assert "trains_on='classes'" in str(found)
