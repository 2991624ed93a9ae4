"""Which index for how many rows: reads ``hnsw32`` or ``ivf4096,sq8``, and chooses when nobody said.

Knows numbers and names; no FAISS, no vectors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import log2, sqrt

from indexer.errors import VectorIndexError

# From benchmarks/results/vectors.md: 512 dimensions, one query on one thread, tuned to a recall@10 of 0.95 or more.
#   rows          flat    hnsw32   ivf,sq8     seconds to build: hnsw32   ivf,sq8
#   10,000      0.5 ms    0.1 ms    0.1 ms                            2         1
#   100,000      12 ms    0.7 ms    1.2 ms                           59        17
#   1,000,000    88 ms    8.9 ms    8.1 ms                         1926       149
# Exact while that takes about 10 ms, less than embedding the question does. Then hnsw while it is the faster one; at a
# million it no longer is, and took thirteen times as long to build (on cores that other work shared).
FLAT_UP_TO = 100_000
HNSW_UP_TO = 500_000
ROWS_PER_LIST = 39  # FAISS warns below this many training rows per k-means centroid

_ALLOWED = (
    "flat, hnsw, hnsw32 (2-128 links), ivf, ivf4096,sq8 or ivf4096,pq64 (lists, then sq8 or pq with a divisor of dim)"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One parsed kind; ``str()`` gives the spelling that parses back to it.

    ``links`` (HNSW) is the number of neighbours of a node on the upper layers, twice as many on the lowest;
    ``lists`` (IVF) the number of k-means cells; ``segments`` the bytes of a product-quantised row, 0 for sq8.
    """

    family: str
    links: int = 0
    lists: int = 0
    segments: int = 0

    def __str__(self) -> str:
        if self.family == "hnsw":
            return f"hnsw{self.links}"
        if self.family == "ivf":
            return f"ivf{self.lists},{f'pq{self.segments}' if self.segments else 'sq8'}"
        return self.family

    @property
    def rows_to_train(self) -> int:
        """Rows needed before k-means makes sense; until then an IVF index searches exactly."""
        return self.lists * ROWS_PER_LIST


def lists_for(count: int) -> int:
    """Cells for ``count`` rows: about 4 * sqrt(count), FAISS's advice (Douze et al. 2024), each with rows enough.

    A power of two, so that a library that grows does not ask for another number every day.
    """
    return 1 << min(round(log2(4 * sqrt(max(count, 16)))), int(log2(max(count, ROWS_PER_LIST) / ROWS_PER_LIST)))


def choose_kind(count: int, dim: int) -> str:
    """The kind that ``kind="auto"`` means for ``count`` rows of ``dim`` floats."""
    rows = count * dim / 512  # what costs time is bytes scanned; the table was measured at 512
    if rows <= FLAT_UP_TO:
        return "flat"
    return "hnsw32" if rows <= HNSW_UP_TO else f"ivf{lists_for(count)},sq8"


def parse_kind(spec: str, *, dim: int, count: int = 0) -> Kind:
    """Read ``spec``; ``auto`` and a bare ``ivf`` are settled by ``count``, the expected number of rows.

    Raises VectorIndexError, which lists what is allowed.
    """
    text = spec.strip().lower().replace(" ", "")
    text = {"auto": choose_kind(count, dim), "hnsw": "hnsw32", "ivf": f"ivf{lists_for(count)},sq8"}.get(text, text)
    kind = _read(text)
    if kind is None or not _possible(kind, dim):
        raise VectorIndexError(f"no vector index of kind {spec!r} for {dim} dimensions; allowed are auto, {_ALLOWED}")
    return kind


def _read(text: str) -> Kind | None:
    if text == "flat":
        return Kind("flat")
    if found := re.fullmatch(r"hnsw(\d{1,3})", text):
        return Kind("hnsw", links=int(found[1]))
    if found := re.fullmatch(r"ivf(\d{1,7})(?:,(?:sq8|pq(\d{1,4})))?", text):
        return Kind("ivf", lists=int(found[1]), segments=int(found[2] or 0))
    return None


def _possible(kind: Kind, dim: int) -> bool:
    if kind.family == "hnsw":
        return 2 <= kind.links <= 128
    if kind.family == "ivf":
        return kind.lists >= 1 and dim % max(kind.segments, 1) == 0
    return True
