"""The vector index: nearest neighbours of unit rows by inner product, addressed by item id.

The door to ``vectors_*.py``: build one, open one, or start an empty ``FaissIndex``. It is a cache: the catalogue holds
the truth, and an index can be thrown away and built again at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from indexer.errors import VectorIndexError
from indexer.seams import Floats, Ids
from indexer.vectors_files import inspect
from indexer.vectors_index import FaissIndex
from indexer.vectors_kinds import choose_kind, parse_kind

__all__ = ["FaissIndex", "build_index", "choose_kind", "load_index", "parse_kind"]

_TRIES = 5


def build_index(
    batches: Iterable[tuple[Ids, Floats]],
    *,
    dim: int,
    count: int,
    kind: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> FaissIndex:
    """Build from batches of ids ``[n]`` and vectors ``[n, dim]``, ``count`` rows in all, and measure its recall.

    The same batches and ``seed`` give the same index, except for the edges of hnsw when ``threads`` is above 1.
    """
    index = FaissIndex(dim, kind, count=count, threads=threads, seed=seed)
    index.fill(batches, progress)
    return index


def load_index(path: Path, mmap: bool = True, *, verify: bool = False, threads: int | None = None) -> FaissIndex:  # noqa: FBT001
    """Open what ``save`` wrote; ``mmap`` leaves the vectors on disk until they are touched or changed.

    Raises VectorIndexError when the files are missing, damaged or not ours. Large files are checked in samples unless
    ``verify``.
    """
    path = Path(path)
    for _ in range(_TRIES):
        before = _bytes_of(path)
        try:
            saved = inspect(path, whole=verify)
            facts = saved.facts
            index = FaissIndex(facts["dim"], facts["kind"], threads=threads, seed=facts["seed"])
            index.restore(saved, mapped=mmap)
        except (VectorIndexError, OSError):
            if _bytes_of(path) == before:
                raise
        else:
            return index
    raise VectorIndexError(f"the vector index at {path} is being replaced again and again; try later")


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
