"""Rows of CSV, TSV and plain lists of paths, one at a time.

Knows encodings and delimiters; what the columns mean is ``table``'s business.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from indexer.errors import SourceError

_HEAD = 64 * 1024
_LONGEST_CELL = 16 * 1024 * 1024


def columns(path: Path) -> list[str]:
    """Name the columns; a plain list (``.txt``) has one, ``path``."""
    if path.suffix.lower() == ".txt":
        return ["path"]
    with _reader(path) as reader:
        return [name.strip() for name in next(reader, [])]


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield each row as texts by column; missing cells are absent and blank lines are passed over."""
    names = columns(path)
    if path.suffix.lower() == ".txt":
        with path.open(encoding=encoding(path), newline=None) as lines:
            yield from ({"path": line.strip()} for line in lines if line.strip())
        return
    with _reader(path) as reader:
        next(reader, None)
        for row in reader:
            if row:
                yield dict(zip(names, row, strict=False))


@contextmanager
def _reader(path: Path) -> Iterator[Iterator[list[str]]]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding=encoding(path), newline="") as lines:
        reader = csv.reader(lines, delimiter=_delimiter(path, lines))
        try:
            yield reader
        except csv.Error as error:
            raise SourceError(
                f"Line {reader.line_num} of {path} is no valid CSV ({error}); correct it, or save the table again"
            ) from None


def _delimiter(path: Path, lines: TextIO) -> str:
    """Take the delimiter that is most frequent in the header; a tab for ``.tsv``."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = lines.readline(_HEAD)
    lines.seek(0)
    bare = "".join(header.split('"')[::2])
    return max(",;\t|", key=bare.count)


def encoding(path: Path) -> str:
    """Find out whether a file is UTF-8, with or without its mark, or else Latin-1; refuse UTF-16."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        head = file.read(4)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
            raise SourceError(f"{path} is in UTF-16 or no text at all; save it as CSV in UTF-8")
        file.seek(0)
        try:
            while data := file.read(1 << 20):
                decoder.decode(data)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8-sig"
