"""Keeping folders in step: wait for the file system to speak, then run an ordinary index.

A change only says *that* something happened; what is to be done is decided by the same comparison as ever, so a
missed or doubled event can do no harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from indexer.errors import LibraryLocked, SourceError
from indexer.pipeline.session import Session
from indexer.pipeline.tally import Tally

SETTLE_MS = 800  # a copy in progress speaks many times


def watch_folders(
    session: Session, stop: threading.Event, told: Callable[[Tally], None], say: Callable[[str], None]
) -> None:
    """Index whenever a folder changes, until ``stop`` is set. Raises SourceError when there is none to watch."""
    from watchfiles import watch

    with session.library.catalog.read() as reader:
        folders = [s.location for s in reader.sources() if s.kind == "folder"]
    if not folders:
        raise SourceError("the library has no folder to watch; index one first: `diptych index FOLDER --watch`")
    say(f"Watching {', '.join(folders)}. Press Ctrl-C to end.")
    changes = watch(
        *folders,
        stop_event=stop,
        debounce=SETTLE_MS,
        raise_interrupt=False,
        recursive=True,
        ignore_permission_denied=True,
    )
    for _ in changes:
        try:
            tally = session.index()
        except LibraryLocked as error:
            say(f"{error}")
            continue
        if tally.changes or tally.failed:
            told(tally)
