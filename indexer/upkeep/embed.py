"""Embedding without a library: files of vectors in clip-retrieval's layout.

    OUT/img_emb/img_emb_0.npy        fp16 [n, dim]        OUT/text_emb/text_emb_0.npy
    OUT/metadata/metadata_0.parquet  one row a vector, in the same order

Shards are written under a temporary name and renamed, so what is there is whole.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from indexer.chunks import chunks
from indexer.errors import LibraryError, PictureError, SourceError
from indexer.images import Limits, decode
from indexer.pipeline.ahead import ahead, in_background
from indexer.pipeline.tally import Progress, Report
from indexer.seams import Encoder, Floats, Pixels
from indexer.sources.found import Found, Source, Unreadable

WORKERS = os.cpu_count() or 1


def embed_pictures(
    origins: Sequence[Source],
    encoder: Encoder,
    out: Path,
    shard: int,
    stop: threading.Event,
    report: Report,
    *,
    batch: int,
) -> dict[str, int]:
    """Embed every picture of some sources. Returns how many were embedded and how many could not be read."""
    writer = _Shards(out, "img_emb", shard)
    counts = {"embedded": 0, "failed": 0}
    total = sum(1 for origin in origins for _ in origin.scan())

    def prepared(found: Found | Unreadable) -> tuple[Found, Pixels] | None:
        if isinstance(found, Unreadable) or found.read is None:
            return None
        try:
            return found, encoder.prepare(decode(found.read(Limits()), at_least=encoder.image_size).image)
        except PictureError:
            return None

    everything = (found for origin in origins for found in origin.scan())
    with ThreadPoolExecutor(WORKERS) as pool:
        stream = in_background(_generator(ahead(pool, prepared, everything, 2 * WORKERS)), 2 * batch)
        with closing(stream):
            for some in chunks(stream, batch):
                good = [element for element in some if element is not None]
                if good:
                    vectors = encoder.encode_pixels(np.stack([pixels for _, pixels in good]))
                    writer.add(vectors, [_row(found) for found, _ in good])
                counts["embedded"] += len(good)
                counts["failed"] += len(some) - len(good)
                report(Progress("embed", sum(counts.values()), total))
                if stop.is_set():
                    break
    writer.flush()
    return counts


def embed_texts(
    texts: Path, encoder: Encoder, out: Path, shard: int, stop: threading.Event, report: Report
) -> dict[str, int]:
    """Embed the lines of a file; empty lines are left out."""
    try:
        lines = [line for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{texts} cannot be read as UTF-8 text ({error}); name a file with one text a line"
        ) from error
    writer = _Shards(out, "text_emb", shard)
    done = 0
    for some in chunks(lines, 256):
        writer.add(encoder.encode_texts(some), [{"caption": line} for line in some])
        done += len(some)
        report(Progress("embed", done, len(lines)))
        if stop.is_set():
            break
    writer.flush()
    return {"embedded": done, "failed": 0}


def _generator(stream: Iterator[Any]) -> Any:
    yield from stream


def _row(found: Found) -> dict[str, Any]:
    return {"image_path": found.path, "caption": found.text, "product": found.product, **found.metadata}


class _Shards:
    """Collects vectors and rows, and writes a pair of files whenever a shard is full."""

    def __init__(self, out: Path, kind: str, size: int) -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise LibraryError(f"{out} is not empty; name a new folder with --out")
        self.out, self.kind, self.size = out, kind, size
        self.vectors: list[Floats] = []
        self.rows: list[dict[str, Any]] = []
        self.number = 0
        for folder in (kind, "metadata"):
            (out / folder).mkdir(parents=True, exist_ok=True)

    def add(self, vectors: Floats, rows: list[dict[str, Any]]) -> None:
        self.vectors.extend(vectors)
        self.rows.extend(rows)
        while len(self.rows) >= self.size:
            self._write(self.size)

    def flush(self) -> None:
        if self.rows:
            self._write(len(self.rows))

    def _write(self, count: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        matrix = np.stack(self.vectors[:count]).astype(np.float16)
        keys = dict.fromkeys(key for row in self.rows[:count] for key in row)
        columns = {key: [row.get(key) for row in self.rows[:count]] for key in keys}
        array = self.out / self.kind / f"{self.kind}_{self.number}.npy"
        table = self.out / "metadata" / f"metadata_{self.number}.parquet"
        with array.with_suffix(".part").open("wb") as file:
            np.save(file, matrix)
        pq.write_table(
            pa.table({key: _column(pa, values) for key, values in columns.items()}), table.with_suffix(".part")
        )
        array.with_suffix(".part").replace(array)
        table.with_suffix(".part").replace(table)
        del self.vectors[:count], self.rows[:count]
        self.number += 1


def _column(pa: Any, values: list[Any]) -> Any:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column that is a number here and a word there
        return pa.array([None if value is None else str(value) for value in values])
