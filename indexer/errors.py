"""Everything that can go wrong in this room, as one tree.

    IndexerError
    ├── PictureError          one picture cannot be used (recorded, never fatal); has .reason and .remedy
    ├── SourceError           a whole source cannot be read (missing folder, table without a picture column)
    ├── EncoderError          a model is unknown, not on disk, or does not fit
    │   └── EncoderMismatch   vectors of two encoders would be mixed
    ├── VectorIndexError      the vector index is asked for what it cannot do, or its file is damaged
    ├── CatalogError          the database is not ours, too new, or damaged
    ├── FilterError           a filter names or compares something impossible
    └── LibraryError          the library is missing, locked or already exists
        └── LibraryLocked     another process is writing

Every message is one sentence: the thing, the limit, the remedy.
"""

from __future__ import annotations


class IndexerError(Exception):
    """Root of the tree; its text can be shown to a user as it is."""


class PictureError(IndexerError):
    """One picture cannot be used.

    ``reason`` is a short stable code (``truncated``, ``too-large``...), the message says what is wrong,
    ``remedy`` what to do about it. ``transient`` failures are tried again on the next run.
    """

    def __init__(self, reason: str, message: str, remedy: str, *, transient: bool = False) -> None:
        super().__init__(f"{message}; {remedy}")
        self.reason = reason
        self.message = message
        self.remedy = remedy
        self.transient = transient


class SourceError(IndexerError):
    """A whole source cannot be read."""


class EncoderError(IndexerError):
    """A model is unknown, not on disk, or does not fit."""


class EncoderMismatch(EncoderError):
    """Vectors of two encoders would be mixed."""


class VectorIndexError(IndexerError):
    """The vector index cannot do what it is asked, or its file is damaged."""


class CatalogError(IndexerError):
    """The database is not ours, too new, or damaged."""


class FilterError(IndexerError):
    """A filter names or compares something impossible."""


class LibraryError(IndexerError):
    """The library is missing, locked or already exists."""


class LibraryLocked(LibraryError):
    """Another process is writing."""
