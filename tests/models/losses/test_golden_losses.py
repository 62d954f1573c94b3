"""Values and gradients of the published code, number by number."""

from __future__ import annotations

import pytest
import torch

from sla_bench.adapters.pieces import get_loss

# name, options, golden key; `start=0` puts a deferred loss into its second part.
CASES = [
    ("ce", {}, "ce"),
    ("ce-drw", {}, "ce"),
    ("logit-adjust", {}, "ce"),
    ("cb-rw", {}, "cb_ce"),
    ("ce-drw", {"start": 0.0}, "cb_ce"),
    ("focal", {}, "focal1"),
    ("cb-focal", {}, "cb_focal1"),
    ("cb-focal", {"start": 0.5}, "focal1"),
    ("ldam", {}, "ldam"),
    ("ldam-drw", {}, "ldam"),
    ("ldam-drw", {"start": 0.0}, "ldam_cb"),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 3e-6)])
@pytest.mark.parametrize(("name", "options", "key"), CASES)
def test_value_and_gradient_are_golden(name, options, key, dtype, tolerance, golden):
    criterion = get_loss(name, golden["loss_counts"], **options)
    logits = golden["loss_logits"].to(dtype, copy=True).requires_grad_()
    loss = criterion(logits, golden["loss_targets"])
    assert loss.dtype == dtype
    assert float(loss.detach()) == pytest.approx(float(golden[f"loss_{key}"]), rel=tolerance)
    loss.backward()
    reference = golden[f"grad_{key}"].double()
    assert float((logits.grad.double() - reference).abs().max() / reference.abs().max()) < tolerance


def test_class_balanced_weights_are_golden(golden):
    weights = get_loss("cb-rw", golden["loss_counts"]).reweighting.current
    torch.testing.assert_close(weights.double(), golden["cb_weights"], rtol=1e-6, atol=0)
