"""The same training gives the same bits; other devices come near."""

# The tolerances are those of tests/README.md: ten times the measured differences after as many steps; on
# a GPU nothing was measured.

import pytest
import torch
from spanned import tasks_of

from sla_bench.records.environment import has_bf16_instructions
from sla_bench.registry import SCENARIOS

STEPS = 4
FEWSHOT = (f"steps={STEPS}", "validations=1", "validation_episodes=4", "validation_images=20")
STANDARD = (f"steps={STEPS}", "batch_size=16", "validations=1")
CASES = {
    "protonet": ("fewshot", FEWSHOT, {"dataset": ["fc100"], "learner": ["protonet"]}),
    "metaoptnet-rr": ("fewshot", FEWSHOT, {"dataset": ["fc100"], "learner": ["metaoptnet-rr"]}),
    "metaoptnet-svm": ("fewshot", FEWSHOT, {"dataset": ["fc100"], "learner": ["metaoptnet-svm"]}),
    "standard": ("standard", STANDARD, {"dataset": ["cifar10"]}),
}
SMALL = {"train_ways": 2, "ways": 2, "shots": [1], "train_queries": 2}
THREADS, BF16, GPU = 1.2e-3, 0.14, 1e-2


@pytest.fixture(scope="module")
def trained(data_root):
    """Train a case on so many threads; weights by name."""

    def train(case, threads=1, device="cpu", **changes):
        scenario, settings, options = CASES[case]
        small = SMALL if scenario == "fewshot" else {}
        (task,) = tasks_of(
            scenario,
            settings,
            method=["sla+sd" if scenario == "standard" else "sla"],
            budget="smoke",
            **small,
            **options,
            **changes,
        )
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            run = SCENARIOS.load(scenario).run(task.run, data_root, torch.device(device))
        finally:
            torch.set_num_threads(before)
        return run.state

    return train


def distance(one, other):
    """Root mean square of the difference over that of the weights: 0 are the same bits, 1 is another seed."""
    floating = [name for name, value in one.items() if value.is_floating_point()]
    apart = sum(float((one[n].double() - other[n].double()).square().sum()) for n in floating)
    size = sum(float(one[n].double().square().sum()) for n in floating)
    return (apart / size) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_training_on_the_same_threads_is_the_same_bits(case, threads, trained):
    one, other = trained(case, threads), trained(case, threads)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_threads_are_near_one(case, trained):
    assert distance(trained(case, 1), trained(case, 2)) <= THREADS


@pytest.mark.slow
@pytest.mark.skipif(not has_bf16_instructions(), reason="this processor has no bf16 instructions")
@pytest.mark.parametrize("case", CASES)
def test_bf16_is_near_fp32(case, trained):
    assert 0 < distance(trained(case), trained(case, precision="bf16")) <= BF16


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("case", CASES)
def test_a_gpu_is_near_the_processor(case, trained):
    assert distance(trained(case), trained(case, device="cuda")) <= GPU
