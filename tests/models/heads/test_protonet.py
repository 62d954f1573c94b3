from __future__ import annotations

import torch

from sla_bench.models.heads.protonet import ProtoNet


def test_hand_made_prototypes():
    support = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]]])
    labels = torch.tensor([[0, 0, 1]])
    query = torch.tensor([[[1.0, 0.0], [1.0, 4.0]]])
    # Means (1, 0) and (0, 4); squared distances 0, 17 and 16, 1; divided by two features.
    expected = torch.tensor([[[0.0, -8.5], [-8.0, -0.5]]])
    torch.testing.assert_close(ProtoNet()(support, labels, query, 2), expected)


def test_far_from_the_origin_distances_keep_their_digits(make_episodes):
    support, labels, query = make_episodes()
    near = ProtoNet()(support.float(), labels, query.float(), 5)
    far = ProtoNet()((support + 1000).float(), labels, (query + 1000).float(), 5)
    torch.testing.assert_close(far, near, rtol=1e-3, atol=1e-3)
