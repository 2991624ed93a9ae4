"""Any pixel a picture file can hold, turned into 8-bit sRGB without an alpha channel.

Knows Pillow's modes and ICC profiles. Transparency is laid on white, as a shop would print it. Sixteen bits are
scaled, never clipped. A profile that is damaged, huge or of another colour space than the pixels is ignored.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_WHITE = (255, 255, 255)
_MAX_PROFILE = 2 * 1024 * 1024
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded picture to mode RGB in the sRGB colour space."""
    image = _eight_bits(image)
    profile = image.info.get("icc_profile")
    if image.mode in {"L", "CMYK"} and profile and "transparency" not in image.info:
        managed = _managed(image, profile)
        if managed is not None:
            return managed
    flat = _flatten(image)
    return (_managed(flat, profile) if profile else None) or flat


def _flatten(image: Image.Image) -> Image.Image:
    """Lay transparent pixels on white and convert what is left to RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in {"La", "RGBa"}:
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    paper = Image.new("RGB", image.size, _WHITE)
    paper.paste(image, mask=alpha)
    return paper


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and floating-point greys to mode L; other modes stay as they are."""
    if not image.mode.startswith(("I", "F")):
        return image
    grey = np.asarray(image)
    if image.mode.startswith("I;16"):
        grey = (grey >> 8).astype(np.uint8)
    else:
        grey = _scaled(np.nan_to_num(grey.astype(np.float32), posinf=0.0, neginf=0.0))
    flat = Image.fromarray(grey)
    flat.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return flat


def _scaled(grey: np.ndarray) -> np.ndarray:
    """Scale float greys by the narrowest usual range that holds them: 0-1, 0-255, 0-65535, else their own."""
    low, high = float(grey.min()), float(grey.max())
    for top in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= top:
            return np.rint(grey * (255.0 / top)).astype(np.uint8)
    return np.rint((grey - low) * (255.0 / (high - low))).astype(np.uint8)


def _managed(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Convert to sRGB by the picture's own profile; None when the profile is no use or already is sRGB."""
    if len(profile) > _MAX_PROFILE:
        return None
    transform = _transform(profile, image.mode)
    return transform.apply(image) if transform else None


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the way from a profile to sRGB once; a cached transform may be used by several threads."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source)
        if _SPACES.get(source.profile.xcolor_space) != mode or "srgb" in name.lower():
            return None
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        return ImageCms.ImageCmsTransform(source, target, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
