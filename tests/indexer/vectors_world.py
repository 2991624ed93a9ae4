"""What the tests of the vector index share: clustered rows, a built index and brute force beside it."""

from __future__ import annotations

import numpy as np

from indexer.seams import Floats, Ids, VectorIndex
from indexer.vectors import FaissIndex, build_index
from tests.fakes import FakeIndex

DIM = 32
KINDS = ["flat", "hnsw8", "ivf16,sq8", "ivf16,pq8"]


def pictures(count: int, seed: int = 0, dim: int = DIM) -> Floats:
    """Clustered unit rows, rounded to fp16 as the catalogue stores them."""
    centres = np.random.default_rng(99).standard_normal((20, dim))
    rng = np.random.default_rng(seed)
    rows = centres[rng.integers(0, 20, count)] + 0.5 * rng.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def built(kind: str, count: int = 2000, *, first: int = 1) -> tuple[FaissIndex, Ids, Floats]:
    """An index of ``count`` rows, with ids that are neither sorted nor dense."""
    rows = pictures(count)
    ids = first + 3 * np.random.default_rng(1).permutation(count)
    starts = range(0, count, 300)
    batches = ((ids[i : i + 300], rows[i : i + 300]) for i in starts)
    return build_index(batches, dim=DIM, count=count, kind=kind, threads=1), ids, rows


def truth(ids: Ids, rows: Floats) -> FakeIndex:
    fake = FakeIndex(DIM)
    fake.add(ids, rows)
    return fake


def recall(expected: Ids, found: Ids) -> float:
    return sum(len(set(a) & set(b) - {-1}) for a, b in zip(expected, found, strict=True)) / max(
        1, (expected >= 0).sum()
    )


def assert_same(index: VectorIndex, fake: FakeIndex, k: int = 5) -> None:
    """Every live row is found, and scores equal those of brute force (ids may differ where scores tie)."""
    assert len(index) == len(fake)
    queries = np.array([*fake.rows.values(), np.ones(fake.dim)], np.float32)
    scores, ids = index.search(queries, k)
    expected, _ = fake.search(queries, k)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    for row, query in zip(ids, queries, strict=True):
        real = row[row >= 0]
        assert len(set(real)) == len(real)
        found = np.array([fake.rows[item] @ query for item in real])
        np.testing.assert_allclose(found, np.sort(found)[::-1], atol=1e-5)
