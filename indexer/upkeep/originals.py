"""Getting the bytes of indexed pictures back from where they came."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from indexer.errors import PictureError
from indexer.images import Limits, read_bytes
from indexer.library import Library
from indexer.sources import reopen_source
from indexer.sources.found import Found


def read_originals(
    library: Library, ids: Sequence[int], limits: Limits | None = None
) -> dict[int, bytes | PictureError]:
    """The bytes of items by id, or why they cannot be had. A table or archive is scanned once for all of them."""
    limits = limits or Limits()
    answer: dict[int, bytes | PictureError] = {}
    wanted: dict[int, dict[bytes, int]] = defaultdict(dict)
    for item in library.items(ids).values():
        wanted[item.source_id][item.locator] = item.id
    with library.catalog.read() as reader:
        sources = {source.id: source for source in reader.sources()}
    for source_id, places in wanted.items():
        source = sources[source_id]
        if source.kind == "folder":
            for locator, item_id in places.items():
                answer[item_id] = _file(Path(source.location) / os.fsdecode(locator), limits)
            continue
        answer |= _scanned(source.kind, source.location, source.options, places, limits)
    missing = PictureError("gone", "the picture is no longer in its source", "run `diptych index`")
    return {item_id: answer.get(item_id, missing) for item_id in ids}


def _file(path: Path, limits: Limits) -> bytes | PictureError:
    try:
        return read_bytes(path, limits)
    except PictureError as error:
        return error


def _scanned(
    kind: str, location: str, options: object, places: dict[bytes, int], limits: Limits
) -> dict[int, bytes | PictureError]:
    origin = reopen_source(kind, location, options)  # type: ignore[arg-type]
    answer: dict[int, bytes | PictureError] = {}
    if not origin.exists():
        return answer
    for found in origin.scan():
        if isinstance(found, Found) and found.locator in places and found.read is not None:
            try:
                answer[places[found.locator]] = found.read(limits)
            except PictureError as error:
                answer[places[found.locator]] = error
            if len(answer) == len(places):
                break
    return answer
