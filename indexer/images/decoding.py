"""Bytes into an upright RGB picture, or a ``PictureError`` that says why not.

Knows Pillow and its plugins. Only the formats named here are ever tried, and only the one that the first bytes
announce. The cap on pixels is checked against the header, before a single pixel is unpacked.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from indexer.errors import PictureError
from indexer.images.colour import to_rgb
from indexer.images.files import Limits, check_size, file_error, read_bytes
from indexer.images.sniff import cut_off, describe, lacks_end, picture_format

READERS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)  # importing them is what makes Pillow know them; naming them saves Image.open from importing forty others

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # pictures are decoded side by side already
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@dataclass(frozen=True)
class Decoded:
    """An upright RGB ``image`` with the ``width`` and ``height`` of the original (upright too) and its ``format``."""

    image: Image.Image
    width: int
    height: int
    format: str


def decode(data: bytes, limits: Limits | None = None, *, at_least: int | None = None) -> Decoded:
    """Decode the first frame of a picture: upright, sRGB, transparency on white.

    With ``at_least`` a JPEG may be decoded at a half, a quarter or an eighth of its size as long as its shorter side
    stays at or above twice that many pixels, which is much faster. Raises ``PictureError``.
    """
    limits = limits or Limits()
    check_size(len(data), limits)
    if not data:
        raise file_error("empty")
    name = picture_format(data)
    if name is None:
        raise PictureError(
            "unsupported",
            f"This is {describe(data)}, not a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF picture",
            "export it as one of these",
        )
    try:
        return _decode(data, name, limits, at_least)
    except PictureError:
        raise
    except Exception as error:  # noqa: BLE001 - on hostile bytes Pillow's plugins raise nearly anything
        raise _explained(error, data, name, limits) from None


def _decode(data: bytes, name: str, limits: Limits, at_least: int | None) -> Decoded:
    if lacks_end(data, name):
        raise _truncated(data, name)
    with _open(data, name, limits) as image:
        _check_pixels(image.size, limits)
        width, height = image.size
        if at_least and name == "JPEG":
            image.draft(None, (2 * at_least, 2 * at_least))
        drafted = image.size != (width, height)
        image.load()
        if not drafted:
            width, height = image.size  # a TIFF or HEIC may have turned itself while loading
        orientation = _orientation(image)
        upright = to_rgb(image)
        if upright is image and name != "JPEG":  # other plugins keep the file and the decoder alive in the picture
            upright = image.copy()
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
        if orientation >= 5:
            width, height = height, width
    return Decoded(upright, width, height, name)


def _open(data: bytes, name: str, limits: Limits) -> Image.Image:
    """Let Pillow read the header, by the one plugin that the first bytes call for."""
    if name == "HEIF":
        _learn_heif()
    if _QUIET not in warnings.filters:  # catch_warnings is not for threads; this lasts, and is for Pillow alone
        warnings.filterwarnings("ignore", module=r"PIL\.")
    if Image.MAX_IMAGE_PIXELS is not None and limits.max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limits.max_pixels  # Pillow's own cap is one for the process; ours is for the call
    return Image.open(io.BytesIO(data), formats=(name,))


@cache
def _learn_heif() -> None:
    import pillow_heif  # here, because it is slow to import and few collections hold HEIC

    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


def _check_pixels(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise _too_many(f"{width * height:,} pixels ({width} x {height})", limits)


def _too_many(count: str, limits: Limits) -> PictureError:
    message = f"The picture has {count} and the limit is {limits.max_pixels:,}"
    return PictureError("too-many-pixels", message, "make it smaller, or raise the limit on pixels (--max-pixels)")


def _truncated(data: bytes, name: str) -> PictureError:
    message = f"The {name} file of {len(data):,} bytes ends before the picture is complete"
    return PictureError("truncated", message, "copy it again from where it came from")


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8; damaged EXIF counts as upright."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - hostile EXIF raises nearly anything, and says nothing about the pixels
        return 1


def _explained(error: Exception, data: bytes, name: str, limits: Limits) -> PictureError:
    """Find the reason, the sentence and the remedy for whatever Pillow raised."""
    said = str(error).lower()
    if isinstance(error, MemoryError):
        return PictureError(
            "out-of-memory",
            f"There was not enough memory to unpack the {name} picture",
            "run with fewer workers, or make it smaller",
            transient=True,
        )
    if isinstance(error, Image.DecompressionBombError):
        digits = re.search(r"\d+", said)
        return _too_many(f"{int(digits[0]):,} pixels" if digits else "far more pixels", limits)
    if "text chunk" in said or "max_text" in said:
        return PictureError(
            "metadata-too-large",
            "The texts inside the PNG file unpack to more than Pillow's limit of 1 MB each or 64 MB together",
            "save it again without metadata",
        )
    if cut_off(data, name) or "truncated" in said or "end of" in said or isinstance(error, EOFError):
        return _truncated(data, name)
    kind = "is not built as its first bytes promise" if isinstance(error, UnidentifiedImageError) else "is damaged"
    return PictureError("damaged", f"The {name} file {kind}", "open it in a picture editor and save it again")


def open_picture(picture: Image.Image | Path | str | bytes, limits: Limits | None = None) -> Image.Image:
    """Bring a PIL picture, a path or the bytes of a file to upright RGB. Raises ``PictureError`` naming the file."""
    if isinstance(picture, Image.Image):
        _check_pixels(picture.size, limits or Limits())
        upright = _UPRIGHT.get(_orientation(picture))
        flat = to_rgb(picture)
        return flat.transpose(upright) if upright is not None else flat
    if isinstance(picture, bytes):
        return decode(picture, limits).image
    try:
        return decode(read_bytes(picture, limits), limits).image
    except PictureError as error:
        message = f"{picture}: {error.message}"
        raise PictureError(error.reason, message, error.remedy, transient=error.transient) from None
