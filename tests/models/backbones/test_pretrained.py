import pickle
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from pretrained_networks import OTHER_NORMALISATION, needs_lite0, needs_timm, random_state, weights_file
from safetensors.torch import save_file
from torch import nn

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.evaluation.embedding import embed, fold
from sla_bench.models.backbones.libraries import library_network, resolve_weights
from sla_bench.models.backbones.pretrained import Pretrained, build
from sla_bench.models.foreign_weights import put_tensors, read_tensors
from sla_bench.views.augment import ImageBatches

LITE0 = "pretrained:lite0"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a run opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@needs_lite0
def test_lite0_agrees_with_timms_own_transform_and_logits_on_pixels():
    import timm
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    properties = ImageProperties(224, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    weights, data = resolve_weights(LITE0, "default")
    assert data == "ImageNet-1k"
    backbone = build(LITE0, properties, weights, "none").eval()
    peer = timm.create_model("tf_efficientnet_lite0").eval()
    # By order, not by name, and so by another way than ours.
    file = torch.load(library_network(LITE0).find(), weights_only=True)
    own = peer.state_dict()
    peer.load_state_dict(dict(zip(own, file.values(), strict=True)), strict=True)
    transform = create_transform(**{**resolve_data_config({}, model=peer), "crop_pct": 1.0})
    seen = torch.stack([transform(Image.fromarray(image)) for image in pixels])
    batches = ImageBatches(LabeledImages(pixels, np.array([0, 1]), ("a", "b")), properties)
    with torch.no_grad():
        features = backbone(batches.plain(torch.arange(2)))
        expected = peer(seen)
        logits = peer.classifier(features)
    assert features.shape == (2, 1280)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@needs_timm
def test_a_file_in_any_form_gives_one_hash_and_another_file_another(tmp_path):
    names = [weights_file(tmp_path), weights_file(tmp_path, ending="pth")]
    wrapped = tmp_path / "wrapped.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in random_state("test_resnet").items()}}, wrapped)
    hashes = {
        resolve_weights("timm:test_resnet", str(path))[0].rpartition("#")[2] for path in [*names, wrapped]
    }
    assert len(hashes) == 1
    other, data = resolve_weights("timm:test_resnet", str(weights_file(tmp_path, seed=1)))
    assert other.rpartition("#")[2] not in hashes
    assert data == "unknown data"


class RunsCode:
    def __reduce__(self):
        return (print, ("code of a file of weights runs",))


def _without_a_tensor(state):
    return {k: v for k, v in state.items() if k != "conv1.0.weight"}


def _with_another_shape(state):
    return {**state, "conv1.0.weight": state["conv1.0.weight"][:1]}


def _with_a_further_tensor(state):
    return {**state, "further.weight": torch.zeros(1)}


@needs_timm
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_a_tensor, r"conv1\.0\.weight is missing"),
        (_with_another_shape, r"conv1\.0\.weight has the shape"),
        (_with_a_further_tensor, r"it has no further\.weight"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, change, words):
    path = tmp_path / "changed.safetensors"
    save_file({k: v.clone() for k, v in change(random_state("test_resnet")).items()}, path)
    with pytest.raises(UserError, match=words):
        resolve_weights("timm:test_resnet", str(path))


@pytest.mark.parametrize("kind", ["code", "cut", "text", "none"])
def test_files_that_are_not_weights_are_refused_in_a_line(tmp_path, capsys, kind):
    path = tmp_path / "file.pth"
    if kind == "code":
        path.write_bytes(pickle.dumps({"conv": RunsCode()}))
    elif kind == "cut":
        torch.save({"a": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:500])
    elif kind == "text":
        torch.save({"a": "text"}, path)
    with pytest.raises(UserError, match=r"file\.pth"):
        read_tensors(path)
    assert "runs" not in capsys.readouterr().out


@needs_timm
def test_unknown_networks_get_the_nearest_names():
    with pytest.raises(UserError, match=r"timm has no network 'resnet1'.*resnet18"):
        library_network("timm:resnet1")
    with pytest.raises(UserError, match=r"torchvision has no network 'resnet19'.*resnet18"):
        library_network("torchvision:resnet19")


@needs_timm
def test_weights_that_are_not_here_are_named_with_the_way_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"not on this machine.*hf download timm/test_resnet.*--weights FILE"):
        resolve_weights("timm:test_resnet", "default")
    with pytest.raises(UserError, match=r"not on this machine.*resnet18-f37072fd\.pth.*--weights FILE"):
        resolve_weights("torchvision:resnet18", "default")


def test_a_damaged_file_in_torchs_cache_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(b"damaged")
    with pytest.raises(UserError, match="SHA-256 does not begin with f37072fd"):
        resolve_weights("torchvision:resnet18", "default")


@needs_timm
def test_a_transformer_names_the_size_that_it_takes():
    assert build("timm:test_vit", ImageProperties(32)).input_size == 160
    with pytest.raises(UserError, match="takes images of 160 px alone, not 64"):
        build("timm:test_vit", ImageProperties(32), input_size=64)


def test_a_network_without_pooled_features_is_refused():
    library = replace(library_network("torchvision:resnet18"), network=nn.Conv2d(3, 8, 3))
    with pytest.raises(UserError, match=r"no pooled features but \(1, 8, 30, 30\)"):
        Pretrained(library, ImageProperties(32), None, "all")


def test_normalisation_of_the_data_set_makes_no_difference():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    images = LabeledImages(pixels, np.array([0, 1]), ("a", "b"))
    found = []
    for properties in (ImageProperties(32), OTHER_NORMALISATION):
        torch.manual_seed(0)
        backbone = build("torchvision:resnet18", properties).eval()
        with torch.no_grad():
            found.append(backbone(ImageBatches(images, properties).plain(torch.arange(2))))
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


@needs_timm
@pytest.mark.parametrize("trained", ["none", "last-stage", "all"])
def test_the_trained_part_and_nothing_else_changes(tmp_path, trained):
    path = weights_file(tmp_path)
    weights, _ = resolve_weights("timm:test_resnet", str(path))
    backbone = build("timm:test_resnet", ImageProperties(32), weights, trained)
    backbone.start_from(())
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    backbone.train()
    features = backbone(torch.randn(4, 3, 32, 32))
    if trained == "none":
        assert not features.requires_grad
        assert backbone.state_dict() == {}
        return
    rates = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=1.0)
    features.square().sum().backward()
    rates.step()
    changed = {
        n.partition(".")[0] for n, v in backbone.network.state_dict().items() if not torch.equal(v, before[n])
    }
    assert changed == (
        {"layer4"} if trained == "last-stage" else {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}
    )
    statistics = [n for n in before if "running" in n]
    assert all(torch.equal(before[n], backbone.network.state_dict()[n]) for n in statistics)


@needs_timm
def test_weights_that_have_changed_since_are_refused(tmp_path):
    path = weights_file(tmp_path)
    weights, _ = resolve_weights("timm:test_resnet", str(path))
    save_file(random_state("test_resnet", seed=5), path)
    with pytest.raises(UserError, match="the file has changed"):
        build("timm:test_resnet", ImageProperties(32), weights, "none")


@needs_timm
@pytest.mark.parametrize(
    "name", ["densenet121", "test_resnet", "test_efficientnet", "test_convnext", "tf_efficientnet_lite0"]
)
def test_folding_leaves_the_features_of_timms_families(name):
    torch.manual_seed(0)
    backbone = build(f"timm:{name}", ImageProperties(64))
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    backbone.eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
        torch.testing.assert_close(fold(backbone)(images), expected, atol=1e-3, rtol=1e-3)


@needs_timm
def test_names_of_efficientnet_pytorch_are_understood_by_name():
    """A state of random numbers comes back under timm's names, whatever the order of the file."""
    import timm

    packaged = read_tensors(library_network(LITE0).find()) if _has_lite0() else None
    if packaged is None:
        pytest.skip("weights of Lite0 are not installed (extra pretrained-small)")
    shuffled = dict(sorted(packaged.items(), reverse=True))
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    put_tensors(network, shuffled, ("classifier",))
    torch.testing.assert_close(
        network.state_dict()["blocks.0.0.conv_pw.weight"], packaged["_blocks.0._project_conv.weight"]
    )
    torch.testing.assert_close(
        network.state_dict()["blocks.6.0.conv_dw.weight"], packaged["_blocks.15._depthwise_conv.weight"]
    )
    torch.testing.assert_close(network.state_dict()["bn2.running_var"], packaged["_bn1.running_var"])


def _has_lite0():
    from pretrained_networks import HAS_LITE0

    return HAS_LITE0


class Counting:
    """Batches that count the images they give."""

    def __init__(self, images):
        self.batches = ImageBatches(images, ImageProperties(32))
        self.given = 0

    def plain(self, index):
        self.given += len(index)
        return self.batches.plain(index)

    def hashes(self, index):
        return self.batches.hashes(index)


@needs_timm
def test_features_are_kept_by_pixels_and_view(tmp_path):
    from sla_bench.evaluation.feature_cache import FeatureCache
    from sla_bench.views.transforms import ROTATION

    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    images = LabeledImages(pixels, np.arange(6), tuple("abcdef"))
    weights, _ = resolve_weights("timm:test_resnet", str(weights_file(tmp_path)))
    backbone = build("timm:test_resnet", ImageProperties(32), weights, "none")
    expected = embed(backbone, ImageBatches(images, ImageProperties(32)), torch.arange(6), ROTATION)
    backbone.kept = FeatureCache(tmp_path / "features", backbone.features_key)
    first, again = Counting(images), Counting(images)
    torch.testing.assert_close(embed(backbone, first, torch.arange(4), ROTATION), expected[:4])
    assert first.given == 16
    # Other positions of the same pixels are known, the two further images are not; upright is a turn by 0.
    order = torch.tensor([5, 3, 2, 1, 0, 4])
    torch.testing.assert_close(embed(backbone, again, order, ROTATION), expected[order])
    assert again.given == 8
    torch.testing.assert_close(embed(backbone, again, order), expected[order, :1])
    assert again.given == 8
    for path in (tmp_path / "features").rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    torch.testing.assert_close(embed(backbone, again, order), expected[order, :1])
    assert again.given == 14


@pytest.mark.parametrize("content", [b"print(1)\n", b"", b"import os\nclass Net:\n    pass\n", b"PK\3\4 zip"])
def test_a_file_that_holds_no_weights_is_said_in_our_own_words(tmp_path, content):
    (tmp_path / "some.py").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_tensors(tmp_path / "some.py")
    assert str(caught.value) == (
        f"{tmp_path / 'some.py'} is not a file of weights, is damaged or holds more than tensors, and is not "
        "read; write the network's state_dict with safetensors or torch.save"
    )


@needs_lite0
@pytest.mark.campaign
def test_lite0_knows_the_photographs_of_imagenets_classes():
    """Top-1 among all 1,000 classes, for Caltech-101's folders with a name of ImageNet's; 81 % over 15."""
    import timm
    from timm.data import ImageNetInfo

    from sla_bench.data.named import default_data_root
    from sla_bench.data.sources import EncodedImages
    from sla_bench.scenarios.pretraining import _forms

    folder = default_data_root() / "caltech20-photos"
    if not folder.is_dir():
        pytest.skip(f"no photographs in {folder}")
    info = ImageNetInfo("imagenet-1k")
    forms = [
        {form for word in info.index_to_description(k).split(",") for form in _forms(word)}
        for k in range(1000)
    ]
    network = timm.create_model("tf_efficientnet_lite0").eval()
    file = torch.load(library_network(LITE0).find(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), file.values(), strict=True)))
    weights, _ = resolve_weights(LITE0, "default")
    backbone = build(LITE0, ImageProperties(224), weights, "none").eval()
    hits = []
    for path in sorted(folder.iterdir()):
        right = [k for k in range(1000) if _forms(path.name) & forms[k]]
        if not right:
            continue
        files = sorted(path.glob("*.jpg"))[:30]
        pixels = np.concatenate(list(EncodedImages(files, 224, "crop", str).pixels()))
        images = LabeledImages(pixels, np.zeros(len(pixels), np.int64), ("any",))
        features = embed(backbone, ImageBatches(images, ImageProperties(224)), torch.arange(len(images)))
        with torch.no_grad():
            found = network.classifier(features[:, 0]).argmax(1)
        hits.append(np.isin(found.numpy(), right).mean())
    assert len(hits) >= 5
    assert np.mean(hits) > 0.7
