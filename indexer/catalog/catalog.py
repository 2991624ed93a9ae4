"""The catalogue: one database, read in snapshots and written in whole transactions.

A ``Reader`` sees one unmoving state of the library. A ``Writer`` adds to it what one transaction changes; every
transaction that changes items or vectors raises the library's *generation* by one, and the vector index says which
generation it reflects.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, insert, select, update

from indexer.catalog import tables as t
from indexer.catalog.database import open_database
from indexer.catalog.reading import Reader
from indexer.catalog.writing import Writer


class Catalog:
    """Everything known about one collection. ``path`` is the SQLite file; it is created when missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = open_database(path)
        with self._engine.connect() as connection:
            fresh = not connection.execute(select(func.count()).select_from(t.meta)).scalar()
        if fresh:
            self._found()

    def _found(self) -> None:
        with self._engine.connect().execution_options(writing=True) as connection:
            if not connection.execute(select(func.count()).select_from(t.meta)).scalar():
                rows = {"generation": "0", "library_id": uuid.uuid4().hex}
                connection.execute(insert(t.meta), [{"key": k, "value": v} for k, v in rows.items()])
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """One snapshot: what others commit meanwhile is not seen."""
        with self._engine.connect() as connection, connection.begin():
            yield Reader(connection)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """One transaction: all of it or, when the block raises, nothing. The caller holds the library's lock."""
        with self._engine.connect().execution_options(writing=True) as connection, connection.begin():
            writer = Writer(connection)
            yield writer
            if writer.changed:
                value = str(writer.generation())
                connection.execute(update(t.meta).where(t.meta.c.key == "generation").values(value=value))

    def close(self) -> None:
        """Let go of every connection; SQLite folds its log into the database file."""
        self._engine.dispose()
