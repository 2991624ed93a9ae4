"""What a source hands over: pictures found, and things it could not look at.

Knows neither where items come from nor what happens to them; every kind of source yields these two classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from indexer.images import Limits

if TYPE_CHECKING:
    from indexer.errors import PictureError
    from indexer.seams import Floats

Scalar = str | int | float | bool
Reader = Callable[[Limits], bytes]


@dataclass(slots=True)
class Found:
    """One picture that exists; nothing of it has been read yet. Treat it as immutable.

    Not ``frozen=True``: that makes construction slower, and an unchanged file costs little else.

    ``locator`` identifies the item inside its source: ``os.fsencode`` of the relative path, the id of a table row, the
    name of a tar member. ``size`` is in bytes, -1 when unknown; ``mtime_ns`` is 0 when unknown and that of the
    container for a picture inside a file. ``read`` is called in a worker thread and raises ``PictureError``; it is None
    for precomputed embeddings, which bring a unit ``vector`` ``[dim]`` instead. ``path`` is for display only: absolute
    path, URL or ``shard.tar::member``, with undecodable bytes and control characters escaped.
    """

    locator: bytes
    size: int
    mtime_ns: int
    read: Reader | None
    ctime_ns: int = 0
    path: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    text: str = ""
    product: str = ""
    vector: Floats | None = None

    def metadata_hash(self) -> int:
        """Give a stable 63-bit number for metadata, text and product together; 0 when all are empty."""
        if not (self.metadata or self.text or self.product):
            return 0
        plain = json.dumps([dict(self.metadata), self.text, self.product], sort_keys=True)
        digest = hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 1) or 1


@dataclass(slots=True)
class Unreadable:
    """A thing that the scan itself could not look at: symlink loop, forbidden folder, row without a picture.

    With ``prefix`` nothing below ``locator + b"/"`` could be seen either, so nothing there may be counted as deleted;
    an empty ``locator`` with ``prefix`` says the same of everything the source has not yielded.
    """

    locator: bytes
    path: str
    error: PictureError
    prefix: bool = False


@dataclass(frozen=True)
class SourceOptions:
    """What may be said about a source; each kind heeds what concerns it."""

    image_column: str | None = None
    id_column: str | None = None
    product_column: str | None = None
    text_column: str | None = None
    hidden: bool = False
    allow_private: bool = False
    kind: str | None = None

    def given(self, *names: str) -> dict[str, Scalar]:
        """Give those of the named options that differ from their default, for reopening the source later."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value not in {None, False}}


class Source(Protocol):
    """Where items come from. Scanning is cheap, may be done more than once, and never decodes a picture."""

    @property
    def kind(self) -> str:
        """Give ``folder``, ``table``, ``webdataset`` or ``embeddings``."""
        ...

    @property
    def location(self) -> str:
        """Give the absolute path of the folder or file, as ``os.fsdecode`` writes it."""
        ...

    @property
    def options(self) -> Mapping[str, Scalar]:
        """Give what, with kind and location, reopens this source in a later run."""
        ...

    def exists(self) -> bool:
        """Tell whether the root can be reached at all."""
        ...

    def stamp(self) -> tuple[int, int] | None:
        """Give (size, mtime_ns) of a single-file source: unchanged means nothing inside changed. None for folders."""
        ...

    def scan(self) -> Iterator[Found | Unreadable]:
        """Yield everything there is, in a stable order and with distinct locators. Raises ``SourceError``."""
        ...


def display(raw: bytes | str) -> str:
    """Make a path fit to be shown and stored: bytes that are no UTF-8 and control characters become escapes."""
    data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogateescape")
    text = data.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
