import torch

from sla_bench.seeds import derive_seed, torch_seeded


def test_a_seed_depends_on_every_part_and_fits_a_generator():
    seeds = {derive_seed(0, "a"), derive_seed(1, "a"), derive_seed(0, "b"), derive_seed(0, "a", 1)}
    assert len(seeds) == 4
    assert derive_seed(0, "a") == derive_seed(0, "a")
    for seed in seeds:
        torch.Generator().manual_seed(seed)


def test_the_global_generator_is_left_as_it_was():
    before = torch.random.get_rng_state()
    with torch_seeded(3):
        first = torch.rand(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch_seeded(3):
        assert torch.equal(torch.rand(4), first)
