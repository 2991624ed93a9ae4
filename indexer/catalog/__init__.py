"""The catalogue: what is known about a library, in SQLite through SQLAlchemy. No other room knows SQL."""

from indexer.catalog.catalog import Catalog
from indexer.catalog.reading import Reader
from indexer.catalog.records import Encoder, Failure, Item, Known, NewItem, Source
from indexer.catalog.writing import Writer

__all__ = ["Catalog", "Encoder", "Failure", "Item", "Known", "NewItem", "Reader", "Source", "Writer"]
