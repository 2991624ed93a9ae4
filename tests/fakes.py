"""Hand-written stand-ins for the two seams of the indexer: small, exact and without FAISS or torch."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from indexer.errors import PictureError, VectorIndexError
from indexer.seams import Floats, Ids, Pixels

SIDE = 8
COLOURS = {
    "red": (220, 30, 30),
    "orange": (240, 140, 20),
    "yellow": (240, 220, 40),
    "green": (30, 160, 50),
    "cyan": (40, 200, 210),
    "blue": (30, 60, 210),
    "purple": (140, 40, 190),
    "pink": (250, 150, 190),
    "brown": (120, 70, 30),
    "black": (10, 10, 10),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "white": (245, 245, 245),
}


class FakeEncoder:
    """Sees colour and coarse layout; reads colour words as colours and other words as noise.

    Dimensions 0-3 hold the mean colour (three parts of hue, one of brightness), 4-11 the brightness and warmth of the
    four quarters, 12-14 the hashed words, 15 a constant so that no vector is zero; any further ones are 0.
    """

    image_size = SIDE
    context_length = 8
    logit_scale = 100.0

    def __init__(self, name: str = "fake", dim: int = 16) -> None:
        if dim < 16:
            raise ValueError(f"a FakeEncoder of dimension {dim} has no room for its features; give at least 16")
        self.name = name
        self.dim = dim
        self.fingerprint = hashlib.blake2b(f"{name}/{dim}".encode(), digest_size=8).hexdigest()
        self.images_encoded = 0  # tests ask: was anything embedded twice?

    def prepare(self, image: Image.Image) -> Pixels:
        """Squash to uint8 ``[8, 8, 3]``."""
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.uint8)

    def encode_pixels(self, pixels: Pixels) -> Floats:
        """uint8 ``[n, 8, 8, 3]`` -> float32 ``[n, dim]`` unit rows."""
        self.images_encoded += len(pixels)
        rows = np.zeros((len(pixels), self.dim))
        shades = pixels.astype(np.float64) / 255 - 0.5
        rows[:, :4] = _colour(shades.mean(axis=(1, 2)))
        half = SIDE // 2
        quarters = shades.reshape(-1, 2, half, 2, half, 3).mean(axis=(2, 4)).reshape(-1, 4, 3)
        rows[:, 4:8] = 0.3 * quarters.mean(axis=2)
        rows[:, 8:12] = 0.3 * (quarters[:, :, 0] - quarters[:, :, 2])
        return _unit(rows)

    def encode_images(self, images: Sequence[Image.Image | Path | str | bytes]) -> Floats:
        """Pictures (PIL, path or bytes) -> float32 ``[n, dim]`` unit rows."""
        pixels = [self.prepare(_opened(image)) for image in images]
        return self.encode_pixels(np.array(pixels, np.uint8).reshape(-1, SIDE, SIDE, 3))

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Texts -> float32 ``[n, dim]`` unit rows."""
        rows = np.zeros((len(texts), self.dim))
        for row, text in zip(rows, texts, strict=True):
            words = text.lower().split()[: self.context_length]
            named = [COLOURS[word] for word in words if word in COLOURS]
            if named:
                row[:4] = _colour(np.mean(named, axis=0) / 255 - 0.5)
            for word in words:
                if word not in COLOURS:
                    digest = hashlib.blake2b(word.encode(), digest_size=3).digest()
                    row[12:15] += (np.frombuffer(digest, np.uint8) / 127.5 - 1) * 0.2
        return _unit(rows)

    def truncated(self, text: str) -> str:
        """What lies past the eighth word."""
        return " ".join(text.split()[self.context_length :])


class FakeIndex:
    """Every row in a dictionary, every search a matrix product."""

    kind = "fake"
    recall_at_10: float | None = 1.0
    needs_compaction = False

    def __init__(self, dim: int = 16) -> None:
        self.dim = dim
        self.generation = 0
        self.stamp = ""
        self.rows: dict[int, Floats] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> Ids:
        """The live item ids, ascending."""
        return np.array(sorted(self.rows), np.int64)

    def add(self, ids: Ids, vectors: Floats) -> None:
        """Insert or replace rows."""
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise VectorIndexError(
                f"vectors of shape {list(vectors.shape)} do not fit an index of dimension {self.dim}"
            )
        self.rows.update((int(item), row.copy()) for item, row in zip(ids, vectors, strict=True))

    def remove(self, ids: Ids) -> int:
        """Drop rows; returns how many there were."""
        return sum(self.rows.pop(int(item), None) is not None for item in ids)

    def search(self, queries: Floats, k: int, only: Ids | None = None) -> tuple[Floats, Ids]:
        """The k nearest of each query, by descending score and then ascending id."""
        allowed = set(self.rows) if only is None else set(self.rows) & {int(item) for item in only}
        ids = np.array(sorted(allowed), np.int64)
        table = np.array([self.rows[item] for item in ids], np.float32).reshape(-1, self.dim)
        scores = np.asarray(queries, np.float32) @ table.T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.full((len(scores), k), -np.inf, np.float32)
        found = np.full((len(scores), k), -1, np.int64)
        best[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
        found[:, : order.shape[1]] = ids[order]
        return best, found

    def compact(self) -> None:
        """Nothing to do."""

    def measure_recall(self, sample: int = 200) -> float:
        """Always 1: it is exact."""
        return 1.0

    def save(self, path: Path) -> None:
        """Write as JSON."""
        rows = {item: row.tolist() for item, row in self.rows.items()}
        facts = {"dim": self.dim, "generation": self.generation, "stamp": self.stamp, "rows": rows}
        draft = path.with_name(f"{path.name}.tmp")
        draft.write_text(json.dumps(facts))
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> FakeIndex:
        """Read what ``save`` wrote."""
        facts = json.loads(path.read_text())
        index = cls(facts["dim"])
        index.generation, index.stamp = facts["generation"], facts["stamp"]
        index.rows = {int(item): np.array(row, np.float32) for item, row in facts["rows"].items()}
        return index


def _colour(shade: np.ndarray) -> np.ndarray:
    """Red, green and blue in -0.5..0.5 ``[..., 3]`` -> hue without grey, and brightness ``[..., 4]``."""
    grey = shade.mean(axis=-1, keepdims=True)
    return np.concatenate([2 * (shade - grey), grey], axis=-1)


def _unit(rows: np.ndarray) -> Floats:
    rows[:, 15] = 0.05
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _opened(image: Image.Image | Path | str | bytes) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    try:
        opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
        opened.load()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise PictureError("not-a-picture", "the file is no picture", "remove it") from error
    return opened
