"""Where items come from: folders, tables, WebDataset archives, precomputed embeddings, URLs.

``open_source`` decides which kind a location is; each kind has its own file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from indexer.errors import SourceError
from indexer.images import SUFFIXES
from indexer.sources.embeddings import EmbeddingsSource
from indexer.sources.folder import FolderSource
from indexer.sources.found import Found, Scalar, Source, SourceOptions, Unreadable, display
from indexer.sources.table import DELIMITED, PARQUET, TableSource
from indexer.sources.webdataset import WebDatasetSource

_AnySource = FolderSource | TableSource | WebDatasetSource | EmbeddingsSource
KINDS = ("folder", "table", "webdataset", "embeddings")

__all__ = [
    "KINDS",
    "EmbeddingsSource",
    "FolderSource",
    "Found",
    "Scalar",
    "Source",
    "SourceOptions",
    "TableSource",
    "Unreadable",
    "WebDatasetSource",
    "display",
    "open_source",
    "reopen_source",
]


def open_source(location: str, options: SourceOptions | None = None) -> Source:
    """Open what a user pointed at; the kind follows what lies there unless ``options.kind`` says it.

    Raises ``SourceError`` when there is nothing, or nothing usable.
    """
    options = options or SourceOptions()
    path = Path(location).expanduser()
    if location.lower().startswith(("http://", "https://")):
        raise SourceError(f"{location} is a single URL; put URLs into a CSV with a column url and give that")
    if not os.path.lexists(path):
        raise SourceError(f"{display(location)} does not exist; check the path, or that its disk is mounted")
    source = _make(options.kind or _kind(path), str(path), options)
    if isinstance(source, TableSource):
        source.columns()
    elif not isinstance(source, FolderSource):
        source.check()
    return source


def reopen_source(kind: str, location: str, options: Mapping[str, Any]) -> Source:
    """Open a source from an earlier run again, looking at nothing yet: it may be gone, which ``exists`` tells."""
    known = {field.name for field in fields(SourceOptions)}
    return _make(kind, location, replace(SourceOptions(), **{k: v for k, v in options.items() if k in known}))


def _make(
    kind: str, location: str, options: SourceOptions
) -> FolderSource | TableSource | WebDatasetSource | EmbeddingsSource:
    if kind == "folder":
        return FolderSource(location, hidden=options.hidden)
    if kind == "table":
        return TableSource(location, options)
    if kind == "webdataset":
        return WebDatasetSource(location)
    if kind == "embeddings":
        return EmbeddingsSource(location)
    raise SourceError(f"There is no kind of source called {kind!r}; there are {', '.join(KINDS)}")


def _kind(path: Path) -> str:
    """Tell the kind from a folder's layout or a file's suffix."""
    if path.is_dir():
        return "embeddings" if any((path / "img_emb").glob("*.npy")) else "folder"
    suffix = path.suffix.lower()
    if suffix in PARQUET | DELIMITED:
        return "table"
    if suffix == ".tar" or path.name.lower().endswith((".tar.gz", ".tgz")):
        return "webdataset"
    if suffix in SUFFIXES:
        raise SourceError(f"{display(str(path))} is a single picture; give the folder it lies in")
    raise SourceError(
        f"{display(str(path))} is no folder, .csv, .tsv, .txt, .parquet or .tar; give one of these as a source"
    )
