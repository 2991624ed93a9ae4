"""The two seams of this room: what an encoder and a vector index must be able to do.

Knows numpy and nothing else, so that importing it costs nothing. The real classes are in
``encoder.py`` and ``vectors.py``; the hand-written fakes are in ``tests/fakes.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


class Encoder(Protocol):
    """A dual encoder: pictures and texts become unit rows of one space."""

    @property
    def name(self) -> str:
        """What the user called it: a preset, ``ARCH/TAG``, ``hf-hub:...`` or ``local-dir:...``."""
        ...

    @property
    def fingerprint(self) -> str:
        """Architecture + weights hash + preprocessing, as a short hex string; never the precision."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def image_size(self) -> int:
        """Side of a prepared picture, in pixels."""
        ...

    @property
    def context_length(self) -> int:
        """Longest text in tokens, start and end marks included."""
        ...

    @property
    def logit_scale(self) -> float:
        """The learnt factor (already exponentiated) that turns cosines into logits."""
        ...

    def prepare(self, image: Image) -> Pixels:
        """Resize and crop or letterbox one upright RGB picture to uint8 ``[side, side, 3]``. Thread-safe."""
        ...

    def encode_pixels(self, pixels: Pixels) -> Floats:
        """Embed prepared pictures, uint8 ``[n, side, side, 3]`` -> float32 ``[n, dim]`` unit rows."""
        ...

    def encode_images(self, images: Sequence[Image | Path | str | bytes]) -> Floats:
        """Embed pictures (PIL, path or bytes) -> float32 ``[n, dim]`` unit rows."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Embed texts -> float32 ``[n, dim]`` unit rows; what lies past the context is cut."""
        ...

    def truncated(self, text: str) -> str:
        """The tail of ``text`` that does not fit into ``context_length``; empty when all of it fits."""
        ...


class VectorIndex(Protocol):
    """Nearest neighbours by inner product over unit rows, addressed by item id. Search is thread-safe."""

    @property
    def kind(self) -> str:
        """``flat``, ``hnsw`` or ``ivf``, with what belongs to it: ``ivf4096,sq8``."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def __len__(self) -> int:
        """Number of live vectors."""
        ...

    def add(self, ids: Ids, vectors: Floats) -> None:
        """Insert or replace rows: ids ``[n]``, vectors ``[n, dim]``."""
        ...

    def remove(self, ids: Ids) -> int:
        """Mask rows; unknown ids are ignored. Returns how many were live."""
        ...

    def search(self, queries: Floats, k: int, only: Ids | None = None) -> tuple[Floats, Ids]:
        """The k nearest of each query ``[q, dim]``, best first: scores and ids, both ``[q, k]``.

        ``only`` restricts to these item ids. Missing places are score ``-inf`` and id ``-1``.
        """
        ...

    def save(self, path: Path) -> None:
        """Write to ``path`` (a temporary name first, fsynced, then renamed)."""
        ...
