"""Synthetic vectors that are as hard to search as CLIP's, and their exact neighbours.

Uniform noise on a sphere of 512 dimensions has no neighbourhoods (all distances are alike), so every approximate index
looks bad on it; a few tight clusters make every one look good. Embeddings of pictures lie between: their common mean
fills about half of every vector (cosine of a random pair near 0.5), the variance falls along the principal axes as a
power law, and the intrinsic dimension is a few dozen. So a row here is

    unit( mean + centre[c] + local + noise ),   c Zipf-distributed over rows / 50 clusters

with centre and local drawn in 96 axes of variance ~ 1 / rank, and isotropic noise of a tenth of that. On 20,000 rows:
cosine of a random pair 0.49, of the nearest neighbour 0.83, intrinsic dimension (TwoNN, Facco et al. 2017) 25-35, and
90 % of the variance in 80 axes. Half of the queries are fresh draws (a picture asks); the rest have another mean, a
smaller own part and more noise (a text asks: the modality gap of Liang et al. 2022, arXiv:2203.02053; best cosine 0.3).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from indexer.seams import Floats, Ids
from indexer.vectors_recall import questions

AXES = 96
BATCH = 20_000
QUERIES = 400
TUNING = 200


class Mixture:
    """Draws rows; the same seed gives the same rows."""

    def __init__(self, rows: int, dim: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        basis, _ = np.linalg.qr(self.rng.standard_normal((dim, AXES)))
        scale = (1 + np.arange(AXES)) ** -0.5
        self.axes = (basis * scale / np.linalg.norm(scale)).T.astype(np.float32)  # [AXES, dim], total variance 1
        self.mean, self.words = (unit(self.rng.standard_normal((1, dim))) for _ in range(2))
        clusters = max(20, rows // 50)
        self.centres = self.rng.standard_normal((clusters, AXES)).astype(np.float32)
        weight = (1 + np.arange(clusters)) ** -0.7
        self.weight = np.cumsum(weight / weight.sum())
        self.dim = dim

    def pictures(self, count: int) -> Floats:
        """float32 ``[count, dim]`` unit rows."""
        return unit(self.mean + self._own(count) + self._noise(count, 0.3))

    def texts(self, count: int) -> Floats:
        """float32 ``[count, dim]`` unit rows beside the pictures."""
        return unit(self.words + 0.6 * self._own(count) + self._noise(count, 0.6))

    def _own(self, count: int) -> Floats:
        which = np.searchsorted(self.weight, self.rng.random(count)).clip(max=len(self.centres) - 1)
        local = self.rng.standard_normal((count, AXES), np.float32)
        own: Floats = (0.75 * self.centres[which] + 0.66 * local) @ self.axes
        return own

    def _noise(self, count: int, norm: float) -> Floats:
        return self.rng.standard_normal((count, self.dim), np.float32) * np.float32(norm / self.dim**0.5)


def unit(rows: Floats) -> Floats:
    """Rows divided by their length."""
    scaled: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def make(folder: Path, rows: int, dim: int) -> None:
    """Write ``rows.npy`` (fp16), queries and their exact ten neighbours to ``folder``."""
    mixture = Mixture(rows, dim)
    table = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float16, (rows, dim))
    for start in range(0, rows, BATCH):
        table[start : start + BATCH] = mixture.pictures(min(BATCH, rows - start))
    asked = np.concatenate([mixture.pictures(QUERIES // 2), mixture.texts(QUERIES // 2)])
    some = np.sort(np.random.default_rng(1).choice(rows, TUNING, replace=False))
    tuning = questions(table[some].astype(np.float32), np.random.default_rng(2))
    for name, queries in (("asked", asked), ("tuning", tuning)):
        np.save(folder / f"{name}.npy", queries)
        np.save(folder / f"{name}_truth.npy", exact(table, queries, 10))


def exact(table: np.ndarray, queries: Floats, k: int) -> Ids:
    """Positions of the k nearest rows by brute force in fp32 ``[q, k]``, best first."""
    scores, places = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(table), BATCH):
        block = queries @ table[start : start + BATCH].astype(np.float32).T
        best = np.argpartition(-block, k - 1, axis=1)[:, :k] if block.shape[1] > k else np.argsort(-block, axis=1)
        scores = np.concatenate([scores, np.take_along_axis(block, best, axis=1)], axis=1)
        places = np.concatenate([places, best + start], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, places = np.take_along_axis(scores, order, axis=1), np.take_along_axis(places, order, axis=1)
    return places
