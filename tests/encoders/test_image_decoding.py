r"""Pixels that the reader makes of files: modes, depths, orientation, transparency."""

import io

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps

from sksoftmax import ImageReader

from .image_files import HEIGHT, WIDTH, contents, flat, png_of_16_bits, random_pixels

SIZE = (HEIGHT, WIDTH)


def read(image, **parameters):
    r"""Return the row that the reader makes of one image."""
    return ImageReader(**parameters).fit_transform([image])[0]


@pytest.mark.parametrize(("n_channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_rows_are_the_pixels_channel_after_channel(n_channels, mode):
    pixels = random_pixels(n_channels)
    reader = ImageReader(mode=mode).fit([contents(Image.fromarray(pixels))])
    row = reader.transform([contents(Image.fromarray(pixels))])[0]
    assert row.dtype == np.uint8
    assert_array_equal(row, flat(pixels))
    assert reader.image_shape_ == (n_channels, *SIZE)
    assert reader.mode_ == mode


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_lossless_formats(kind):
    gray = random_pixels(1)
    assert_array_equal(read(contents(Image.fromarray(gray), kind)), gray.ravel())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_as_pillow_reads_them(kind, tmp_path):
    path = tmp_path / f"image.{kind}"
    Image.fromarray(random_pixels(3)).save(path, kind)
    with Image.open(path) as image:
        assert_array_equal(read(path), flat(np.asarray(image)))


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "LA", "L", "RGB"])
@pytest.mark.parametrize("to", ["L", "RGB", "RGBA"])
def test_opaque_images_are_converted_as_by_pillow(mode, to):
    image = Image.fromarray(random_pixels(3)).convert(mode)
    assert_array_equal(read(image, mode=to), flat(np.asarray(image.convert(to))))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("1", "L"), ("L", "L"), ("LA", "L"), ("P", "RGB"), ("RGBA", "RGB"), ("CMYK",) * 2],
)
def test_auto_is_gray_if_the_first_image_is(mode, expected):
    image = Image.fromarray(random_pixels(3)).convert(mode)
    expected = "RGB" if expected == "CMYK" else expected
    assert ImageReader().fit([image]).mode_ == expected


def test_gray_palette_is_gray():
    pixels = random_pixels(1)
    for kind in ("GIF", "PNG"):
        file = contents(Image.fromarray(pixels).convert("P"), kind)
        assert_array_equal(read(file), pixels.ravel())


def test_auto_refuses_colors_after_a_gray_image_and_says_what_to_do():
    gray, color = (Image.fromarray(random_pixels(n)) for n in (1, 3))
    with pytest.raises(ValueError, match=r"a Image in row 1 \(it has colors.*'RGB'"):
        ImageReader().fit_transform([gray, color])
    # Both of the remedies work, and gray ones after colors are no loss.
    for mode in ("RGB", "L"):
        assert len(ImageReader(mode=mode).fit_transform([gray, color])) == 2
    rows = ImageReader().fit_transform([color, gray])
    assert_array_equal(rows[1], np.tile(np.asarray(gray).ravel(), 3))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_of_the_camera(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = np.zeros((16, 24), dtype=np.uint8)
    # A bright corner tells the eight orientations apart, together with the size.
    pixels[:8, :16] = 250
    file = contents(Image.fromarray(pixels).convert("RGB"), kind, exif=exif, **options)
    image = Image.open(io.BytesIO(file))
    expected = np.asarray(ImageOps.exif_transpose(image))
    reader = ImageReader().fit([file])
    assert reader.image_shape_[1:] == ((16, 24) if orientation < 5 else (24, 16))
    assert_array_equal(reader.transform([file])[0], flat(expected))
    # With the size of the other orientation, the image would be resized.
    assert_array_equal(read(file, image_shape=expected.shape[:2]), flat(expected))


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4])
def test_upper_byte_of_16_bits(n_channels):
    pixels = np.random.default_rng(0).integers(2**16, size=(*SIZE, n_channels))
    expected = (pixels >> 8).astype(np.uint8)
    file = png_of_16_bits(pixels.astype(np.uint16))
    if n_channels == 2:
        expected = expected[..., [0, 0, 0, 1]]
    mode = {1: "L", 3: "RGB"}.get(n_channels, "RGBA")
    assert_array_equal(read(file, mode=mode), flat(expected))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_of_16_bits_is_neither_clipped_nor_wrapped(kind):
    pixels = (np.arange(HEIGHT * WIDTH).reshape(SIZE) * 1000).astype(np.uint16)
    row = read(contents(Image.fromarray(pixels), kind))
    assert_array_equal(row, (pixels >> 8).ravel())
    assert len(np.unique(row)) > 40


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bits_are_refused(dtype):
    file = contents(Image.fromarray(np.ones(SIZE, dtype=dtype)), "TIFF")
    with pytest.raises(ValueError, match="scale them to 8 bits first"):
        read(file)


def test_transparency_is_blended_with_white():
    pixels = random_pixels(4)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    color, alpha = pixels[..., :3].astype(float), pixels[..., 3:] / 255
    expected = flat(color * alpha + 255 * (1 - alpha))
    row = read(contents(Image.fromarray(pixels)), mode="RGB")
    assert np.abs(row - expected).max() <= 1
    assert (row.reshape(3, *SIZE)[:, 0] == 255).all()
    assert_array_equal(row.reshape(3, *SIZE)[:, 1], pixels[1, :, :3].T)
    gray = read(contents(Image.fromarray(pixels)), mode="L").reshape(SIZE)
    assert (gray[0] == 255).all()
    # With "RGBA", the colors behind transparent pixels stay as they are.
    assert_array_equal(read(Image.fromarray(pixels), mode="RGBA"), flat(pixels))


def test_transparent_entry_of_a_palette_and_of_gray():
    image = Image.fromarray(random_pixels(3)).quantize(8)
    file = contents(image, transparency=2)
    row = read(file).reshape(3, *SIZE)
    is_transparent = np.asarray(image) == 2
    assert is_transparent.any()
    assert (row[:, is_transparent] == 255).all()
    solid = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert_array_equal(row[:, ~is_transparent], solid[:, ~is_transparent])
    pixels = random_pixels(1)
    pixels[0] = 7
    row = read(contents(Image.fromarray(pixels), transparency=7)).reshape(SIZE)
    assert_array_equal(row, np.where(pixels == 7, 255, pixels))


@pytest.mark.parametrize(
    "resample", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_resized_by_the_filter_of_pillow(resample, mode):
    image = Image.fromarray(random_pixels(4)).convert(mode)
    for size in ((4, 3), (11, 13)):
        expected = image.resize(size[::-1], Image.Resampling[resample.upper()])
        row = read(image, image_shape=size, mode=mode, resample=resample)
        assert_array_equal(row, flat(np.asarray(expected)))


def test_default_filter_averages_when_images_become_smaller():
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    row = read(Image.fromarray(board), image_shape=(8, 8))
    assert np.abs(row.astype(float) - 127.5).max() < 10


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), [3, 5, 7]])
def test_image_shape_with_and_without_channels(shape):
    image = Image.fromarray(random_pixels(3))
    reader = ImageReader(shape).fit([image])
    assert reader.image_shape_ == (3, 5, 7)
    expected = flat(np.asarray(image.resize((7, 5), Image.Resampling.BILINEAR)))
    assert_array_equal(reader.transform([image])[0], expected)


@pytest.mark.parametrize(
    ("shape", "mode", "expected"),
    [
        ((1, 5, 7), "auto", (1, 5, 7)),
        ((5, 7, 1), "auto", (1, 5, 7)),
        ((4, 5, 7), "auto", (4, 5, 7)),
        ((4, 5, 3), "auto", (4, 5, 3)),
        ((3, 5, 1), "L", (1, 3, 5)),
    ],
)
def test_channels_of_image_shape_and_mode_agree(shape, mode, expected):
    image = Image.fromarray(random_pixels(3))
    reader = ImageReader(shape, mode=mode).fit([image])
    assert reader.image_shape_ == expected
    assert reader.mode_ == {1: "L", 3: "RGB", 4: "RGBA"}[expected[0]]
    assert reader.transform([image]).shape == (1, np.prod(expected))


@pytest.mark.parametrize(
    ("shape", "mode"),
    [
        ((1, 8, 8), "RGB"),
        ((8, 8, 3), "L"),
        ((2, 8, 8), "auto"),
        # A classifier would take channels that come last for rows in that order.
        ((8, 8, 3), "auto"),
        ((8, 8, 3), "RGB"),
    ],
)
def test_channels_that_do_not_fit_the_mode_are_an_error(shape, mode):
    with pytest.raises(ValueError, match=r"expected \(height, width\) or \(n_channels"):
        read(Image.fromarray(random_pixels(3)), image_shape=shape, mode=mode)


def test_other_sizes_are_refused_without_image_shape():
    images = [Image.new("L", size) for size in ((8, 8), (8, 8), (9, 7))]
    message = r"row 2 \(its height and width are \(7, 9\), .* are \(8, 8\): set image_"
    with pytest.raises(ValueError, match=message):
        ImageReader().fit_transform(images)
    assert ImageReader((8, 8)).fit_transform(images).shape == (3, 64)


def test_first_image_of_several_in_a_file():
    first, second = (Image.fromarray(random_pixels(1, seed)) for seed in (0, 1))
    for kind in ("GIF", "TIFF"):
        file = contents(first, kind, save_all=True, append_images=[second])
        assert_array_equal(read(file), np.asarray(first).ravel())


def test_images_of_the_caller_stay_open_and_as_they_are(tmp_path):
    first, second = (Image.fromarray(random_pixels(1, seed)) for seed in (0, 1))
    first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
    with Image.open(tmp_path / "two.gif") as image:
        row = read(image, mode="L")
        image.seek(1)
        assert_array_equal(read(image, mode="L"), np.asarray(second).ravel())
    assert_array_equal(row, np.asarray(first).ravel())
    pixels = random_pixels(4)
    image = Image.fromarray(pixels)
    read(image, image_shape=(3, 3), mode="L")
    assert_array_equal(np.asarray(image), pixels)
