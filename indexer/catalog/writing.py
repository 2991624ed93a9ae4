"""What one transaction can change."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.engine import Connection

from indexer.catalog import tables as t
from indexer.catalog.reading import JSON_COLUMNS, MANY, Reader
from indexer.catalog.records import Encoder, Failure, Known, NewItem, Source
from indexer.catalog.rows import as_encoder, as_source, to_blob
from indexer.chunks import chunks
from indexer.errors import EncoderMismatch
from indexer.seams import Floats, Ids


class Writer(Reader):
    """A reader that may also write. ``changed`` says whether items or vectors were touched."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._next = self.generation_before() + 1
        self.changed = False

    def generation_before(self) -> int:
        """The generation this transaction started from."""
        return super().generation()

    def generation(self) -> int:
        """The generation that this transaction makes."""
        return self._next

    def set_meta(self, key: str, value: str) -> None:
        """Note one value about the library."""
        self.connection.execute(delete(t.meta).where(t.meta.c.key == key))
        self.connection.execute(insert(t.meta), {"key": key, "value": value})

    def add_source(self, kind: str, location: str, options: Mapping[str, object]) -> Source:
        """The source of this kind at this place, with these options from now on."""
        known = self.find_source(kind, location)
        if known is None:
            row = {"kind": kind, "location": os.fsencode(location), "options": dict(options), "added_at": time.time()}
            self.connection.execute(insert(t.sources), row)
        elif dict(known.options) != dict(options):
            values = {"options": dict(options), "stamp_size": None, "stamp_mtime_ns": None}
            self.connection.execute(update(t.sources).where(t.sources.c.id == known.id).values(values))
        place = and_(t.sources.c.kind == kind, t.sources.c.location == os.fsencode(location))
        return as_source(self.connection.execute(select(t.sources).where(place)).one())

    def finish_source(self, source_id: int, stamp: tuple[int, int] | None) -> None:
        """Note that a source was read to its end."""
        size, mtime_ns = stamp or (None, None)
        values = {"stamp_size": size, "stamp_mtime_ns": mtime_ns, "finished_at": time.time()}
        self.connection.execute(update(t.sources).where(t.sources.c.id == source_id).values(values))

    def remove_source(self, source_id: int) -> int:
        """Forget a source with its items and failures. Returns how many items went."""
        ids = self.item_ids(source_id)
        self.remove_items(ids)
        self.connection.execute(delete(t.failures).where(t.failures.c.source_id == source_id))
        self.connection.execute(delete(t.sources).where(t.sources.c.id == source_id))
        return len(ids)

    def adopt(self, child: Source, parent: Source, prefix: bytes) -> None:
        """Give a source's items and failures to one that contains it; ids and vectors stay."""
        for table in (t.items, t.failures):
            rows = self.connection.execute(select(table.c.id, table.c.locator).where(table.c.source_id == child.id))
            for row in rows.all():
                moved = {"source_id": parent.id, "locator": prefix + row.locator}
                self.connection.execute(update(table).where(table.c.id == row.id).values(moved))
        self.connection.execute(delete(t.sources).where(t.sources.c.id == child.id))

    def add_encoder(self, encoder: Mapping[str, object], state: str) -> Encoder:
        """Register an encoder (spec, fingerprint, dim); a known fingerprint gets the new state."""
        same = t.encoders.c.fingerprint == encoder["fingerprint"]
        if self.connection.execute(select(t.encoders.c.id).where(same)).first() is None:
            self.connection.execute(insert(t.encoders), {**encoder, "state": state, "created_at": time.time()})
        else:
            self.connection.execute(update(t.encoders).where(same).values(state=state))
        return as_encoder(self.connection.execute(select(t.encoders).where(same)).one())

    def set_encoder_state(self, encoder_id: int, state: str) -> None:
        """Make an encoder active, building, previous or retired."""
        self.changed = True
        self.connection.execute(update(t.encoders).where(t.encoders.c.id == encoder_id).values(state=state))

    def add_items(self, source_id: int, items: Sequence[NewItem]) -> list[int]:
        """Insert items, or overwrite those whose locator is known; ids in the order given."""
        if not items:
            return []
        self.changed = True
        now = time.time()
        known = self.known(source_id, -1, [item.locator for item in items])
        old = [{"row": known[i.locator].id, **asdict(i), "updated_at": now} for i in items if i.locator in known]
        new = [i for i in items if i.locator not in known]
        ids = {locator: row.id for locator, row in known.items()}
        self._forget_vectors([known[i.locator].id for i in items if _changed(i, known.get(i.locator))])
        for values in old:
            row = values.pop("row")
            self.connection.execute(update(t.items).where(t.items.c.id == row).values(values))
        if new:
            rows = [{"source_id": source_id, **asdict(i), "added_at": now, "updated_at": now} for i in new]
            statement = insert(t.items).returning(t.items.c.id, sort_by_parameter_order=True)
            made = self.connection.execute(statement, rows).scalars().all()
            ids.update((item.locator, made_id) for item, made_id in zip(new, made, strict=True))
        return [ids[item.locator] for item in items]

    def update_item(self, item_id: int, values: Mapping[str, object]) -> None:
        """Change columns of an item that leave its vector as it is (a move, a new price)."""
        self.changed = True
        row = {**values, "updated_at": time.time()}
        self.connection.execute(update(t.items).where(t.items.c.id == item_id).values(row))

    def put_vectors(self, encoder: Encoder, ids: Sequence[int], vectors: Floats) -> None:
        """Store unit rows ``[n, dim]`` as fp16; earlier vectors of these items are replaced."""
        if not len(ids):
            return
        if vectors.shape[1] != encoder.dim:
            raise EncoderMismatch(
                f"vectors of {vectors.shape[1]} numbers do not fit encoder {encoder.spec} of {encoder.dim}; "
                "embed with the library's own encoder, or use `diptych reindex --model` to change it"
            )
        self.changed = True
        for some in chunks(ids, MANY):
            mine = and_(t.vectors.c.encoder_id == encoder.id, t.vectors.c.item_id.in_(some))
            self.connection.execute(delete(t.vectors).where(mine))
        rows = [
            {"encoder_id": encoder.id, "item_id": i, "generation": self._next, "vector": to_blob(vector)}
            for i, vector in zip(ids, vectors, strict=True)
        ]
        self.connection.execute(insert(t.vectors), rows)

    def remove_items(self, ids: Sequence[int] | Ids) -> None:
        """Delete items and their vectors, and note it for the vector indexes."""
        for some in chunks([int(i) for i in ids], MANY):
            self.changed = True
            self._forget_vectors(some)
            self.connection.execute(delete(t.items).where(t.items.c.id.in_(some)))

    def _forget_vectors(self, ids: Sequence[int]) -> None:
        """Of every encoder: they show bytes that are no longer there."""
        for some in chunks(ids, MANY):
            self.connection.execute(delete(t.vectors).where(t.vectors.c.item_id.in_(some)))
            self.connection.execute(insert(t.removals), [{"generation": self._next, "item_id": i} for i in some])

    def drop_vectors(self, encoder_id: int, ids: Sequence[int] | Ids | None = None) -> None:
        """Delete vectors of an encoder: of these items (which count as removed), or all."""
        self.changed = True
        mine = t.vectors.c.encoder_id == encoder_id
        if ids is None:
            self.connection.execute(delete(t.vectors).where(mine))
            return
        for some in chunks([int(i) for i in ids], MANY):
            self.connection.execute(delete(t.vectors).where(mine, t.vectors.c.item_id.in_(some)))
            self.connection.execute(insert(t.removals), [{"generation": self._next, "item_id": i} for i in some])

    def insert_row(self, table: str, row: Mapping[str, object]) -> None:
        """Insert an exported ``sources`` or ``encoders`` row under its own id."""
        stamped = {"added_at": time.time()} if table == "sources" else {"created_at": time.time()}
        self.connection.execute(insert(t.schema.tables[table]), {**stamped, **row})

    def insert_rows(self, table: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert exported rows of ``items`` or ``failures`` under their own ids."""
        self.changed = True
        plain = [{k: json.loads(str(v)) if k in JSON_COLUMNS else v for k, v in row.items()} for row in rows]
        self.connection.execute(insert(t.schema.tables[table]), plain)

    def insert_vectors(self, encoder_id: int, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert exported vectors as they are: ``{item_id, vector: bytes}``."""
        stamped = [{"encoder_id": encoder_id, "generation": self._next, **row} for row in rows]
        self.connection.execute(insert(t.vectors), stamped)

    def put_failures(self, source_id: int, failures: Sequence[Failure]) -> None:
        """Record failures; one on record for the same locator is replaced, keeping when it was first seen."""
        now = time.time()
        for failure in failures:
            place = and_(t.failures.c.source_id == source_id, t.failures.c.locator == failure.locator)
            values = {k: v for k, v in asdict(failure).items() if k not in {"id", "source_id"}}
            done = self.connection.execute(update(t.failures).where(place).values(last_seen_at=now, **values))
            if not done.rowcount:
                values |= {"source_id": source_id, "first_seen_at": now, "last_seen_at": now}
                self.connection.execute(insert(t.failures), values)

    def clear_failures(self, source_id: int, locators: Sequence[bytes]) -> None:
        """Forget failures of locators that are fine now."""
        for some in chunks(locators, MANY):
            mine = and_(t.failures.c.source_id == source_id, t.failures.c.locator.in_(some))
            self.connection.execute(delete(t.failures).where(mine))

    def remove_failures(self, ids: Sequence[int] | Ids) -> None:
        """Forget failures by id."""
        for some in chunks(np.asarray(ids).tolist(), MANY):
            self.connection.execute(delete(t.failures).where(t.failures.c.id.in_(some)))


def _changed(item: NewItem, known: Known | None) -> bool:
    return known is not None and known.content_hash != item.content_hash
