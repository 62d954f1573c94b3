import copy
from functools import partial

import pytest
import torch
from peer_modules import peer
from torch import nn
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.models.backbones.base import Backbone
from sla_bench.objectives.episodes import EpisodeFeatures, OnEpisodes
from sla_bench.objectives.objective import SLA
from sla_bench.views.transforms import ROTATION

learn2learn = peer("learn2learn")
pytestmark = pytest.mark.learn2learn

from sla_bench.models.heads.maml import MAML  # noqa: E402

SIZE = 6
PIXELS = 3 * SIZE**2


class Small(Backbone):
    """A convolution with batch normalisation, smooth, so that finite differences mean something."""

    def __init__(self, normalized=True):
        super().__init__(num_features=4)
        layers = [nn.Conv2d(3, 4, 3, bias=not normalized)]
        self.layers = nn.Sequential(*layers, *([nn.BatchNorm2d(4)] if normalized else []), nn.Tanh())

    def forward(self, images):
        return self.layers(images).mean((2, 3))


def network(normalized=True, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Small(normalized).double()
        if normalized:
            nn.init.uniform_(made.layers[1].weight, 0.5, 1.5)
        return made


def episodes(count=2, ways=3, shots=2, queries=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.stack([torch.arange(ways).repeat(shots) for _ in range(count)])
    support = torch.randn(count, ways * shots, PIXELS, generator=g, dtype=torch.float64)
    query = torch.randn(count, queries, PIXELS, generator=g, dtype=torch.float64)
    return support, labels, query


def test_without_a_step_all_classes_are_equal():
    assert not MAML(inner_steps=0)(network(), *episodes(), 3).any()


def test_one_step_moves_the_classifier_alone_by_the_gradient_written_out():
    net = network(normalized=False)
    support, labels, query = episodes()
    logits = MAML(inner_steps=1, inner_rate=0.7)(net, support, labels, query, 3)
    images = (t.view(2, -1, 3, SIZE, SIZE) for t in (support, query))
    for e, (shown, asked) in enumerate(zip(*images, strict=True)):
        # From zero, each class has probability 1/3, and no gradient reaches the network yet.
        error = (1 / 3 - F.one_hot(labels[e], 3).double()) / len(labels[e])
        weight, bias = -0.7 * error.T @ net(shown), -0.7 * error.sum(0)
        torch.testing.assert_close(logits[e], net(asked) @ weight.T + bias, rtol=1e-12, atol=1e-12)


def descent(net, shown, labels, asked, steps, rate):
    """The same inner loop without learn2learn: a deep copy and torch's SGD, normalised by the supports."""
    own = copy.deepcopy(net)
    classifier = nn.Linear(4, 3).double()
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    optimizer = torch.optim.SGD([*own.parameters(), *classifier.parameters()], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(classifier(own.train()(shown)), labels).backward()
        optimizer.step()
    conv, norm = own.layers[:2]
    # Running statistics with momentum 1 are those of the last batch; their variance is the unbiased one.
    norm.momentum = 1.0
    own.train()(shown)
    values = conv(shown).numel() // 4
    norm.running_var *= (values - 1) / values
    return classifier(own.eval()(asked))


def test_further_steps_are_descent_on_all_weights_and_queries_are_normalised_by_the_supports():
    net = network()
    support, labels, query = episodes()
    logits = MAML(inner_steps=4, inner_rate=0.7)(net, support, labels, query, 3)
    for e in range(2):
        shown, asked = (t[e].view(-1, 3, SIZE, SIZE) for t in (support, query))
        expected = descent(net, shown, labels[e], asked, 4, 0.7)
        torch.testing.assert_close(logits[e], expected, rtol=1e-9, atol=1e-9)


def meta_gradient(head, net, episode):
    head(net, *episode, 3).square().sum().backward()
    return [p.grad.clone() for p in net.parameters()]


@pytest.mark.parametrize("normalized", [True, False])
def test_second_order_gradients_agree_with_finite_differences(normalized):
    episode = episodes()
    net = network(normalized)
    head = MAML(inner_steps=3, inner_rate=0.7)
    grads = meta_gradient(head, net, episode)
    g = torch.Generator().manual_seed(5)
    steps = [torch.randn(p.shape, generator=g, dtype=torch.float64) for p in net.parameters()]
    ends = []
    for size in (1e-5, -1e-5):
        moved = copy.deepcopy(net)
        with torch.no_grad():
            for p, step in zip(moved.parameters(), steps, strict=True):
                p.add_(step, alpha=size)
            ends.append(float(head(moved, *episode, 3).square().sum()))
    slope = sum(float((a * b).sum()) for a, b in zip(grads, steps, strict=True))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_first_order_gradients_are_those_at_the_adapted_weights():
    support, labels, query = episodes(count=1)
    net = network(normalized=False)
    first = meta_gradient(
        MAML(inner_steps=3, inner_rate=0.7, first_order=True), net, (support, labels, query)
    )
    second = meta_gradient(MAML(inner_steps=3, inner_rate=0.7), network(False), (support, labels, query))
    assert any((a - b).abs().max() > 1e-6 for a, b in zip(first, second, strict=True))
    own, classifier = copy.deepcopy(net), nn.Linear(4, 3).double()
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    shown, asked = (t[0].view(-1, 3, SIZE, SIZE) for t in (support, query))
    weights = [*own.parameters(), *classifier.parameters()]
    for _ in range(3):
        loss = F.cross_entropy(classifier(own(shown)), labels[0])
        with torch.no_grad():
            for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.sub_(grad, alpha=0.7)
    expected = torch.autograd.grad(classifier(own(asked)).square().sum(), list(own.parameters()))
    for grad, wanted in zip(first, expected, strict=True):
        torch.testing.assert_close(grad, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_episodes_and_queries_do_not_see_each_other(training):
    net = network()
    support, labels, query = episodes(count=3)
    head = MAML(inner_steps=2, inner_rate=0.7).train(training)
    logits = head(net, support, labels, query, 3)
    alone = [head(net, support[e : e + 1], labels[e : e + 1], query[e : e + 1], 3) for e in range(3)]
    torch.testing.assert_close(torch.cat(alone), logits, rtol=1e-12, atol=1e-12)
    one = [head(net, support, labels, query[:, q : q + 1], 3) for q in range(query.shape[1])]
    torch.testing.assert_close(torch.cat(one, 1), logits, rtol=1e-10, atol=1e-12)


def test_order_and_names_mean_nothing():
    net = network()
    support, labels, query = episodes()
    head = MAML(inner_steps=3, inner_rate=0.7)
    logits = head(net, support, labels, query, 3)
    points, classes = torch.randperm(6), torch.tensor([2, 0, 1])
    shuffled = head(net, support[:, points], labels[:, points], query, 3)
    torch.testing.assert_close(shuffled, logits, rtol=1e-9, atol=1e-9)
    renamed = head(net, support, classes[labels], query, 3)
    torch.testing.assert_close(renamed[:, :, classes], logits, rtol=1e-9, atol=1e-9)


def test_the_network_itself_is_left_as_it_was():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    MAML(inner_steps=2)(net, *episodes(), 3)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert type(net.layers[1]) is nn.BatchNorm2d
    assert all(p.is_leaf for p in net.parameters())


def test_the_test_may_take_more_steps_and_keeps_no_graph():
    net, episode = network(), episodes()
    head = MAML(inner_steps=1, test_inner_steps=4, inner_rate=0.7)
    assert head.support_passes == 2
    with torch.no_grad():
        logits = head.eval()(net, *episode, 3)
    assert head.support_passes == 5
    assert not logits.requires_grad
    torch.testing.assert_close(logits, MAML(inner_steps=4, inner_rate=0.7)(net, *episode, 3))


def test_sla_adapts_to_all_joint_classes_at_once():
    support, labels, query = episodes(count=1, ways=2)
    calls = []

    def head(s, s_labels, q, ways):
        calls.append((tuple(s.shape[:2]), sorted(s_labels[0].tolist()), ways))
        return MAML(inner_steps=1)(network(), s, s_labels, q, ways)

    def views(pixels):
        images = pixels.view(-1, 3, SIZE, SIZE)
        return ROTATION.views(images).flatten(2).view(1, len(images), 4, PIXELS)

    features = EpisodeFeatures(views(support), labels, views(query), torch.tensor([[0, 1, 0, 1]]), 2)
    loss, _ = OnEpisodes(SLA, ROTATION).loss(features, head, 0.0, None)
    assert calls == [((1, 16), sorted(list(range(8)) * 2), 8)]
    assert torch.isfinite(loss)


def test_dropout_draws_from_the_networks_generator():
    from sla_bench.models.backbones.resnet12 import resnet12

    net = resnet12(32)
    g = torch.Generator().manual_seed(0)
    support, query = torch.randn(1, 2, 3072, generator=g), torch.randn(1, 2, 3072, generator=g)
    head = partial(MAML(inner_steps=1, first_order=True), net, support, torch.tensor([[0, 1]]), query, 2)
    before = torch.random.get_rng_state()
    found = []
    for _ in range(2):
        net.seed_dropout(3)
        found.append(head().detach())
    assert torch.equal(*found)
    assert not torch.equal(head(), found[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_wrong_input_is_refused():
    support, labels, query = episodes()
    head = MAML()
    with pytest.raises(UserError, match="square images of 3 channels"):
        head(network(), support[..., 1:], labels, query[..., 1:], 3)
    with pytest.raises(UserError, match="no support point of class 3"):
        head(network(), support, labels, query, 4)
    wild = MAML(inner_steps=3, inner_rate=1e300).eval()
    with torch.no_grad(), pytest.raises(UserError, match="lower inner_rate"):
        wild(network(False), support, labels, query, 3)


def test_it_is_the_inner_loop_of_learn2learns_examples():
    """`clone`, `adapt` and a forward pass, as a user of learn2learn writes them."""
    net = network(normalized=False)
    support, labels, query = episodes(count=1)
    classifier = nn.Linear(4, 3).double()
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    model = learn2learn.algorithms.MAML(nn.Sequential(net, classifier), lr=0.7).clone()
    shown, asked = (t[0].view(-1, 3, SIZE, SIZE) for t in (support, query))
    for _ in range(3):
        model.adapt(F.cross_entropy(model(shown), labels[0]))
    logits = MAML(inner_steps=3, inner_rate=0.7)(net, support, labels, query, 3)
    torch.testing.assert_close(logits[0], model(asked), rtol=1e-10, atol=1e-12)
