"""Between rows and records, and between vectors and bytes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from indexer.catalog.records import Encoder, Failure, Item, Source
from indexer.seams import Floats


def to_blob(vector: Floats) -> bytes:
    """fp16 little-endian bytes of one vector, ``[dim]``."""
    return vector.astype("<f2").tobytes()


def from_blobs(blobs: list[bytes], dim: int) -> Floats:
    """Unit rows ``[n, dim]`` of stored vectors; rounding to fp16 has moved their length by up to 0.05 %.

    A row that is zero, not finite or of another length comes back as NaN, so that callers can see it.
    """
    matrix = _matrix(blobs, dim)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Floats = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return unit


def lengths(blobs: list[bytes], dim: int) -> Floats:
    """Euclidean lengths ``[n]`` of stored vectors as they are; NaN for one of another size."""
    norms: Floats = np.linalg.norm(_matrix(blobs, dim), axis=1)
    return norms


def _matrix(blobs: list[bytes], dim: int) -> Floats:
    broken = np.full(dim, np.nan, dtype="<f2").tobytes()
    whole = [blob if len(blob) == 2 * dim else broken for blob in blobs]
    return np.frombuffer(b"".join(whole), dtype="<f2").reshape(len(whole), dim).astype(np.float32)


def as_item(row: Any) -> Item:
    """An ``items`` row as a record."""
    return Item(**{field: getattr(row, field) for field in Item.__slots__})


def as_failure(row: Any) -> Failure:
    """A ``failures`` row as a record."""
    return Failure(**{field: getattr(row, field) for field in Failure.__slots__})


def as_encoder(row: Any) -> Encoder:
    """An ``encoders`` row as a record."""
    return Encoder(**{field: getattr(row, field) for field in Encoder.__slots__})


def as_source(row: Any) -> Source:
    """A ``sources`` row as a record."""
    stamp = None if row.stamp_size is None else (row.stamp_size, row.stamp_mtime_ns)
    location = os.fsdecode(row.location)
    return Source(row.id, row.kind, location, row.options, stamp, row.added_at, row.finished_at)
