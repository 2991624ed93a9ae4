"""The stages a picture goes through on its way to the encoder: read, route, decode.

Each takes and gives plain frozen values; reading and decoding run in worker threads, routing asks the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from indexer.catalog import NewItem
from indexer.chunks import chunks
from indexer.errors import PictureError
from indexer.images import Limits, content_hash, decode, difference_hash
from indexer.pipeline.plan import Survey, Task
from indexer.seams import Encoder as EncoderSeam
from indexer.seams import Floats, Pixels

ROUTED_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class Read:
    """The bytes of a task and their hash."""

    task: Task
    data: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A task whose picture cannot be used."""

    task: Task
    error: PictureError


@dataclass(frozen=True, slots=True)
class Touch:
    """Same bytes as before: only the time stamp or the metadata are new."""

    task: Task
    hash: bytes


@dataclass(frozen=True, slots=True)
class Same:
    """Bytes that are known already, with their vector."""

    task: Task
    item: NewItem
    vector: Floats


@dataclass(frozen=True, slots=True)
class Ready:
    """A picture ready for the encoder, or one that came with its vector."""

    task: Task
    item: NewItem
    pixels: Pixels | None
    vector: Floats | None


Outcome = Failed | Touch | Same | Ready


def read(task: Task, limits: Limits) -> Read | Failed | Ready | Touch:
    """Fetch the bytes of one task; a precomputed vector is ready at once."""
    found = task.found
    if not task.read:
        return Touch(task, task.known.content_hash if task.known else b"")
    if found.read is None or found.vector is not None:
        assert found.vector is not None  # noqa: S101 - a source gives one or the other
        digest = content_hash(found.vector.tobytes())
        return Ready(task, _describe(task, digest, 0, 0, "vector", None), None, found.vector)
    try:
        data = found.read(limits)
    except PictureError as error:
        return Failed(task, error)
    return Read(task, data, content_hash(data))


def route(stream: Iterable[Read | Failed | Ready | Touch], survey: Survey) -> Iterator[Read | Outcome]:
    """Find out which bytes are known already; only what is new goes on to be decoded."""
    for some in chunks(stream, ROUTED_TOGETHER):
        with survey.catalog.read() as reader:
            holders = reader.with_content([r.hash for r in some if isinstance(r, Read)], survey.encoder)
        for element in some:
            if not isinstance(element, Read):
                yield element
                continue
            known = element.task.known
            if survey.fill and known is not None and known.content_hash != element.hash:
                continue  # changed without a trace in its time stamp: the next ordinary run sees to it
            if known is not None and known.has_vector and known.content_hash == element.hash:
                yield Touch(element.task, element.hash)
            elif element.hash in holders:
                first, vector = holders[element.hash]
                facts = (first.width, first.height, first.format, first.phash)
                yield Same(element.task, _describe(element.task, element.hash, *facts), vector)
            else:
                yield element


def prepare(element: Read | Outcome, encoder: EncoderSeam, limits: Limits) -> Outcome:
    """Decode and resize what is new to the encoder's size."""
    if not isinstance(element, Read):
        return element
    try:
        decoded = decode(element.data, limits, at_least=encoder.image_size)
    except PictureError as error:
        return Failed(element.task, error)
    phash = difference_hash(decoded.image)
    item = _describe(element.task, element.hash, decoded.width, decoded.height, decoded.format, phash)
    return Ready(element.task, item, encoder.prepare(decoded.image), None)


def _describe(task: Task, digest: bytes, width: int, height: int, kind: str, phash: int | None) -> NewItem:
    found = task.found
    return NewItem(
        locator=found.locator,
        path=found.path,
        content_hash=digest,
        size=found.size,
        mtime_ns=found.mtime_ns,
        meta_hash=found.metadata_hash(),
        width=width,
        height=height,
        format=kind,
        phash=phash,
        text=found.text,
        product=found.product,
        metadata=found.metadata,
    )
