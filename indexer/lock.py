"""One writer at a time: a lock that names its holder and dies with it.

The lock itself is the operating system's (through filelock), so a killed process leaves nothing to clean up; the
name beside it is only for the message.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from indexer.errors import LibraryError, LibraryLocked


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the right to write to the library in ``folder``. Raises LibraryLocked at once if another has it."""
    lock = FileLock(folder / "writer.lock", thread_local=False)
    holder = folder / "writer.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LibraryLocked(
            f"{folder} is being written by {_describe(holder)}; wait for it to end (searching works meanwhile)"
        ) from None
    except OSError as error:
        raise LibraryError(f"{folder} cannot be written ({error.strerror}); choose another --library folder") from error
    try:
        me = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv[:3]), "since": time.time()}
        holder.write_text(json.dumps(me), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(holder: Path) -> str:
    try:
        told = json.loads(holder.read_text(encoding="utf-8"))
        since = time.strftime("%H:%M:%S", time.localtime(told["since"]))
        return f"process {told['pid']} on {told['host']} ({told['command']}, since {since})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
