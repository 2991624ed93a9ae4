"""A table with one picture a row: CSV, TSV, a plain list of paths, or Parquet.

Knows what columns mean; reading the rows is the business of ``delimited`` and ``parquet``, fetching of ``urls``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from indexer.errors import PictureError, SourceError
from indexer.images import Limits, check_size, file_error, read_bytes
from indexer.sources import delimited, parquet
from indexer.sources.found import Found, Reader, Scalar, SourceOptions, Unreadable, display
from indexer.sources.values import code, metadata, number, words

if TYPE_CHECKING:
    from indexer.sources.urls import Fetcher

PARQUET = frozenset({".parquet", ".pq"})
DELIMITED = frozenset({".csv", ".tsv", ".txt"})
_IMAGE_NAMES = (
    *("image", "image_path", "img_path", "image_file", "img", "path", "filepath", "file_path", "file", "file_name"),
    *(
        "filename",
        "image_url",
        "img_url",
        "url",
        "picture",
        "picture_url",
        "photo",
        "photo_url",
        "bytes",
        "image_bytes",
    ),
)
_TEXT_NAMES = ("title", "caption", "text", "name", "description")


@dataclass(frozen=True)
class Columns:
    """Which column is what; all that are none of these are metadata."""

    image: str
    id: str | None
    product: str | None
    text: str | None


class TableSource:
    """Rows of a table. A picture column holds paths (relative to the table), URLs, bytes, or ``{bytes, path}``.

    The locator is the id column when there is one, else the path or URL (``#2`` is added to repeats), else the number
    of the row. Only the picture column and the text column are guessed by their names; ids and products never are.
    """

    kind = "table"

    def __init__(self, location: str, options: SourceOptions | None = None) -> None:
        self.location = os.path.abspath(location)  # noqa: PTH100 - resolves no links
        self.path = Path(self.location)
        self._given = options or SourceOptions()
        self._folder = os.fsencode(self.path.parent)

    @property
    def options(self) -> Mapping[str, Scalar]:
        """Give the options that differ from their default."""
        return self._given.given("image_column", "id_column", "product_column", "text_column", "allow_private")

    def exists(self) -> bool:
        """Tell whether the table is there."""
        return self.path.is_file()

    def stamp(self) -> tuple[int, int] | None:
        """Give (size, mtime_ns) when the table holds the pictures themselves; None when it points elsewhere."""
        if not self._is_parquet or not parquet.holds_bytes(self.path, self.columns().image):
            return None
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def columns(self) -> Columns:
        """Settle which column is what; raises ``SourceError`` listing the columns there are."""
        names = (parquet if self._is_parquet else delimited).columns(self.path)
        given = self._given
        for option, name in given.given("image_column", "id_column", "product_column", "text_column").items():
            if name not in names:
                raise SourceError(f"{self.path} has no column {name!r} ({option}); it has {_listed(names)}")
        image = given.image_column or _guess(_IMAGE_NAMES, names)
        if image is None:
            raise SourceError(
                f"No column of {self.path} looks like pictures; say which one is (image_column): {_listed(names)}"
            )
        taken = {image, given.id_column, given.product_column}
        text = given.text_column or _guess(_TEXT_NAMES, [name for name in names if name not in taken])
        return Columns(image, given.id_column, given.product_column, text)

    def scan(self) -> Iterator[Found | Unreadable]:
        """Yield every row; raises ``SourceError`` when the table is damaged."""
        columns = self.columns()
        try:
            container = self.path.stat()
            rows = parquet.rows(self.path, (columns.image,)) if self._is_parquet else delimited.rows(self.path)
            seen: dict[bytes, int] = {}
            for number_, row in enumerate(rows, 1):
                yield self._item(_Row(row, number_, columns, typed=self._is_parquet), seen, container.st_mtime_ns)
        except OSError as error:
            raise SourceError(f"{self.path} cannot be read ({error.strerror}); check the disk it lies on") from None

    def _item(self, row: _Row, seen: dict[bytes, int], mtime_ns: int) -> Found | Unreadable:
        locator, problem = row.locate(seen)
        if problem is not None:
            return Unreadable(locator, f"{display(self.location)}::{display(locator)}", problem)
        picture = row.picture
        if isinstance(picture, bytes):
            path = f"{display(self.location)}::{display(locator)}"
            return row.found(locator, len(picture), mtime_ns, partial(_held, picture), path)
        if picture.lower().startswith(("http://", "https://")):
            return row.found(locator, -1, 0, partial(self._fetch, picture), display(picture))
        return self._file(row, locator, picture)

    def _file(self, row: _Row, locator: bytes, picture: str) -> Found | Unreadable:
        """Find the file that a row points at; it need not lie below the table."""
        path = os.path.join(self._folder, os.fsencode(_local(picture)))  # noqa: PTH118 - keeps undecodable bytes
        shown = display(os.path.normpath(path))
        try:
            status = os.stat(path)  # noqa: PTH116
            if not stat.S_ISREG(status.st_mode):
                return Unreadable(locator, shown, file_error("not-a-file"))
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            return Unreadable(locator, shown, file_error("missing" if missing else error))
        found = row.found(locator, status.st_size, status.st_mtime_ns, partial(read_bytes, path), shown)
        found.ctime_ns = status.st_ctime_ns
        return found

    def _fetch(self, url: str, limits: Limits) -> bytes:
        return self._fetcher.fetch(url, limits)

    @cached_property
    def _fetcher(self) -> Fetcher:
        from indexer.sources.urls import Fetcher  # here, because httpx is slow to import and few tables hold URLs

        return Fetcher(allow_private=self._given.allow_private)

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix.lower() in PARQUET


class _Row:
    """One row: its picture cell, its name, and the rest."""

    def __init__(self, cells: Mapping[str, Any], number: int, columns: Columns, *, typed: bool) -> None:
        self.cells, self.number, self.columns, self.typed = cells, number, columns, typed
        self.picture = _picture(cells.get(columns.image))

    def locate(self, seen: dict[bytes, int]) -> tuple[bytes, PictureError | None]:
        """Name the row, distinct from all before it, and say what is wrong with it, if anything is."""
        problem = None
        if self.columns.id:
            locator = code(self.cells.get(self.columns.id)).encode("utf-8", "surrogateescape")
            if not locator:
                problem = _row_error("no-id", f"Row {self.number} has nothing in column {self.columns.id!r}")
            elif locator in seen:
                problem = _row_error(
                    "duplicate-id", f"Row {self.number} has the id of an earlier row, {display(locator)}"
                )
        else:
            locator = os.fsencode(self.picture) if isinstance(self.picture, str) else b""
        if problem is None and not self.picture:
            problem = _row_error("no-picture", f"Row {self.number} has nothing in column {self.columns.image!r}")
        return _distinct(locator or str(self.number).encode(), seen), problem

    def found(self, locator: bytes, size: int, mtime_ns: int, read: Reader, path: str) -> Found:
        """Put the row's text, product and metadata to its picture."""
        columns = self.columns
        special = {columns.image, columns.id, columns.product, columns.text}
        rest = {name: cell for name, cell in self.cells.items() if name not in special}
        return Found(
            locator,
            size,
            mtime_ns,
            read,
            path=path,
            metadata=metadata(rest if self.typed else {name: number(cell) for name, cell in rest.items()}),
            text=words(self.cells.get(columns.text)) if columns.text else "",
            product=code(self.cells.get(columns.product)) if columns.product else "",
        )


def _picture(cell: Any) -> bytes | str:
    """Take the picture out of a cell: bytes, or a path or URL; empty when there is none."""
    if isinstance(cell, Mapping):  # how Hugging Face datasets store pictures
        return _picture(cell.get("bytes")) or _picture(cell.get("path"))
    if isinstance(cell, bytes):
        return cell
    return "" if cell is None else str(cell).strip()


def _distinct(locator: bytes, seen: dict[bytes, int]) -> bytes:
    """Add ``#2``, ``#3``... to a name that was there before."""
    count = seen.get(locator, 0) + 1
    seen[locator] = count
    return locator if count == 1 else _distinct(locator + b"#%d" % count, seen)


def _local(picture: str) -> str:
    """Turn a ``file://`` URL into a path; a path stays as it is."""
    return unquote(urlsplit(picture).path, errors="surrogateescape") if picture.startswith("file://") else picture


def _held(data: bytes, limits: Limits) -> bytes:
    check_size(len(data), limits)
    return data


def _row_error(reason: str, message: str) -> PictureError:
    return PictureError(reason, message, "correct the row")


def _guess(usual: tuple[str, ...], names: list[str]) -> str | None:
    """Find the first of the usual names among the columns, in whatever case."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in usual if name in lower), None)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:30]) + (", ..." if len(names) > 30 else "") if names else "no columns at all"
