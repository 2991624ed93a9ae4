"""An RGB picture into the square of pixels an encoder wants, and into a 64-bit hash of its look.

Knows geometry. ``resize`` gives what open_clip's own preprocessing gives (a test holds it to 1/255), as uint8 and
without loading torch.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from indexer.seams import Pixels

Mode = Literal["longest", "shortest", "squash"]
Interpolation = Literal["bicubic", "bilinear"]
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def resize(
    image: Image.Image, side: int, mode: Mode = "shortest", interpolation: Interpolation = "bicubic", fill: int = 0
) -> Pixels:
    """Fit an RGB picture into uint8 ``[side, side, 3]``.

    ``longest`` keeps all of it and fills the rest with the grey ``fill`` (0-255), ``shortest`` cuts the middle out,
    ``squash`` distorts. A side never becomes less than one pixel, however long the strip.
    """
    resample = _FILTERS[interpolation]
    if mode == "squash":
        return np.array(image.resize((side, side), resample))
    if mode == "shortest":
        return np.array(image.resize((side, side), resample, box=_middle(image.size, side)))
    width, height = _inside(image.size, side)
    small = image.resize((width, height), resample)
    square = np.full((side, side, 3), fill, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = np.asarray(small)
    return square


def _inside(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Give the width and height that fill the square along the longer side."""
    ratio = max(size) / side
    return max(1, round(size[0] / ratio)), max(1, round(size[1] / ratio))


def _middle(size: tuple[int, int], side: int) -> tuple[float, float, float, float]:
    """Give the box of the original that becomes the middle square once the shorter side is ``side`` pixels.

    Resizing only this box equals resizing all and cropping, and a strip of 1 x 20000 stays cheap.
    """
    box = []
    for length in size:
        scaled = int(side * length / min(size))
        start = round((scaled - side) / 2.0)
        scale = length / scaled
        box.append((start * scale, min((start + side) * scale, length)))
    return box[0][0], box[1][0], box[0][1], box[1][1]


def difference_hash(image: Image.Image) -> int:
    """Give the 64-bit difference hash (N. Krawetz, 2013) as a signed integer: near-duplicates differ in few bits."""
    tiny = image.resize((9, 8), Image.Resampling.BILINEAR, reducing_gap=1.0).convert("L")
    grey = np.asarray(tiny)  # [8, 9]
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return int.from_bytes(bits.tobytes(), "big", signed=True)
