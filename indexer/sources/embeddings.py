"""Vectors that another program computed, in clip-retrieval's layout.

Knows that layout: ``img_emb/img_emb_0.npy`` (one row a picture) beside ``metadata/metadata_0.parquet`` (the same
rows). There are no pictures to read; every item brings its vector.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import PictureError, SourceError
from indexer.seams import Floats
from indexer.sources import parquet
from indexer.sources.found import Found, Scalar, Unreadable, display
from indexer.sources.values import metadata, words

_NAMES = ("image_path", "path", "url", "image_url", "key")
_TEXTS = ("caption", "text", "title")
_SHARD = re.compile(r"img_emb_?(\d+)\.npy\Z")


class EmbeddingsSource:
    """Precomputed vectors with their metadata; the locator is the picture's path, URL or key, else shard and row."""

    kind = "embeddings"

    def __init__(self, location: str) -> None:
        self.location = os.path.abspath(location)  # noqa: PTH100 - resolves no links
        self.path = Path(self.location)

    @property
    def options(self) -> Mapping[str, Scalar]:
        """Give nothing: the layout says it all."""
        return {}

    def exists(self) -> bool:
        """Tell whether the folder of vectors is there."""
        return (self.path / "img_emb").is_dir()

    def stamp(self) -> None:
        """Give None: the vectors lie in several files."""
        return

    def check(self) -> None:
        """Raise ``SourceError`` unless all shards fit together and have metadata for each row."""
        dims = {_load(vectors).shape[1]: vectors for vectors, _ in self._shards()}
        if len(dims) > 1:
            (one, first), (other, second) = list(dims.items())[:2]
            raise SourceError(f"{first} has vectors of {one} numbers and {second} of {other}; keep one model's only")
        for vectors, table in self._shards():
            rows = len(_load(vectors))
            if table and parquet.count(table) != rows:
                raise SourceError(
                    f"{vectors} has {rows:,} vectors and {table} has {parquet.count(table):,} rows; write both again"
                )

    def scan(self) -> Iterator[Found | Unreadable]:
        """Yield every row as an item with its unit vector. Raises ``SourceError``."""
        self.check()
        seen: set[str] = set()
        for vectors, table in self._shards():
            rows = _load(vectors)  # [n, dim], mapped from disk
            about = parquet.rows(table) if table else iter(dict[str, Any]() for _ in range(len(rows)))
            mtime_ns = vectors.stat().st_mtime_ns
            for i, cells in zip(range(len(rows)), about, strict=True):
                name = next((str(cells[key]) for key in _NAMES if cells.get(key)), f"{vectors.stem}:{i}")
                while name in seen:
                    name = f"{name}#{vectors.stem}:{i}"
                seen.add(name)
                yield _item(name, cells, rows[i], mtime_ns)

    def _shards(self) -> list[tuple[Path, Path | None]]:
        """Pair each file of vectors with its table, in numerical order; the table may be missing altogether."""
        numbered = {
            int(match[1]): path for path in (self.path / "img_emb").glob("*.npy") if (match := _SHARD.match(path.name))
        }
        if not numbered:
            raise SourceError(f"{self.path} has no img_emb/img_emb_0.npy; give a folder that clip-retrieval wrote")
        tables = {_number(path): path for path in (self.path / "metadata").glob("metadata_*.parquet")}
        if tables and (missing := sorted(set(numbered) - set(tables))):
            raise SourceError(f"{self.path} has no metadata for {numbered[missing[0]].name}; write both again")
        return [(numbered[i], tables.get(i)) for i in sorted(numbered)]


def _number(path: Path) -> int:
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else -1


def _load(path: Path) -> Floats:
    """Map a file of vectors; pickled arrays are refused, since loading one runs code."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise SourceError(f"{path} cannot be read as an array ({error}); write it again") from None
    if getattr(rows, "ndim", 0) != 2 or rows.dtype.kind != "f":
        raise SourceError(f"{path} is no matrix of floats; it must be float16 or float32 with one row for each picture")
    return rows  # type: ignore[no-any-return]


def _item(name: str, cells: Mapping[str, Any], row: Floats, mtime_ns: int) -> Found | Unreadable:
    locator = os.fsencode(name)
    vector = np.asarray(row, dtype=np.float32)  # [dim]
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not (np.isfinite(length) and length > 0):
        what = "is all zeros" if length == 0 else "has numbers that are not finite"
        error = PictureError("bad-vector", f"The vector {what}", "compute it again")
        return Unreadable(locator, display(locator), error)
    text = next((found for key in _TEXTS if (found := words(cells.get(key)))), "")
    rest = {key: value for key, value in cells.items() if key not in {*_NAMES, *_TEXTS}}
    unit = (vector / length).astype(np.float32)
    return Found(
        locator, vector.nbytes, mtime_ns, None, path=display(locator), metadata=metadata(rest), text=text, vector=unit
    )
