"""One FAISS index and its raw rows, addressed by position.

Knows FAISS (Douze et al. 2024, arXiv:2401.08281) and nothing of item ids, locks or files' bookkeeping.

Every kind keeps the rows as fp16, which is what the catalogue stores, so exact scores are exact:
``flat`` scans them; ``hnsw`` (Malkov & Yashunin 2016, arXiv:1603.09320) walks a graph over them; ``ivf`` scans
compressed copies in the nearest k-means cells (Jégou et al. 2011, doi:10.1109/TPAMI.2010.57) and rescores the best.
"""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import VectorIndexError
from indexer.seams import Floats, Ids
from indexer.vectors_kinds import Kind
from indexer.vectors_rows import bits

_CHUNK = 16_384  # rows moved at once: 32 MB of fp32 at 512 dimensions
_TRAIN_PER_LIST = 64
_TRAIN_AT_LEAST = 20_000  # PQ and SQ8 ranges want some rows even when the cells are few
_EF_CONSTRUCTION = 80
_SHARED_BY = 16  # queries from which unpacking rows once for all of them pays
_SKIP_COST = 1000  # passing over a position that a filter excludes costs a thousandth of unpacking a row


def faiss() -> Any:
    """The library, loaded on first use because it takes a third of a second."""
    with warnings.catch_warnings():
        # SWIG's own types, in wheels built before SWIG 4.4: "builtin type SwigPyPacked has no __module__ attribute"
        warnings.filterwarnings("ignore", message="builtin type .* has no __module__", category=DeprecationWarning)
        import faiss as library
    return library


class Engine:
    """Rows by position ``0..count-1``, searched by inner product.

    ``effort`` is ``efSearch`` (hnsw) or ``nprobe`` (ivf). An ``ivf`` engine is ``trained`` once it holds enough rows
    for its cells; until then it scans exactly. A ``frozen`` engine is mapped from a file; ``add`` thaws it first, as
    FAISS would abort the whole process.
    """

    def __init__(self, kind: Kind, dim: int, *, threads: int, seed: int = 0) -> None:
        self._faiss = faiss()
        self.kind = kind
        self.dim = dim
        self.threads = threads
        self.seed = seed
        self.effort = {"hnsw": 64, "ivf": max(1, kind.lists // 32)}.get(kind.family, 0)
        self.frozen = False
        self._refine = 64.0 if kind.segments else 4.0  # candidates rescored for each one wanted
        self._mapping: mmap.mmap | None = None
        self._index = self._graph() if kind.family == "hnsw" else self._fp16()
        self._parts: tuple[Any, ...] = ()  # what C++ points into must stay alive

    @property
    def count(self) -> int:
        """Positions in use."""
        return int(self._index.ntotal)

    @property
    def exact(self) -> bool:
        """Whether ``near`` is the same as ``scan``."""
        return self.kind.family == "flat" or not self.trained

    @property
    def trained(self) -> bool:
        """False only for an ``ivf`` engine that still holds too few rows."""
        return self.kind.family != "ivf" or isinstance(self._index, self._faiss.IndexRefine)

    def nbytes(self) -> int:
        """Estimated memory of rows, codes and graph; mapped pages count too."""
        row = self.dim * 2
        if self.kind.family == "hnsw":
            row += self.kind.links * 2 * 4 + 16  # lowest layer, offsets and levels; upper layers are a few per cent
        fixed = 0
        if self.kind.family == "ivf" and self.trained:
            row += (self.kind.segments or self.dim) + 8
            fixed = self.kind.lists * self.dim * 4
        return self.count * row + fixed

    def add(self, rows: Floats) -> None:
        """Append ``rows`` ``[n, dim]``."""
        if self.frozen:
            self._thaw()
        self._faiss.omp_set_num_threads(self.threads)
        self._index.add(rows)

    def cells(self, progress: Callable[[int], None] | None = None) -> Any:
        """Cells for what an untrained ``ivf`` engine holds, trained on a random sample of bounded size; see ``use``."""
        if self.frozen:
            self._thaw()
        cells = self._empty_cells()
        wanted = min(self.count, max(_TRAIN_AT_LEAST, self.kind.lists * _TRAIN_PER_LIST))
        chosen = np.random.default_rng(self.seed).choice(self.count, wanted, replace=False)
        sample = self.rows(np.sort(chosen))
        self._faiss.omp_set_num_threads(self.threads)
        cells.train(sample)
        for start, rows in self.chunks():
            self._faiss.omp_set_num_threads(self.threads)
            cells.add(rows)
            if progress is not None:
                progress(start + len(rows))
        return cells

    def use(self, cells: Any) -> None:
        """Search through these cells from now on."""
        store = self._index
        self._index = self._faiss.IndexRefine(cells, store)
        self._parts = (cells, store)

    def chunks(self) -> Iterator[tuple[int, Floats]]:
        """All rows in order: first position and float32 ``[<=16384, dim]``."""
        for start in range(0, self.count, _CHUNK):
            yield start, self.rows(np.arange(start, min(start + _CHUNK, self.count)))

    def rows(self, positions: Ids) -> Floats:
        """The stored rows, float32 ``[n, dim]``."""
        self._faiss.omp_set_num_threads(1)
        rows: Floats = self._store().reconstruct_batch(positions) if len(positions) else np.empty((0, self.dim), "f4")
        return rows

    def scan(self, queries: Floats, k: int, places: Ids | None = None) -> tuple[Floats, Ids]:
        """The exact answer, among ``places`` if given: scores and positions ``[q, k]``, -1 where missing.

        Many queries share the unpacking of each block of rows; for few rows it is not worth looking at all the others.
        """
        few = places is not None and len(places) * _SKIP_COST < self.count
        if few or len(queries) >= _SHARED_BY:
            return self._scan_blocks(queries, k, np.arange(self.count) if places is None else places)
        chosen = {} if places is None else {"sel": self._faiss.IDSelectorBitmap(bits(places, self.count))}
        return self._search(self._store(), queries, k, self._faiss.SearchParameters(**chosen))

    def _scan_blocks(self, queries: Floats, k: int, places: Ids) -> tuple[Floats, Ids]:
        best = self._faiss.ResultHeap(len(queries), k, keep_max=True)
        for start in range(0, len(places), _CHUNK):
            block = places[start : start + _CHUNK]
            rows = self.rows(block)
            self._faiss.omp_set_num_threads(self.threads if len(queries) > 1 else 1)
            scores, found = self._faiss.knn(queries, rows, min(k, len(rows)), self._faiss.METRIC_INNER_PRODUCT)
            best.add_result(scores, block[found])
        best.finalize()
        return best.D, best.I

    def near(self, queries: Floats, k: int, effort: int) -> tuple[Floats, Ids]:
        """The approximate answer among all positions; like ``scan``."""
        if self.exact:
            return self.scan(queries, k)
        if self.kind.family == "hnsw":
            return self._search(self._index, queries, k, self._faiss.SearchParametersHNSW(efSearch=max(effort, k)))
        cells = self._faiss.SearchParametersIVF(nprobe=min(effort, self.kind.lists))
        refined = self._faiss.IndexRefineSearchParameters(k_factor=self._refine, base_index_params=cells)
        return self._search(self._index, queries, k, refined)

    def write(self, path: Path) -> None:
        """Write to ``path``."""
        with _as_index_error(f"the vector index could not be written to {path}; free some disk space"):
            self._faiss.write_index(self._index, str(path))

    def read(self, path: Path, *, mapped: bool) -> None:
        """Replace what is held by the file's content; ``mapped`` leaves it on disk until touched."""
        flag = getattr(self._faiss, "IO_FLAG_MMAP_IFC", None) if mapped else None  # FAISS 1.11
        with _as_index_error(f"the vector index file {path} is damaged; rebuild it from the catalogue"):
            self._index = self._faiss.read_index(str(path), flag) if flag else self._faiss.read_index(str(path))
        self.frozen = flag is not None
        if self.frozen:  # for thawing; unlike the name, a mapping outlives a newer save
            with path.open("rb") as file:
                self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._index.d != self.dim:
            raise VectorIndexError(f"{path} holds vectors of {self._index.d} dimensions, not {self.dim}; rebuild it")

    def _thaw(self) -> None:
        if self._mapping is not None:
            self._mapping.seek(0)
            self._index = self._faiss.read_index(self._faiss.PyCallbackIOReader(self._mapping.read))
            self._mapping = None
        self.frozen = False

    def _search(self, index: Any, queries: Floats, k: int, params: Any) -> tuple[Floats, Ids]:
        # FAISS spreads queries over threads; waking a second one for a single query only costs
        self._faiss.omp_set_num_threads(max(1, min(self.threads, len(queries))))
        scores, positions = index.search(queries, k, params=params)
        return scores, positions

    def _store(self) -> Any:
        """The fp16 rows inside ``_index``."""
        if self.kind.family == "hnsw":
            return self._faiss.downcast_index(self._index.storage)
        if self.kind.family == "ivf" and self.trained:
            return self._faiss.downcast_index(self._index.refine_index)
        return self._index

    def _fp16(self) -> Any:
        lib = self._faiss
        return lib.IndexScalarQuantizer(self.dim, lib.ScalarQuantizer.QT_fp16, lib.METRIC_INNER_PRODUCT)

    def _graph(self) -> Any:
        lib = self._faiss
        index = lib.IndexHNSWSQ(self.dim, lib.ScalarQuantizer.QT_fp16, self.kind.links, lib.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _EF_CONSTRUCTION
        return index

    def _empty_cells(self) -> Any:
        lib, lists = self._faiss, self.kind.lists
        centres = lib.IndexFlatIP(self.dim)
        if self.kind.segments:
            index = lib.IndexIVFPQ(centres, self.dim, lists, self.kind.segments, 8, lib.METRIC_INNER_PRODUCT)
        else:
            code = lib.ScalarQuantizer.QT_8bit
            index = lib.IndexIVFScalarQuantizer(centres, self.dim, lists, code, lib.METRIC_INNER_PRODUCT)
        index.cp.seed = self.seed + 1  # 0 would be FAISS's default of 1234 in some versions
        index.cp.spherical = True  # cells by cosine, as the rows are unit
        index.cp.max_points_per_centroid = _TRAIN_PER_LIST
        index.cp.min_points_per_centroid = 1  # or a warning goes to stderr
        return index


@contextmanager
def _as_index_error(sentence: str) -> Iterator[None]:
    """FAISS raises RuntimeError with a C++ location in it; keep that as the cause."""
    try:
        yield
    except (RuntimeError, OSError, MemoryError) as error:
        raise VectorIndexError(sentence) from error
