"""What can be asked of one snapshot of the catalogue."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import and_, func, select

from indexer.catalog import tables as t
from indexer.catalog.records import Encoder, Failure, Item, Known, Source
from indexer.catalog.rows import as_encoder, as_failure, as_item, as_source, from_blobs, lengths
from indexer.chunks import chunks
from indexer.seams import Floats, Ids

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

    from indexer.catalog.filters import Filter

JSON_COLUMNS = {"metadata", "options"}
MANY = 5_000  # ids bound in one statement; SQLite takes 32,766


class Reader:
    """Questions to one snapshot. Answers are records and arrays, never rows."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def meta(self, key: str) -> str:
        """One value of the library's own notes."""
        return str(self.connection.execute(select(t.meta.c.value).where(t.meta.c.key == key)).scalar_one())

    def meta_or(self, key: str, default: str) -> str:
        """One value of the library's own notes, or a default."""
        value = self.connection.execute(select(t.meta.c.value).where(t.meta.c.key == key)).scalar()
        return default if value is None else str(value)

    def generation(self) -> int:
        """How many transactions have changed items or vectors so far."""
        return int(self.meta("generation"))

    def sources(self) -> list[Source]:
        """All sources, in the order they were added."""
        return [as_source(row) for row in self.connection.execute(select(t.sources).order_by(t.sources.c.id))]

    def find_source(self, kind: str, location: str) -> Source | None:
        """The source of this kind at this place."""
        place = and_(t.sources.c.kind == kind, t.sources.c.location == os.fsencode(location))
        row = self.connection.execute(select(t.sources).where(place)).first()
        return None if row is None else as_source(row)

    def encoders(self) -> list[Encoder]:
        """All encoders the library has or had vectors of."""
        return [as_encoder(row) for row in self.connection.execute(select(t.encoders).order_by(t.encoders.c.id))]

    def encoder_in(self, state: str) -> Encoder | None:
        """The encoder that is ``active``, ``building`` or ``previous``; each at most one."""
        row = self.connection.execute(select(t.encoders).where(t.encoders.c.state == state)).first()
        return None if row is None else as_encoder(row)

    def count_items(self, source_id: int | None = None) -> int:
        """Number of items, of one source or of all."""
        query = select(func.count()).select_from(t.items)
        if source_id is not None:
            query = query.where(t.items.c.source_id == source_id)
        return int(self.connection.execute(query).scalar_one())

    def count_vectors(self, encoder_id: int) -> int:
        """Number of items that have a vector of this encoder."""
        query = select(func.count()).select_from(t.vectors).where(t.vectors.c.encoder_id == encoder_id)
        return int(self.connection.execute(query).scalar_one())

    def count_without_vector(self, source_id: int, encoder_id: int) -> int:
        """Number of items of a source that lack a vector of this encoder."""
        mine = and_(t.vectors.c.item_id == t.items.c.id, t.vectors.c.encoder_id == encoder_id)
        query = select(func.count()).select_from(t.items.outerjoin(t.vectors, mine))
        query = query.where(t.items.c.source_id == source_id, t.vectors.c.id.is_(None))
        return int(self.connection.execute(query).scalar_one())

    def item_ids(self, source_id: int | None = None) -> Ids:
        """Sorted ids of the items of one source, or of all."""
        query = select(t.items.c.id).order_by(t.items.c.id)
        if source_id is not None:
            query = query.where(t.items.c.source_id == source_id)
        return np.fromiter(self.connection.execute(query).scalars(), np.int64)

    def known(self, source_id: int, encoder_id: int, locators: Sequence[bytes]) -> dict[bytes, Known]:
        """What is known about these locators of a source; locators never seen are left out."""
        return self._known(source_id, encoder_id, t.items.c.locator.in_(locators))

    def known_between(self, source_id: int, encoder_id: int, first: bytes, last: bytes) -> dict[bytes, Known]:
        """What is known about all locators of a source from ``first`` to ``last``; quicker than by name."""
        return self._known(source_id, encoder_id, t.items.c.locator.between(first, last))

    def _known(self, source_id: int, encoder_id: int, these: ColumnElement[bool]) -> dict[bytes, Known]:
        items, vectors = t.items.c, t.vectors.c
        mine = and_(vectors.item_id == items.id, vectors.encoder_id == encoder_id)
        columns = (items.locator, items.id, items.size, items.mtime_ns, items.meta_hash, items.content_hash, vectors.id)
        query = select(*columns).select_from(t.items.outerjoin(t.vectors, mine))
        rows = self.connection.execute(query.where(items.source_id == source_id, these)).all()
        return {row[0]: Known(row[1], row[2], row[3], row[4], row[5], row[6] is not None) for row in rows}

    def known_failures(self, source_id: int, locators: Sequence[bytes]) -> dict[bytes, Failure]:
        """Failures on record for these locators of a source."""
        query = select(t.failures).where(t.failures.c.source_id == source_id, t.failures.c.locator.in_(locators))
        return {row.locator: as_failure(row) for row in self.connection.execute(query)}

    def failures(self) -> list[Failure]:
        """Everything that could not be indexed, by source and path."""
        order = (t.failures.c.source_id, t.failures.c.path)
        return [as_failure(row) for row in self.connection.execute(select(t.failures).order_by(*order))]

    def failure_ids(self, source_id: int) -> Ids:
        """Sorted ids of the failures of one source."""
        query = select(t.failures.c.id).where(t.failures.c.source_id == source_id).order_by(t.failures.c.id)
        return np.fromiter(self.connection.execute(query).scalars(), np.int64)

    def with_content(self, hashes: Sequence[bytes], encoder: Encoder) -> dict[bytes, tuple[Item, Floats]]:
        """The oldest item that holds these bytes and has a vector of this encoder, and that vector ``[dim]``."""
        mine = and_(t.vectors.c.item_id == t.items.c.id, t.vectors.c.encoder_id == encoder.id)
        oldest = select(func.min(t.items.c.id)).join(t.vectors, mine).where(t.items.c.content_hash.in_(hashes))
        ids = self.connection.execute(oldest.group_by(t.items.c.content_hash)).scalars().all()
        query = select(t.items, t.vectors.c.vector).join(t.vectors, mine).where(t.items.c.id.in_(ids))
        rows = self.connection.execute(query)
        return {row.content_hash: (as_item(row), from_blobs([row.vector], encoder.dim)[0]) for row in rows}

    def items(self, ids: Sequence[int]) -> dict[int, Item]:
        """Items by id; unknown ids are left out."""
        found: dict[int, Item] = {}
        for some in chunks(ids, MANY):
            rows = self.connection.execute(select(t.items).where(t.items.c.id.in_([int(i) for i in some])))
            found.update((row.id, as_item(row)) for row in rows)
        return found

    def all_items(self, source_id: int | None = None) -> Iterator[Item]:
        """Every item by id, streamed."""
        query = select(t.items).order_by(t.items.c.id)
        if source_id is not None:
            query = query.where(t.items.c.source_id == source_id)
        for row in self.connection.execution_options(yield_per=1_000).execute(query):
            yield as_item(row)

    def ids_where(self, condition: Filter) -> Ids:
        """Sorted ids of the items for which a filter holds."""
        from indexer.catalog.filters import compile as compile_filter

        query = select(t.items.c.id).where(compile_filter(condition)).order_by(t.items.c.id)
        return np.fromiter(self.connection.execute(query).scalars(), np.int64)

    def metadata_keys(self) -> set[str]:
        """Every key that some item's metadata has."""
        each = func.json_each(t.items.c.metadata).table_valued("key", joins_implicitly=True)
        return set(self.connection.execute(select(each.c.key).select_from(t.items, each).distinct()).scalars())

    def vectors(self, encoder: Encoder, ids: Sequence[int]) -> tuple[Ids, Floats]:
        """Unit rows of these items: ids ``[n]`` sorted and ``[n, dim]``; items without a vector are left out."""
        found: list[tuple[int, bytes]] = []
        for some in chunks(ids, MANY):
            query = select(t.vectors.c.item_id, t.vectors.c.vector).where(
                t.vectors.c.encoder_id == encoder.id, t.vectors.c.item_id.in_([int(i) for i in some])
            )
            found.extend((row.item_id, row.vector) for row in self.connection.execute(query))
        found.sort()
        return np.array([i for i, _ in found], np.int64), from_blobs([b for _, b in found], encoder.dim)

    def vectors_since(self, encoder: Encoder, generation: int, size: int = 8_192) -> Iterator[tuple[Ids, Floats]]:
        """Rows written after a generation, streamed in blocks: ids ``[n]`` and unit rows ``[n, dim]``."""
        columns = t.vectors.c
        query = select(columns.item_id, columns.vector).where(
            columns.encoder_id == encoder.id, columns.generation > generation
        )
        query = query.order_by(columns.id)
        rows = self.connection.execution_options(yield_per=size).execute(query)
        for block in rows.partitions(size):
            ids = np.fromiter((row.item_id for row in block), np.int64, len(block))
            yield ids, from_blobs([row.vector for row in block], encoder.dim)

    def rows_of(self, table: str, size: int) -> Iterator[list[dict[str, Any]]]:
        """Every row of ``items`` or ``failures`` as plain values, in blocks; JSON columns as text."""
        wanted = t.schema.tables[table]
        rows = self.connection.execution_options(yield_per=size).execute(select(wanted).order_by(wanted.c.id))
        for block in rows.mappings().partitions(size):
            yield [{k: json.dumps(v) if k in JSON_COLUMNS else v for k, v in row.items()} for row in block]

    def vector_rows(self, encoder: Encoder, size: int) -> Iterator[list[dict[str, Any]]]:
        """Every vector of an encoder as ``{item_id, vector: bytes}``, in blocks."""
        query = select(t.vectors.c.item_id, t.vectors.c.vector).where(t.vectors.c.encoder_id == encoder.id)
        rows = self.connection.execution_options(yield_per=size).execute(query.order_by(t.vectors.c.item_id))
        for block in rows.mappings().partitions(size):
            yield [dict(row) for row in block]

    def vector_lengths(self, encoder: Encoder, size: int = 8_192) -> Iterator[tuple[Ids, Floats]]:
        """Lengths of the stored rows as they are, in blocks: ids ``[n]`` and ``[n]``; NaN for a row of another size."""
        query = select(t.vectors.c.item_id, t.vectors.c.vector).where(t.vectors.c.encoder_id == encoder.id)
        rows = self.connection.execution_options(yield_per=size).execute(query)
        for block in rows.partitions(size):
            ids = np.fromiter((row.item_id for row in block), np.int64, len(block))
            yield ids, lengths([row.vector for row in block], encoder.dim)

    def sound_vector_ids(self, encoder: Encoder) -> Ids:
        """Sorted ids of the items whose vector can be searched."""
        blocks = [ids[np.isfinite(length) & (length > 0)] for ids, length in self.vector_lengths(encoder)]
        return np.sort(np.concatenate([np.empty(0, np.int64), *blocks]))

    def orphan_vectors(self, encoder_id: int) -> Ids:
        """Ids of items that vectors belong to and that do not exist."""
        query = select(t.vectors.c.item_id).outerjoin(t.items, t.items.c.id == t.vectors.c.item_id)
        query = query.where(t.vectors.c.encoder_id == encoder_id, t.items.c.id.is_(None))
        return np.fromiter(self.connection.execute(query).scalars(), np.int64)

    def integrity(self) -> list[str]:
        """What SQLite itself finds wrong with the file; empty when all is well."""
        found = self.connection.exec_driver_sql("PRAGMA quick_check(5)").scalars().all()
        broken = self.connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        sentences = [str(line) for line in found if line != "ok"]
        return sentences + ([f"{len(broken)} rows point to rows that do not exist"] if broken else [])

    def removed_since(self, generation: int) -> Ids:
        """Ids of items removed after a generation."""
        query = select(t.removals.c.item_id).where(t.removals.c.generation > generation)
        return np.fromiter(self.connection.execute(query).scalars(), np.int64)
