"""What the catalogue hands out: plain frozen records, without any trace of SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Item:
    """One picture and what is known about it. ``path`` is for people; ``locator`` is exact."""

    id: int
    source_id: int
    locator: bytes
    path: str
    content_hash: bytes
    size: int
    mtime_ns: int
    width: int
    height: int
    format: str
    phash: int | None
    text: str
    product: str
    metadata: Mapping[str, Scalar]
    added_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item about to be written, with what a later run compares it by."""

    locator: bytes
    path: str
    content_hash: bytes
    size: int
    mtime_ns: int
    meta_hash: int
    width: int
    height: int
    format: str
    phash: int | None
    text: str
    product: str
    metadata: Mapping[str, Scalar]


class Known(NamedTuple):
    """The little a scan needs to see whether a file changed; a tuple, for it is made twice as fast as a dataclass."""

    id: int
    size: int
    mtime_ns: int
    meta_hash: int
    content_hash: bytes
    has_vector: bool


@dataclass(frozen=True, slots=True)
class Source:
    """Where items come from."""

    id: int
    kind: str
    location: str
    options: Mapping[str, object]
    stamp: tuple[int, int] | None
    added_at: float
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder whose vectors the library holds. ``state`` is active, building, previous or retired."""

    id: int
    spec: str
    fingerprint: str
    dim: int
    state: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that could not be indexed, with the reason and the remedy."""

    id: int
    source_id: int
    locator: bytes
    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    reason: str
    message: str
    remedy: str
    transient: bool
