"""Image files of any kind become squares of RGB bytes."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from sla_bench.data.folder_tree import find_images
from sla_bench.data.images import as_rgb, decode, list_folders, list_images, look_at
from sla_bench.data.sources import EncodedImages
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


MODES = {
    "1": (Image.new("1", (8, 8), 1), 255),
    "L": (Image.new("L", (8, 8), 100), 100),
    "LA over white": (Image.new("LA", (8, 8), (100, 0)), 255),
    "RGBA over white": (Image.new("RGBA", (8, 8), (0, 0, 0, 51)), 204),
    "RGBA opaque": (Image.new("RGBA", (8, 8), (7, 7, 7, 255)), 7),
    "16 bits": (Image.fromarray(np.full((8, 8), 0xC8FF, np.uint16)), 200),
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


def bomb(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_the_upright_picture(kind, orientation, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encode(Image.new("RGB", (60, 40)), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(raw))).size
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were read"))
    assert look_at(raw, "a") == (upright, None)


@pytest.mark.parametrize(("shape", "bars"), [((20, 80), "rows"), ((80, 20), "columns")])
def test_pad_keeps_all_between_bars_of_the_colour_of_the_edges(shape, bars):
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[..., 0] = 200
    half = min(shape) // 2
    first = (slice(None, half), slice(None)) if bars == "rows" else (slice(None), slice(None, half))
    pixels[first] = (10, 60, 90)
    got = decode(encode(Image.fromarray(pixels)), 80, "pad", "a")
    got = got if bars == "rows" else got.transpose(1, 0, 2)
    pixels = pixels if bars == "rows" else pixels.transpose(1, 0, 2)
    np.testing.assert_array_equal(got[30:50], pixels)
    assert (got[:30] == (10, 60, 90)).all()
    assert (got[50:] == (200, 0, 0)).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (31, 32), (7, 7)])
def test_pad_makes_squares_of_any_shape(shape):
    pixels = np.full((*shape, 3), 77, np.uint8)
    got = decode(encode(Image.fromarray(pixels)), 32, "pad", "a")
    assert (got == 77).all()
    assert got.shape == (32, 32, 3)


def test_pad_scales_as_pillow_does():
    photo = Image.fromarray(gradient(60, 120))
    got = decode(encode(photo), 48, "pad", "a")
    np.testing.assert_array_equal(got[12:36], np.asarray(photo.resize((48, 24), Image.Resampling.LANCZOS)))
    upright = decode(encode(photo.transpose(Image.Transpose.TRANSPOSE)), 48, "pad", "a")
    assert np.abs(upright.transpose(1, 0, 2).astype(int) - got).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_white_behind_a_picture_is_laid_in_strips(mode, monkeypatch):
    layer = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 23, 4), np.uint8), "RGBA")
    image = layer.convert(mode) if mode != "P" else layer.convert("RGB").quantize(9)
    if mode == "P":
        image.info["transparency"] = bytes([0, 80, 255])
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    monkeypatch.setattr("sla_bench.data.images._STRIP", 50)
    np.testing.assert_array_equal(np.asarray(as_rgb(image)), np.asarray(whole.convert("RGB")))


def test_photos_of_a_hundred_megapixels_are_read_without_a_warning(tmp_path, recwarn):
    Image.fromarray(gradient(40, 30)).resize((9000, 12000)).save(tmp_path / "a.jpg", quality=30)
    for fit in ("crop", "stretch", "pad"):
        got = decode(tmp_path / "a.jpg", 16, fit, "a")
        assert np.abs(got[:, 8].astype(int) - decode_small(fit)[:, 8]).max() < 25
    assert look_at(tmp_path / "a.jpg", "a") == ((9000, 12000), None)
    assert not recwarn.list


def decode_small(fit):
    return decode(encode(Image.fromarray(gradient(40, 30))), 16, fit, "a")


def test_what_pillow_refuses_is_refused_in_a_sentence(recwarn):
    for side in (13_378, 40_000):
        with pytest.raises(UserError, match=r"bomb\.png"):
            decode(bomb(side, side), 32, "crop", "bomb.png")
    with pytest.raises(UserError, match=r"cannot read the image a\.png: ") as caught:
        decode(bomb(13_377, 13_377), 32, "crop", "a.png")
    assert "exceed" not in str(caught.value)
    assert not recwarn.list


def one_colour(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(buffer, "PNG")
    return buffer.getvalue()


def numbered(count):
    return [one_colour((i % 256, i // 256, 0)) for i in range(count)]


@pytest.mark.parametrize(("count", "start"), [(0, 0), (1, 0), (64, 0), (400, 0), (400, 70), (400, 400)])
def test_blocks_keep_the_order(count, start):
    images = numbered(count)
    for content in (images, [np.frombuffer(image, np.uint8) for image in images]):
        blocks = [block.pixels for block in EncodedImages(content, 2, "crop", str).blocks(start)]
        first = np.concatenate([block[:, 0, 0] for block in blocks] or [np.empty((0, 3), int)]).astype(int)
        assert (first[:, 0] + 256 * first[:, 1]).tolist() == list(range(start, count))


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
