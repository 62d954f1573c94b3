import pytest
import torch

from sla_bench.data.base import ImageProperties
from sla_bench.views.mixing import Cutout


def squares(side, size, images=4000, seed=0):
    """Rows and columns that a white image lost: bool (images, side) each."""
    properties = ImageProperties(side)
    white = torch.ones(images, 3, side, side)
    labels = torch.zeros(images, dtype=torch.int64)
    out = Cutout(properties, size=size)(white, labels, torch.Generator().manual_seed(seed)).images
    assert torch.equal(out[:, :1].expand_as(out), out)
    lost = out[:, 0] == 0
    rows, columns = lost.any(2), lost.any(1)
    assert torch.equal(lost, rows[:, :, None] & columns[:, None, :])
    assert torch.equal(out == 1, ~(out == 0))
    return rows, columns


@pytest.mark.parametrize(
    ("size", "part", "pixels"), [(32, 0.5, 16), (32, 0.25, 8), (28, 0.5, 14), (32, 1.0, 32)]
)
def test_extents_are_those_of_the_published_code_for_every_centre(size, part, pixels):
    """Centre c in 0..S-1 loses the pixels max(0, c - L/2) .. min(S, c + L/2) - 1."""
    half = pixels // 2
    expected = {tuple(range(max(0, c - half), min(size, c + half))) for c in range(size)}
    for axis in squares(size, part):
        found = {tuple(row.nonzero().flatten().tolist()) for row in axis}
        assert found == expected
        assert min(map(len, found)) == half
        assert max(map(len, found)) == min(pixels, size)


def test_every_centre_is_as_likely():
    rows, columns = squares(8, 0.25, images=40_000)
    for axis in (rows, columns):
        # 2 pixels of 8: pixel p is lost for the centres p and p + 1, so the last one for one centre only.
        share = axis.double().mean(0)
        expected = torch.tensor([2.0] * 7 + [1.0]).double() / 8
        torch.testing.assert_close(share, expected, atol=0.01, rtol=0)
    together = (rows[:, 3] & columns[:, 3]).double().mean()
    assert float(together) == pytest.approx(1 / 16, abs=0.005)


def test_what_is_cut_out_shows_the_mean_of_the_data():
    properties = ImageProperties(4, (0.5, 0.25, 0.75), (0.2, 0.3, 0.4))
    images = torch.full((1, 3, 4, 4), 0.7)
    out = Cutout(properties, size=1.0)(images, torch.tensor([0]), torch.Generator().manual_seed(0)).images
    shown = out * torch.tensor(properties.std).view(3, 1, 1) + torch.tensor(properties.mean).view(3, 1, 1)
    lost = out[0, 0] == 0
    assert lost.any()
    assert shown[0].permute(1, 2, 0)[lost].unique(dim=0).tolist() == [pytest.approx((0.5, 0.25, 0.75))]
