"""A whole library as Parquet, and back: everything but the pictures and the derived index.

Layout of an export, version 1:

    manifest.json       version, counts, encoders, sources, checksums
    items.parquet       one row an item, ids kept
    failures.parquet
    vectors-N.parquet   item_id and fp16 vector of encoder N
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexer.catalog import Catalog
from indexer.errors import LibraryError
from indexer.library import Library

VERSION = 1
ROWS = 5_000
TABLES = ("items", "failures")


def export_library(library: Library, out: Path, report: Callable[[int, int], None] = lambda _done, _all: None) -> int:
    """Write the library to folder ``out`` (new or empty). Returns the number of items. Raises LibraryError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LibraryError(f"{out} is not empty; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    with library.catalog.read() as reader:
        total = reader.count_items()
        counts: dict[str, int] = {}
        for table in TABLES:
            counts[table] = _write(out / f"{table}.parquet", _told(reader.rows_of(table, ROWS), report, total))
        encoders = [e for e in reader.encoders() if e.state != "retired"]
        for encoder in encoders:
            name = f"vectors-{encoder.id}"
            counts[name] = _write(out / f"{name}.parquet", reader.vector_rows(encoder, ROWS))
        manifest = {
            "version": VERSION,
            "counts": counts,
            "encoders": [asdict(e) for e in encoders],
            "sources": [
                {"id": s.id, "kind": s.kind, "location": base64.b64encode(os.fsencode(s.location)).decode(),
                 "options": dict(s.options)} for s in reader.sources()
            ],
            "checksums": {f"{name}.parquet": _checksum(out / f"{name}.parquet") for name in counts},
        }  # fmt: skip
    (out / "manifest.json").write_text(
        json.dumps(manifest, indent=2), encoding="utf-8"
    )  # last: it makes the export whole
    return counts["items"]


def import_library(folder: Path, target: Path) -> int:
    """Make a new library at ``target`` from an export. Returns the number of items. Raises LibraryError."""
    manifest = _manifest(folder)
    with Library.open(target, create=True) as library, library.writer():
        with library.catalog.read() as reader:
            if reader.count_items() or reader.sources():
                raise LibraryError(f"the library at {target} is not empty; import into a new --library folder")
        _fill(library.catalog, folder, manifest)
        library.save_index()
        with library.catalog.read() as reader:
            return reader.count_items()


def _fill(catalog: Catalog, folder: Path, manifest: dict[str, Any]) -> None:
    """One transaction: an import that is interrupted leaves an empty library."""
    with catalog.write() as writer:
        for source in manifest["sources"]:
            writer.insert_row("sources", {**source, "location": base64.b64decode(source["location"])})
        for encoder in manifest["encoders"]:
            writer.insert_row("encoders", encoder)
        for table in TABLES:
            for rows in _read(folder / f"{table}.parquet"):
                writer.insert_rows(table, rows)
        for encoder in manifest["encoders"]:
            for rows in _read(folder / f"vectors-{encoder['id']}.parquet"):
                writer.insert_vectors(encoder["id"], rows)


def _manifest(folder: Path) -> dict[str, Any]:
    if not (folder / "manifest.json").is_file():
        raise LibraryError(
            f"{folder} is not an export: it holds no manifest.json; name a folder that `diptych export` made"
        )
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["version"] != VERSION:
            raise LibraryError(f"{folder} is an export of version {manifest['version']}, not {VERSION}; update Diptych")
        checksums: dict[str, str] = manifest["checksums"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LibraryError(f"{folder} is not a whole export ({error}); make it again with `diptych export`") from error
    for name, checksum in checksums.items():
        if "/" in name or not (folder / name).is_file() or _checksum(folder / name) != checksum:
            raise LibraryError(f"{folder / name} is missing or damaged; make the export again")
    return manifest


def _told(
    blocks: Iterator[list[dict[str, Any]]], report: Callable[[int, int], None], total: int
) -> Iterator[list[dict[str, Any]]]:
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        report(done, max(total, done))


def _write(path: Path, blocks: Iterator[list[dict[str, Any]]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, writer = 0, None
    for block in blocks:
        table = pa.Table.from_pylist(block, schema=writer.schema if writer else None)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
        count += len(block)
    if writer is None:
        pq.write_table(pa.table({}), path)
    else:
        writer.close()
    return count


def _read(path: Path) -> Iterator[list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    for batch in file.iter_batches(batch_size=ROWS):
        if batch.num_rows:
            yield batch.to_pylist()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
