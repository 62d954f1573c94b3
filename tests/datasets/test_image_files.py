import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sla_bench.datasets.image_files import decode, list_folders, list_images
from sla_bench.datasets.picture_folders import find_images
from sla_bench.errors import UserError


def gradient(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), 0 * x], -1).astype(np.uint8)


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_image_of_the_right_size_is_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for fit in ("crop", "stretch"):
        np.testing.assert_array_equal(decode(encode(Image.fromarray(pixels)), 32, fit, "a"), pixels)


def test_crop_keeps_the_centre_and_stretch_everything():
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 255
    image = encode(Image.fromarray(pixels))
    cropped = decode(image, 20, "crop", "a")
    assert cropped.min() > 230  # the filter sees a little beyond the edges
    assert cropped[:, 2:-2].min() >= 254
    stretched = decode(image, 20, "stretch", "a")
    assert stretched[:, 0].max() == 0
    assert stretched[:, 10].min() == 255


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("shape", [(84, 200), (200, 84), (7, 5), (1, 1), (3, 500)])
def test_any_shape_becomes_a_square(fit, shape):
    assert decode(encode(Image.fromarray(gradient(*shape))), 32, fit, "a").shape == (32, 32, 3)


MODES = {
    "1": (Image.new("1", (8, 8), 1), 255),
    "L": (Image.new("L", (8, 8), 100), 100),
    "LA over white": (Image.new("LA", (8, 8), (100, 0)), 255),
    "RGBA over white": (Image.new("RGBA", (8, 8), (0, 0, 0, 51)), 204),
    "RGBA opaque": (Image.new("RGBA", (8, 8), (7, 7, 7, 255)), 7),
    "16 bits": (Image.fromarray(np.full((8, 8), 0x64FF, np.uint16)), 100),
    "CMYK": (Image.new("CMYK", (8, 8), (0, 0, 0, 155)), 100),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode):
    image, value = MODES[mode]
    got = decode(encode(image, "TIFF" if mode == "CMYK" else "PNG"), 8, "crop", "a")
    assert np.abs(got.astype(int) - value).max() <= 1


def test_palette_with_a_transparent_colour_lies_on_white():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.paste(0, (0, 0, 4, 8))
    got = decode(encode(image, transparency=0), 8, "crop", "a")
    assert got[0, 0].tolist() == [255, 255, 255]
    assert got[0, 7].tolist() == [40, 50, 60]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation):
    """What a viewer that knows EXIF shows (Pillow's own function), for square and oblong photos."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Image.fromarray(gradient(64, 64))
    raw = encode(photo, "JPEG", exif=exif, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(raw))).convert("RGB")).astype(int)
    assert np.abs(decode(raw, 64, "crop", "a") - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_of_other_kinds_are_turned_once(orientation, kind):
    """By the table of EXIF 2.3: on which side of the picture the first row and the first column are shown."""
    first_row, first_column = [
        ("top", "left"), ("top", "right"), ("bottom", "right"), ("bottom", "left"),
        ("left", "top"), ("right", "top"), ("right", "bottom"), ("left", "bottom"),
    ][orientation - 1]  # fmt: skip
    stored = gradient(64, 64)
    shown = stored if first_row in ("top", "bottom") else stored.transpose(1, 0, 2)
    shown = shown[::-1] if "bottom" in (first_row, first_column) else shown
    shown = shown[:, ::-1] if "right" in (first_row, first_column) else shown
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}}.get(kind, {})
    raw = encode(Image.fromarray(stored), kind, exif=exif, **lossless)
    np.testing.assert_array_equal(decode(raw, 64, "crop", "a"), shown)


def test_large_jpeg_is_close_to_the_exact_reduction():
    image = Image.fromarray(gradient(1200, 1600))
    exact = image.resize((84, 84), Image.Resampling.LANCZOS, box=(200, 0, 1400, 1200))
    got = decode(encode(image, "JPEG", quality=95), 84, "crop", "a")
    assert np.abs(got.astype(int) - np.asarray(exact)).max() <= 6


def bomb(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_decompression_bomb(side):
    with pytest.raises(UserError, match=r"bomb\.png"):
        decode(bomb(side, side), 32, "crop", "bomb.png")


GOOD = encode(Image.fromarray(gradient(50, 50)), "JPEG")
BROKEN = {
    "empty": b"",
    "text": b"not an image",
    "truncated jpeg": GOOD[: len(GOOD) // 2],
    "header only": encode(Image.fromarray(gradient(50, 50)))[:40],
    "truncated png": encode(Image.fromarray(gradient(50, 50)))[:-40],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_unreadable_images_are_named(kind):
    with pytest.raises(UserError, match="cannot read the image cat7") as caught:
        decode(BROKEN[kind], 32, "crop", "cat7")
    assert "\n" not in str(caught.value)


def test_listing_skips_what_is_no_image(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "._a.png", "c.webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "c.webp"]
    assert [path.name for path in list_folders(tmp_path)] == ["folder.png"]
    with pytest.raises(UserError, match="cannot read the folder"):
        list_images(tmp_path / "absent")


def test_images_are_found_below_folders_once_and_in_order(tmp_path):
    for name in ("z.png", "a/b/c.jpg", "a/d.PNG", "a/notes.txt", ".hidden/e.png", "a/.f.png", "alone.dat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    alone, inside = tmp_path / "alone.dat", tmp_path / "a" / "d.PNG"
    found = find_images([alone, tmp_path, inside])
    assert found == [alone, tmp_path / "z.png", inside, tmp_path / "a" / "b" / "c.jpg"]
    assert find_images([inside, tmp_path / "a"]) == [inside, tmp_path / "a" / "b" / "c.jpg"]


def test_nothing_to_find_is_said(tmp_path):
    with pytest.raises(UserError, match=r"there is no file or folder .*missing"):
        find_images([tmp_path / "missing"])
    with pytest.raises(UserError, match=r"no images in .* \(known are .*\.png"):
        find_images([tmp_path])
    with pytest.raises(UserError, match="name the images"):
        find_images([])
