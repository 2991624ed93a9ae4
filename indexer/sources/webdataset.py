"""Pictures inside a WebDataset archive: a ``.tar`` whose neighbouring members of one name make one sample.

Knows tar files and the WebDataset convention (``dir/key.jpg`` + ``dir/key.txt`` + ``dir/key.json``). Member names are
only names: nothing is ever unpacked to disk.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from indexer.errors import PictureError, SourceError
from indexer.images import SUFFIXES, Limits, check_size, file_error
from indexer.sources.found import Found, Scalar, Unreadable, display
from indexer.sources.values import metadata, number, words

MAX_SIDECAR = 1024 * 1024
_MEMBER = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)\Z", re.DOTALL)
_SIDECARS = frozenset({"txt", "caption", "json", "cls"})
_BLOCK = 512


@dataclass
class _Sample:
    """The members that share a key, in the order of the archive."""

    key: str = ""
    pictures: list[tarfile.TarInfo] = field(default_factory=list)
    sidecars: dict[str, tarfile.TarInfo] = field(default_factory=dict)


class WebDatasetSource:
    """Pictures in an uncompressed tar; ``.txt`` or ``.caption`` is the text, ``.json`` metadata, ``.cls`` a label."""

    kind = "webdataset"

    def __init__(self, location: str) -> None:
        self.location = os.path.abspath(location)  # noqa: PTH100 - resolves no links
        self.path = Path(self.location)

    @property
    def options(self) -> Mapping[str, Scalar]:
        """Give nothing: an archive needs no options."""
        return {}

    def exists(self) -> bool:
        """Tell whether the archive is there."""
        return self.path.is_file()

    def stamp(self) -> tuple[int, int]:
        """Give (size, mtime_ns) of the archive."""
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def check(self) -> None:
        """Raise ``SourceError`` unless this is an uncompressed tar."""
        with self._open():
            pass

    def scan(self) -> Iterator[Found | Unreadable]:
        """Yield the pictures; where the archive is damaged, what comes before is yielded and then the damage."""
        with self._open() as tar:
            status = self.path.stat()
            seen: set[str] = set()
            sample, end = _Sample(), 0
            try:
                while (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # or it would remember millions of them
                    whole = member.isreg() and not member.issparse()
                    if whole and member.offset_data + member.size > status.st_size:
                        break
                    end = tar.offset  # where the next header is
                    key, suffix = _split(member.name) if whole else ("", "")
                    if key != sample.key:
                        yield from self._items(tar, sample, seen, status.st_mtime_ns)
                        sample = _Sample(key)
                    _put(sample, member, suffix)
            except (tarfile.TarError, OSError, ValueError):
                pass  # the missing end mark tells
            yield from self._items(tar, sample, seen, status.st_mtime_ns)
        if not self._ends_at(end):
            yield Unreadable(b"", display(self.location), _damage(end), prefix=True)

    def _open(self) -> tarfile.TarFile:
        with self.path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                raise SourceError(
                    f"{self.path} is compressed, so nothing in it can be read by position; gunzip it first"
                )
        try:
            return tarfile.open(self.path, "r:", errors="surrogateescape")
        except (tarfile.TarError, OSError) as error:
            raise SourceError(f"{self.path} cannot be read as a tar archive ({error}); download it again") from None

    def _items(
        self, tar: tarfile.TarFile, sample: _Sample, seen: set[str], mtime_ns: int
    ) -> Iterator[Found | Unreadable]:
        if not sample.pictures:
            return
        try:
            about, text = _describe(tar, sample.sidecars)
            problem = None
        except PictureError as error:
            about, text, problem = {}, "", error
        for member in sample.pictures:
            name = member.name
            while name in seen:
                name += "#2"
            seen.add(name)
            locator = name.encode("utf-8", "surrogateescape")
            path = f"{display(self.location)}::{display(locator)}"
            if problem is not None:
                yield Unreadable(locator, path, problem)
                continue
            read = partial(_read, self.location, member.offset_data, member.size)
            yield Found(locator, member.size, mtime_ns, read, path=path, metadata=about, text=text)

    def _ends_at(self, end: int) -> bool:
        """Tell whether an archive has its end mark, a block of zeros, where its last member ends."""
        with self.path.open("rb") as file:
            file.seek(end)
            return file.read(_BLOCK) == bytes(_BLOCK)


def _split(name: str) -> tuple[str, str]:
    """Split a name into key and suffix at the first dot of its last part; both empty when there is no such dot."""
    match = _MEMBER.match(name)
    return (match[1], match[2].lower()) if match else ("", "")


def _put(sample: _Sample, member: tarfile.TarInfo, suffix: str) -> None:
    if suffix in _SIDECARS:
        sample.sidecars[suffix] = member
    elif "." + suffix.rpartition(".")[2] in SUFFIXES:
        sample.pictures.append(member)


def _describe(tar: tarfile.TarFile, sidecars: dict[str, tarfile.TarInfo]) -> tuple[dict[str, Scalar], str]:
    """Read the small files beside a picture: its metadata and its text. Raises ``PictureError``."""
    texts = {suffix: _sidecar(tar, member) for suffix, member in sidecars.items()}
    loaded: Any = {}
    if "json" in texts:
        try:
            loaded = json.loads(texts["json"])
        except (ValueError, RecursionError):
            loaded = None
        if not isinstance(loaded, dict):
            raise _sidecar_error("bad-metadata", f"{sidecars['json'].name} is no JSON object", "correct")
    text = words(texts.get("txt") or texts.get("caption") or loaded.get("caption") or loaded.get("text"))
    about = metadata({name: value for name, value in loaded.items() if name not in {"caption", "text"}})
    label = number(texts.get("cls", ""))
    return about | ({} if label is None else {"label": label}), text


def _sidecar(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.size > MAX_SIDECAR:
        message = f"{display(member.name)} has {member.size:,} bytes and the limit is {MAX_SIDECAR:,}"
        raise _sidecar_error("metadata-too-large", message, "shorten")
    file = tar.extractfile(member)
    return "" if file is None else file.read().decode("utf-8", "replace")


def _sidecar_error(reason: str, message: str, verb: str) -> PictureError:
    return PictureError(reason, message, f"{verb} it and write the archive again")


def _damage(end: int) -> PictureError:
    return PictureError(
        "truncated",
        f"The archive breaks off or is damaged after {end:,} bytes; what comes before is used",
        "download it or write it again",
    )


def _read(location: str, offset: int, size: int, limits: Limits) -> bytes:
    """Read one member straight from its place in the archive."""
    check_size(size, limits)
    if size == 0:
        raise file_error("empty")
    try:
        with open(location, "rb", buffering=0) as file:  # noqa: PTH123 - keeps undecodable bytes
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise file_error(error) from None
    if len(data) < size:
        raise file_error("vanished")
    return data
