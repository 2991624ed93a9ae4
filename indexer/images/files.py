"""Reading the bytes of a picture file, whatever stands at its path, within a limit.

Knows file systems; what the bytes mean is ``decoding``'s business.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import PictureError

MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 1024 * 1024

_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}
_HEIC = {".heic", ".heics", ".heif", ".heifs", ".hif"}
SUFFIXES = frozenset(
    {*_JPEG, *_HEIC, ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".avifs"}
)

# O_NONBLOCK: opening a named pipe for reading would otherwise wait for a writer for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PIECE = 64 * 1024

_ERRORS = {
    "empty": ("The file has no bytes", "copy it again from where it came from", False),
    "vanished": ("The file vanished before it could be read", "put it back, or run again without it", True),
    "missing": ("There is no file at this path", "correct the path, or put the file there", True),
    "permission": ("This user may not read the file", "give this user the right to read it", True),
    "not-a-file": ("This is a pipe, socket, device or folder, not a file", "remove it, or put a picture there", False),
    "symlink-loop": ("The link leads back to itself or to a folder above it", "remove the link", False),
    "broken-link": ("The link leads to nothing", "remove the link, or put back what it leads to", True),
    "bad-path": ("No file can have such a name", "correct the path", False),
}


@dataclass(frozen=True)
class Limits:
    """How large a picture may be: ``max_pixels`` before decoding, ``max_bytes`` before reading."""

    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES


def read_bytes(path: Path | bytes | str, limits: Limits | None = None) -> bytes:
    """Read a regular file whole. Raises ``PictureError`` for whatever prevents it; never waits for a pipe."""
    limits = limits or Limits()
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise file_error(error) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise file_error("not-a-file")
        check_size(status.st_size, limits)
        data = _read(descriptor, min(status.st_size, limits.max_bytes) + 1, limits)
    except (OSError, ValueError) as error:
        raise file_error(error) from None
    finally:
        os.close(descriptor)
    if not data:
        raise file_error("empty")
    return data


def _read(descriptor: int, expected: int, limits: Limits) -> bytes:
    """Read to the end even when the file grows meanwhile, but never far past the limit."""
    pieces = [os.read(descriptor, expected)]
    total = len(pieces[0])
    while data := os.read(descriptor, _PIECE):
        pieces.append(data)
        total += len(data)
        check_size(total, limits)
    return b"".join(pieces)


def check_size(size: int, limits: Limits) -> None:
    """Raise ``PictureError`` (``too-large``) when a file of ``size`` bytes is over the limit."""
    if size > limits.max_bytes:
        raise PictureError(
            "too-large",
            f"The file has {size:,} bytes and the limit is {limits.max_bytes:,}",
            "make it smaller, or raise the limit on bytes (--max-bytes)",
        )


def file_error(cause: str | OSError | ValueError) -> PictureError:
    """Turn a reason, or what the operating system said, into a ``PictureError``."""
    reason = cause if isinstance(cause, str) else _reason(cause)
    if reason in _ERRORS:
        message, remedy, transient = _ERRORS[reason]
        return PictureError(reason, message, remedy, transient=transient)
    return PictureError(
        "unreadable",
        f"The file cannot be read ({getattr(cause, 'strerror', None) or cause})",
        "check the disk or the network share it lies on",
        transient=True,
    )


def _reason(cause: OSError | ValueError) -> str:
    if isinstance(cause, FileNotFoundError | NotADirectoryError):
        return "vanished"
    if isinstance(cause, PermissionError):
        return "permission"
    if not isinstance(cause, OSError) or cause.errno == errno.ENAMETOOLONG:
        return "bad-path"
    if cause.errno in {errno.ENXIO, errno.ENODEV, errno.EISDIR}:  # a socket cannot be opened at all
        return "not-a-file"
    return "symlink-loop" if cause.errno == errno.ELOOP else "unreadable"


def content_hash(data: bytes) -> bytes:
    """Give the 16 bytes that identify a picture's content (BLAKE2b)."""
    return hashlib.blake2b(data, digest_size=16).digest()
