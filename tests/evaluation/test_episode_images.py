import torch

from sla_bench.evaluation.embedding import image_chunks
from sla_bench.views.transforms import ROTATION


class Images:
    """Gives rows of a tensor and remembers how many at a time."""

    def __init__(self, images):
        self.images, self.asked = images, []

    def plain(self, index):
        self.asked.append(len(index))
        return self.images[index]


def test_pixels_of_all_views_at_the_right_place():
    g = torch.Generator().manual_seed(0)
    batches = Images(torch.randn(20, 3, 4, 4, generator=g))
    index = torch.randperm(20, generator=g)[:12]
    support, query = torch.randint(12, (5, 3), generator=g), torch.randint(12, (5, 2), generator=g)
    chunks = list(image_chunks(batches, index, ROTATION, support, query, chunk_bytes=2 * 5 * 4 * 48 * 4))
    assert [c.episodes for c in chunks] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert max(batches.asked) == 2 * 3
    for rows, found in (
        (support, torch.cat([c.support for c in chunks])),
        (query, torch.cat([c.query for c in chunks])),
    ):
        assert found.shape == (5, rows.shape[1], 4, 48)
        for episode, place in ((0, 0), (3, 1), (4, 1)):
            image = batches.images[index[rows[episode, place]]]
            expected = ROTATION.views(image[None])[0]
            assert torch.equal(found[episode, place].view(4, 3, 4, 4), expected)


def test_without_a_transformation_there_is_one_view():
    batches = Images(torch.randn(6, 3, 4, 4))
    rows = torch.tensor([[1, 2]])
    (chunk,) = image_chunks(batches, torch.arange(6), None, rows, rows)
    assert torch.equal(chunk.support.view(2, 3, 4, 4), batches.images[1:3])
