"""A small library held in memory: real SQL for the filters, the fakes for vectors."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from sqlalchemy import create_engine, event, select
from sqlalchemy.pool import StaticPool

from indexer.catalog import filters, tables
from indexer.catalog.records import Encoder, Item, Scalar
from indexer.seams import Floats, Ids
from tests.fakes import COLOURS, FakeEncoder, FakeIndex


def png(*colours: str) -> bytes:
    """A picture with one upright stripe a colour."""
    image = Image.new("RGB", (len(colours), 8))
    for at, colour in enumerate(colours):
        image.paste(COLOURS[colour], (at, 0, at + 1, 8))
    out = io.BytesIO()
    image.resize((64, 64), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


@dataclass
class World:
    """Has what ``search.engine.Library`` asks for; ``add`` puts an item in."""

    encoder: FakeEncoder = field(default_factory=FakeEncoder)

    def __post_init__(self) -> None:
        self.known: dict[int, Item] = {}
        self.faiss = FakeIndex(self.encoder.dim)
        self.empty = False

    def add(
        self,
        vector: Sequence[float] | Floats | str,
        *,
        content: bytes = b"",
        phash: int | None = None,
        product: str = "",
        **metadata: Scalar,
    ) -> int:
        """Put in an item with this vector, or that of a picture in one colour; returns its id."""
        number = len(self.known) + 1
        self.known[number] = Item(
            id=number, source_id=1, locator=b"%d" % number, path=f"/shop/{number}.jpg", size=1, mtime_ns=0,
            content_hash=content or b"%d" % number, width=64, height=48, format="JPEG", phash=phash, text="",
            product=product, metadata=metadata, added_at=0.0, updated_at=0.0,
        )  # fmt: skip
        row = self.encoder.encode_images([png(vector)])[0] if isinstance(vector, str) else np.array(vector, np.float32)
        self.faiss.add(np.array([number]), np.pad(row, (0, self.encoder.dim - len(row)))[None])
        return number

    def active_encoder(self) -> Encoder | None:
        if self.empty:
            return None
        return Encoder(1, self.encoder.name, self.encoder.fingerprint, self.encoder.dim, "active")

    def index(self) -> FakeIndex:
        return self.faiss

    def ids_where(self, condition: filters.Filter) -> Ids:
        engine = create_engine("sqlite://", poolclass=StaticPool)
        event.listen(engine, "connect", lambda connection, _: filters.teach(connection))
        tables.schema.create_all(engine)
        with engine.begin() as connection:
            connection.execute(tables.sources.insert().values(id=1, kind="f", location=b"", options={}, added_at=0.0))
            for item in self.known.values():
                row: Mapping[str, object] = {name: getattr(item, name) for name in Item.__slots__}
                connection.execute(tables.items.insert().values(**row, meta_hash=0))
            query = select(tables.items.c.id).where(filters.compile(condition)).order_by(tables.items.c.id)
            ids = np.fromiter(connection.execute(query).scalars(), np.int64)
        engine.dispose()
        return ids

    def metadata_keys(self) -> set[str]:
        return {key for item in self.known.values() for key in item.metadata}

    def items(self, ids: Sequence[int]) -> dict[int, Item]:
        return {number: self.known[number] for number in ids if number in self.known}

    def vectors(self, ids: Sequence[int]) -> tuple[Ids, Floats]:
        found = np.array(sorted(number for number in ids if number in self.faiss.rows), np.int64)
        rows = [self.faiss.rows[int(number)] for number in found]
        return found, np.array(rows, np.float32).reshape(-1, self.encoder.dim)
