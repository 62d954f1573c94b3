import pytest
import torch
from torchvision.transforms import v2

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.seeds import torch_seeded
from sla_bench.views.augment import ImageBatches
from sla_bench.views.mixing import POLICIES, AutoAugment, PolicyMix, RandAugment, TrivialAugment

SIZE = 16
PROPERTIES = ImageProperties(SIZE, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def batch(images=24, seed=0):
    """Bytes (B, 3, H, W), the same normalised, and labels."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (images, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    labels = torch.arange(images) % 2
    batches = ImageBatches(LabeledImages(pixels.numpy(), labels.numpy(), ("a", "b")), PROPERTIES)
    return pixels.permute(0, 3, 1, 2), batches.plain(torch.arange(images)), labels


def test_policies_are_those_of_torchvision():
    assert tuple(policy.value for policy in v2.AutoAugmentPolicy) == POLICIES


def in_bytes(images):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (PROPERTIES.mean, PROPERTIES.std))
    return 255 * (images * std + mean)


class Recorder(v2.Transform):
    """Keeps what it gets and gives back the number of the call in every pixel."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images.clone())
        return torch.full_like(images, len(self.seen))


@pytest.mark.parametrize("images_per_draw", [1, 4, 5, 100])
def test_each_image_gets_one_draw_as_the_bytes_that_it_was(images_per_draw):
    pixels, images, labels = batch()
    recorder = Recorder()
    mix = PolicyMix(PROPERTIES, recorder, images_per_draw)
    out = in_bytes(mix(images, labels, torch.Generator().manual_seed(0)).images).round()
    draws = out[:, 0, 0, 0].long()
    assert torch.equal(out, draws.view(-1, 1, 1, 1).expand_as(out).float())
    assert len(recorder.seen) == -(-24 // images_per_draw)
    assert all(len(seen) <= images_per_draw for seen in recorder.seen)
    for call, seen in enumerate(recorder.seen, start=1):
        assert torch.equal(seen, pixels[draws == call])
    if len(recorder.seen) > 1:
        assert (draws[1:] != draws[:-1]).all()


@pytest.mark.parametrize("transform", [v2.AutoAugment(), v2.RandAugment(), v2.TrivialAugmentWide()])
def test_with_all_images_in_one_draw_the_batch_is_torchvisions(transform):
    pixels, images, labels = batch()
    generator = torch.Generator().manual_seed(3)
    seed = int(torch.randint(2**63 - 1, (), generator=torch.Generator().manual_seed(3)))
    out = PolicyMix(PROPERTIES, transform, 24)(images, labels, generator).images
    with torch_seeded(seed):
        expected = transform(pixels.contiguous())
    assert torch.equal(in_bytes(out).round().to(torch.uint8), expected)


@pytest.mark.parametrize("kind", [AutoAugment, RandAugment, TrivialAugment])
def test_images_of_a_batch_get_different_operations(kind):
    """Equal images come out in as many versions as there are different draws, at most one per part."""
    _, images, labels = batch()
    equal = images[:1].expand(24, -1, -1, -1)
    versions = {}
    for images_per_draw in (1, 4, 24):
        out = kind(PROPERTIES, images_per_draw=images_per_draw)(
            equal, labels, torch.Generator().manual_seed(0)
        )
        versions[images_per_draw] = len({image.numpy().tobytes() for image in out.images})
    assert versions[24] == 1
    assert 2 < versions[4] <= 6 < versions[1]


@pytest.mark.parametrize("kind", [AutoAugment, RandAugment, TrivialAugment])
def test_what_geometry_leaves_empty_shows_the_mean(kind):
    """White images: pixels that geometry brings in are of the mean's colour, before colours are changed."""
    white = torch.full((1, 3, SIZE, SIZE), 1.0)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (PROPERTIES.mean, PROPERTIES.std))
    images = ((white - mean) / std).expand(64, -1, -1, -1)
    out = kind(PROPERTIES, images_per_draw=1)(
        images, torch.zeros(64).long(), torch.Generator().manual_seed(1)
    )
    colours = in_bytes(out.images).round().permute(0, 2, 3, 1).reshape(-1, 3).unique(dim=0).tolist()
    assert [float(round(255 * m)) for m in PROPERTIES.mean] in colours


def test_magnitude_and_number_of_operations_reach_torchvision():
    _, images, labels = batch()

    def changed(**options):
        out = RandAugment(PROPERTIES, images_per_draw=1, **options)(
            images, labels, torch.Generator().manual_seed(0)
        )
        return float((out.images - images).abs().mean())

    assert changed(magnitude=30) > changed(magnitude=1)
    assert changed(num_ops=4) > changed(num_ops=1)


def test_policies_of_autoaugment_differ():
    _, images, labels = batch()
    outs = [
        AutoAugment(PROPERTIES, policy=policy)(images, labels, torch.Generator().manual_seed(0)).images
        for policy in ("cifar10", "imagenet", "svhn")
    ]
    assert not torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[1], outs[2])
