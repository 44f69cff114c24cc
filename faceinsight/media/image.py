"""Image files in and out: whatever a phone, a browser or a scanner writes, as upright RGB."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, UnidentifiedImageError

from faceinsight.errors import MediaError
from faceinsight.media.jpeg import is_cheap, is_jpeg
from faceinsight.media.source import open_file, reason

pillow_heif.register_heif_opener()

UInt8Array = npt.NDArray[np.uint8]

# What a decoder may be asked for: none of them calls another program or reads another file.
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "TIFF", "BMP")
# By these a photo is known among other files; what is in it decides whether it can be read.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".heic", ".heif", ".avif", ".gif", ".tif", ".tiff", ".bmp")
)
# A 64-megapixel photo decodes to 192 MB; larger ones are refused before they are decoded.
MAX_PIXELS = 64_000_000
# As large as such a photo is where it is hardly compressed, and where it is well.
MAX_BYTES = 300_000_000
MAX_COMPRESSED_BYTES = 64_000_000
# TIFF (both byte orders), BMP and PNG may be the former.
_BULKY = (b"II", b"MM", b"BM", b"\x89P")
# What decodes to more than its pixels by far.
_MAX_PIXELS_OF = {"WEBP": 32_000_000, "AVIF": 32_000_000}
# JPEG decodes to a half, a quarter or an eighth for less: not to under this share of the pixels that are wanted.
_ENOUGH = 0.5
# Pixels that are handed over at once.
_STRIP_BYTES = 1_000_000
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
# By EXIF's number for how the camera was held.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Of these, those that exchange width and height.
_LYING = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A decoded image file.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, turned upright.
        note: One sentence about what was left out, or None.
        size: Width and height in pixels of the upright picture as it is in the file; None where `pixels` has all.
    """

    pixels: UInt8Array
    note: str | None = None
    size: tuple[int, int] | None = None


def load_image(source: str | Path | bytes, name: str | None = None, largest: int | None = None) -> LoadedImage:
    """Decodes an image file: JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF or BMP.

    Args:
        source: A path, or the file's content.
        name: What to call the file in messages; its path where None.
        largest: The most pixels that are wanted: a larger picture is made smaller, with a note; None for all.

    Returns:
        The upright image; of an animation or a file of many pages the first picture, with a note. What is
        transparent becomes white, 16-bit grey is scaled to 8 bits.

    Raises:
        MediaError: If the file is missing, empty, no image, cut short, above 64 megapixels (WebP and AVIF: 32)
            or 300 MB (all but TIFF, PNG and BMP: 64 MB), or made to cost more work than any photo does.
    """
    label = name or ("The image" if isinstance(source, bytes) else str(source))
    with opened_image(source, label) as image:
        return decode_image(image, label, largest)


@contextmanager
def opened_image(source: str | Path | bytes, label: str) -> Iterator[Image.Image]:
    """Reads an image's header, and refuses what would cost too much; nothing is decoded yet.

    Args:
        source: A path, or the file's content.
        label: What to call the file in messages.

    Yields:
        The image, open until the block ends.

    Raises:
        MediaError: As `load_image` does.
    """
    if source == b"":
        raise MediaError(f"{label} is empty: choose another file.")
    with (
        io.BytesIO(source) if isinstance(source, bytes) else open_file(Path(source), label) as file,
        warnings.catch_warnings(),
    ):
        # Our own bound on pixels is lower than Pillow's warning; what else it warns of is decoded or fails.
        warnings.simplefilter("ignore")
        yield _checked(file, label)


def _checked(file: BinaryIO, label: str) -> Image.Image:
    try:
        start = file.read(2)
        most = MAX_BYTES if start in _BULKY else MAX_COMPRESSED_BYTES
        if file.seek(0, io.SEEK_END) > most:
            raise MediaError(
                f"{label} has more than {most // 10**6} MB, the limit for such a picture: "
                "make it smaller and try again."
            )
        file.seek(0)
        if is_jpeg(start) and not is_cheap(file.read()):
            raise MediaError(f"{label} is put together as no camera does it: save it anew as a JPEG and try again.")
        file.seek(0)
        image = Image.open(file, formats=FORMATS)
        width, height = image.size
        limit = _MAX_PIXELS_OF.get(image.format or "", MAX_PIXELS)
        if width * height > limit:
            raise MediaError(
                f"{label} has {width} x {height} pixels, and {limit // 10**6} million "
                "is the limit: make it smaller and try again."
            )
        return image
    except MediaError:
        raise
    except Exception as error:
        raise _refusal(error, label) from error


def _refusal(error: Exception, label: str) -> MediaError:
    if isinstance(error, UnidentifiedImageError | Image.DecompressionBombError):
        bomb = isinstance(error, Image.DecompressionBombError)
        what = "has too many pixels" if bomb else "is not an image that can be read"
        return MediaError(f"{label} {what}: choose a JPEG, PNG, WebP or HEIC file.")
    if isinstance(error, MemoryError):
        return MediaError(f"{label} takes more memory than there is for a picture: make it smaller and try again.")
    return MediaError(f"{label} is damaged or cut short ({reason(error)}): choose another copy of it.")


def decode_image(image: Image.Image, label: str, largest: int | None = None, enough: int | None = None) -> LoadedImage:
    """Decodes an `opened_image`; otherwise as `load_image`.

    Args:
        image: The image.
        label: What to call the file in messages.
        largest: As of `load_image`.
        enough: A JPEG may be decoded to a half, a quarter or an eighth of its sides, for a fraction of the work, as
            long as so many pixels are left; None to decode it to all that `largest` allows.
    """
    try:
        return _decoded(image, label, largest or MAX_PIXELS, enough)
    except Exception as error:
        # Decoders raise whatever a broken file leads them to.
        raise _refusal(error, label) from error


def _decoded(image: Image.Image, label: str, largest: int, enough: int | None) -> LoadedImage:
    width, height = image.size
    notes = []
    if enough is None and width * height > largest:
        enough = int(largest * _ENOUGH)
    if enough is not None and image.format in ("JPEG", "MPO"):
        side = math.sqrt(enough / (width * height))
        image.draft(None, (math.ceil(width * side), math.ceil(height * side)))
    image.load()
    # To look further than whether there is a second one would mean to go through the whole file.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        pages = image.format in ("TIFF", "HEIF")
        notes.append(f"{label} {'has several pages' if pages else 'is animated'}: the first picture was analysed.")
    share = min(largest / (image.width * image.height), 1)
    size = None
    if share < 1:
        side = math.sqrt(share)
        size = (max(int(image.width * side), 1), max(int(image.height * side), 1))
    pixels = _to_rgb(image, size)
    rows, columns = pixels.shape[:2]
    if width * height > largest:
        notes.append(f"{label} has {width} x {height} pixels: it was analysed at {columns} x {rows}.")
    lies = _orientation(image) in _LYING
    full = (height, width) if lies else (width, height)
    return LoadedImage(pixels, " ".join(notes) or None, None if full == (columns, rows) else full)


def _to_rgb(image: Image.Image, size: tuple[int, int] | None) -> UInt8Array:
    """Returns the upright picture, resized where a size (of the picture as it lies) is given."""
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode in (*_SIXTEEN_BIT_MODES, "I", "F"):
        # As it is, so that what has a wide range is not rounded before its range is known.
        layer = Image.fromarray(_eight_bits(image if size is None else image.resize(size, Image.Resampling.NEAREST)))
    elif image.has_transparency_data:
        layer = _resized(image if image.mode == "RGBA" else image.convert("RGBA"), size)
        paper = Image.new("RGBA", layer.size, "white")
        layer = Image.alpha_composite(paper, layer)
    else:
        layer = _resized(image if image.mode in ("L", "RGB") else image.convert("RGB"), size)
    if turn is not None:
        layer = layer.transpose(turn)
    return _pixels_of(layer if layer.mode == "RGB" else layer.convert("RGB"))


def _pixels_of(image: Image.Image) -> UInt8Array:
    """Returns the pixels of an RGB picture, (H, W, 3).

    Strip by strip: Pillow copies what it hands over twice, and for all of a phone's photo at once that takes as long
    as to decode it.
    """
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(_STRIP_BYTES // pixels[0].nbytes, 1)
    for top in range(0, image.height, rows):
        strip = pixels[top : top + rows]
        strip[:] = np.asarray(image.crop((0, top, image.width, top + len(strip))))
    return pixels


def _resized(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    return image if size is None else image.resize(size, Image.Resampling.BILINEAR)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        # A picture whose notes are broken is still a picture.
        return 1


def _eight_bits(image: Image.Image) -> UInt8Array:
    values = np.asarray(image)
    if image.mode in _SIXTEEN_BIT_MODES:
        return (values >> 8).astype(np.uint8)
    # Wider than 8 bits and without a declared range: show what there is, darkest to lightest.
    values = np.nan_to_num(values.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-9) * 255).astype(np.uint8)


def encode_image(pixels: UInt8Array, kind: str = "jpeg", quality: int = 90) -> bytes:
    """Encodes an image.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        kind: "jpeg" or "png".
        quality: JPEG quality, 1 to 95.

    Returns:
        The content of the file, without any metadata.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=quality)
    return buffer.getvalue()
