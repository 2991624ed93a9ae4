"""What the vector index accepts: whole ids from 0 up, finite rows of the right length.

Knows numpy only.
"""

from __future__ import annotations

import numpy as np

from indexer.errors import VectorIndexError
from indexer.seams import Floats, Ids

_LARGEST = 65_504.0  # of fp16


def checked_ids(ids: Ids) -> Ids:
    """Item ids as int64 ``[n]``; VectorIndexError unless they are whole numbers from 0 up."""
    given = np.asarray(ids)
    if given.ndim != 1 or (given.size and (not np.issubdtype(given.dtype, np.integer) or given.min() < 0)):
        raise VectorIndexError(
            f"ids of shape {given.shape} and type {given.dtype} were given; give whole numbers >= 0 in one row"
        )
    return given.astype(np.int64, copy=False)


def checked_vectors(vectors: Floats, dim: int) -> Floats:
    """Vectors as contiguous float32 ``[n, dim]``; VectorIndexError unless they have ``dim`` finite columns."""
    given = np.ascontiguousarray(vectors, np.float32)
    if given.ndim != 2 or given.shape[1] != dim:
        raise VectorIndexError(
            f"vectors of shape {list(given.shape)} do not fit an index of dimension {dim}; give [n, {dim}]"
        )
    # one pass catches NaN, infinities and what would overflow fp16
    if given.size and not np.abs(given).max() <= _LARGEST:
        row = int(np.flatnonzero(~(np.abs(given).max(axis=1) <= _LARGEST))[0])
        raise VectorIndexError(f"vector {row} of {len(given)} has values that are not finite; embed that item again")
    return given
