import io

import numpy as np
import pytest
from deep_formats import deep_png, deep_tiff
from PIL import Image

from sla_bench.data.depth import Depth, depth_of
from sla_bench.data.folder import Folder
from sla_bench.data.images import as_rgb, decode, look_at
from sla_bench.errors import UserError


def drawn(seed=0, side=16, channels=1):
    values = np.random.default_rng(seed).integers(0, 256, (side, side, channels))
    values[0, 0], values[0, 1] = 0, 255
    return values


def pgm(values, most):
    head = f"P5 {values.shape[1]} {values.shape[0]} {most}\n".encode()
    return head + values.astype(">u2").tobytes()


@pytest.mark.parametrize("bits", [1, 4, 8, 9, 10, 12, 15, 16])
def test_a_grey_picture_is_scaled_by_its_bits(bits):
    values = drawn()[..., 0] * (2**bits - 1) // 255
    got = decode(deep_png(values[..., None]), 16, "crop", "a")
    exact = values * 255 / (2**bits - 1)
    assert np.abs(got[..., 0] - exact).max() < 1
    assert got.min() == 0
    assert got.max() == 255
    assert (got == got[..., :1]).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shift", [0, 2, 5, 8])
def test_deep_png_of_every_kind_is_its_shallow_twin(channels, shift):
    """What 8 bits show, shifted up within 16 bits, shows the same."""
    twin = drawn(channels, channels=channels)
    deep = twin << shift
    if channels in (2, 4):
        # Alpha means the same in any depth.
        deep[..., -1] = twin[..., -1] * 257
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    array = twin.astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if channels == 1 else array, mode).save(buffer, "PNG")
    shown = decode(buffer.getvalue(), 16, "crop", "a")
    np.testing.assert_array_equal(
        decode(deep_png(deep), 16, "crop", "a", Depth(0, 2 ** (8 + shift) - 1)), shown
    )
    assert look_at(deep_png(deep), "a")[1] is not None
    assert look_at(buffer.getvalue(), "a")[1] is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_deep_tiff(channels, order, packed):
    twin = drawn(3, channels=channels)
    content = deep_tiff((twin * 4).astype(np.uint16), order, packed)
    assert look_at(content, "a") == ((16, 16), (0, 1020))
    got = decode(content, 16, "crop", "a")
    np.testing.assert_array_equal(got, np.broadcast_to(twin, got.shape))


def test_32_bits_with_and_without_a_sign():
    twin = drawn(4)
    unsigned = deep_tiff((twin.astype(np.int64) * 2**24).astype(np.uint32))
    assert look_at(unsigned, "a")[1] == (0, 255 * 2**24)
    assert np.abs(decode(unsigned, 16, "crop", "a")[..., :1] - twin).max() <= 1
    # Hounsfield units: the range of the values.
    signed = deep_tiff((twin * 10 - 1000).astype(np.int32), signed=True)
    assert look_at(signed, "a")[1] == (-1000, 1550)
    np.testing.assert_array_equal(decode(signed, 16, "crop", "a")[..., :1], twin)
    short = deep_tiff((twin * 10 - 1000).astype(np.int16), signed=True)
    np.testing.assert_array_equal(decode(short, 16, "crop", "a")[..., :1], twin)


def test_fractions_are_refused_with_the_reason():
    with pytest.raises(UserError, match="pixels are fractions; save it with 8 or 16 bits"):
        decode(tiff_of_fractions(), 16, "crop", "a")


def tiff_of_fractions():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).random((16, 16), np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


def test_a_grey_map_says_its_own_depth():
    twin = drawn(5)[..., 0]
    for content in (pgm(twin * 4 + twin // 64, 1023), pgm(twin * 4, 65535)):
        assert np.abs(decode(content, 16, "crop", "a")[..., 0].astype(int) - twin).max() <= 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 0, (0, 1)), (3, 1020, (0, 1023)), (0, 1024, (0, 2047)), (-5, 7, (-5, 7)), (-9, -3, (-9, 0))],
)
def test_the_range_of_values(low, high, expected):
    assert depth_of(low, high) == Depth(*expected)


def test_what_is_outside_the_range_is_black_or_white():
    values = np.array([[0, 512, 1023, 65535]], np.uint16)
    assert Depth(0, 1023).bytes_of(values).tolist() == [[0, 128, 255, 255]]
    assert Depth(-1000, 1550).bytes_of(values).tolist() == [[100, 151, 202, 255]]
    assert Depth(0, 2**32 - 1).bytes_of(values).tolist() == [[0, 0, 0, 0]]


def test_a_picture_of_a_data_set_of_torch():
    image = Image.fromarray((drawn(6)[..., 0] * 4).astype(np.uint16))
    np.testing.assert_array_equal(np.asarray(as_rgb(image))[..., :1], drawn(6))


def write_folder(path, shifts):
    """A folder of classes whose 16-bit pictures use 8 + shift bits, and the same in 8 bits."""
    for name, shift in shifts.items():
        (path / name).mkdir(parents=True)
        for i in range(4):
            twin = drawn(i, side=16)
            if shift is None:
                Image.fromarray(twin[..., 0].astype(np.uint8)).save(path / name / f"{i}.png")
            else:
                (path / name / f"{i}.png").write_bytes(deep_png(twin << shift))
    return path


def test_a_folder_has_one_depth(tmp_path):
    """Classes that differ in nothing but their bits stay as different as they are."""
    path = write_folder(tmp_path / "xray", {"a": 2, "b": 0, "c": None})
    folder = Folder(path, 16)
    loaded = folder.load("train", "images", tmp_path)
    tops = [int(loaded.images[loaded.labels == k].max()) for k in range(3)]
    assert tops == [255, 255 >> 2, 255]
    said, _ = folder.remarks(tmp_path)
    assert "8 of 12 images have more than 8 bits per channel; their values 0 to 1,023 become 0 to 255" in said
    assert "black" not in said
    assert folder.findings(tmp_path, "images")["pixel_range"] == [0, 1023]


def test_a_single_bright_picture_does_not_darken_the_rest_in_silence(tmp_path):
    path = write_folder(tmp_path / "xray", {"a": 2, "b": 2})
    hot = drawn(9)
    hot[3, 3] = 65535
    (path / "b" / "hot.png").write_bytes(deep_png(hot))
    (said,) = (s for s in Folder(path, 16).remarks(tmp_path) if "bits" in s)
    assert "so that 8 of them are nearly black (a/0.png: up to 1,020; b/hot.png: up to 65,535)" in said
