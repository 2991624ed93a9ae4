"""Cutting a stream into lists; what ``itertools.batched`` does from Python 3.12 on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(stream: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` elements in order; the last may be shorter, none is empty."""
    iterator = iter(stream)
    while chunk := list(islice(iterator, size)):
        yield chunk
