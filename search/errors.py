"""Everything that can go wrong in this room, as one tree.

    SearchError
    └── QueryError     the question cannot be understood or answered as it was asked

What goes wrong below passes through: ``indexer.errors.FilterError`` for a filter over a field that no item has,
``indexer.errors.EncoderMismatch`` for a question asked with the wrong encoder.
Every message is one sentence: the thing, the limit, the remedy.
"""

from __future__ import annotations


class SearchError(Exception):
    """Root of the tree; its text can be shown to a user as it is."""


class QueryError(SearchError):
    """The question cannot be understood or answered as it was asked."""
