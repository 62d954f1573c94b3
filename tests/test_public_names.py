import inspect
import subprocess
import sys

import pytest

import sla_bench
from sla_bench.errors import UserError


def test_importing_the_package_imports_no_torch():
    code = "import sys, sla_bench; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_public_name_exists_and_is_documented():
    for name in sla_bench.__all__:
        assert inspect.getdoc(getattr(sla_bench, name)), name
    assert set(sla_bench.__all__) <= set(dir(sla_bench))


def test_names_of_the_readme_work_together(tmp_path):
    import torch

    transform = sla_bench.get_transform("rotation")
    images = torch.randn(2, 3, 8, 8)
    assert transform.views(images).shape == (2, transform.num_views, 3, 8, 8)
    assert sla_bench.joint_labels(torch.tensor([0, 2]), 4).tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    labels = torch.arange(6).repeat_interleave(10)
    episodes = sla_bench.EpisodeSampler(labels, ways=5, shots=1, queries=2, seed=0).sample(3)
    assert episodes.support.shape == (3, 5, 1)
    head = sla_bench.get_learner("metaoptnet-rr", regularization=1.0)
    logits = head(torch.randn(1, 5, 8), torch.arange(5)[None], torch.randn(1, 4, 8), 5)
    assert logits.shape == (1, 4, 5)


def test_the_loss_of_the_design_works_from_its_public_name():
    import torch

    loss = sla_bench.get_loss("ldam-drw", class_counts=[50, 5])
    loss.reweight(0.8)
    logits = loss.head(8)(torch.randn(4, 8))
    loss(logits, torch.tensor([0, 1, 0, 1])).backward()
    assert loss.scores(logits).shape == (4, 2)


def test_an_option_that_a_head_has_not_is_said():
    with pytest.raises(UserError, match="'C' is not an option of learner 'protonet'"):
        sla_bench.get_learner("protonet", C=1)
