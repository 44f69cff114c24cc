"""Image files in and out: whatever a phone, a browser or a scanner writes, as upright RGB."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from faceinsight.errors import MediaError

pillow_heif.register_heif_opener()

UInt8Array = npt.NDArray[np.uint8]

# A 64-megapixel photo decodes to 192 MB; larger ones are refused before they are decoded.
MAX_PIXELS = 64_000_000
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A decoded image file.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, turned upright.
        note: One sentence about what was left out, or None.
    """

    pixels: UInt8Array
    note: str | None = None


def load_image(source: str | Path | bytes, name: str | None = None) -> LoadedImage:
    """Decodes an image file: JPEG, PNG, WebP, HEIC, GIF, TIFF, BMP and what else Pillow reads.

    Args:
        source: A path, or the file's content.
        name: What to call the file in messages; its own name where None.

    Returns:
        The upright image; of an animation the first picture, with a note. What is transparent
        becomes white, 16-bit grey is scaled to 8 bits.

    Raises:
        MediaError: If the file is missing, empty, no image, cut short or above 64 megapixels.
    """
    label = name or ("The image" if isinstance(source, bytes) else Path(source).name)
    content = source if isinstance(source, bytes) else _read(Path(source), label)
    if not content:
        raise MediaError(f"{label} is empty: choose another file.")
    try:
        with warnings.catch_warnings():
            # Our own bound on pixels is lower than Pillow's warning.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise MediaError(
                        f"{label} has {width} x {height} pixels, and {MAX_PIXELS // 10**6} million "
                        "is the limit: make it smaller and try again."
                    )
                frames = getattr(image, "n_frames", 1)
                pixels = _to_rgb(ImageOps.exif_transpose(image))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        bomb = isinstance(error, Image.DecompressionBombError)
        reason = "has too many pixels" if bomb else "is not an image that can be read"
        raise MediaError(f"{label} {reason}: choose a JPEG, PNG, WebP or HEIC file.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise MediaError(
            f"{label} is damaged or cut short ({str(error).rstrip('.')}): choose another copy of it."
        ) from error
    note = f"{label} is animated: the first of its {frames} pictures was analysed."
    return LoadedImage(pixels, note if frames > 1 else None)


def _read(path: Path, label: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MediaError(
            f"{label} cannot be read ({(error.strerror or str(error)).lower()}): check the path."
        ) from error


def _to_rgb(image: Image.Image) -> UInt8Array:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _grey_to_rgb(np.asarray(image).astype(np.uint16) >> 8)
    if image.mode in ("I", "F"):
        # Wider than 8 bits and without a declared range: show what there is, darkest to lightest.
        values = np.nan_to_num(np.asarray(image, np.float64))
        low, high = float(values.min()), float(values.max())
        return _grey_to_rgb((values - low) / max(high - low, 1e-9) * 255)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return np.asarray(Image.alpha_composite(paper, layer).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _grey_to_rgb(grey: npt.NDArray[np.number]) -> UInt8Array:
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


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
