import torch

from sla_bench.training.gradient_accumulation import mean_of_parts


def loss_of(weight, data):
    return (weight @ data).tanh().square().sum(), data.mean()


def test_value_and_gradient_are_those_of_the_mean():
    g = torch.Generator().manual_seed(0)
    parts = torch.randn(3, 5, generator=g, dtype=torch.float64)
    weight = torch.randn(4, 5, generator=g, dtype=torch.float64, requires_grad=True)
    unused = torch.ones(2, dtype=torch.float64, requires_grad=True)
    loss, accuracy = mean_of_parts([lambda data=d: loss_of(weight, data) for d in parts], [weight, unused])
    loss.backward()
    other = weight.detach().clone().requires_grad_()
    expected = torch.stack([loss_of(other, d)[0] for d in parts]).mean()
    expected.backward()
    assert torch.allclose(loss, expected)
    assert torch.allclose(accuracy, parts.mean())
    assert torch.allclose(weight.grad, other.grad)
    assert not unused.grad.any()


def test_the_graph_of_a_part_is_gone_before_the_next():
    import weakref

    weight = torch.ones(3, requires_grad=True)
    alive = []

    def part():
        assert all(ref() is None for ref in alive)
        inner = weight * 2
        alive.append(weakref.ref(inner))
        return inner.exp().sum(), torch.zeros(())

    mean_of_parts([part] * 3, [weight])
    assert len(alive) == 3
