"""The tables of a library, as SQLAlchemy Core sees them.

What a column means is said here; how tables come to be is said in ``migrations/``. A test holds the two equal.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

schema = MetaData()

RowId = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    schema,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

sources = Table(
    "sources",
    schema,
    Column("id", RowId, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("location", LargeBinary, nullable=False),  # os.fsencode of an absolute path
    Column("options", JSON, nullable=False),
    Column("stamp_size", BigInteger),  # of a single-file source when last read to its end
    Column("stamp_mtime_ns", BigInteger),
    Column("added_at", Float, nullable=False),  # seconds since the epoch, as all *_at
    Column("finished_at", Float),  # when it was last read to its end
    UniqueConstraint("kind", "location", name="one_source_a_place"),
    sqlite_autoincrement=True,  # ids are shown to users: SQLite must never give one away again
)

items = Table(
    "items",
    schema,
    Column("id", RowId, primary_key=True),
    Column("source_id", ForeignKey("sources.id"), nullable=False),
    Column("locator", LargeBinary, nullable=False),  # names the item inside its source
    Column("size", BigInteger, nullable=False),  # bytes; -1 when unknown
    Column("mtime_ns", BigInteger, nullable=False),
    Column("meta_hash", BigInteger, nullable=False),
    Column("content_hash", LargeBinary(16), nullable=False),  # BLAKE2b of the file's bytes
    Column("width", Integer, nullable=False),  # pixels, upright; 0 when there is no picture
    Column("height", Integer, nullable=False),
    Column("format", String(16), nullable=False),
    Column("phash", BigInteger),  # 64-bit difference hash
    Column("path", Text, nullable=False),  # for people: path, URL or archive::member
    Column("text", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("added_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("source_id", "locator", name="one_item_a_locator"),
    Index("items_by_content", "content_hash"),
    Index("items_by_product", "product"),
    sqlite_autoincrement=True,  # ids are shown to users: SQLite must never give one away again
)

encoders = Table(
    "encoders",
    schema,
    Column("id", RowId, primary_key=True),
    Column("spec", Text, nullable=False),  # what load_encoder takes
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("dim", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # active | building | previous | retired
    Column("created_at", Float, nullable=False),
    sqlite_autoincrement=True,  # ids are shown to users: SQLite must never give one away again
)

vectors = Table(
    "vectors",
    schema,
    Column("id", RowId, primary_key=True),
    Column("encoder_id", ForeignKey("encoders.id"), nullable=False),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("generation", BigInteger, nullable=False),  # of the library when this row was last written
    Column("vector", LargeBinary, nullable=False),  # fp16, little-endian, [dim]
    UniqueConstraint("item_id", "encoder_id", name="one_vector_an_encoder"),  # item first: deletes look it up
    Index("vectors_by_generation", "encoder_id", "generation"),
)

removals = Table(
    "removals",
    schema,
    Column("id", RowId, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("item_id", BigInteger, nullable=False),
    Index("removals_by_generation", "generation"),
)

failures = Table(
    "failures",
    schema,
    Column("id", RowId, primary_key=True),
    Column("source_id", ForeignKey("sources.id"), nullable=False),
    Column("locator", LargeBinary, nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),  # a chmod changes nothing else
    Column("reason", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("transient", Boolean, nullable=False),
    Column("first_seen_at", Float, nullable=False),
    Column("last_seen_at", Float, nullable=False),
    UniqueConstraint("source_id", "locator", name="one_failure_a_locator"),
)
