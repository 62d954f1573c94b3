"""What every mix keeps to."""

import pytest
import torch

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.registry import MIXES
from sla_bench.views.augment import ImageBatches
from sla_bench.views.mixing import Mixed

SIZE = 16
PROPERTIES = ImageProperties(SIZE, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), crop_padding=2)
MIXED_LABELS = ("mixup", "cutmix")


def batch(images=12, copies=1, seed=0):
    """Normalised images in channels_last order, as a training gets them, and labels."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (images, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator).numpy()
    labels = torch.arange(images) % 3
    batches = ImageBatches(LabeledImages(pixels, labels.numpy(), ("a", "b", "c")), PROPERTIES)
    return batches.augmented(torch.arange(images).repeat_interleave(copies), generator), labels


def build(name, **options):
    if name == "cutmix":
        options.setdefault("probability", 1.0)
    return MIXES.load(name)(PROPERTIES, **options)


def call(name, seed=0, copies=1, **options):
    images, labels = batch(copies=copies)
    return images, build(name, **options)(images, labels, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", MIXES)
def test_the_batch_keeps_its_form_and_the_images_that_went_in_are_not_changed(name):
    images, labels = batch()
    before = images.clone()
    mixed = build(name)(images, labels, torch.Generator().manual_seed(0))
    assert torch.equal(images, before)
    assert mixed.images.shape == images.shape
    assert mixed.images.dtype == torch.float32
    assert mixed.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(mixed.images).all()
    assert torch.equal(mixed.labels, labels)
    assert mixed.other_labels.dtype == torch.int64
    assert 0 <= mixed.weight <= 1
    assert torch.equal(mixed.images, images) == (name == "none")


@pytest.mark.parametrize("name", MIXES)
def test_only_pairs_mix_labels(name):
    _, mixed = call(name)
    assert (mixed.weight < 1) == (name in MIXED_LABELS)
    if name not in MIXED_LABELS:
        assert torch.equal(mixed.labels, mixed.other_labels)


@pytest.mark.parametrize("name", MIXES)
def test_the_generator_alone_decides(name):
    _, first = call(name)
    torch.manual_seed(123)
    _, again = call(name)
    _, other = call(name, seed=1)
    assert torch.equal(first.images, again.images)
    assert (first.weight, first.other_labels.tolist()) == (again.weight, again.other_labels.tolist())
    assert torch.equal(first.images, other.images) == (name == "none")


@pytest.mark.parametrize("name", MIXES)
def test_global_random_numbers_are_as_they_were(name):
    before = torch.random.get_rng_state()
    call(name)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", MIXES)
def test_batches_go_on_from_the_state_of_the_generator(name):
    """A resumed training has a new mix and a generator in the state that was saved."""
    images, labels = batch()
    generator = torch.Generator().manual_seed(5)
    mix = build(name)
    mix(images, labels, generator)
    state = generator.get_state()
    expected = [mix(images, labels, generator) for _ in range(2)]
    resumed = torch.Generator()
    resumed.set_state(state)
    fresh = build(name)
    for one in expected:
        other = fresh(images, labels, resumed)
        assert torch.equal(one.images, other.images)
        assert one.weight == other.weight
    assert torch.equal(generator.get_state(), resumed.get_state())


@pytest.mark.parametrize("name", MIXES)
def test_one_image_is_a_batch(name):
    images, labels = batch(images=3)
    mixed = build(name)(images[:1], labels[:1], torch.Generator().manual_seed(0))
    assert mixed.images.shape == (1, 3, SIZE, SIZE)
    assert mixed.other_labels.tolist() == labels[:1].tolist()


@pytest.mark.parametrize("name", MIXES)
def test_copies_of_an_image_are_augmented_apart_and_share_their_labels(name):
    images, labels = batch(copies=1)
    repeated = images.repeat_interleave(4, dim=0)
    mixed = build(name)(repeated, labels, torch.Generator().manual_seed(0))
    assert mixed.images.shape == repeated.shape
    assert mixed.labels.shape == mixed.other_labels.shape == labels.shape
    copies = mixed.images.unflatten(0, (len(labels), 4))
    apart = [len({copy.numpy().tobytes() for copy in of_one}) for of_one in copies]
    if name in ("none", *MIXED_LABELS):
        # The copies of a training differ in crop and flip; here they do not, and meet equal partners.
        assert max(apart) == 1
    else:
        assert sum(apart) > 2 * len(labels)


def test_grey_images_stay_grey():
    grey = ImageProperties(SIZE, (0.3,) * 3, (0.2,) * 3, grey=True)
    images, labels = batch()
    images = images[:, :1].expand(-1, 3, -1, -1).clamp(-1, 1)
    for name in MIXES:
        mixed = MIXES.load(name)(grey)(images, labels, torch.Generator().manual_seed(0))
        torch.testing.assert_close(mixed.images[:, 0], mixed.images[:, 1], atol=1e-5, rtol=0)
        torch.testing.assert_close(mixed.images[:, 0], mixed.images[:, 2], atol=1e-5, rtol=0)


def test_loss_and_accuracy_of_a_batch_are_the_weighted_ones():
    labels, others = torch.tensor([0]), torch.tensor([1])
    mixed = Mixed(torch.zeros(1), labels, others, 0.25)
    values = {0: (torch.tensor(8.0), torch.tensor(1.0)), 1: (torch.tensor(4.0), torch.tensor(0.0))}
    loss, accuracy = mixed.loss(lambda y: values[int(y)])
    assert (float(loss), float(accuracy)) == (5.0, 0.25)


def test_without_mixed_labels_the_loss_is_taken_once():
    asked = []

    def loss_of(labels):
        asked.append(labels)
        return torch.tensor(3.0), torch.tensor(0.5)

    labels = torch.tensor([0])
    loss, accuracy = Mixed(torch.zeros(1), labels, labels, 1.0).loss(loss_of)
    assert (float(loss), float(accuracy), len(asked)) == (3.0, 0.5, 1)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("cutout", {"size": 0.0}, "size must be a finite number above 0"),
        ("cutout", {"size": 1.5}, "at most 1, got 1.5"),
        ("mixup", {"alpha": 0.0}, "mixup: alpha must be a finite number above 0"),
        ("cutmix", {"probability": 1.1}, "probability must be at most 1"),
        ("autoaugment", {"policy": "cifar"}, "did you mean 'cifar10'"),
        (
            "autoaugment",
            {"images_per_draw": 0},
            "images_per_draw must be a whole number of at least 1, got 0",
        ),
        ("randaugment", {"magnitude": 31}, "magnitude must be a whole number from 0 to 30, got 31"),
        ("randaugment", {"num_ops": True}, "num_ops must be a whole number of at least 1, got True"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(name, options, sentence):
    with pytest.raises(UserError, match=sentence):
        build(name, **options)


def test_options_in_the_registry_are_those_of_the_constructors():
    for name, entry in MIXES.items():
        defaults = {
            "size": 0.25,
            "alpha": 0.5,
            "probability": 0.9,
            "policy": "svhn",
            "num_ops": 1,
            "magnitude": 3,
            "images_per_draw": 2,
        }
        assert build(name, **{option: defaults[option] for option in entry.options})
        with pytest.raises(TypeError):
            MIXES.load(name)(PROPERTIES, nothing_of_the_kind=1)
