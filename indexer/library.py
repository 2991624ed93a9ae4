"""A library: one folder that holds everything known about one collection.

Ties the catalogue (the truth) to the vector index (derived from it). Knows nothing of pictures or models.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from indexer.catalog import Catalog, Encoder, Item, Reader
from indexer.errors import LibraryError, VectorIndexError
from indexer.lock import writer_lock
from indexer.seams import Floats, Ids

if TYPE_CHECKING:
    from indexer.catalog.filters import Filter
    from indexer.vectors import FaissIndex

DATABASE = "library.sqlite"
LARGE = 50_000  # vectors; from here on writing the index costs more than appending a few rows when it is opened
SMALL_CHANGE = 0.02  # of the vectors


class Library:
    """Open one with ``Library.open``; close it, or use it as a context manager. Safe to search from many threads."""

    def __init__(self, path: Path, catalog: Catalog) -> None:
        self.path = path
        self.catalog = catalog
        self._index: FaissIndex | None = None
        self._unsaved = 0  # rows changed since the index was last read or written
        self._syncing = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Library:
        """The library in folder ``path``; ``create`` makes a new one where there is none. Raises LibraryError."""
        database = path / DATABASE
        if not database.exists():
            if not create:
                raise LibraryError(f"there is no library at {path}; make one with `diptych index FOLDER`")
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LibraryError(f"{path} cannot be made ({error.strerror}); choose another --library") from error
        return cls(path, Catalog(database))

    def close(self) -> None:
        """Let go of the database."""
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def writer(self) -> AbstractContextManager[None]:
        """Hold the right to change the library; raises LibraryLocked, naming the holder, when another has it."""
        return writer_lock(self.path)

    def active_encoder(self) -> Encoder | None:
        """The encoder whose vectors answer, or None while the library is empty."""
        with self.catalog.read() as reader:
            return reader.encoder_in("active")

    def index_path(self, encoder: Encoder) -> Path:
        """Where the vector index of an encoder is kept: a cache that may be deleted at any time."""
        return self.path / "index" / f"{encoder.fingerprint[:16]}.json"

    def forget_index(self, encoder: Encoder) -> None:
        """Throw the derived vector index away; it is built again when next needed."""
        with self._syncing:
            self._index = None
            self.index_path(encoder).unlink(missing_ok=True)

    def index(self) -> FaissIndex:
        """The vector index, in step with the catalogue at the moment of the call."""
        with self._syncing, self.catalog.read() as reader:
            encoder = reader.encoder_in("active")
            if encoder is None:
                raise LibraryError(f"the library at {self.path} is empty; fill it with `diptych index FOLDER`")
            return self._in_step(reader, encoder)

    def save_index(self) -> FaissIndex | None:
        """Bring the index in step, of the kind its size asks for, and write it. The caller holds the writer's lock."""
        with self._syncing, self.catalog.read() as reader:
            encoder = reader.encoder_in("active")
            if encoder is None:
                return None
            index = self._in_step(reader, encoder)
            wanted = reader.meta_or("index_kind", "auto")
            path = self.index_path(encoder)
            if index.needs_rebuild(wanted):
                index = self._index = self._build(reader, encoder, wanted)
            elif path.exists() and self._unsaved < len(index) * SMALL_CHANGE and len(index) > LARGE:
                return index
            path.parent.mkdir(exist_ok=True)
            index.save(path)
            self._unsaved = 0
            return index

    def _in_step(self, reader: Reader, encoder: Encoder) -> FaissIndex:
        generation = reader.generation()
        index = self._index
        if index is None or index.stamp != encoder.fingerprint:
            index = self._load(encoder) or self._build(reader, encoder, reader.meta_or("index_kind", "auto"))
        if index.generation > generation:  # the database was put back to an earlier state
            index = self._build(reader, encoder, reader.meta_or("index_kind", "auto"))
        if index.generation < generation:
            self._unsaved += index.remove(reader.removed_since(index.generation))
            for ids, vectors in sound(reader.vectors_since(encoder, index.generation)):
                index.add(ids, vectors)
                self._unsaved += len(ids)
            index.generation = generation
        self._index = index
        return index

    def _load(self, encoder: Encoder) -> FaissIndex | None:
        from indexer.vectors import load_index

        path = self.index_path(encoder)
        if not path.exists():
            return None
        try:
            index = load_index(path)
        except VectorIndexError:
            return None  # derived: a damaged file is made again
        return index if index.stamp == encoder.fingerprint and index.dim == encoder.dim else None

    def _build(self, reader: Reader, encoder: Encoder, kind: str) -> FaissIndex:
        from indexer.vectors import build_index

        rows = sound(reader.vectors_since(encoder, -1))
        index = build_index(rows, dim=encoder.dim, count=reader.count_vectors(encoder.id), kind=kind)
        index.stamp = encoder.fingerprint
        index.generation = reader.generation()
        self._unsaved = len(index)
        return index

    def ids_where(self, condition: Filter) -> Ids:
        """Sorted ids of the items for which a filter holds."""
        with self.catalog.read() as reader:
            return reader.ids_where(condition)

    def metadata_keys(self) -> set[str]:
        """Every key that some item's metadata has."""
        with self.catalog.read() as reader:
            return reader.metadata_keys()

    def items(self, ids: Sequence[int]) -> dict[int, Item]:
        """Items by id; unknown ids are left out."""
        with self.catalog.read() as reader:
            return reader.items(ids)

    def vectors(self, ids: Sequence[int]) -> tuple[Ids, Floats]:
        """Stored vectors of the active encoder: sorted ids ``[n]`` and unit rows ``[n, dim]``."""
        with self.catalog.read() as reader:
            encoder = reader.encoder_in("active")
            if encoder is None:
                return np.empty(0, np.int64), np.empty((0, 0), np.float32)
            return reader.vectors(encoder, ids)


def sound(blocks: Iterator[tuple[Ids, Floats]]) -> Iterator[tuple[Ids, Floats]]:
    """Leave out rows that are not finite (doctor reports them): one damaged row must not stop every search."""
    for ids, vectors in blocks:
        whole = np.isfinite(vectors).all(axis=1)
        yield (ids, vectors) if whole.all() else (ids[whole], vectors[whole])
