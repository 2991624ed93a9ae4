"""Small worlds for tests: coloured pictures in folders, and a library over them with the fake encoder."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from indexer.catalog import Failure, Item
from indexer.library import Library
from indexer.pipeline import Options, Session, Tally
from indexer.seams import Encoder
from indexer.sources import open_source
from tests.fakes import FakeEncoder


def jpeg(seed: int, side: int = 24) -> bytes:
    """A JPEG of coloured blocks that no other seed gives."""
    blocks = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST).save(file, "JPEG", quality=90)
    return file.getvalue()


def plain(colour: str, side: int = 16) -> bytes:
    """A PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


def write(path: Path, data: bytes) -> Path:
    """Write a file, making the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def index(
    library: Library,
    *sources: Path,
    encoder: Encoder | None = None,
    stop: threading.Event | None = None,
    **options: object,
) -> Tally:
    """Index sources (or all known ones) with a fake encoder."""
    encoder = encoder or FakeEncoder()
    session = Session(library, lambda: encoder, Options(batch=4, workers=2, **options), stop)  # type: ignore[arg-type]
    return session.index([open_source(str(source)) for source in sources])


def items(library: Library) -> list[Item]:
    """All items, by locator."""
    with library.catalog.read() as reader:
        return sorted(reader.all_items(), key=lambda item: item.locator)


def failures(library: Library) -> list[Failure]:
    """All failures."""
    with library.catalog.read() as reader:
        return reader.failures()


def contents(library: Library) -> tuple[dict[bytes, tuple[bytes, Sequence[float]]], dict[bytes, str]]:
    """What a library says, without what depends on its history: vectors and hashes by locator, and failures."""
    held = items(library)
    ids, vectors = library.vectors([item.id for item in held])
    rows = dict(zip(ids.tolist(), vectors.round(3).tolist(), strict=True))
    said = {item.locator: (item.content_hash, tuple(rows.get(item.id, ()))) for item in held}
    return said, {failure.locator: failure.reason for failure in failures(library)}
