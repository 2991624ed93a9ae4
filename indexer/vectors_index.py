"""The index itself: ids, positions, locks and settings around one FAISS engine.

Knows when to train, tune and compact; knows nothing of items, encoders or the catalogue. The kinds are in
``vectors_kinds.py``, the choice between index and exact scan in ``vectors_search.py``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from indexer.errors import VectorIndexError
from indexer.seams import Floats, Ids
from indexer.vectors_faiss import Engine
from indexer.vectors_files import Saved, publish
from indexer.vectors_input import checked_ids, checked_vectors
from indexer.vectors_kinds import Kind, parse_kind
from indexer.vectors_lock import ReadWriteLock
from indexer.vectors_recall import Exam, grade, tune
from indexer.vectors_rows import Rows
from indexer.vectors_search import answer

_FAMILIES = ("flat", "hnsw", "ivf")  # in order of growing


class FaissIndex:
    """A ``VectorIndex`` (see ``seams.py``) over FAISS; searching is thread-safe, also beside one or more writers.

    ``kind`` is ``auto``, ``flat``, ``hnsw32``, ``ivf4096,sq8``...; ``count`` is how many rows ``auto`` expects.
    ``threads`` bounds the threads of one call (all CPUs if None): FAISS brings its own OpenMP beside torch's, and two
    full teams on the same CPUs wait for each other, so lower one of them when both work at once.
    ``generation`` and ``stamp`` belong to the library, which sets them; they are saved and loaded.
    """

    def __init__(
        self, dim: int, kind: str = "auto", *, count: int = 0, threads: int | None = None, seed: int = 0
    ) -> None:
        self.generation = 0
        self.stamp = ""
        self.recall_at_10: float | None = None
        self._auto = kind == "auto"
        self._engine = Engine(parse_kind(kind, dim=dim, count=count), dim, threads=threads or _cpus(), seed=seed)
        self._rows = Rows()
        self._lock = ReadWriteLock()  # between searches and changes
        self._writer = threading.RLock()  # between changes, which may take long without stopping searches

    @property
    def kind(self) -> str:
        """``flat``, ``hnsw32``, ``ivf4096,sq8``... An ivf index that holds too few rows for its cells scans them."""
        return str(self._engine.kind)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._engine.dim

    def __len__(self) -> int:
        """Number of live vectors."""
        return self._rows.live

    @property
    def ids(self) -> Ids:
        """The live item ids, ascending."""
        with self._lock.read():
            return np.sort(self._rows.ids[self._rows.ids >= 0])

    @property
    def nbytes(self) -> int:
        """Estimated memory in bytes; a mapped index has only what was touched of it in memory."""
        return self._engine.nbytes() + self._rows.total * 24

    @property
    def threads(self) -> int:
        """Most threads of one call."""
        return self._engine.threads

    @threads.setter
    def threads(self, count: int) -> None:
        self._engine.threads = max(1, count)

    @property
    def ef_search(self) -> int | None:
        """Candidates that an hnsw search keeps; None for the other kinds."""
        return self._engine.effort if self._engine.kind.family == "hnsw" else None

    @ef_search.setter
    def ef_search(self, value: int) -> None:
        self._set_effort("hnsw", "ef_search", value)

    @property
    def nprobe(self) -> int | None:
        """Cells that an ivf search reads; None for the other kinds."""
        return self._engine.effort if self._engine.kind.family == "ivf" else None

    @nprobe.setter
    def nprobe(self, value: int) -> None:
        self._set_effort("ivf", "nprobe", value)

    def _set_effort(self, family: str, name: str, value: int) -> None:
        if self._engine.kind.family != family or value < 1:
            raise VectorIndexError(
                f"{name} = {value} does not fit an index of kind {self.kind}; it is for {family}, from 1 up"
            )
        self._engine.effort = value

    def add(self, ids: Ids, vectors: Floats) -> None:
        """Insert or replace rows: ids ``[n]`` >= 0, vectors ``[n, dim]``. Of an id given twice the last row counts.

        Searches get in between every few hundred rows. VectorIndexError for an unusable row, and nothing changes.
        """
        with self._writer:
            self._insert(ids, vectors)
            if self._trainable():
                self._train()

    def fill(self, batches: Iterable[tuple[Ids, Floats]], progress: Callable[[int], None] | None = None) -> None:
        """Add many batches of ids ``[n]`` and vectors ``[n, dim]``, and only then train, tune and measure recall.

        Memory is that of the index and one batch. ``progress`` gets the number of rows added so far.
        """
        with self._writer:
            for ids, vectors in batches:
                self._insert(ids, vectors)
                if progress is not None:
                    progress(self._rows.total)
            if self._outgrown():
                self.compact(progress)
            elif self._trainable():
                self._train()
            else:
                self.tune()

    def _insert(self, ids: Ids, vectors: Floats) -> None:
        ids, vectors = checked_ids(ids), checked_vectors(vectors, self.dim)
        if len(ids) != len(vectors):
            raise VectorIndexError(f"{len(ids)} ids were given for {len(vectors)} vectors; give one for each")
        last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
        if len(last) < len(ids):
            last.sort()
            ids, vectors = ids[last], vectors[last]
        step = 512 if self._engine.kind.family == "hnsw" else 16_384  # either takes a fraction of a second
        for start in range(0, len(ids), step):
            part = slice(start, start + step)
            with self._lock.write():
                old = self._rows.find(ids[part])
                self._engine.add(vectors[part])
                self._rows.kill(old[old >= 0])
                self._rows.append(ids[part])

    def remove(self, ids: Ids) -> int:
        """Mask rows; unknown ids are ignored. Returns how many were live."""
        ids = np.unique(checked_ids(ids))
        with self._writer, self._lock.write():
            places = self._rows.find(ids)
            places = places[places >= 0]
            self._rows.kill(places)
            return len(places)

    def search(self, queries: Floats, k: int, only: Ids | None = None) -> tuple[Floats, Ids]:
        """The k nearest of each query ``[q, dim]``, best first: scores and ids, both ``[q, k]``.

        ``only`` restricts to these item ids (any number, any order). Missing places are score ``-inf`` and id ``-1``.
        """
        queries = checked_vectors(queries, self.dim)
        if k < 1:
            raise VectorIndexError(f"{k} neighbours were asked for; ask for at least 1")
        wanted = None if only is None else np.asarray(only, np.int64).reshape(-1)
        with self._lock.read():
            return answer(self._engine, self._rows, queries, k, wanted)

    @property
    def needs_compaction(self) -> bool:
        """More than a tenth of the rows is dead, or an ``auto`` index has outgrown its kind."""
        return self._outgrown() or self._rows.dead * 10 > self._rows.total

    def needs_rebuild(self, kind: str) -> bool:
        """Whether ``compact`` is due, or the index is not what ``kind`` (a spec, or ``auto``) now asks for."""
        wanted = parse_kind(kind, dim=self.dim, count=self._rows.live)
        other = not self._auto if kind == "auto" else wanted != self._engine.kind
        return other or self.needs_compaction

    def compact(self, progress: Callable[[int], None] | None = None) -> None:
        """Build anew without the dead rows, and as the kind that now suits if that was left open.

        Searches go on meanwhile; other changes wait. ``progress`` gets the number of rows done.
        """
        with self._writer:
            self._adopt(*self._rebuilt(self._best() if self._auto else self._engine.kind, progress))

    def measure_recall(self, sample: int = 200, seed: int = 0) -> float:
        """Recall@10 against exact search with today's settings, for ``sample`` questions near stored rows; kept."""
        with self._lock.read():
            if self._engine.exact or not self._rows.live:
                recall = 1.0
            else:
                exam = Exam.of(self._engine, self._rows, sample=sample, seed=seed)
                recall = grade(self._engine, exam, self._engine.effort)
        self.recall_at_10 = recall
        return recall

    def tune(self, sample: int = 200, seed: int = 0) -> float:
        """Choose the least ``ef_search`` or ``nprobe`` that reaches a recall@10 of 0.95; keeps and returns that."""
        with self._lock.read():
            self.recall_at_10 = _tuned(self._engine, self._rows, sample, seed)
        return self.recall_at_10

    def save(self, path: Path) -> None:
        """Write a manifest to ``path`` and two data files beside it; a crash leaves the old index or the new one.

        Searches go on meanwhile; changes wait. Raises VectorIndexError when it cannot be written.
        """
        with self._writer:
            facts = {
                "kind": self.kind,
                "auto": self._auto,
                "dim": self.dim,
                "total": self._rows.total,
                "live": self._rows.live,
                "seed": self._engine.seed,
                "effort": self._engine.effort,
                "recall_at_10": self.recall_at_10,
                "generation": self.generation,
                "stamp": self.stamp,
            }
            ids = self._rows.ids.astype("<i8")
            publish(path, facts, {"ids": ids.tofile, "faiss": self._engine.write})

    def restore(self, saved: Saved, *, mapped: bool) -> None:
        """Take over what ``save`` wrote; see ``load_index``."""
        facts, file = saved.facts, saved.parts["faiss"]
        self._engine.read(file, mapped=mapped)
        ids = np.fromfile(saved.parts["ids"], "<i8").astype(np.int64)
        if not len(ids) == self._engine.count == facts["total"]:
            raise VectorIndexError(f"{file} holds {self._engine.count} rows for {len(ids)} ids; rebuild the index")
        self._rows = Rows(ids)
        self._auto = facts["auto"]
        self._engine.effort = facts["effort"]
        self.recall_at_10 = facts["recall_at_10"]
        self.generation = facts["generation"]
        self.stamp = facts["stamp"]

    def _trainable(self) -> bool:
        return not self._engine.trained and self._rows.live >= self._engine.kind.rows_to_train

    def _train(self) -> None:
        cells = self._engine.cells()
        with self._lock.write():
            self._engine.use(cells)
        self.tune()

    def _outgrown(self) -> bool:
        return self._auto and _FAMILIES.index(self._engine.kind.family) < _FAMILIES.index(self._best().family)

    def _best(self) -> Kind:
        return parse_kind("auto", dim=self.dim, count=self._rows.live)

    def _rebuilt(self, kind: Kind, progress: Callable[[int], None] | None) -> tuple[Engine, Rows, float]:
        """A new engine of ``kind`` with the live rows. The writers' lock is held, so nothing moves below."""
        old, ids = self._engine, self._rows.ids
        new = Engine(kind, old.dim, threads=old.threads, seed=old.seed)
        for start, vectors in old.chunks():
            alive = ids[start : start + len(vectors)] >= 0
            new.add(vectors[alive])
            if progress is not None:
                progress(start + len(vectors))
        rows = Rows(ids[ids >= 0])
        if not new.trained and rows.live >= kind.rows_to_train:
            new.use(new.cells())
        return new, rows, _tuned(new, rows)

    def _adopt(self, engine: Engine, rows: Rows, recall: float) -> None:
        with self._lock.write():
            self._engine, self._rows, self.recall_at_10 = engine, rows, recall


def _tuned(engine: Engine, rows: Rows, sample: int = 200, seed: int = 0) -> float:
    if engine.exact or not rows.live:
        return 1.0
    return tune(engine, Exam.of(engine, rows, sample=sample, seed=seed))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
