"""Pictures below a folder: one ``scandir`` for each folder and one ``stat`` for each picture.

Knows file systems (links, loops, pipes, odd names) and the suffixes of pictures; opens no picture while scanning.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from functools import partial

from indexer.errors import PictureError, SourceError
from indexer.images import SUFFIXES, file_error, read_bytes
from indexer.sources.found import Found, Scalar, Unreadable, display

_SUFFIXES = frozenset(suffix.encode()[1:] for suffix in SUFFIXES)
_LITTER = frozenset({b"@eaDir", b"__MACOSX"})  # thumbnails of a NAS, resource forks in a Mac's zip files
_NOTHING: dict[str, Scalar] = {}
_Listing = Iterator[tuple[bytes, "os.DirEntry[bytes]"]]
_Place = tuple[int, int]  # device and inode


class FolderSource:
    """All pictures below ``location``, by suffix, in byte order of their locators.

    Links to files and folders are followed. A folder reached twice counts once, where it comes first. Dot files, dot
    folders and the litter of file managers are left out unless ``hidden``.
    """

    kind = "folder"

    def __init__(self, location: str, *, hidden: bool = False) -> None:
        self.location = os.path.abspath(location)  # noqa: PTH100 - resolves no links and keeps undecodable bytes
        self.hidden = hidden

    @property
    def options(self) -> Mapping[str, Scalar]:
        """Give the options that differ from their default."""
        return {"hidden": True} if self.hidden else {}

    def exists(self) -> bool:
        """Tell whether the folder is there and is a folder."""
        return os.path.isdir(self.location)  # noqa: PTH112 - never raises

    def stamp(self) -> None:
        """Give None: a folder's own time says nothing about what lies deeper."""
        return

    def scan(self) -> Iterator[Found | Unreadable]:
        """Yield every picture once; raises ``SourceError`` when the folder itself cannot be listed."""
        root = os.fsencode(self.location)
        try:
            listing = self._list(root)
            places = [_place(os.stat(root))]  # noqa: PTH116
        except OSError as error:
            raise SourceError(
                f"The folder {display(root)} cannot be listed ({error.strerror}); check that it is mounted and readable"
            ) from None
        yield from self._walk(root, listing, places)

    def _walk(self, root: bytes, listing: _Listing, places: list[_Place]) -> Iterator[Found | Unreadable]:
        """Go through the tree depth first; ``places`` are the folders from the root down to the present one."""
        cut = len(root.rstrip(b"/")) + 1
        seen, stack = set(places), [listing]
        while stack:
            for key, entry in stack[-1]:
                if key[-1] != _SLASH:
                    found = _look_at(entry, cut)
                    if found is not None:
                        yield found
                    continue
                try:
                    place = _place(entry.stat())
                    if place in places:
                        raise OSError(errno.ELOOP, "loop")
                    if place in seen:
                        continue
                    below = self._list(entry.path)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    loop = error.errno == errno.ELOOP
                    yield Unreadable(entry.path[cut:], display(entry.path), _folder_error(error), prefix=not loop)
                    continue
                seen.add(place)
                places.append(place)
                stack.append(below)
                break
            else:
                stack.pop()
                places.pop()

    def _list(self, folder: bytes) -> _Listing:
        """List one folder; the name of a folder gets a slash, so that sorting by name is sorting by locator."""
        entries = {}
        with os.scandir(folder) as scan:
            for entry in scan:
                name = entry.name
                if not self.hidden and (name[0] == _DOT or name in _LITTER):
                    continue
                try:
                    if entry.is_dir():
                        name += b"/"
                    else:
                        _, dot, suffix = name.rpartition(b".")
                        if not dot or suffix.lower() not in _SUFFIXES:
                            continue
                except OSError:  # a loop of links, or a link into a forbidden folder
                    pass
                entries[name] = entry
        return iter(sorted(entries.items(), key=_name))


_SLASH, _DOT = b"/."


def _name(item: tuple[bytes, object]) -> bytes:
    return item[0]


def _place(status: os.stat_result) -> _Place:
    return status.st_dev, status.st_ino


def _look_at(entry: os.DirEntry[bytes], cut: int) -> Found | Unreadable | None:
    """Turn a directory entry into an item; None when it has vanished since the folder was listed."""
    path = entry.path
    try:
        status = entry.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not entry.is_symlink():
            return None
        return Unreadable(path[cut:], display(path), _link_error(error))
    if not stat.S_ISREG(status.st_mode):
        return Unreadable(path[cut:], display(path), file_error("not-a-file"))
    return Found(
        path[cut:],
        status.st_size,
        status.st_mtime_ns,
        partial(read_bytes, path),
        status.st_ctime_ns,
        display(path),
        _NOTHING,
    )


def _link_error(error: OSError) -> PictureError:
    return file_error("broken-link") if isinstance(error, FileNotFoundError) else file_error(error)


def _folder_error(error: OSError) -> PictureError:
    if error.errno == errno.ELOOP:
        return file_error(error)
    return PictureError(
        "permission" if isinstance(error, PermissionError) else "unlistable",
        f"The folder cannot be listed ({error.strerror})",
        "give this user the right to read it, or leave it out; what was indexed below it is kept meanwhile",
        transient=True,
    )
