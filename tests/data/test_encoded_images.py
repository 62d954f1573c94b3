import io

import numpy as np
import pytest
from PIL import Image

from sla_bench.data.sources import EncodedImages
from sla_bench.errors import UserError


def encode(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(buffer, "PNG")
    return buffer.getvalue()


def numbered(count):
    return [encode((i % 256, i // 256, 0)) for i in range(count)]


@pytest.mark.parametrize(("count", "start"), [(0, 0), (1, 0), (64, 0), (400, 0), (400, 70), (400, 400)])
def test_blocks_keep_the_order(count, start):
    images = numbered(count)
    for content in (images, [np.frombuffer(image, np.uint8) for image in images]):
        blocks = [block.pixels for block in EncodedImages(content, 2, "crop", str).blocks(start)]
        first = np.concatenate([block[:, 0, 0] for block in blocks] or [np.empty((0, 3), int)]).astype(int)
        assert (first[:, 0] + 256 * first[:, 1]).tolist() == list(range(start, count))


def test_any_number_of_threads_gives_the_same():
    images = numbered(150)
    images[100] = b"?"
    encoded = EncodedImages(images, 2, "crop", "picture {}".format)
    for one, other in zip(encoded.blocks(), encoded.blocks(workers=1), strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert [bad.position for bad in one.unreadable] == [bad.position for bad in other.unreadable]


def test_what_cannot_be_read_is_named_and_left_out():
    images = numbered(150)
    images[3] = images[100] = b"?"
    encoded = EncodedImages(images, 2, "crop", "picture {}".format)
    blocks = list(encoded.blocks())
    assert [bad.position for block in blocks for bad in block.unreadable] == [3, 100]
    assert all(
        f"cannot read the image picture {bad.position}" in bad.message
        for block in blocks
        for bad in block.unreadable
    )
    red = np.concatenate([block.pixels[:, 0, 0, 0] for block in blocks])
    assert red.tolist() == [i for i in range(150) if i not in (3, 100)]
    with pytest.raises(UserError, match="cannot read the image picture 3"):
        list(encoded.pixels())
