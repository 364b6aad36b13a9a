r"""Small images and files of them, for the tests of the reader."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# Sizes (height, width) that differ, so that exchanged axes are noticed.
HEIGHT, WIDTH = 8, 6


def random_pixels(n_channels, seed=0, n_images=None):
    shape = (HEIGHT, WIDTH) if n_channels == 1 else (HEIGHT, WIDTH, n_channels)
    shape = shape if n_images is None else (n_images, *shape)
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def contents(image, kind="PNG", **options):
    r"""Return the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def flat(pixels):
    r"""Return pixels (H, W) or (H, W, C) as a row, channel after channel."""
    return np.atleast_3d(pixels).transpose(2, 0, 1).ravel()


def png_of_16_bits(pixels):
    r"""Return a PNG file of 16 bits, which Pillow writes for gray (H, W) only."""
    height, width, n_channels = pixels.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[n_channels]

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(lines)),
            chunk(b"IEND", b""),
        ]
    )


def write_files(folder, images, kind="png", prefix="image"):
    r"""Write images of pixels as files, and return their paths as text."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, pixels in enumerate(images):
        path = folder / f"{prefix}{number:04d}.{kind}"
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return paths


# Images of the tests of the reader, and the rows that it makes of them.
N_IMAGES = 40
PIXELS = random_pixels(3, n_images=N_IMAGES)
ROWS = np.stack([flat(pixels) for pixels in PIXELS])


def read_bytes(paths):
    return [Path(path).read_bytes() for path in paths]
